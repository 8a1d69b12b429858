"""Debian's Chromium, driven through playwright."""

import os
from pathlib import Path

import pytest

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
