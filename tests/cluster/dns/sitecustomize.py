"""The DNS of the test cluster, in each process that has this folder on its PYTHONPATH: service names to addresses.

The control plane writes the file named in CLUSTER_NAMES; a name may end in ``.svc.cluster.local``.
"""

import json
import os
import socket
from pathlib import Path

_lookup = socket.getaddrinfo


def getaddrinfo(host, *rest, **options):
    if isinstance(host, str) and os.environ.get("CLUSTER_NAMES"):
        known = json.loads(Path(os.environ["CLUSTER_NAMES"]).read_text())
        host = known.get(host.removesuffix(".svc.cluster.local"), host)
    return _lookup(host, *rest, **options)


socket.getaddrinfo = getaddrinfo
