"""Dask clusters on Kubernetes, through the Dask operator."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dask.config

from multimap_kernel.compute.tls import environment, temporary_security
from multimap_kernel.config import Cluster
from multimap_kernel.schema import ClusterError

LINK = "distributed.dashboard.link"
BARE_LINK = "{scheme}://{host}:{port}/status"  # Dask's own default, which no browser outside the cluster reaches
LAB_LINK = "{JUPYTERHUB_SERVICE_PREFIX}proxy/{host}:{port}/status"


@contextmanager
def start_kubernetes(chosen: Cluster) -> Iterator[Any]:
    """Ask the Dask operator for a cluster, and delete it at the end.

    Its parts speak TLS with a certificate of their own. Its dashboard link goes through the Lab's proxy. With
    ``max_workers`` it grows and shrinks with its work.

    Parameters
    ----------
    chosen
        See `config.Cluster`; image, namespace and owner come from the environment, see `compute.spec.cluster_spec`.

    Yields
    ------
    A KubeCluster.

    Raises
    ------
    ClusterError
        If dask-kubernetes is not installed, no image is named, this person has as many clusters as allowed, or the
        cluster does not come up.
    """
    _require_extra()
    from multimap_kernel.compute.kubecluster import SecureCluster  # noqa: PLC0415  # an optional extra, slow to import
    from multimap_kernel.compute.spec import cluster_spec  # noqa: PLC0415

    security = temporary_security()
    spec = cluster_spec(chosen, environment(security))
    with dask.config.set({LINK: _dashboard_link()}):
        try:
            started = SecureCluster(spec, security, chosen.patience_s)
        except ClusterError:
            raise
        except Exception as fault:  # the client of Kubernetes raises errors of several libraries
            raise ClusterError(
                f"a cluster must come up on Kubernetes within {chosen.patience_s:g} s, found {type(fault).__name__}: "
                f"{fault}; is the Dask operator there, may this account create DaskClusters, and is there room?"
            ) from fault
        with started:
            if chosen.max_workers > chosen.workers:
                started.adapt(minimum=chosen.workers, maximum=chosen.max_workers)
            yield started


def _dashboard_link() -> str:
    link = str(dask.config.get(LINK))
    return LAB_LINK if link == BARE_LINK and "JUPYTERHUB_SERVICE_PREFIX" in os.environ else link


def _require_extra() -> None:
    try:
        import dask_kubernetes  # noqa: F401, PLC0415
    except ImportError as fault:
        raise ClusterError(
            "runtime.cluster.kind 'kubernetes' needs dask-kubernetes; pip install 'multimap[cloud]'"
        ) from fault
