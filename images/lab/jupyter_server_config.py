"""Settings of a server behind a hub, the chart's or that of `make hub`; run by Jupyter with ``c`` at hand."""

import atexit
import os
import re
import shutil
import tempfile

COMPUTE = os.environ.get("DASK_KUBERNETES__NAMESPACE", "")
SCHEDULER = re.compile(rf"mm-[a-z0-9-]+-scheduler\.{re.escape(COMPUTE)}(\.svc(\.cluster\.local)?)?")


def may_be_shown(_handler, host):
    """Whether the proxy may show a page of this host: this one (the viewer), and schedulers where clusters live.

    Whose scheduler it is, is the business of the network policies.
    """
    return host in {"localhost", "127.0.0.1"} or (bool(COMPUTE) and SCHEDULER.fullmatch(host) is not None)


c.ServerProxy.host_allowlist = may_be_shown
# several people in one notebook only where the profile says so; what they type is kept beside the server, because
# SQLite on a network disk is not safe, and each second in the notebook itself
c.YDocExtension.disable_rtc = os.environ.get("MULTIMAP_COLLABORATIVE") != "1"
typed = tempfile.mkdtemp(prefix="multimap-")
atexit.register(shutil.rmtree, typed, ignore_errors=True)
c.SQLiteYStore.db_path = f"{typed}/ystore.db"
c.BaseFileIdManager.db_path = f"{typed}/file_id.db"
