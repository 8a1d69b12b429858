"""What the command prints: progress while it works, tables, and where the results are."""

from multimap_kernel.console.batches import batch
from multimap_kernel.console.health import doctor
from multimap_kernel.console.line import run
from multimap_kernel.console.links import link, links
from multimap_kernel.console.people import decisions, lab, show
from multimap_kernel.console.runs import compare, open_run, runs
from multimap_kernel.console.studies import adopt, check, clear, simulate
from multimap_kernel.console.training import train

__all__ = [
    "adopt",
    "batch",
    "check",
    "clear",
    "compare",
    "decisions",
    "doctor",
    "lab",
    "link",
    "links",
    "open_run",
    "run",
    "runs",
    "show",
    "simulate",
    "train",
]
