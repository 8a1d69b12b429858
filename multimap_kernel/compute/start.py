"""Starts a cluster of the kind that was chosen, or joins one, and ends what was started."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import dask
from distributed import Client, LocalCluster
from threadpoolctl import threadpool_limits

from multimap_kernel.compute.kubernetes import start_kubernetes
from multimap_kernel.compute.tls import environment, speaks_tls
from multimap_kernel.compute.versions import check_versions
from multimap_kernel.compute.watchdog import Watchdog, readable_faults
from multimap_kernel.config import Cluster, Runtime
from multimap_kernel.schema import ClusterError

__all__ = ["SCHEDULER", "cluster", "joining", "readable_faults"]

LOG = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
SCHEDULER = "MULTIMAP_SCHEDULER"


@contextmanager
def cluster(runtime: Runtime) -> Iterator[Client | None]:
    """Do the Dask work inside the ``with`` block where ``runtime.cluster`` says.

    ``threads`` stays in this process. ``local`` starts worker processes that listen on loopback only. ``kubernetes``
    asks the Dask operator. ``address`` joins a running scheduler. When the environment names a scheduler in
    ``MULTIMAP_SCHEDULER``, as a batch does for its notebooks, that one is joined by every kind but ``threads``; a
    cluster that was joined is left running. An address that begins with ``tls://`` is joined with the certificate of
    Dask's own settings (``DASK_DISTRIBUTED__COMM__TLS__...``).

    Each worker computes with one BLAS thread, so that sums keep their order and a session its result.

    Parameters
    ----------
    runtime
        Its cluster and its folder for temporary files.

    Yields
    ------
    The client of the cluster; None for ``threads``.

    Raises
    ------
    ClusterError
        If the cluster does not start or runs other software, if no worker is there for ``patience_s`` seconds, or if a
        task ends its workers again and again, most often because memory ran out.
    """
    chosen = runtime.cluster
    address = os.environ.get(SCHEDULER, "") or chosen.address
    with ExitStack() as stack:
        stack.enter_context(threadpool_limits(1))
        # with a client Dask would rechunk by its shuffle service, whose graphs cannot be named twice: work that enters
        # a graph through `delayed` and again as an array is then "lost"; nor does a shuffle survive a killed worker
        stack.enter_context(dask.config.set({"array.rechunk.method": "tasks"}))
        # the volume x volume matrices of a run of an hour are tens of MB, and are sent once
        stack.enter_context(dask.config.set({"distributed.admin.large-graph-warning-threshold": "64MB"}))
        if runtime.scratch:
            stack.enter_context(dask.config.set({"temporary-directory": runtime.scratch}))
        if chosen.kind == "threads":
            stack.enter_context(dask.config.set(scheduler="threads", num_workers=chosen.workers))
            yield None
            return
        if chosen.kind == "address" or SCHEDULER in os.environ:
            client = stack.enter_context(_closing(_join(address)))
        else:
            started = stack.enter_context(start_kubernetes(chosen) if chosen.kind == "kubernetes" else _start(chosen))
            client = stack.enter_context(_closing(Client(started)))
        stack.enter_context(readable_faults(chosen.memory))
        stack.enter_context(Watchdog(client, chosen.patience_s))
        if chosen.kind in {"kubernetes", "address"}:
            _meet(client, chosen.patience_s)
        yield client


@contextmanager
def _closing(client: Client) -> Iterator[Client]:
    """Close a client at the end, also one whose scheduler died.

    The task by which it listens and connects again may have failed in words of sockets ("IOStream is not idle").
    Closing would raise those instead of what the work told, and deleting the client would raise them once more.
    """
    client.__enter__()
    try:
        yield client
    finally:
        try:
            client.__exit__(None, None, None)
        except Exception:
            LOG.info("the connection to the scheduler failed while it was closed", exc_info=True)
            client._handle_report_task = None  # noqa: SLF001  # no public way to close without what it raised
            client.close()


def joining(client: Client) -> dict[str, str]:
    """Environment in which `cluster` of another process joins the cluster of this client, with its certificate."""
    address = _address(client)
    return {SCHEDULER: address, **(environment(client.security) if address.startswith("tls:") else {})}


def _address(client: Client) -> str:
    scheduler: Any = client.scheduler
    return str(scheduler.address)


def _meet(client: Client, patience_s: float) -> None:
    """Wait for the first worker, and make sure that it is of our kind."""
    try:
        client.wait_for_workers(1, timeout=patience_s)
    except TimeoutError as late:
        raise ClusterError(
            f"a worker must come to {_address(client)} within {patience_s:g} s, found none; is there room for "
            "it, and may its image be pulled?"
        ) from late
    check_versions(client)


def _start(chosen: Cluster) -> LocalCluster:
    # numba has its own pool of threads; the BLAS libraries are already held to one by distributed's own settings
    with dask.config.set({"distributed.nanny.pre-spawn-environ.NUMBA_NUM_THREADS": 1}):
        try:
            return LocalCluster(
                n_workers=chosen.workers,
                threads_per_worker=1,
                memory_limit=chosen.memory,
                host=LOOPBACK,
                dashboard_address=f"{LOOPBACK}:0",
                silence_logs=logging.ERROR,
            )
        except (OSError, TimeoutError, RuntimeError) as fault:
            raise ClusterError(
                f"{chosen.workers} worker processes must start on this machine, found: {fault}; "
                "try again, or set runtime.cluster.kind to 'threads'"
            ) from fault


def _join(address: str) -> Client:
    if not address:
        raise ClusterError(
            f"runtime.cluster.address or {SCHEDULER} must name a scheduler such as tcp://127.0.0.1:8786, found neither"
        )
    if address.startswith("tls:") and not speaks_tls():
        raise ClusterError(
            f"{address} wants the certificate of its cluster, found none; set "
            "DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT, __CLIENT__KEY and __CA_FILE"
        )
    try:
        return Client(address)
    except (OSError, TimeoutError, ValueError) as fault:
        raise ClusterError(
            f"a Dask scheduler must answer at {address}, found: {fault}; start it, or choose another "
            "runtime.cluster.kind"
        ) from fault
