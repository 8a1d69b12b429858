"""Commands for looking and deciding: the viewer, JupyterLab, decisions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import fsspec
from rich.table import Column, Table

from multimap_kernel.console.screen import ERR, OUT
from multimap_kernel.io.decisions import effective, history
from multimap_kernel.io.store import Store
from multimap_kernel.pipeline import open_maps, sessions_of
from multimap_kernel.pipeline.results import session_path
from multimap_kernel.view.layers import map_layers
from multimap_kernel.view.serving import serve, wait_for_interrupt
from multimap_kernel.view.volumes import make_volumes

EXTENSION = "multimap_kernel.share.extension"
"""What the Jupyter server loads so that links and runs of others open in it."""


def show(store: Store, session: str, recipe: str, port: int) -> int:
    """Serve the maps of a session, or of the group, on loopback until Ctrl-C."""
    opened = open_maps(store, session, recipe)
    layers = map_layers(opened.maps, anatomy=opened.anatomy)
    if opened.of_group:
        _, url = serve(layers, port=port)
    else:
        tree = opened.tree
        series = tree["features"].to_dataset().assign(prediction=tree["fuse"]["prediction"])
        _, url = serve(layers, series=series, volumes=make_volumes(tree["normalise"].to_dataset()), port=port)
    OUT.print(f"{opened.label}: [bold]{url}[/bold]\nCtrl-C ends it", soft_wrap=True)
    wait_for_interrupt()
    return 0


def decisions(store: Store, session: str) -> int:
    """Print the decisions about a session; those that no longer hold are dimmed.

    One may decide before the first run: a session that the store does not know is no fault, but may be a slip.
    """
    fs, ran = fsspec.core.url_to_fs(store.url(session_path(session), "current"))
    if not fs.exists(ran):
        have = ", ".join(sorted({label for label, _ in sessions_of(store)})) or "none"
        told = f"warning: {store.url()} holds no run of {session} yet, found {have}; check the label"
        ERR.print(told, markup=False, soft_wrap=True)
    held = {decision.identifier for decision in effective(history(store, session))}
    table = Table("when (UTC)", "who", "action", "value", "reason", Column("identifier", overflow="fold"))
    for item in history(store, session):
        style = "" if item.identifier in held else "dim"
        table.add_row(item.created[:19], item.user, item.action, item.value, item.reason, item.identifier, style=style)
    OUT.print(table if table.row_count else f"no decision about {session}")
    return 0


def lab(folder: str, store: str) -> int:
    """Start JupyterLab on this machine's loopback address, in the folder of notebooks."""
    root = f"--ServerApp.root_dir={Path(folder).resolve()}"
    links = f"--ServerApp.jpserver_extensions={{'{EXTENSION}': True}}"
    alone = "--YDocExtension.disable_rtc=True"  # jupyter-collaboration, where it is installed, is for a hub
    command = [sys.executable, "-m", "jupyter", "lab", "--ServerApp.ip=127.0.0.1", root, links, alone]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command += ["--allow-root", "--no-browser"]
    environment = {**os.environ, "MULTIMAP_STORE": store if "://" in store else str(Path(store).resolve())}
    return subprocess.run(command, env=environment, check=False).returncode
