"""What a step is, and the key under which its result is found again."""

from __future__ import annotations

import hashlib
import resource
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Literal, NamedTuple, TypeVar

import fsspec
import xarray as xr
from pydantic import BaseModel

from multimap_kernel.config import Recipe
from multimap_kernel.io.bids import Session
from multimap_kernel.io.decisions import AFFECTS
from multimap_kernel.io.store import Product, Store, canonical, create_exclusive, read_json
from multimap_kernel.schema import Alignment, Decision

Json = Any
Part = TypeVar("Part", bound=BaseModel)
GROUP_FOLDER = "group"
"""What stands for the whole study where a session's label is asked for, and its folder in the store."""
LENGTH = 32  # hexadecimal digits of a key: 128 bits


@dataclass(frozen=True)
class Inputs:
    """All that a step may see: its session, its part of the recipe, what it reads, the decisions that concern it."""

    session: Session
    options: Mapping[str, BaseModel]
    datasets: Mapping[str, Mapping[str, xr.Dataset]] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    decisions: tuple[Decision, ...] = ()
    provenance: Mapping[str, Json] = field(default_factory=dict)

    def part(self, kind: type[Part]) -> Part:
        """The options of one kind; a step that asks for a part it was not given fails."""
        return next(options for options in self.options.values() if isinstance(options, kind))

    def dataset(self, step: str, group: str = "") -> xr.Dataset:
        """One group of a step that is read."""
        return self.datasets[step][group]

    def alignment(self) -> Alignment:
        """The alignment that holds for this session."""
        return Alignment.from_json(self.values["align"]["alignment"])


class Step(NamedTuple):
    """One step of the line.

    Parameters
    ----------
    name
        Name of the step and of its folder in the store.
    run
        The step's function: takes `Inputs`; that of a study takes what its members left.
    reads
        Earlier steps whose results it reads.
    recipe
        Parts of the recipe that it may see; nothing else of the recipe changes its key.
    level
        Whether one result belongs to a session, to a subject, or to the study.
    version
        Raised whenever the step's own code changes its results; ``tests/pipeline/test_keys.py`` watches it.
    libraries
        Numerical libraries whose version enters the key; a function where the recipe decides which.
    files
        Raw files that the step reads itself.
    """

    name: str
    run: Callable[[Any], Product]
    reads: tuple[str, ...] = ()
    recipe: tuple[str, ...] = ()
    level: Literal["session", "subject", "study"] = "session"
    version: int = 1
    libraries: tuple[str, ...] | Callable[[Recipe], tuple[str, ...]] = ("numpy",)
    files: Callable[[Session], Iterable[str]] | None = None

    def place(self, session: Session) -> str:
        """Folder of this step's results inside the study."""
        folder = {"session": session.path, "subject": f"sub-{session.subject}", "study": GROUP_FOLDER}[self.level]
        return f"{folder}/{self.name}"

    def versions(self, recipe: Recipe) -> dict[str, str]:
        """The version of each library that this step rests on under a recipe."""
        names = self.libraries(recipe) if callable(self.libraries) else self.libraries
        return {name: version(name) for name in names}

    def decisions(self, decisions: Iterable[Decision]) -> tuple[Decision, ...]:
        """Those of a session's decisions that change this step's result."""
        return tuple(decision for decision in decisions if AFFECTS[decision.action] == self.name)


def key_of(
    step: Step,
    session: Session,
    recipe: Recipe,
    reads: Mapping[str, str],
    decisions: tuple[Decision, ...],
    store: Store,
) -> str:
    """Make the content key of a step's result.

    Parameters
    ----------
    step
        The step.
    session
        The session, for its raw files.
    recipe
        Only the step's parts enter.
    reads
        Keys of the steps that are read.
    decisions
        The session's effective decisions; only those about this step enter.
    store
        Where hashes of raw files are remembered.

    Returns
    -------
    Hexadecimal digits.
    """
    raw = () if step.files is None else step.files(session)
    material = {
        "step": step.name,
        "version": step.version,
        "recipe": {part: getattr(recipe, part).model_dump(mode="json") for part in step.recipe},
        "reads": {name: reads[name] for name in step.reads},
        "raw": {_name(url, session): content_hash(url, store) for url in raw},
        "sidecar": session.sidecar if step.files is not None and step.level == "session" else {},
        "decisions": sorted((d.action, d.value) for d in step.decisions(decisions)),
        "libraries": step.versions(recipe),
    }
    return hashed(material)


def hashed(material: Json) -> str:
    """The content key of a result: the beginning of the sha256 of all that it is made from."""
    return hashlib.sha256(canonical(material)).hexdigest()[:LENGTH]


def circumstances() -> dict[str, Json]:
    """What a commit record tells beside a key's material: version, time (UTC), machine, peak memory so far (bytes)."""
    return {
        "multimap": version("multimap"),
        "created": datetime.now(UTC).isoformat(),
        "host": socket.gethostname(),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def _name(url: str, session: Session) -> str:
    """The file's name from its subject folder on: the study may move without a new key."""
    _, mark, rest = url.rpartition(f"/sub-{session.subject}/")
    return rest if mark else url.rpartition("/")[2]


def content_hash(url: str, store: Store) -> str:
    """The sha256 of a file, remembered in the store as long as size and time of change stay the same."""
    fs, path = fsspec.core.url_to_fs(url)
    facts = fs.info(path)
    changed = facts.get("mtime") or facts.get("etag") or facts.get("generation") or str(facts.get("updated", ""))
    mark = hashlib.sha256(canonical([fs.unstrip_protocol(path), facts["size"], str(changed)])).hexdigest()
    remembered = read_json(store.url(".hashes", f"{mark}.json"))
    if remembered is not None:
        return str(remembered["sha256"])
    total = hashlib.sha256()
    with fs.open(path, "rb") as stream:
        while block := stream.read(1 << 22):
            total.update(block)
    create_exclusive(store.url(".hashes", f"{mark}.json"), canonical({"sha256": total.hexdigest(), "file": path}))
    return total.hexdigest()
