"""The one terminal that all commands write to and warn on, and the colours of what becomes of a session."""

from rich.console import Console

OUT = Console(highlight=False)
ERR = Console(highlight=False, stderr=True)
MARK = {
    "done": "green",
    "planned": "cyan",
    "waiting": "cyan",
    "running": "cyan",
    "excluded": "yellow",
    "held": "yellow",
    "bad-input": "red",
    "failed": "red",
}
