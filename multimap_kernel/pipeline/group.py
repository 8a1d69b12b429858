"""The one step of a study: what its members have in common, from the session maps that are committed."""

from __future__ import annotations

import posixpath
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from multimap_kernel.compute import cluster
from multimap_kernel.config import Group, Recipe, Runtime
from multimap_kernel.io.bids import Session
from multimap_kernel.io.export import write_activation, write_coupling, write_description, write_mask
from multimap_kernel.io.files import exists, read_table
from multimap_kernel.io.store import Product, Store, canonical, replace
from multimap_kernel.maps import fixed_effects, group_map, stack_maps
from multimap_kernel.maps.coupling import peak_lag
from multimap_kernel.pipeline.garbage import underway
from multimap_kernel.pipeline.keys import GROUP_FOLDER, Step, circumstances, hashed
from multimap_kernel.pipeline.run import StepResult, choose, decisions_of, keys_of, line
from multimap_kernel.schema import ExcludedError, InputError

Json = Any


@dataclass(frozen=True)
class Member:
    """Sessions that are one observation of the group: the runs of a subject, in one level of what is compared."""

    name: str
    subject: str
    level: str
    sessions: tuple[Session, ...]


@dataclass(frozen=True)
class GroupInputs:
    """All that the group step may see: its members, the maps of each session by label and kind, its options."""

    members: tuple[Member, ...]
    maps: Mapping[str, Mapping[str, xr.Dataset]]
    options: Group
    provenance: Mapping[str, Json]


def run_group(bids: str, *, study: str, sessions: Sequence[str] = (), recipe: Recipe, runtime: Runtime) -> StepResult:
    """Make the group maps of a study from the session maps that are committed under a recipe.

    Sessions that a person excluded, that cannot be used, or whose maps are not there are left out and named in the
    commit record; so a bad session never stops the study. Several runs of a member are combined by fixed effects.

    Parameters
    ----------
    bids, study, sessions, recipe, runtime
        As in `run`.

    Returns
    -------
    Where the result is; ``open_session(root, study, "group")`` opens it.

    Raises
    ------
    InputError
        If there are too few members, sessions of several tasks, or a participant without a group.
    """
    store = Store(runtime.store, study)
    chosen = {session.label: session for session in choose(bids, sessions, recipe)}
    found, left_out = _committed(chosen, recipe, store)
    members = _members([chosen[label] for label in found], recipe.group, bids)
    used = {session.label: found[session.label] for member in members for session in member.sessions}
    place, key = f"{GROUP_FOLDER}/{GROUP.name}", _key(recipe, used, members)
    steps = {GROUP.name: {"place": place, "key": key}}
    begun, reused = time.perf_counter(), store.commit(place, key) is not None
    with underway(store, GROUP_FOLDER, recipe.name, steps):
        if not reused:
            names = {member.name: [session.label for session in member.sessions] for member in members}
            provenance = {"recipe": recipe.model_dump(mode="json"), "members": names, "left_out": left_out}
            maps = {label: store.open(result.place, result.key) for label, result in used.items()}
            with cluster(runtime):
                product = make_group_maps(GroupInputs(members, maps, recipe.group, provenance))
                store.write(place, key, product, {**_material(recipe, used), "decisions": [], **circumstances()})
        pointer = canonical({"recipe": recipe.model_dump(mode="json"), "steps": steps, "left_out": left_out})
        replace(store.url(GROUP_FOLDER, "current", f"{recipe.name}.json"), pointer)
    return StepResult(GROUP.name, place, key, "reused" if reused else "computed", time.perf_counter() - begun)


def _committed(
    chosen: Mapping[str, Session], recipe: Recipe, store: Store
) -> tuple[dict[str, StepResult], dict[str, str]]:
    """The maps of each session that has them, and why the others do not count, by label."""
    found, left_out = dict[str, StepResult](), dict[str, str]()
    for label, session in chosen.items():
        try:
            last = keys_of(session, recipe, decisions_of(session, store), store, line("map"))[-1]
        except (ExcludedError, InputError) as reason:
            left_out[label] = str(reason)
            continue
        if last.state == "missing":
            left_out[label] = f"{label}: no maps under this recipe yet"
        else:
            found[label] = last
    return found, left_out


def _members(sessions: Sequence[Session], options: Group, bids: str) -> tuple[Member, ...]:
    if options.task:
        sessions = [session for session in sessions if session.task == options.task]
    tasks = sorted({session.task for session in sessions})
    if len(tasks) > 1 and not (options.test == "paired" and options.column == "task"):
        raise InputError(f"a group map is of one task, found {', '.join(tasks)}; choose one with group.task")
    level = _levels(sessions, options, bids)
    together: dict[tuple[str, str], list[Session]] = {}
    for session in sessions:
        together.setdefault((session.subject, level[session.label]), []).append(session)
    paired = options.test == "paired"
    return tuple(
        Member(f"sub-{who}_{what}" if paired else f"sub-{who}", who, what, tuple(runs))
        for (who, what), runs in together.items()
    )


def _levels(sessions: Sequence[Session], options: Group, bids: str) -> dict[str, str]:
    """What is compared, for each session label: nothing, an entity of its name, or a column of participants.tsv."""
    if options.test == "one-sample":
        return dict.fromkeys((session.label for session in sessions), "")
    if options.test == "paired":
        return {session.label: str(getattr(session, options.column)) for session in sessions}
    url = posixpath.join(str(bids).rstrip("/"), "participants.tsv")
    if not exists(url):
        raise InputError(f"a two-sample test reads {url}, found no such file; write one with column {options.column}")
    table = {row["participant_id"]: row[options.column] for row in read_table(url, "participant_id", options.column)}
    unknown = sorted({who for session in sessions if table.get(who := f"sub-{session.subject}", "n/a") == "n/a"})
    if unknown:
        raise InputError(f"{url} must give {options.column} for each participant, found none for {', '.join(unknown)}")
    return {session.label: table[f"sub-{session.subject}"] for session in sessions}


def _key(recipe: Recipe, used: Mapping[str, StepResult], members: Sequence[Member]) -> str:
    who = [[member.name, member.level, [one.label for one in member.sessions]] for member in members]
    return hashed({**_material(recipe, used), "members": who})


def _material(recipe: Recipe, used: Mapping[str, StepResult]) -> dict[str, Json]:
    return {
        "step": GROUP.name,
        "version": GROUP.version,
        "recipe": {part: getattr(recipe, part).model_dump(mode="json") for part in GROUP.recipe},
        "reads": {label: result.key for label, result in used.items()},
        "libraries": GROUP.versions(recipe),
    }


def make_group_maps(inputs: GroupInputs) -> Product:
    """Make the group's maps of each kind that all members have, as Datasets and as NIfTI."""
    options, groups = inputs.options, dict[str, xr.Dataset]()
    labels = {
        "group": {member.name: member.level for member in inputs.members},
        "subject": {member.name: member.subject for member in inputs.members},
    }
    for kind in ("activation", "coupling"):
        if not inputs.maps or any(kind not in maps for maps in inputs.maps.values()):
            continue
        parts = {member.name: _of_member(member, kind, inputs.maps) for member in inputs.members}
        maps = group_map(
            stack_maps(parts, labels=labels),
            test=options.test,
            levels=options.levels,
            permutations=options.permutations,
            coverage=options.coverage,
            family=("band", "lag") if kind == "coupling" else (),
            cluster_p=options.cluster_p,
            seed=options.seed,
        ).compute()
        groups[kind] = _with_lag(maps) if kind == "coupling" else maps
    if not groups:
        raise InputError(f"a group needs maps of its members, found none; left out: {inputs.provenance['left_out']}")
    tasks = {session.task for member in inputs.members for session in member.sessions}
    entities = {"task": tasks.pop()} if len(tasks) == 1 else {}

    def write(folder: str) -> None:
        _write_maps(groups, f"{folder}/maps", entities, inputs.provenance)

    told = {name: inputs.provenance[name] for name in ("members", "left_out")}
    return Product(groups, told, write)


def _of_member(member: Member, kind: str, maps: Mapping[str, Mapping[str, xr.Dataset]]) -> xr.Dataset:
    runs = {session.label: maps[session.label][kind] for session in member.sessions}
    return next(iter(runs.values())) if len(runs) == 1 else fixed_effects(stack_maps(runs, dim="run"))


def _with_lag(ds: xr.Dataset) -> xr.Dataset:
    """Add the lag of the largest ``|t|`` of each band."""
    t = ds["statistic"].transpose("band", "lag", "z", "y", "x").values
    lag = peak_lag(t.reshape(*t.shape[:2], -1), ds["lag"].values.astype(np.float64))
    return ds.assign(best_lag=(("band", "z", "y", "x"), lag.reshape(len(t), *t.shape[2:]), {"units": "s"}))


def _write_maps(
    groups: Mapping[str, xr.Dataset], folder: str, entities: Mapping[str, str], provenance: Mapping[str, Json]
) -> None:
    writers = {"activation": write_activation, "coupling": write_coupling}
    write_description(folder)
    for kind, ds in groups.items():
        writers[kind](ds, folder, entities=entities, provenance=provenance)
    write_mask(next(iter(groups.values())), folder, entities=entities, provenance=provenance)


GROUP = Step(
    "group",
    make_group_maps,
    recipe=("group",),
    level="study",
    version=2,
    libraries=("numpy", "scipy", "numba", "nilearn"),
)
"""Reads the maps of all sessions; it stands apart from the line of a session."""
