"""Dask clusters on Kubernetes, through the Dask operator; the only import of dask_kubernetes."""

from __future__ import annotations

import getpass
import os
import uuid
from types import ModuleType
from typing import Any

import dask
import dask.utils

from multimap_kernel.config import Cluster
from multimap_kernel.schema import ClusterError

FOREIGN_IMAGE = "ghcr.io/dask/dask:latest"  # dask-kubernetes' own default, which does not hold multimap


def start_kubernetes(chosen: Cluster) -> Any:
    """Ask the Dask operator for a cluster of ``chosen.workers`` workers.

    Namespace, image and name come from Dask's own settings (``kubernetes.namespace``, ``kubernetes.image``,
    ``kubernetes.name``, or the environment, such as ``DASK_KUBERNETES__IMAGE``), which the chart sets.

    Parameters
    ----------
    chosen
        Number of workers, and memory of each.

    Returns
    -------
    A KubeCluster: a context manager that deletes the cluster when it ends.

    Raises
    ------
    ClusterError
        If dask-kubernetes is not installed, no image is named, or the cluster does not come up.
    """
    operator = _operator()
    try:
        return operator.KubeCluster(custom_cluster_spec=cluster_spec(chosen))
    except Exception as fault:  # the client of Kubernetes raises errors of several libraries
        raise ClusterError(
            f"a cluster must come up on Kubernetes, found {type(fault).__name__}: {fault}; is the Dask operator there, "
            "and may this account create DaskClusters?"
        ) from fault


def cluster_spec(chosen: Cluster) -> dict[str, Any]:
    """The DaskCluster resource that is asked for, as plain data.

    Requests equal limits: a worker that was promised less memory than it may use is the first to be evicted.

    Raises
    ------
    ClusterError
        If dask-kubernetes is not installed or no image is named.
    """
    operator = _operator()
    image = dask.config.get("kubernetes.image", FOREIGN_IMAGE)
    if image == FOREIGN_IMAGE:
        raise ClusterError(
            f"DASK_KUBERNETES__IMAGE must name an image that holds multimap, found {image!r}; set it to the image of "
            "your laboratory"
        )
    amount = {"cpu": "1", "memory": str(dask.utils.parse_bytes(chosen.memory))}
    # the name is also in the selectors of the spec, where KubeCluster would leave its placeholders standing
    name = dask.config.get("kubernetes.name").format(user=getpass.getuser(), uuid=uuid.uuid4().hex[:10], **os.environ)
    spec: dict[str, Any] = operator.make_cluster_spec(
        name=name,
        image=image,
        n_workers=chosen.workers,
        resources={"requests": amount, "limits": amount},
        worker_command="dask-worker --nthreads 1",
        env=dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"),
    )
    return spec


def _operator() -> ModuleType:
    try:
        from dask_kubernetes import operator  # noqa: PLC0415  # an optional extra, and slow to import
    except ImportError as fault:
        raise ClusterError(
            "runtime.cluster.kind 'kubernetes' needs dask-kubernetes; pip install 'multimap[cloud]'"
        ) from fault
    module: ModuleType = operator
    return module
