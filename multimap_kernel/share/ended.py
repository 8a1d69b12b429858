"""Layers that were shared once and that no link shows any more."""

from __future__ import annotations

import os
import posixpath
from datetime import UTC, datetime, timedelta

import fsspec

from multimap_kernel.io.store import remove
from multimap_kernel.share.links import SCENES, live_folders
from multimap_kernel.share.places import configured_places, local_store, name_folder

YOUNG = timedelta(days=1)
"""Layers are stored before the record that names them: so old they must be to be taken for forgotten."""


def remove_ended_scenes(store: str, *, dry_run: bool = False) -> tuple[str, ...]:
    """Remove the layers of links that were withdrawn or ended, unless another link shows them too.

    Whoever opens such a link afterwards reads when and why it ended, as before.

    Parameters
    ----------
    store
        Path or URL of the store that keeps them.
    dry_run
        Only tell what would go.

    Returns
    -------
    The folders that were removed, or would be; none younger than a day.

    Raises
    ------
    InputError
        If the store lies outside of what you may share.
    StorageError
        If the hub's viewer service, which alone knows the links of all, cannot be reached.
    """
    environment = {**os.environ, "MULTIMAP_STORE": store}
    scenes = posixpath.join(local_store(environment), SCENES)
    fs, path = fsspec.core.url_to_fs(scenes)
    if not fs.isdir(path):
        return ()
    places, shown = configured_places(environment), live_folders(store=store)
    before = datetime.now(UTC) - YOUNG
    gone = []
    for name in sorted(posixpath.basename(one.rstrip("/")) for one in fs.ls(path, detail=False)):
        folder = posixpath.join(scenes, name)
        if name_folder(folder, places) not in shown and _newest(fs, posixpath.join(path, name)) < before:
            gone.append(folder)
    if not dry_run:
        for folder in gone:
            remove(folder)
    return tuple(gone)


def _newest(fs: fsspec.AbstractFileSystem, folder: str) -> datetime:
    """When the last file of a folder was written."""
    return max((fs.modified(file) for file in fs.find(folder)), default=datetime.min.replace(tzinfo=UTC))
