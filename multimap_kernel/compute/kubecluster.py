"""A KubeCluster that speaks TLS and does not wait for ever."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import kr8s
from dask_kubernetes.operator import KubeCluster
from dask_kubernetes.operator._objects import DaskCluster
from dask_kubernetes.operator.kubecluster.kubecluster import wait_for_service
from dask_kubernetes.operator.networking import get_scheduler_address, wait_for_scheduler
from distributed.core import rpc
from distributed.security import Security

from multimap_kernel.compute.spec import USERNAME
from multimap_kernel.schema import ClusterError

MOST = "MULTIMAP_CLUSTERS"
"""Environment variable: how many clusters one person may have at a time; what is more, the reaper would delete."""


class SecureCluster(KubeCluster):  # type: ignore[misc]
    """As its parent, but for the first contact: the parent's own knows ``tcp://`` only, and waits without end for a
    scheduler that no node has room for.

    Parameters
    ----------
    spec
        A DaskCluster resource whose scheduler asks for TLS.
    security
        Certificate of the cluster; `distributed.Client` takes it from here.
    patience_s
        Seconds until the scheduler must answer.

    Raises
    ------
    ClusterError
        If this person has as many clusters as allowed.
    TimeoutError
        If it does not; the resource is deleted again.
    """

    def __init__(self, spec: dict[str, Any], security: Security, patience_s: float) -> None:
        self.security = security
        super().__init__(custom_cluster_spec=spec, resource_timeout=patience_s, shutdown_on_close=True, quiet=True)

    async def _create_cluster(self) -> None:
        await refuse_one_more(self.namespace)
        cluster = await DaskCluster(self._custom_cluster_spec, namespace=self.namespace)
        await cluster.create()
        try:
            async with asyncio.timeout(self._resource_timeout):
                await self._reach_scheduler()
        except TimeoutError as late:
            await self._close()
            raise TimeoutError(f"last seen: {self._last_seen()}") from late
        except BaseException:
            await self._close()
            raise

    async def _reach_scheduler(self) -> None:
        """Pod, service, answer; not the phase of the resource, which the operator may leave at "Pending" (it writes
        "Running" and "Pending" from two handlers, in either order).
        """
        service = f"{self.name}-scheduler"
        await wait_for_scheduler(self.name, self.namespace, timeout=self._resource_timeout)
        await wait_for_service(service, self.namespace)
        address = (await self._get_scheduler_address()).replace("tcp://", "tls://")
        self.scheduler_comm = rpc(address, connection_args=self.security.get_connection_args("client"))
        await self._wait_for_answer()
        dashboard = await get_scheduler_address(service, self.namespace, port_name="http-dashboard")
        self.forwarded_dashboard_port = dashboard.rsplit(":", 1)[1]

    async def _wait_for_answer(self) -> None:
        while True:
            try:
                await self.scheduler_comm.versions()
            except OSError:
                await asyncio.sleep(0.1)
            else:
                return

    def _last_seen(self) -> str:
        return ", ".join(f"{part} {state}" for part, state in self._startup_component_status.items()) or "nothing"


async def refuse_one_more(namespace: str) -> None:
    """Raise ClusterError if this person has as many clusters as allowed."""
    most, person = int(os.environ.get(MOST) or 0), os.environ.get("MULTIMAP_POD_USER", "")
    if not (most and person):
        return
    found = kr8s.asyncio.get(DaskCluster, namespace=namespace, label_selector={USERNAME: person})
    own = [str(one.name) async for one in found]
    if len(own) >= most:
        raise ClusterError(
            f"{person} may have {most} clusters at a time, found {', '.join(sorted(own))}; leave the `with` block of "
            "one, or shut its notebook's kernel down"
        )
