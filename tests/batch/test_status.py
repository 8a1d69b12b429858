"""Exit codes and their names."""

import json

import pytest

from multimap_kernel.batch.records import RunRecord
from multimap_kernel.batch.status import ExitCode, exit_code_of, status_of


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (0, "done"),
        (1, "failed"),
        (10, "failed"),
        (20, "bad-input"),
        (21, "excluded"),
        (30, "storage-failed"),
        (75, "preempted"),
        (124, "timed-out"),
        (137, "died"),
        (138, "died"),
        (139, "died"),  # a segmentation fault
        (143, "died"),
    ],
)
def test_status_of__names_every_exit_code(code, status):
    assert status_of(code) == status


@pytest.mark.parametrize(
    ("exception", "code"),
    [
        ("SchemaError", 20),
        ("ExcludedError", 21),
        ("StorageError", 30),
        ("ClusterError", 75),
        ("KeyError", 10),
        ("Any", 10),
    ],
)
def test_exit_code_of__knows_our_errors_by_name(exception, code):
    assert exit_code_of(exception) == code


@pytest.mark.parametrize(("code", "number"), [(ExitCode.DONE, "0"), (ExitCode.TIMED_OUT, "124")])
def test_exit_code__is_a_plain_number_in_a_record_and_in_text(code, number):
    record = RunRecord("run", "sub-01", 1, "folder", "act.ipynb", exit_code=code)
    assert f'"exit_code": {number},' in record.to_json().decode()
    assert (f"{code}", str(code), repr(code)) == (number, number, number)
    assert type(json.loads(record.to_json())["exit_code"]) is int
