"""Print what an image installs, from pyproject.toml: a list of its own could drift away.

``python images/requirements.py lab|worker|train``; the versions come from constraints.txt, torch's from torch.txt.
"""

import re
import sys
import tomllib
from pathlib import Path

EXTRAS = {"worker": ["cloud"], "lab": ["cloud", "hub", "lab"], "train": ["cloud", "hub", "lab"]}
NOT_IN_A_WORKER = {"jupyterlab"}  # 60 MB, and nobody looks at it


def requirements(image, project):
    """Requirement lines of an image."""
    wanted = [
        *project["dependencies"],
        *(line for extra in EXTRAS[image] for line in project["optional-dependencies"][extra]),
    ]
    left_out = NOT_IN_A_WORKER if image == "worker" else set()
    return [line for line in wanted if re.split(r"[<>=!~;\[ ]", line)[0] not in left_out]


if __name__ == "__main__":
    declared = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    print(*requirements(sys.argv[1], declared), sep="\n")
