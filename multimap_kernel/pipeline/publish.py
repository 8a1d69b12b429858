"""The last step: maps as NIfTI, a Zarr for the viewer, and a report that opens anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import fsspec
import xarray as xr
import yaml

from multimap_kernel.align import apply_alignment
from multimap_kernel.config import Confounds, Publish
from multimap_kernel.fusion.patterns import strongest_region
from multimap_kernel.io.eeg import to_volts
from multimap_kernel.io.export import (
    write_activation,
    write_coupling,
    write_description,
    write_evoked,
    write_mask,
    write_pattern,
    write_picture,
    write_sensor,
)
from multimap_kernel.io.store import Product
from multimap_kernel.io.templates import load_template
from multimap_kernel.pipeline.keys import Inputs
from multimap_kernel.schema import Decision, Fit
from multimap_kernel.view.layers import map_layers, viewer_zarr
from multimap_kernel.view.report import Section, report_html
from multimap_kernel.view.sections import SessionResults, session_sections

BACKGROUND_MM = 2.0
"""Resolution of the template below the maps."""


def background(maps: xr.Dataset, motion: xr.Dataset) -> xr.Dataset:
    """The anatomy to draw below maps: the template in MNI space, the run's reference volume in native space.

    Parameters
    ----------
    maps
        Any maps of the session, for their ``space``.
    motion
        Dataset from `realign`, with ``reference (z, y, x)`` and ``affine``.

    Returns
    -------
    ``anatomy (z, y, x)`` with ``affine (world, index; mm)``.
    """
    if maps.attrs.get("space", "native") == "native":
        return xr.Dataset({"anatomy": motion["reference"]}, {"affine": motion["affine"]})
    return load_template(BACKGROUND_MM).drop_vars("mask")


def publish(inputs: Inputs) -> Product:
    """Write everything that people open into the step's folder."""
    maps = {name: ds.load() for name, ds in inputs.datasets["map"].items()}
    motion = inputs.dataset("realign").load()
    drawn = [maps[kind] for kind in ("activation", "coupling") if kind in maps]
    alpha = inputs.part(Publish).threshold
    layers = map_layers(drawn, anatomy=background(drawn[0], motion), alpha=alpha)
    told = session_sections(_results(inputs, maps, motion, layers))

    def write(folder: str) -> None:
        _write_maps(inputs, maps, f"{folder}/maps")
        _write_pictures(inputs, told[0], f"{folder}/maps")
        with TemporaryDirectory() as local:
            viewer_zarr(layers, Path(local) / "viewer.zarr")
            page = _report(inputs, told)
            (Path(local) / "report.html").write_text(page, encoding="utf-8")
            fs, path = fsspec.core.url_to_fs(folder)
            fs.makedirs(path, exist_ok=True)
            fs.put(f"{local}/", f"{path}/", recursive=True)

    return Product(files=write)


def _write_maps(inputs: Inputs, maps: Mapping[str, xr.Dataset], folder: str) -> None:
    entities = _entities(inputs)
    provenance = {"recipe": inputs.provenance["recipe"], "keys": inputs.provenance["keys"]}
    writers = {
        "activation": write_activation,
        "coupling": write_coupling,
        "sensor": write_sensor,
        "evoked": write_evoked,
        "pattern": write_pattern,
    }
    write_description(folder)
    shown = maps["pattern"].sel(region=strongest_region(maps["pattern"]))  # all regions stay in the store
    for kind, ds in {**maps, "pattern": shown}.items():
        writers[kind](ds, folder, entities=entities, provenance=provenance)
    write_mask(maps["coupling"], folder, entities=entities, provenance=provenance)


def _entities(inputs: Inputs) -> dict[str, str]:
    session = inputs.session
    return {"subject": session.subject, "session": session.session, "task": session.task, "run": session.run}


def _results(
    inputs: Inputs, maps: Mapping[str, xr.Dataset], motion: xr.Dataset, layers: Sequence[Any]
) -> SessionResults:
    alignment = inputs.alignment()
    recording = inputs.dataset("ingest", "eeg")
    bold = inputs.dataset("ingest", "bold")
    quality = inputs.dataset("normalise", "confounds")
    clean = inputs.dataset("clean_eeg")
    return SessionResults(
        alignment=alignment,
        recording=inputs.dataset("align"),
        raw=apply_alignment(to_volts(recording), alignment),
        clean=clean,
        excitations=len(set(bold["slice_time"].values.tolist())) if "slice_time" in bold else 0,
        motion=motion,
        framewise_displacement=quality["framewise_displacement"].values,
        dvars=quality["dvars"].values,
        fd_threshold_mm=inputs.part(Confounds).fd_threshold_mm,
        features=inputs.dataset("features"),
        fit=Fit.from_json(inputs.values["fuse"]["fit"]),
        layers=layers,
        sensors=maps["sensor"].assign(position=clean["position"]) if "sensor" in maps else None,
        evoked=maps["evoked"].assign(position=clean["position"]) if "evoked" in maps else None,
        pattern=maps["pattern"].assign(position=clean["position"]),
    )


def _write_pictures(inputs: Inputs, sections: Sequence[Section], folder: str) -> None:
    """The pictures of the sensor maps, beside their tables."""
    names = {"Sensor maps": "sensor", "Evoked responses": "evoked", "EEG pattern of BOLD": "pattern"}
    for section in sections:
        if (name := names.get(section.title)) and section.png:
            write_picture(section.png, folder, entities=_entities(inputs), name=name)


def _report(inputs: Inputs, told: tuple[tuple[Section, ...], tuple[str, ...]]) -> str:
    sections, left_out = told
    if decisions := inputs.provenance.get("decisions"):
        sections = (*sections, Section("Decisions", _DECIDED, table=tuple(map(_decision_row, decisions))))
    warnings = [
        *inputs.dataset("ingest", "bold").attrs.get("warnings", []),
        *inputs.dataset("ingest", "eeg").attrs.get("warnings", []),
        *inputs.values["realign"].get("warnings", []),
        *inputs.values["clean_eeg"].get("warnings", []),
        *inputs.values["normalise"].get("warnings", []),
    ]
    provenance: dict[str, str | Mapping[str, str]] = {
        "recipe": yaml.safe_dump(inputs.provenance["recipe"], sort_keys=False),
        "keys of the steps": inputs.provenance["keys"],
        "versions": {"multimap": str(inputs.provenance["multimap"])},
    }
    return report_html(inputs.session.label, sections, provenance, left_out=(*left_out, *warnings))


_DECIDED = "What people decided about this session when this report was made; each is a file in the store's decisions."


def _decision_row(stored: Mapping[str, Any]) -> tuple[str, str]:
    decision = Decision.from_json(stored)
    what = f"{decision.action} {decision.value}".strip().replace("_", " ")
    return what, " · ".join(filter(None, (decision.user, f"{decision.created[:19]} UTC", decision.reason)))
