"""The jobs that ``multimap batch`` prints for other machinery, and what a task of such a job does."""

import json
import re

import fsspec
import pytest
import yaml
from faulty import write_notebook

from multimap_kernel.__main__ import main
from multimap_kernel.batch.records import RunRecord
from multimap_kernel.schema import InputError

RUNS = "memory://jobs/runs"
IMAGE = "europe-docker.pkg.dev/lab/multimap@sha256:" + "0" * 64


@pytest.fixture
def batch(tmp_path, capsys):
    """``multimap batch`` over two rows, with further options; its exit code and what it printed."""
    notebook = write_notebook(tmp_path / "2_act.ipynb", "print(subject)", parameters="subject: str", kernel="python3")
    table = tmp_path / "table.csv"
    table.write_text("session,subject\nsub-01,01\nsub-02,02\n")

    def run(*options):
        code = main(["batch", str(notebook), "--table", str(table), "--runs", RUNS, "--workers", "0", *options])
        return code, capsys.readouterr().out

    yield run
    fsspec.filesystem("memory").store.clear()


def kept(url):
    return fsspec.filesystem("memory").cat(url)


def test_batch__prints_a_cloud_run_job_of_documented_fields(batch):
    """By Google's description of the Cloud Run Admin API v1 (Job to Container); no job was ever run there."""
    code, text = batch("--executor", "cloudrun", "--image", IMAGE, "--jobs", "8", "--timeout", "3600")
    job = yaml.safe_load(text)
    (container,) = job["spec"]["template"]["spec"]["template"]["spec"].pop("containers")
    command = container.pop("command")
    labels = {"app": "multimap", "component": "batch", "run": "batch-2-act"}
    assert code == 0
    assert job == {
        "apiVersion": "run.googleapis.com/v1",
        "kind": "Job",
        "metadata": {"name": "batch-2-act", "labels": labels},  # no dots, no slashes, a letter first
        "spec": {
            "template": {
                "spec": {
                    "taskCount": 2,
                    "parallelism": 2,
                    "template": {"spec": {"maxRetries": 2, "timeoutSeconds": 7800}},
                }
            }
        },
    }
    assert container == {"image": IMAGE, "env": [], "resources": {"limits": {"cpu": "2", "memory": "4Gi"}}}
    assert command[:2] == ["multimap", "batch"]
    assert command[-4:] == ["--workers", "0", "--timeout", "3600"]
    assert re.fullmatch(RUNS + r"/2_act/2_act-[0-9a-f]{12}\.ipynb", command[2])
    assert b"print(subject)" in kept(command[2])
    rows = json.loads(kept(command[command.index("--table") + 1]))
    assert rows == [{"session": f"sub-{one}", "subject": one} for one in ("01", "02")]


def test_batch__a_cloud_run_task_without_a_limit_may_take_seven_days(batch):
    job = yaml.safe_load(batch("--executor", "cloudrun", "--image", IMAGE)[1])
    assert job["spec"]["template"]["spec"]["template"]["spec"]["timeoutSeconds"] == 604800  # unasked: 600


def test_batch__prints_an_indexed_job_that_leaves_final_failures_alone(batch):
    job = yaml.safe_load(batch("--executor", "kubernetes", "--image", IMAGE)[1])
    assert (job["kind"], job["spec"]["completionMode"], job["spec"]["completions"]) == ("Job", "Indexed", 2)
    codes = [
        rule["onExitCodes"]["values"] for rule in job["spec"]["podFailurePolicy"]["rules"] if "onExitCodes" in rule
    ]
    assert codes == [[10, 20, 124]]


def test_batch__a_cloud_run_task_that_failed_for_good_is_not_tried_again(batch, monkeypatch):
    failed = RunRecord("2_act", "sub-02", 1, "", "", status="failed", exit_code=10)
    fsspec.filesystem("memory").pipe(f"{RUNS}/2_act/sub-02/attempt-1/run.json", failed.to_json())
    monkeypatch.setenv("CLOUD_RUN_TASK_INDEX", "1")
    monkeypatch.setenv("CLOUD_RUN_TASK_ATTEMPT", "1")
    assert batch("--row", "env") == (10, "")
    attempts = fsspec.filesystem("memory").ls(f"{RUNS}/2_act/sub-02", detail=False)
    assert [path.rpartition("/")[2] for path in attempts] == ["attempt-1"]


@pytest.mark.parametrize("index", ["2", "-1", "first"])
def test_batch__a_task_beyond_the_table_is_refused(batch, monkeypatch, index):
    monkeypatch.setenv("JOB_COMPLETION_INDEX", index)
    assert batch("--row", "env")[0] == InputError.exit_code
