"""Settings of a server behind the hub of the chart; run by Jupyter with ``c`` at hand."""

import os
import re

COMPUTE = os.environ.get("DASK_KUBERNETES__NAMESPACE", "")
SCHEDULER = re.compile(rf"mm-[a-z0-9-]+-scheduler\.{re.escape(COMPUTE)}(\.svc(\.cluster\.local)?)?")


def may_be_shown(_handler, host):
    """Whether the proxy may show a page of this host: this one (the viewer), and schedulers where clusters live.

    Whose scheduler it is, is the business of the network policies.
    """
    return host in {"localhost", "127.0.0.1"} or (bool(COMPUTE) and SCHEDULER.fullmatch(host) is not None)


c.ServerProxy.host_allowlist = may_be_shown
# several people in one notebook only where the profile says so; what they type is kept in the container, because
# SQLite on a network disk is not safe
c.YDocExtension.disable_rtc = os.environ.get("MULTIMAP_COLLABORATIVE") != "1"
c.SQLiteYStore.db_path = "/tmp/ystore.db"  # noqa: S108
c.BaseFileIdManager.db_path = "/tmp/file_id.db"  # noqa: S108
