"""Deletes clusters that outlived their age or their notebook: ``python -m multimap_kernel.compute.reap``.

The chart runs it every few minutes. The operator itself ends clusters that are idle, but neither looks at their age nor
reaches those whose scheduler does not answer.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import kr8s
from dask_kubernetes.operator._objects import DaskCluster
from kr8s.asyncio.objects import Pod

from multimap_kernel.compute.spec import EXPIRES, OWNER


async def reap(namespace: str, now: float) -> dict[str, str]:
    """Delete what is too old or has lost the pod that it belongs to.

    Parameters
    ----------
    namespace
        Where clusters live.
    now
        Seconds since 1970.

    Returns
    -------
    Name of each deleted cluster, and why.
    """
    ended = {}
    async for cluster in kr8s.asyncio.get(DaskCluster, namespace=namespace):
        why = await _reason(cluster.annotations, now)
        if why:
            await cluster.delete()
            ended[str(cluster.name)] = why
    return ended


async def _reason(annotations: Any, now: float) -> str:
    if EXPIRES in annotations and now >= float(annotations[EXPIRES]):
        return "its age"
    if OWNER not in annotations:
        return ""
    namespace, name, uid = annotations[OWNER].split("/")
    try:
        pod = await Pod.get(name, namespace=namespace)
    except kr8s.NotFoundError:
        return f"its notebook {name} is gone"
    return "" if pod.metadata.uid == uid else f"its notebook {name} was started anew"


def main() -> int:
    """Reap the namespace that is given as the only argument, and say what was deleted."""
    if len(sys.argv) != 2:
        sys.stderr.write("the namespace of the clusters must be the one argument\n")
        return 20
    for name, why in asyncio.run(reap(sys.argv[1], time.time())).items():
        sys.stdout.write(f"deleted {name}: {why}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
