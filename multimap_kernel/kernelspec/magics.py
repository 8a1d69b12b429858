"""What the multimap kernel has at hand: ``mm``, ``np``, ``xr``, and ``%multimap``, which tells where work is done."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, Mapping
from html import escape
from importlib.metadata import version
from types import ModuleType
from typing import Any

from IPython.core.magic import Magics, line_magic, magics_class

import multimap_kernel
from multimap_kernel.compute.cost import cost_line

LOOPBACK = "127.0.0.1"
AT_HAND = {"np": "numpy", "xr": "xarray"}


class LateModule(ModuleType):
    """Stands for a module until it is first used: the kernel answers at once, and xarray takes seconds to import."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)

    def __dir__(self) -> list[str]:
        return dir(importlib.import_module(self.__name__))

    def __repr__(self) -> str:
        return f"<module {self.__name__!r}, imported when it is used>"

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return importlib.import_module, (self.__name__,)  # workers get the module itself


class Surroundings:
    """Version, store, cluster and session of a notebook, as text or as a small table.

    Parameters
    ----------
    names
        The notebook's own variables: ``store``, ``study`` and ``session`` are told, where they are texts.
    """

    def __init__(self, names: Mapping[str, Any]) -> None:
        self.rows = dict(_rows(names))

    def __repr__(self) -> str:
        width = max(map(len, self.rows))
        return "\n".join(f"{name:<{width}}  {value}" for name, value in self.rows.items())

    def _repr_html_(self) -> str:
        cells = "".join(
            f'<tr><th style="text-align:left">{escape(name)}</th><td style="text-align:left">{escape(value)}</td></tr>'
            for name, value in self.rows.items()
        )
        return f"<table>{cells}</table>"


@magics_class
class MultimapMagics(Magics):
    """The magics of the multimap kernel."""

    @line_magic
    def multimap(self, line: str) -> Surroundings:  # noqa: ARG002  # a magic is always handed the rest of its line
        """Show version, store, cluster and session of this notebook."""
        return Surroundings(self.shell.user_ns if self.shell else {})


def load_ipython_extension(shell: Any) -> None:
    """Put the verbs and the magic at hand; called by IPython when the kernel starts."""
    shell.push(
        {"mm": multimap_kernel, **{name: LateModule(module) for name, module in AT_HAND.items()}}, interactive=False
    )
    shell.register_magics(MultimapMagics)
    # our figures are made without pyplot, whose import would otherwise tell IPython how to show them
    pictures = shell.display_formatter.formatters["image/png"]
    pictures.for_type_by_name("matplotlib.figure", "Figure", _picture)


def _picture(figure: Any) -> tuple[bytes, dict[str, str]]:
    """A figure as PNG, and what a screen reader says of it; matplotlib is imported by the first one."""
    return multimap_kernel.figure_png(figure), {"alt": figure.get_suptitle() or "figure"}


def _rows(names: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "multimap", version("multimap")
    yield "store", _text(names, "store") or os.environ.get("MULTIMAP_STORE", "") or multimap_kernel.Runtime().store
    scheduler = _scheduler()
    yield "cluster", _cluster(scheduler)
    elsewhere = scheduler if scheduler and LOOPBACK not in scheduler["address"] else None  # here it is in the server
    if cost := cost_line(elsewhere):
        yield "cost", cost
    for name in ("study", "session"):
        if text := _text(names, name):
            yield name, text


def _text(names: Mapping[str, Any], name: str) -> str:
    value = names.get(name, "")
    return value if isinstance(value, str) else ""


def _scheduler() -> dict[str, Any] | None:
    """What the scheduler of this notebook says of itself."""
    if "distributed" not in sys.modules:  # then nothing has been started either, and asking would import it
        return None
    try:
        client = sys.modules["distributed"].default_client()
    except ValueError:
        return None
    return {**client.scheduler_info(n_workers=-1), "dashboard": client.dashboard_link}


def _cluster(scheduler: dict[str, Any] | None) -> str:
    if scheduler is None:
        address = os.environ.get("MULTIMAP_SCHEDULER", "")
        return f"{address} (not joined yet)" if address else "none; mm.run starts its own"
    workers = scheduler["workers"]
    memory = sum(worker["memory_limit"] for worker in workers.values()) / 2**30
    size = f"{len(workers)} workers, {memory:.1f} GiB in all"
    return f"{scheduler['address']}: {size}, dashboard {scheduler['dashboard']}"
