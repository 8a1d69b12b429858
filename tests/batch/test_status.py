"""Exit codes and their names, and notebooks that are made to agree with them."""

import pytest

from multimap_kernel.batch.status import exit_code_of, status_of


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
