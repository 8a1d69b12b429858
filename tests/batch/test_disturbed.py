"""A batch that loses its machine: what its records say is true, and a plain rerun gives the undisturbed result."""

import signal

import pytest
from disturbed import AT_ONCE_S, STUDY, Disturbed

pytestmark = pytest.mark.batch


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory):
    return Disturbed(tmp_path_factory.mktemp("disturbed"))


@pytest.mark.parametrize(("what", "told"), [(signal.SIGKILL, "died"), (signal.SIGTERM, "preempted")])
def test_batch__ended_with_its_whole_process_tree_resumes_to_the_same_result(disturbed, tmp_path, what, told):
    status, took_s = disturbed.evict(tmp_path, what, lambda _: any(tmp_path.glob(f"{STUDY}/sub-*/*/features/*/data-*")))
    assert status == told
    assert took_s < AT_ONCE_S
    assert disturbed.untrue(tmp_path) == []
    assert disturbed.resumes(tmp_path)
