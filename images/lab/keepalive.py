"""A server that computes is not idle: reports a busy kernel, a batch and a cluster to the culler of the hub.

Jupyter counts a kernel as active when it says something, so a cell that computes in silence for an hour, a batch in a
terminal, or a kernel that waits for its Dask cluster would be culled. Clusters without work end themselves, so the last
does not keep a server for ever. A Jupyter server extension.
"""

from datetime import UTC, datetime

import psutil
from tornado.ioloop import PeriodicCallback

PERIOD_S = 60
SCHEDULER_PORT = 8786
BATCHES = ("multimap", "papermill")


def _jupyter_server_extension_points():
    return [{"module": "keepalive"}]


def _load_jupyter_server_extension(server):
    """Look every minute from now on."""
    PeriodicCallback(lambda: touch(server), PERIOD_S * 1000).start()


def touch(server):
    """Count the server as active now if it computes; returns what it does, or nothing."""
    doing = work(server.kernel_manager)
    if doing:
        server.web_app.settings["last_activity_times"]["multimap"] = datetime.now(UTC)
        server.log.debug("not idle: %s", doing)
    return doing


def work(kernels):
    """What this server does at the moment, in words; empty if nothing."""
    if any(kernels.get_kernel(name).execution_state == "busy" for name in kernels.list_kernel_ids()):
        return "a kernel is busy"
    for process in psutil.Process().children(recursive=True):
        try:
            if any(word.rpartition("/")[2] in BATCHES for word in process.cmdline()[:3]):
                return f"a batch runs as process {process.pid}"
            if any(link.raddr and link.raddr.port == SCHEDULER_PORT for link in process.net_connections("tcp")):
                return f"process {process.pid} has a cluster"
        except psutil.Error:  # it ended while we looked
            continue
    return ""
