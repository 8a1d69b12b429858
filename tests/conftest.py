"""What every test may ask for: the real recordings, and a small simulated study."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # tests/lazy.py and other shared parts of the tests


CHROMIUM = Path(os.environ.get("MULTIMAP_CHROMIUM", "/usr/bin/chromium"))
FLAGS = (  # WebGL without a graphics card, and no talk with anyone but the page
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


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


@pytest.fixture(scope="module")
def chromium():
    """A browser for one test file; without Chromium a failure in CI and a skip elsewhere."""
    from playwright.sync_api import sync_playwright

    if not CHROMIUM.exists():
        message = f"Chromium must be at {CHROMIUM}: apt-get install chromium, or set MULTIMAP_CHROMIUM"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()
