"""What every test may ask for: the real recordings, and a small simulated study."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # tests/lazy.py and other shared parts of the tests


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recordings; missing data is a failure in CI and a skip elsewhere."""
    folder = Path(os.environ.get("MULTIMAP_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        message = f"the real recordings must be in {folder}; set MULTIMAP_DATA to their folder"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    return folder


@pytest.fixture(scope="session")
def tiny_study(tmp_path_factory) -> Path:
    """A BIDS study with one tiny session and its truth; never change it, copy it."""
    from multimap_kernel.simulate import simulate_session

    study = tmp_path_factory.mktemp("tiny") / "bids"
    simulate_session(study, size="tiny")
    return study
