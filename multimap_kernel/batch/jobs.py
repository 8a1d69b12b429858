"""One description of a batch, and what Kubernetes and Cloud Run are asked to do with it.

A task is one row of the run table: ``multimap batch NOTEBOOK --table TABLE --row env``, with the row's number in the
environment. The notebook, the table and the recipe lie beside the runs, named by their content, so that every task
and every later attempt reads the same ones.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from multimap_kernel.batch.lease import write
from multimap_kernel.batch.mirror import is_local
from multimap_kernel.batch.status import ExitCode
from multimap_kernel.batch.table import Row
from multimap_kernel.io.files import localise
from multimap_kernel.schema import InputError

# the two platforms set theirs; whoever starts tasks by other means sets the first
ROW_NAMES = ("MULTIMAP_ROW", "JOB_COMPLETION_INDEX", "CLOUD_RUN_TASK_INDEX")
# after these, another try would end the same way
FINAL = (ExitCode.RAISED, ExitCode.BAD_INPUT, ExitCode.TIMED_OUT)
PLACES = ("bids", "store")
LONGEST_S = 7 * 24 * 3600  # that a task of Cloud Run may take; unasked, it is ended after ten minutes
SPARE_S = 600  # to start and to send home
Json = dict[str, Any]


@dataclass(frozen=True)
class JobSpec:
    """A batch as work for other machines.

    Parameters
    ----------
    name
        Of the run.
    command
        What every task executes.
    rows
        Number of tasks, each a row of the table.
    parallel
        How many run at a time.
    image
        Container image, with its digest.
    cpu, memory
        What one task may use, as Kubernetes writes it: ``2``, ``4Gi``.
    timeout_s
        Seconds that one notebook may take; 0 for no limit.
    retries
        How often a task is tried again that a machine broke, and not its notebook.
    account
        Service account whose rights the tasks have, for Cloud Run its e-mail address; empty for the platform's own.
    environment
        Further environment variables.
    """

    name: str
    command: tuple[str, ...]
    rows: int
    parallel: int
    image: str
    cpu: str = "2"
    memory: str = "4Gi"
    timeout_s: int = 0
    retries: int = 2
    account: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


def describe_batch(
    notebook: str | Path, table: Sequence[Row], *, runs: str, run_id: str, parallel: int, image: str, **limits: Any
) -> JobSpec:
    """Put what the tasks read beside the runs, and describe the batch.

    Parameters
    ----------
    notebook, table, runs, run_id
        As in `run_batch`.
    parallel
        How many tasks run at a time.
    image
        Container image that has multimap, the same as everywhere else, by digest.
    **limits
        ``cpu``, ``memory``, ``timeout_s``, ``retries``, ``account`` and ``environment`` of `JobSpec`.

    Raises
    ------
    InputError
        If a task on another machine could not read the runs, the study or the store.
    StorageError
        If the runs cannot be written.
    """
    _check_places(table, runs, image)
    place = posixpath.join(runs.rstrip("/"), run_id)
    rows = [{"session": row.session, **_with_recipe(row.parameters, place)} for row in table]
    source = localise(str(notebook))
    command: tuple[str, ...] = (
        *("multimap", "batch", _keep(source.read_bytes(), place, source.stem, ".ipynb")),
        *("--table", _keep(json.dumps(rows, indent=1).encode(), place, "table", ".json")),
        *("--runs", runs, "--run-id", run_id, "--row", "env", "--workers", "0"),
    )
    if limits.get("timeout_s"):
        command += ("--timeout", str(limits["timeout_s"]))
    return JobSpec(run_id, command, len(table), parallel, image, **limits)


def kubernetes(spec: JobSpec) -> Json:
    """An Indexed Job: an evicted pod costs no try, a notebook that failed is not tried again, others go on.

    Create it with ``kubectl create -f -``: each batch is a Job of its own.
    """
    container: Json = {
        "name": "notebook",
        "image": spec.image,
        "command": list(spec.command),
        "env": _environment(spec),
        "resources": {"requests": _resources(spec), "limits": _resources(spec)},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}],  # noqa: S108  # an empty volume of the pod's own
    }
    pod: Json = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 15,  # what a spot machine gives
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": "scratch", "emptyDir": {}}],
    }
    if spec.account:
        pod["serviceAccountName"] = spec.account
    final = {"containerName": "notebook", "operator": "In", "values": sorted(map(int, FINAL))}
    evicted = [{"type": "DisruptionTarget", "status": "True"}]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"generateName": f"{_label(spec.name)}-", "labels": _labels(spec)},
        "spec": {
            "completionMode": "Indexed",
            "completions": spec.rows,
            "parallelism": min(spec.parallel, spec.rows),
            "backoffLimitPerIndex": spec.retries,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [
                    {"action": "Ignore", "onPodConditions": evicted},
                    {"action": "FailIndex", "onExitCodes": final},
                ]
            },
            "ttlSecondsAfterFinished": 7 * 24 * 3600,
            "template": {"metadata": {"labels": _labels(spec)}, "spec": pod},
        },
    }


def cloud_run(spec: JobSpec) -> Json:
    """A Cloud Run job; ``gcloud run jobs replace FILE`` makes it, ``gcloud run jobs execute NAME`` starts it.

    Cloud Run tries every failed task again, whatever its exit code; a task that finds its notebook failed for good in
    an earlier try ends with the same code at once. The command keeps the time limit itself, so the platform's is wider:
    a notebook may be tried twice, and its state must be sent home.
    """
    task: Json = {
        "maxRetries": spec.retries,
        "timeoutSeconds": min(2 * spec.timeout_s + SPARE_S, LONGEST_S) if spec.timeout_s else LONGEST_S,
        "containers": [
            {
                "image": spec.image,
                "command": list(spec.command),
                "env": _environment(spec),
                "resources": {"limits": _resources(spec)},
            }
        ],
    }
    if spec.account:
        task["serviceAccountName"] = spec.account
    execution = {"taskCount": spec.rows, "parallelism": min(spec.parallel, spec.rows), "template": {"spec": task}}
    return {
        "apiVersion": "run.googleapis.com/v1",
        "kind": "Job",
        "metadata": {
            "name": _label(spec.name),
            "labels": {"app": "multimap", "component": "batch", "run": _label(spec.name)},
        },
        "spec": {"template": {"spec": execution}},
    }


def _environment(spec: JobSpec) -> list[Json]:
    return [{"name": name, "value": value} for name, value in sorted(spec.environment.items())]


def _resources(spec: JobSpec) -> Json:
    return {"cpu": spec.cpu, "memory": spec.memory}


def _labels(spec: JobSpec) -> Json:
    return {"app.kubernetes.io/name": "multimap", "app.kubernetes.io/component": "batch", "run": _label(spec.name)}


def _label(name: str) -> str:
    """The name as both platforms take one: small letters, digits and hyphens, a letter first."""
    label = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].rstrip("-")
    return label if label[:1].isalpha() else f"batch-{label}".rstrip("-")


def _check_places(table: Sequence[Row], runs: str, image: str) -> None:
    places = {"runs": runs}
    for row in table:
        places |= {name: str(row.parameters[name]) for name in PLACES if row.parameters.get(name)}
    here = [f"{name} {url!r}" for name, url in places.items() if is_local(url)]
    if here:
        raise InputError(f"other machines must be able to read and write everything by URL, found {', '.join(here)}")
    if not image:
        raise InputError("the image of the tasks must be named, found none; give --image NAME@sha256:…")


def _with_recipe(parameters: Mapping[str, Any], place: str) -> Json:
    recipe = parameters.get("recipe")
    if not recipe or not is_local(str(recipe)):
        return dict(parameters)
    return {**parameters, "recipe": _keep(Path(recipe).read_bytes(), place, "recipe", ".yaml")}


def _keep(content: bytes, place: str, stem: str, ending: str) -> str:
    url = posixpath.join(place, f"{stem}-{hashlib.sha256(content).hexdigest()[:12]}{ending}")
    write(url, content)
    return url
