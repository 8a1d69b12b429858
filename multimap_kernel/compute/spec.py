"""The DaskCluster resource that a notebook asks for, as plain data."""

from __future__ import annotations

import getpass
import json
import os
import re
import time
import uuid
from collections.abc import Mapping
from typing import Any

import dask.config
import dask.utils
from dask_kubernetes.operator import make_cluster_spec

from multimap_kernel.config import Cluster
from multimap_kernel.schema import ClusterError

FOREIGN_IMAGE = "ghcr.io/dask/dask:latest"  # dask-kubernetes' own default, which does not hold multimap
FOREIGN_NAME = "dask-{user}-{uuid}"
NAME_LENGTH = 45
USERNAME = "hub.jupyter.org/username"
EXPIRES, OWNER = "multimap.org/expires", "multimap.org/owner"
"""Annotations: end of its life (s since 1970), and the pod it belongs to (namespace/name/uid)."""

SPOT = "cloud.google.com/gke-spot"
DEDICATED = "k8s.dask.org_dedicated"
GRACE_S = 15  # all that a spot node leaves
RETIRE = ["python", "-m", "multimap_kernel.compute.retire"]
ROUTES = ("scheduler.prometheus", "scheduler.info", "scheduler.json", "health", "proxy", "statics", "scheduler.api")
"""Dask's own and, last, the one by which the operator retires workers and asks whether the cluster is idle."""
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
SCHEDULER = {"cpu": "1", "memory": str(2 * 1024**3)}


def cluster_spec(chosen: Cluster, tls: Mapping[str, str]) -> dict[str, Any]:
    """Describe a cluster of one worker group.

    Workers go to spot nodes and hand their results over before they end; the scheduler never does. There is one group
    only: the operator retires workers wherever the scheduler likes (dask-kubernetes 914), so a second one would lose
    workers that were not meant. Requests equal limits: a worker that was promised less memory than it may use is the
    first to be evicted.

    What the laboratory knows comes from the environment, which the chart fills: ``DASK_KUBERNETES__IMAGE`` or, without
    it, ``JUPYTER_IMAGE_SPEC`` (the notebook's own image); ``DASK_KUBERNETES__NAMESPACE`` and ``__NAME``;
    ``MULTIMAP_POD_NAME``, ``_NAMESPACE``, ``_UID`` and ``_USER`` (the notebook's pod and its label
    ``hub.jupyter.org/username``); ``MULTIMAP_COMPUTE_ACCOUNT`` (the workers' service account).

    Parameters
    ----------
    chosen
        Workers, memory, spot, idle time and age.
    tls
        Environment of `compute.tls.environment`.

    Raises
    ------
    ClusterError
        If no image is named.
    """
    name, namespace = _name(), dask.config.get("kubernetes.namespace", None) or "default"
    amount = {"cpu": "1", "memory": str(dask.utils.parse_bytes(chosen.memory))}
    spec: dict[str, Any] = make_cluster_spec(
        name=name, image=_image(), n_workers=chosen.workers, env={}, resources={}, idle_timeout=chosen.idle_s
    )
    spec["metadata"] |= _ownership(namespace, time.time() + chosen.max_age_s)
    common = {**dict.fromkeys(ONE_THREAD, "1"), **tls}
    for part, resources, command, env in (
        (spec["spec"]["scheduler"], SCHEDULER, ["scheduler", "--host", "0.0.0.0"], scheduler_settings()),  # noqa: S104  # its policy says who may come
        (spec["spec"]["worker"], amount, _worker_arguments(), _worker_settings(f"{name}-scheduler.{namespace}")),
    ):
        (container,) = part["spec"]["containers"]
        container |= {
            "command": ["dask"],  # `dask-worker`, the operator's own default, left distributed in 2026
            "args": command,
            "env": [{"name": key, "value": value} for key, value in {**common, **env}.items()],
            "resources": {"requests": resources, "limits": resources},
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
        part["metadata"] = {"labels": dict(spec["metadata"]["labels"])}
        part["spec"] |= _unprivileged()
    spec["spec"]["scheduler"]["spec"]["affinity"] = _nodes("DoesNotExist")
    _leave_gently(spec["spec"]["worker"]["spec"], chosen.spot)
    return spec


def _leave_gently(pod: dict[str, Any], spot: bool) -> None:
    """A worker's pod retires its worker first, and may be where pods are ended at short notice."""
    pod["containers"][0]["lifecycle"] = {"preStop": {"exec": {"command": RETIRE}}}
    pod["terminationGracePeriodSeconds"] = GRACE_S
    pod["tolerations"] = [{"key": DEDICATED, "operator": "Equal", "value": "worker", "effect": "NoSchedule"}]
    if spot:
        pod["tolerations"].append({"key": SPOT, "operator": "Equal", "value": "true", "effect": "NoSchedule"})
        pod["affinity"] = _nodes("In", ["true"])


def _nodes(operator: str, values: list[str] | None = None) -> dict[str, Any]:
    expression = {"key": SPOT, "operator": operator, **({"values": values} if values else {})}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


def _unprivileged() -> dict[str, Any]:
    """What the restricted Pod Security level asks for, and no rights in Kubernetes."""
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    }
    account = os.environ.get("MULTIMAP_COMPUTE_ACCOUNT", "")
    return {**pod, "serviceAccountName": account} if account else pod


def scheduler_settings() -> dict[str, str]:
    """Environment of a scheduler whose workers may be retired by HTTP, and taken away."""
    return {
        "DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES": json.dumps([f"distributed.http.{route}" for route in ROUTES]),
        "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "10",  # a spot node that goes is no fault of the task
    }


def _worker_settings(service: str) -> dict[str, str]:
    """Where the scheduler is: for the worker itself, and for the hook that retires it."""
    host = f"{service}.svc.cluster.local"
    return {"DASK_SCHEDULER_ADDRESS": f"tls://{host}:8786", "MULTIMAP_SCHEDULER_HTTP": f"http://{host}:8787"}


def _worker_arguments() -> list[str]:
    dashboard = ["--dashboard", "--dashboard-address", "8788"]
    return ["worker", "--nthreads", "1", "--name", "$(DASK_WORKER_NAME)", *dashboard]


def _image() -> str:
    named = dask.config.get("kubernetes.image", FOREIGN_IMAGE)
    image = os.environ.get("JUPYTER_IMAGE_SPEC", "") if named == FOREIGN_IMAGE else named
    if not image:
        raise ClusterError(
            f"DASK_KUBERNETES__IMAGE must name an image that holds multimap, found {named!r}; set it to the image of "
            "your laboratory"
        )
    return str(image)


def _name() -> str:
    """Ends in a number of its own; letters that Kubernetes does not take become dashes."""
    form = dask.config.get("kubernetes.name", FOREIGN_NAME)
    form = "mm-{user}" if form == FOREIGN_NAME else form
    wanted = form.format(**{**os.environ, "user": getpass.getuser(), "uuid": ""}).lower()
    own = uuid.uuid4().hex[:10]
    stem = re.sub(r"[^a-z0-9]+", "-", wanted)[: NAME_LENGTH - len(own) - 1].strip("-")
    return f"{stem}-{own}"


def _ownership(namespace: str, expires: float) -> dict[str, Any]:
    """Labels, and by whose end the cluster ends.

    An owner reference holds inside one namespace only: Kubernetes deletes at once what names an owner in another. So
    for a notebook elsewhere the pod is named in an annotation, which `compute.reap` obeys.
    """
    pod = {key: os.environ.get(f"MULTIMAP_POD_{key.upper()}", "") for key in ("name", "namespace", "uid", "user")}
    metadata: dict[str, Any] = {
        "labels": {"app.kubernetes.io/part-of": "multimap"},
        "annotations": {EXPIRES: str(int(expires))},
    }
    if pod["user"]:
        metadata["labels"][USERNAME] = pod["user"]
    if pod["uid"]:
        metadata["annotations"][OWNER] = f"{pod['namespace']}/{pod['name']}/{pod['uid']}"
        if pod["namespace"] == namespace:
            metadata["ownerReferences"] = [{"apiVersion": "v1", "kind": "Pod", "name": pod["name"], "uid": pod["uid"]}]
    return metadata
