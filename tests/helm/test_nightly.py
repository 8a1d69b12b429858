"""The nightly CronJob and the Job that `multimap batch --executor kubernetes` prints are the same work."""

import pytest
import yaml
from charts import EVERYTHING

from multimap_kernel.batch.jobs import JobSpec, kubernetes

pytestmark = pytest.mark.platform


def test_nightly__is_the_job_that_batch_describes(everything, find):
    asked = yaml.safe_load(EVERYTHING.read_text())["batch"]["nightly"]
    job = find(everything, "CronJob", "multimap-nightly")["spec"]["jobTemplate"]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    places = ("--table", asked["table"], "--runs", asked["runs"], "--run-id", "$(MULTIMAP_RUN)")
    described = kubernetes(
        JobSpec(
            name="nightly",
            command=(
                *("multimap", "batch", asked["notebook"], *places, "--row", "env", "--workers", "0"),
                *("--timeout", str(asked["timeoutSeconds"])),
            ),
            rows=asked["rows"],
            parallel=asked["parallel"],
            image=container["image"],
            cpu="2",
            memory="4Gi",
            timeout_s=asked["timeoutSeconds"],
            account="multimap-team-sleep",
        )
    )
    (run,) = container.pop("env")  # each night has the name of its Job
    assert run["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.labels['batch.kubernetes.io/job-name']"
    (theirs,) = described["spec"]["template"]["spec"]["containers"]
    assert theirs.pop("env") == []
    assert job["metadata"]["labels"] == described["metadata"]["labels"]
    assert job["spec"] == described["spec"]
