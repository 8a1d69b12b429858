"""Estimates and decisions as values: frozen, printable, JSON in and out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self

Json = Any


@dataclass(frozen=True)
class Value:
    """Base of all values: converts itself to and from plain JSON; NaN is stored as null."""

    def to_json(self) -> dict[str, Json]:
        """Plain JSON of all fields."""
        return {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Json]) -> Self:
        """Make the value again from `to_json`."""
        return cls(
            **{field.name: _frozen(stored[field.name]) for field in dataclasses.fields(cls) if field.name in stored}
        )


def _plain(item: Any) -> Json:
    if isinstance(item, float) and not math.isfinite(item):
        return None
    if isinstance(item, tuple):
        return [_plain(part) for part in item]
    if isinstance(item, Mapping):
        return {name: _plain(part) for name, part in item.items()}
    return item


def _frozen(item: Json) -> Any:
    return tuple(_frozen(part) for part in item) if isinstance(item, list) else item


@dataclass(frozen=True)
class Alignment(Value):
    """How the EEG clock maps to the scanner clock: ``eeg_time = offset_s + (1 + drift_ppm * 1e-6) * scanner_time``.

    Parameters
    ----------
    offset_s
        EEG time of the start of the first volume in the BOLD file, s from the first EEG sample.
    offset_interval_s
        95 % interval of the offset, s.
    drift_ppm
        How much faster the EEG clock runs than the scanner's, parts per million.
    residual_s
        For each volume, marker minus model, s; None where no marker was found.
    repetition_time
        Seconds from volume to volume, scanner clock.
    marker
        Label of the volume marker.
    matched
        Number of volumes that have a marker.
    missing
        Volumes without a marker, although the EEG covers them.
    extra
        Markers (position in the list of this label) that belong to no volume.
    dummy
        Markers before the first volume of the file (discarded by the scanner).
    covered
        For each volume, whether the EEG covers it whole.
    verdict
        ``"good"``, ``"suspect"`` or ``"bad"``.
    reasons
        Why the verdict is not good, and what was repaired; empty if nothing.
    """

    offset_s: float
    offset_interval_s: tuple[float, float]
    drift_ppm: float
    residual_s: tuple[float | None, ...]
    repetition_time: float
    marker: str
    matched: int
    missing: tuple[int, ...] = ()
    extra: tuple[int, ...] = ()
    dummy: int = 0
    covered: tuple[bool, ...] = ()
    verdict: str = "good"
    reasons: tuple[str, ...] = ()

    @property
    def pace(self) -> float:
        """Seconds of the EEG clock in one second of the scanner's."""
        return 1.0 + self.drift_ppm * 1e-6

    def scanner_time(self, eeg_time: float) -> float:
        """Scanner time (s) of a time on the EEG clock (s)."""
        return (eeg_time - self.offset_s) / self.pace


@dataclass(frozen=True)
class Fit(Value):
    """What the ridge from EEG to BOLD learned and how it was judged.

    Parameters
    ----------
    model
        ``"ridge"``.
    score
        Out-of-fold correlation between prediction and BOLD, mean over voxels.
    null_score
        The same for BOLD in random phases, predicted anew: mean and 95th percentile of the null.
    penalties
        Ridge penalty of each fold, absolute, for standardised features.
    lags_s
        Lags of the EEG features, s before the volume.
    split
        For each fold, ``(first, last)`` volume of the test part; ``gap_s`` on both sides of it trained nothing.
    gap_s
        Time left out on each side of a test part, s.
    seed
        Seed of all random choices.
    """

    model: str
    score: float
    null_score: tuple[float, float]
    penalties: tuple[float, ...]
    lags_s: tuple[float, ...]
    split: tuple[tuple[int, int], ...]
    gap_s: float
    seed: int


@dataclass(frozen=True)
class JointFit(Value):
    """What the joint model learned of regions, beside the ridge that it stands on.

    Parameters
    ----------
    score, ridge_score
        Out-of-fold correlation of joint model and ridge with BOLD, mean over regions and folds.
    gate
        For each fold and region, how much of the network's prediction is added to the ridge; 0 is "no gain".
    penalties
        Ridge penalty of each fold, per feature.
    lag_weight
        For each head of the network and each lag, the weight of the EEG that long before, mean over folds.
    manifest
        The split: ``kind``, ``gap_s``, ``lags_s``, ``repetition_time``, ``folds`` with their ``test`` and ``train``
        segments ``[run, first volume, last volume]``, and the ``sha256`` of all that.
    data_sha256, weights_sha256
        Of what was read and of what was learned.
    size, tokens, latent, seed
        Configuration of the networks, what they read (``power``, ``patches``), dimensions of the embedding, seed.
    """

    score: float
    ridge_score: float
    gate: tuple[tuple[float, ...], ...]
    penalties: tuple[float, ...]
    lag_weight: tuple[tuple[float, ...], ...]
    manifest: Mapping[str, Json]
    data_sha256: str
    weights_sha256: str
    size: str
    tokens: str
    latent: int
    seed: int


class Score(NamedTuple):
    """Out-of-fold correlation, mean over regions, its 95 % interval over test pieces, and explained variance."""

    r: float
    low: float
    high: float
    r2: float


@dataclass(frozen=True)
class Evaluation(Value):
    """A joint model beside its baselines, its nulls and a probe for leaks.

    Parameters
    ----------
    scores
        `Score` of each model by name.
    gain, gain_interval
        Correlation of the joint model minus that of the ridge, mean over regions and test pieces; 95 % interval.
    regions, region_r, region_ridge_r, region_p_fwe
        Each region's name, correlation by both models, and family-wise p of the joint model.
    null_mean, null_95, null_members
        Mean over regions for ridges refitted to BOLD in random phases: mean and 95th percentile over this many members.
    threshold_fwe, smallest_p
        Correlation of a region at family-wise p = .05, and the smallest p that the members allow.
    refit_null
        Mean correlation of ridges refitted on shifted EEG.
    other_run
        Mean correlation with what another run's EEG predicts; NaN for one run.
    retrieval, retrieval_ridge, retrieval_chance
        Share of moments found by the embedding, by patterns of the ridge over the same windows, and by chance.
    leak, leak_shuffled
        Mean correlation of nearest neighbours under the split and under folds drawn at random.
    """

    scores: Mapping[str, Score]
    gain: float
    gain_interval: tuple[float, float]
    regions: tuple[str, ...]
    region_r: tuple[float, ...]
    region_ridge_r: tuple[float, ...]
    region_p_fwe: tuple[float, ...]
    null_mean: float
    null_95: float
    null_members: int
    threshold_fwe: float
    smallest_p: float
    refit_null: tuple[float, ...]
    other_run: float
    retrieval: float
    retrieval_ridge: float
    retrieval_chance: float
    leak: float
    leak_shuffled: float


@dataclass(frozen=True)
class Decision(Value):
    """One choice of a person about one session; later ones win, ``supersedes`` takes an earlier one back.

    Parameters
    ----------
    identifier
        ``<utc>-<user>-<uuid>``; also the file's name.
    session
        Session label, such as ``sub-01_task-rest``.
    user, created
        Who, and when (ISO 8601, UTC).
    action
        ``accept``, ``exclude``, ``hold``, ``shift``, ``marker``, ``first_volume``, ``repetition_time``,
        ``drop_marker``, ``add_marker``, ``bad_channel``, ``bad_span`` or ``undo``.
    value
        What the action needs: seconds, a label, a channel, ``"start:stop"``; empty if nothing. Times are those of the
        EEG clock, so that they name the same samples whatever the alignment is.
    reason
        Why, in the person's words.
    supersedes
        Identifier of the decision that this one takes back.
    """

    identifier: str
    session: str
    user: str
    created: str
    action: str
    value: str = ""
    reason: str = ""
    supersedes: str = ""


class RunFolder(Protocol):
    """Where a training run keeps its history, its orders and its checkpoints.

    The engine that learns writes events and checkpoints and reads orders (``pause``, ``stop``); a widget, a notebook
    or a cloud job does the opposite. Neither needs to be there for the other to work.
    """

    def append_event(self, event: Mapping[str, Json]) -> None:
        """Add one line to the history."""

    def read_control(self) -> Mapping[str, Json]:
        """Read the orders that a person gave."""

    def save_checkpoint(self, name: str, content: bytes) -> None:
        """Store a checkpoint whole or not at all."""

    def load_checkpoint(self, name: str) -> bytes | None:
        """Read a checkpoint, None if there is none."""
