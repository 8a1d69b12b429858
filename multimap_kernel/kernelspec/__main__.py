"""Starts the kernel, as ``kernel.json`` tells Jupyter to; ``install`` registers it with Jupyter instead.

A normal installation of the package registers the kernel by itself; an editable one (``pip install -e``) leaves data
files out and needs ``python -m multimap_kernel.kernelspec install [--prefix FOLDER]``.
"""

import shutil
import sys
from pathlib import Path

# python -m puts the current folder first, so that a file random.py beside a notebook would end the kernel before it
# starts; IPython puts the folder back for the notebook itself
if Path(sys.path[0]) == Path.cwd():
    del sys.path[0]


def main(arguments: list[str]) -> int:
    """Start or install the kernel; returns the exit code."""
    if arguments[:1] == ["install"]:
        prefix = arguments[2] if arguments[1:2] == ["--prefix"] else sys.prefix
        folder = Path(prefix, "share", "jupyter", "kernels", "multimap")
        folder.mkdir(parents=True, exist_ok=True)
        sys.stdout.write(f"{shutil.copy(Path(__file__).with_name('kernel.json'), folder)}\n")
        return 0
    from ipykernel.kernelapp import IPKernelApp  # noqa: PLC0415  # an installation need not wait for it

    IPKernelApp.launch_instance(argv=arguments, extensions=["multimap_kernel.kernelspec.magics"])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
