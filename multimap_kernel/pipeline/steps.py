"""The line, top to bottom: what each step reads, which part of the recipe it sees, and what it calls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import xarray as xr

from multimap_kernel.align import apply_alignment, correct_alignment, correct_markers
from multimap_kernel.config import Align, CleanEeg, Confounds, Features, Fuse, Ingest, Map, Normalise, Realign, Recipe
from multimap_kernel.eeg import (
    band_power,
    blank_spans,
    clean,
    decimate,
    find_unmarked_scanning,
    remove_gradient_artifact,
    remove_pulse_artifact,
)
from multimap_kernel.fmri import (
    check_coverage,
    confounds,
    correct_timing,
    estimate_normalisation,
    normalise,
    realign,
    series,
)
from multimap_kernel.fusion.patterns import pattern_map
from multimap_kernel.fusion.regions import regions
from multimap_kernel.fusion.ridge import fit
from multimap_kernel.io.bids import Session
from multimap_kernel.io.eeg import read_eeg, recording_files, to_volts
from multimap_kernel.io.events import read_events
from multimap_kernel.io.nifti import check_values, read_anatomy, read_bold
from multimap_kernel.io.pyramid import add_overview
from multimap_kernel.io.store import Product
from multimap_kernel.io.templates import load_template
from multimap_kernel.maps import activation_map, coupling_map, evoked_map, sensor_map, smooth
from multimap_kernel.pipeline.keys import Inputs, Step
from multimap_kernel.pipeline.publish import publish
from multimap_kernel.schema import Fit, InputError

TEMPLATE_MM = 2.0
"""Resolution of the template that images are registered to; the grid of the result is the recipe's."""


def ingest(inputs: Inputs) -> Product:
    """Read raw files into the store, as their own integers; a person's repetition time wins over the files'."""
    session, options = inputs.session, inputs.part(Ingest)
    decided = [float(decision.value) for decision in inputs.decisions]
    bold = read_bold(
        session.bold,
        sidecar=session.sidecar,
        dummy_volumes=options.dummy_volumes,
        repetition_time=decided[-1] if decided else None,
    )
    eeg = read_eeg(session.eeg, electrodes=session.electrodes)
    groups = {"bold": bold, "eeg": add_overview(eeg)}
    if session.events:
        scan_s = bold.sizes["time"] * float(bold.attrs["repetition_time"])
        events = read_events(session.events, scan_s=scan_s)
        bold.attrs["warnings"] = [*bold.attrs["warnings"], *events.attrs["warnings"]]
        if events.sizes["event"]:
            groups["event"] = events
    return Product(groups)


def align(inputs: Inputs) -> Product:
    """Match markers to volumes, as people corrected them; the markers that were used are kept."""
    eeg, bold, marker = inputs.dataset("ingest", "eeg"), inputs.dataset("ingest", "bold"), inputs.part(Align).marker
    alignment = correct_alignment(eeg, bold, inputs.decisions, marker=marker)
    used = correct_markers(eeg, inputs.decisions, marker=alignment.marker)[["marker_onset", "marker_label"]]
    return Product({"": used}, {"alignment": alignment.to_json()})


def estimate_motion(inputs: Inputs) -> Product:
    """Refuse volumes that cannot be used, then find the head's position in each."""
    bold = inputs.dataset("ingest", "bold")
    warnings = check_values(bold)
    return Product({"": realign(bold, backend=inputs.part(Realign).backend)}, {"warnings": list(warnings)})


def clean_eeg(inputs: Inputs) -> Product:
    """Take both scanner artifacts out of the EEG, on the scanner clock; what a person calls bad is left out."""
    options, state = inputs.part(CleanEeg), inputs.part(Ingest).eeg_state
    alignment = inputs.alignment()
    eeg = apply_alignment(to_volts(inputs.dataset("ingest", "eeg")), alignment)
    decided = [map(float, decision.value.split(":")) for decision in inputs.decisions if decision.action == "bad_span"]
    spans, warnings = [(alignment.scanner_time(a), alignment.scanner_time(b)) for a, b in decided], []
    if state == "raw":
        seconds, volumes, dummies = alignment.repetition_time, len(alignment.residual_s), alignment.dummy
        unmarked = find_unmarked_scanning(eeg, repetition_time=seconds, volumes=volumes, dummies=dummies)
        spans += unmarked
        warnings = [
            f"EEG from {a:.1f} to {b:.1f} s (scanner time) left out: scanned without volume markers"
            for a, b in unmarked
        ]
        window = options.gradient.window
        eeg = remove_gradient_artifact(eeg, repetition_time=seconds, volumes=volumes, window=window, dummies=dummies)
    if spans:  # before any filter
        eeg = blank_spans(eeg, spans=spans)
    eeg = decimate(eeg, sampling_hz=options.sampling_hz, lowpass_hz=options.lowpass_hz)
    if state != "clean" and options.pulse.method == "average":
        eeg = remove_pulse_artifact(eeg, window=options.pulse.window)
    eeg = _without(eeg, [decision.value for decision in inputs.decisions if decision.action == "bad_channel"])
    eeg = clean(eeg, highpass_hz=options.highpass_hz, lowpass_hz=options.lowpass_hz, reference=options.reference)
    return Product({"": add_overview(eeg)}, {"warnings": warnings})


def _without(eeg: xr.Dataset, bad: list[str]) -> xr.Dataset:
    """Channels that a person calls bad count as no EEG from here on."""
    unknown = sorted(set(bad) - set(eeg["channel"].values.tolist()))
    if unknown:
        known = ", ".join(eeg["channel"].values.tolist())
        raise InputError(f"bad channels must be in the recording, found {', '.join(unknown)} beside {known}; undo that")
    return eeg.assign(channel_type=eeg["channel_type"].where(~eeg["channel"].isin(bad), "misc")) if bad else eeg


def normalise_anatomy(inputs: Inputs) -> Product:
    """Find the affine from the subject's T1w to the template, once for all its sessions; nothing without a T1w."""
    if inputs.part(Normalise).space == "native" or not inputs.session.anatomy:
        return Product()
    anatomy = read_anatomy(inputs.session.anatomy)
    transform = estimate_normalisation(anatomy, target=load_template(TEMPLATE_MM))
    return Product({"": anatomy.assign(transform=transform["transform"])})


def normalise_bold(inputs: Inputs) -> Product:
    """Bring BOLD to its space in one interpolation, motion included; make the confounds."""
    options, warnings = inputs.part(Normalise), list[str]()
    bold, motion = inputs.dataset("ingest", "bold"), inputs.dataset("realign")
    if inputs.part(Realign).slice_timing:
        bold = correct_timing(bold)
    if options.space == "native":
        normalised = normalise(bold, motion=motion)
    else:
        anatomy = inputs.datasets["normalise_anatomy"].get("")
        warnings += check_coverage(motion) if anatomy is None else ()
        # computed here: twelve numbers that the volumes, the mask and the confounds all rest on
        transform = estimate_normalisation(motion, target=load_template(TEMPLATE_MM), anatomy=anatomy).compute()
        target = load_template(options.resolution_mm)
        normalised = normalise(bold, motion=motion, transform=transform, target=target)
        normalised = normalised.assign(transform=transform["transform"])
    part = inputs.part(Confounds)
    nuisance = confounds(
        normalised,
        motion=motion,
        model=part.model,
        fd_threshold_mm=part.fd_threshold_mm,
        high_pass_hz=part.high_pass_hz,
    )
    return Product({"": normalised, "confounds": nuisance}, {"warnings": warnings})


def features(inputs: Inputs) -> Product:
    """Put everything that models and maps read on the volume grid."""
    eeg, bold = inputs.dataset("clean_eeg"), inputs.dataset("normalise")
    alignment = inputs.alignment()
    power = band_power(
        eeg,
        bands=inputs.part(Features).bands,
        repetition_time=alignment.repetition_time,
        volumes=bold.sizes["time"],
    )
    parts = [series(bold), power, inputs.dataset("normalise", "confounds")]
    if "event" in inputs.datasets["ingest"]:
        parts.append(inputs.dataset("ingest", "event"))
    merged = xr.merge(parts, combine_attrs="drop_conflicts", compat="no_conflicts", join="exact")
    return Product({"": merged.assign_attrs(clock="scanner")})


def fuse(inputs: Inputs) -> Product:
    """Predict BOLD from EEG out of fold; the ridge is the reference."""
    options = inputs.part(Fuse)
    fitted, prediction = fit(
        inputs.dataset("features"),
        lags_s=options.lags_s,
        folds=options.split.folds,
        gap_s=options.split.gap_s,
        seed=options.seed,
    )
    product = Product({"": prediction}, {"fit": fitted.to_json()})
    return product if options.model == "ridge" else _with_joint(product, inputs)


def _with_joint(product: Product, inputs: Inputs) -> Product:
    """Add the joint model of regions to the ridge of voxels, both in blocks of the one run."""
    from multimap_kernel.fusion.card import card  # noqa: PLC0415  # torch is an optional extra
    from multimap_kernel.fusion.evaluate import evaluate  # noqa: PLC0415
    from multimap_kernel.fusion.train import train  # noqa: PLC0415

    options = inputs.part(Fuse)
    if options.split.kind != "block":
        raise InputError(
            f"fuse works on one session and splits by block, found fuse.split.kind {options.split.kind!r}; "
            "leave out whole runs, sessions or subjects with `multimap train`"
        )
    if options.tokens != "power":
        raise InputError(
            f"fuse reads features, found fuse.tokens {options.tokens!r}; train on raw patches with `multimap train`"
        )
    runs = {inputs.session.label: regions(inputs.dataset("features"), edge_mm=options.region_mm)}
    split = options.split
    value, out = train(
        runs, lags_s=options.lags_s, kind="block", folds=split.folds, gap_s=split.gap_s, seed=options.seed,
        size=options.size,
    )  # fmt: skip
    judged = evaluate(runs, value, out, seed=options.seed)
    values = {"joint": value.to_json(), "evaluation": judged.to_json(), "card": card(value, judged)}
    return Product({**product.datasets, "joint": out}, {**product.values, **values})


def _fuse_libraries(recipe: Recipe) -> tuple[str, ...]:
    """The ridge is the same with and without torch, which is an extra."""
    ridge = ("numpy", "scipy", "numba")
    return (*ridge, "nilearn", "torch", "scikit-learn") if recipe.fuse.model == "joint" else ridge


def make_maps(inputs: Inputs) -> Product:
    """Draw the five kinds of maps, each with its null."""
    options, fitted = inputs.part(Map), Fit.from_json(inputs.values["fuse"]["fit"])
    ds = inputs.dataset("features").assign(inputs.dataset("fuse")[["prediction", "hat"]].data_vars)
    pattern = pattern_map(ds, fitted, edge_mm=inputs.part(Fuse).region_mm, seed=options.seed)
    ds = smooth(ds, fwhm_mm=options.smoothing_mm)
    null: Literal["phase", "shift"] = "shift" if options.null == "shift" else "phase"  # power has no blocks
    high_pass_hz = inputs.part(Confounds).high_pass_hz
    coupling = coupling_map(
        ds, lags_s=options.lags_s, hrf=options.hrf, high_pass_hz=high_pass_hz, null=null, seed=options.seed
    )
    groups = {"coupling": coupling, "pattern": pattern}
    if "event_onset" in ds:
        groups["activation"] = activation_map(
            ds,
            contrasts=options.contrasts,
            hrf=options.hrf,
            noise=options.noise,
            high_pass_hz=high_pass_hz,
            null=options.null,
            permutations=options.permutations,
            cluster_p=options.cluster_p,
            seed=options.seed,
        )
        groups["sensor"] = sensor_map(ds, contrasts=options.contrasts, high_pass_hz=high_pass_hz, seed=options.seed)
        events = inputs.dataset("ingest", "event")
        recording = inputs.dataset("clean_eeg").assign({name: events[name] for name in events.data_vars})
        groups["evoked"] = evoked_map(recording, contrasts=options.contrasts, seed=options.seed)
    return Product(groups)


def raw_files(session: Session) -> Iterator[str]:
    """Every file that ingest opens; sidecars are in the session already, and enter the key with it."""
    yield session.bold
    yield from recording_files(session.eeg, electrodes=session.electrodes)
    if session.events:
        yield session.events


def anatomy_files(session: Session) -> Iterator[str]:
    """The subject's T1w, if there is one."""
    if session.anatomy:
        yield session.anatomy


STEPS: tuple[Step, ...] = (
    Step("ingest", ingest, recipe=("ingest",), version=4, libraries=("numpy", "mne", "nibabel"), files=raw_files),
    Step("align", align, ("ingest",), ("align",), version=3),
    Step(
        "realign",
        estimate_motion,
        ("ingest",),
        ("realign",),
        version=4,
        libraries=("numpy", "scipy", "numba", "nilearn"),
    ),
    Step(
        "clean_eeg",
        clean_eeg,
        ("ingest", "align"),
        ("ingest", "clean_eeg"),
        version=12,
        libraries=("numpy", "scipy"),
    ),
    Step(
        "normalise_anatomy",
        normalise_anatomy,
        recipe=("normalise",),
        level="subject",
        version=3,
        libraries=("numpy", "scipy", "numba", "SimpleITK", "nilearn"),
        files=anatomy_files,
    ),
    Step(
        "normalise",
        normalise_bold,
        ("ingest", "realign", "normalise_anatomy"),
        ("realign", "normalise", "confounds"),
        version=5,
        libraries=("numpy", "scipy", "numba", "SimpleITK", "nilearn"),
    ),
    Step(
        "features",
        features,
        ("ingest", "align", "clean_eeg", "normalise"),
        ("features",),
        libraries=("numpy", "scipy"),
    ),
    Step("fuse", fuse, ("features",), ("fuse",), version=6, libraries=_fuse_libraries),
    Step(
        "map",
        make_maps,
        ("ingest", "clean_eeg", "features", "fuse"),
        ("map", "fuse", "confounds"),
        version=11,
        libraries=("numpy", "scipy", "numba", "nilearn"),
    ),
    Step(
        "publish",
        publish,
        ("ingest", "align", "realign", "clean_eeg", "normalise", "features", "fuse", "map"),
        ("publish", "confounds"),
        version=10,
        libraries=("nibabel", "matplotlib", "zarr"),
    ),
)
"""The line, in the one order of writing; data never flows back."""
