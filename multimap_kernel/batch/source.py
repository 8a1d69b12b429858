"""Where the code of a run comes from: the Git commit of its notebook, and the image that it runs in."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

IMAGE_NAMES = ("MULTIMAP_IMAGE", "JUPYTER_IMAGE_SPEC")  # ours, and the one that JupyterHub gives a user's server


def git_commit(path: Path) -> str:
    """The commit that last changed a file, with ``+`` behind it if it was changed since; empty outside a repository."""
    commit = _git(path, "log", "-1", "--format=%H", "--", path.name)
    return f"{commit}+" if commit and _git(path, "status", "--porcelain", "--", path.name) else commit


def image() -> str:
    """The image that this process runs in, as its deployment names it; empty outside one."""
    return next((os.environ[name] for name in IMAGE_NAMES if os.environ.get(name)), "")


def _git(path: Path, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(path.parent), *words], capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):  # no git on this machine, or a disk that does not answer
        return ""
    return done.stdout.strip()
