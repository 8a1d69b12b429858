"""`simulate_session`: one BIDS session with simultaneous EEG and fMRI, and everything that is true about it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from multimap_kernel.simulate import bids, bold, eeg, head, latents, scanner, truth
from multimap_kernel.simulate.clocks import Clocks, check_faults, make_clocks
from multimap_kernel.simulate.sizes import SimulationError, Size, find_size

SCAN_START = datetime(2024, 1, 1, 12, 0, 0)  # noqa: DTZ001  BIDS acquisition times carry no zone


@dataclass(frozen=True)
class Names:
    """BIDS entities of the session, and the paths that follow from them."""

    subject: str
    session: str
    task: str
    run: str

    @property
    def label(self) -> str:
        """``sub-01[_ses-x]_task-y[_run-z]``."""
        return "_".join([self.prefix, f"task-{self.task}", *([f"run-{self.run}"] if self.run else [])])

    @property
    def prefix(self) -> str:
        """``sub-01[_ses-x]``."""
        return "_".join([f"sub-{self.subject}", *([f"ses-{self.session}"] if self.session else [])])

    def folder(self, study: Path) -> Path:
        """``<study>/sub-01[/ses-x]``."""
        return study.joinpath(*self.prefix.split("_"))


def simulate_session(
    study: str | Path,
    *,
    subject: str = "01",
    session: str = "",
    task: str = "flicker",
    run: str = "",
    size: str = "tiny",
    seed: int = 0,
    coupling: float | str = 1.0,
    task_effect: float = 1.0,
    artifacts: bool = True,
    faults: Iterable[str] = (),
    drift_ppm: float = 8.0,
    jitter_us: float = 5.0,
    t1w: bool = True,
) -> Path:
    """Simulate simultaneous EEG and fMRI of one session and write it as BIDS, with its truth.

    The truth goes to ``<study>/sourcedata/truth/<label>_truth.json`` (parameters, clocks, regions, planted faults),
    ``..._truth.npz`` (signals and courses) and label images of the regions on the MNI and the EPI grid. The JSON is
    written last: a session that has one is whole. Called again with the same parameters, nothing is written.

    Parameters
    ----------
    study
        Folder of the BIDS study; made if missing, and it may hold other sessions.
    subject, session, task, run
        BIDS labels (letters and digits); empty ``session`` and ``run`` are left out of the names.
    size
        ``"tiny"``, ``"demo"`` or ``"standard"``; see `describe`.
    seed
        With the labels, decides everything. The head depends on seed and subject only.
    coupling
        Factor of the alpha effect in BOLD. 0 removes every path from EEG to BOLD: no alpha response, and the two are
        recorded from two bodies (arousal, heart, breath, motion), as if two people had done the same task.
        ``"interaction"`` adds to a coupling of 1 two regions that follow the product of the theta and beta envelopes.
    task_effect
        Factor of the responses to the task in BOLD and EEG; 0 removes them, the events stay in the tables.
    artifacts
        False leaves out gradient artifact, pulse artifact and motion, and writes the EEG at 250 Hz.
    faults
        Names from `FAULTS`: what goes wrong with the recording.
    drift_ppm
        How much faster the EEG clock runs than the scanner's.
    jitter_us
        Standard deviation of the start of each volume around its nominal time, microseconds.
    t1w
        Whether to write an anatomical image.

    Returns
    -------
    The folder of the study.

    Raises
    ------
    SimulationError
        If a parameter is out of its range, or another session with these labels is there already.

    References
    ----------
    Allen et al. (2000), NeuroImage 12:230 (gradient artifact); Allen et al. (1998), NeuroImage 8:229 (pulse artifact);
    Laufs et al. (2003), NeuroImage 19:1463, Moosmann et al. (2003), NeuroImage 20:145 (alpha and BOLD).
    """
    what = find_size(size)
    names = _check_names(Names(subject, session, task, run))
    parameters = {
        "size": size,
        "seed": int(seed),
        "coupling": check_coupling(coupling),
        "task_effect": float(task_effect),
        "artifacts": bool(artifacts),
        "faults": list(check_faults(faults)),
        "drift_ppm": float(drift_ppm),
        "jitter_us": float(jitter_us),
        "t1w": bool(t1w),
    }
    root = Path(study)
    if not truth.exists(root, names.label, parameters):
        _simulate(root, names, what, parameters)
    return root


def _check_names(names: Names) -> Names:
    for entity, value in asdict(names).items():
        if not re.fullmatch(r"[A-Za-z0-9]*", str(value)) or (entity in {"subject", "task"} and not value):
            raise SimulationError(f"{entity} must be letters and digits (a BIDS label), but got {value!r}")
    return names


def check_coupling(coupling: float | str) -> float | str:
    """A number, or the word "interaction"; everything else is refused."""
    if coupling == "interaction":
        return "interaction"
    if isinstance(coupling, str):
        raise SimulationError(f"coupling must be a number or 'interaction', but got {coupling!r}")
    return float(coupling)


def _simulate(study: Path, names: Names, size: Size, parameters: dict[str, Any]) -> None:
    stream = latents.streams(parameters["seed"], names.label)
    of_subject = latents.streams(parameters["seed"], f"sub-{names.subject}")
    coupling, still = parameters["coupling"], not parameters["artifacts"]
    faults = tuple(parameters["faults"])
    clocks = make_clocks(
        size,
        stream,
        drift_ppm=parameters["drift_ppm"],
        jitter_us=parameters["jitter_us"],
        artifacts=parameters["artifacts"],
        faults=faults,
    )
    in_scanner = latents.draw_body(size, stream, name="body", still=still)
    under_cap = in_scanner if coupling != 0 else latents.draw_body(size, stream, name="other body", still=still)
    events = latents.draw_events(size, stream)
    rhythms = latents.draw_rhythms(in_scanner.time, under_cap.arousal, stream)
    responses = regional_responses(events, rhythms, size, coupling, parameters["task_effect"])
    to_mni = head.draw_subject(of_subject)
    scan = bold.scan(size, in_scanner, to_mni, responses, head.REGIONS, stream, unsteady="unsteady_start" in faults)
    _write_bold(study, names, size, scan, events, clocks)
    if parameters["t1w"]:
        _write_anatomy(study, names, size, to_mni, of_subject)
    span = clocks.to_scanner(np.array([0.0, clocks.samples / clocks.sampling_hz]))
    clean = eeg.make_eeg(
        size.channels, (span[0], span[1]), rhythms, events, stream, task_effect=parameters["task_effect"]
    )
    pulse = eeg.pulse_artifact(size.channels, under_cap, clean.time, stream) * np.float32(parameters["artifacts"])
    _write_eeg(study, names, size, clean, pulse, under_cap, clocks, events, stream, artifacts=parameters["artifacts"])
    bids.write_study(study, names.subject)
    truth.write(
        study,
        names.label,
        truth.Truth(
            parameters, size, clocks, in_scanner, under_cap, rhythms, events, clean, pulse, scan, to_mni, responses
        ),
    )


def regional_responses(
    events: latents.Events, rhythms: latents.Rhythms, size: Size, coupling: float | str, task_effect: float
) -> latents.Array:
    """BOLD responses (region, time) on the 10 Hz grid, %."""
    together = coupling == "interaction"
    strength = {"alpha": 1.0 if together else float(coupling), "interaction": float(together)}
    return np.stack(
        [
            bold.regional_response(
                region, events, rhythms, size, coupling=strength.get(region.driver, 0.0), task_effect=task_effect
            )
            for region in head.REGIONS
        ]
    )


def _write_anatomy(study: Path, names: Names, size: Size, to_mni: latents.Array, stream: latents.Stream) -> None:
    values, affine = head.subject_anatomy(size, to_mni, stream("t1w"))
    stem = names.folder(study) / "anat" / f"{names.prefix}_T1w"
    bids.write_image(Path(f"{stem}.nii.gz"), values.transpose(2, 1, 0), affine)
    bids.write_json(Path(f"{stem}.json"), {"MagneticFieldStrength": 3})


def _write_bold(study: Path, names: Names, size: Size, scan: bold.Scan, events: latents.Events, clocks: Clocks) -> None:
    stem = names.folder(study) / "func" / names.label
    bids.write_image(
        Path(f"{stem}_bold.nii.gz"),
        scan.volumes,
        scan.affine,
        repetition_time=size.repetition_time,
        slope=bids.BOLD_SLOPE,
    )
    bids.write_bold_sidecars(stem, names.task, size.repetition_time, scan.slice_time, events, clocks.dummies)
    eeg_start = SCAN_START - timedelta(seconds=round(clocks.offset_s, 3))
    table = names.folder(study) / f"{names.prefix}_scans.tsv"
    for file, at in ((f"func/{names.label}_bold.nii.gz", SCAN_START), (f"eeg/{names.label}_eeg.vhdr", eeg_start)):
        bids.merge_table(table, ("filename", "acq_time"), (file, at.isoformat(timespec="milliseconds")))


def _write_eeg(
    study: Path,
    names: Names,
    size: Size,
    clean: eeg.CleanEeg,
    pulse: eeg.Signal,
    body: latents.Body,
    clocks: Clocks,
    events: latents.Events,
    stream: latents.Stream,
    *,
    artifacts: bool,
) -> None:
    maps = eeg.topographies(size.channels)
    slow, artifact = clean.signal + pulse, None
    if artifacts:
        rng = stream("gradient artifact")
        sample_time = clocks.sample_times()
        courses = scanner.gradient_courses(size, clocks, sample_time, rng)
        chest = np.array([[0.03, 0.05, -0.3]])
        gains = scanner.loop_gains(np.r_[maps.position, chest], rng)
        gains = scanner.scaled_gains(gains, courses, len(size.channels))
        pose_gains = rng.standard_normal((len(gains), 6))
        artifact = (gains, courses, pose_gains, scanner.pose_courses(size, body, sample_time))
        slow = slow + scanner.movement_artifact(size, body, clean.time, maps.position, stream("movement artifact"))
    slow = np.concatenate([slow, eeg.electrocardiogram(body, clean.time)[None]])
    counts = scanner.record(slow, clean.start_s, clocks, artifact, stream("amplifier"))
    channels = (*size.channels, "ECG")
    stem = names.folder(study) / "eeg" / names.label
    bids.write_brainvision(Path(f"{stem}_eeg"), channels, counts, clocks, events)
    bids.write_eeg_sidecars(stem, stem.parent / names.prefix, names.task, channels, maps, clocks, events)
