"""Deletes clusters that outlived their age or their notebook, and those that are more than one person may have.

The chart runs ``python -m multimap_kernel.compute.reap`` every few minutes. The operator itself ends clusters that are
idle, but neither looks at their age nor reaches those whose scheduler does not answer.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import kr8s
from dask_kubernetes.operator._objects import DaskCluster
from kr8s.asyncio.objects import Pod

from multimap_kernel.compute.spec import EXPIRES, OWNER, USERNAME


async def reap(namespace: str, now: float, most: int = 0) -> dict[str, str]:
    """Delete what is too old, has lost the pod that it belongs to, or is one too many.

    Parameters
    ----------
    namespace
        Where clusters live.
    now
        Seconds since 1970.
    most
        Clusters of one person at a time, the oldest first; 0: any number.

    Returns
    -------
    Name of each deleted cluster, and why.
    """
    ended, left = {}, []
    async for cluster in kr8s.asyncio.get(DaskCluster, namespace=namespace):
        why = await _reason(cluster.annotations, now)
        if why:
            await cluster.delete()
            ended[str(cluster.name)] = why
        else:
            left.append(cluster)
    for cluster in surplus(left, most):
        await cluster.delete()
        ended[str(cluster.name)] = f"{cluster.labels[USERNAME]} may have {most} at a time"
    return ended


def surplus(clusters: Iterable[Any], most: int) -> Iterator[Any]:
    """Clusters that came when their person had ``most`` already; 0: none."""
    had: defaultdict[str, int] = defaultdict(int)
    for cluster in sorted(clusters, key=lambda one: (one.metadata["creationTimestamp"], one.name)):
        person = cluster.labels.get(USERNAME, "")
        had[person] += 1
        if most and person and had[person] > most:
            yield cluster


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
    """Reap the namespace that is the first argument; the second says how many clusters one person may have."""
    if len(sys.argv) not in {2, 3}:
        sys.stderr.write("the arguments must be the namespace of the clusters, and how many one person may have\n")
        return 20
    for name, why in asyncio.run(reap(sys.argv[1], time.time(), int((*sys.argv, "0")[2]))).items():
        sys.stdout.write(f"deleted {name}: {why}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
