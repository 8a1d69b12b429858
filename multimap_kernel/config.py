"""What changes results (`Recipe`, hashed) and where and how a run happens (`Runtime`, never hashed)."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import fsspec
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from multimap_kernel.schema import RecipeError

Positive = Annotated[float, Field(gt=0)]


class _Part(BaseModel):
    """A frozen group of options; unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Ingest(_Part):
    """Which sessions are read, and in which state the EEG comes."""

    pairs: str = Field("", description="path of a pairs.tsv inside the study, for runs whose names differ")
    eeg_state: Literal["raw", "gradient_removed", "clean"] = Field(
        "raw", description="what was already done to the EEG"
    )
    dummy_volumes: int = Field(0, ge=0, description="volumes before the steady state; flagged, never removed")


class Align(_Part):
    """How markers are matched to volumes; where several labels repeat with them, one must be named."""

    marker: str = Field("", description="label of the volume marker; empty: the one that repeats with the volumes")


class Realign(_Part):
    """Rigid motion within a run."""

    backend: Literal["native", "none"] = Field("native", description="native: least squares; none: leave the volumes")
    slice_timing: bool = Field(True, description="shift slices to the middle of the volume, where SliceTiming is known")


class Gradient(_Part):
    """Average artifact subtraction."""

    window: int = Field(30, ge=5, description="volumes in the moving template")


class Pulse(_Part):
    """Pulse artifact subtraction."""

    method: Literal["average", "none"] = Field("average", description="average: template over beats")
    window: int = Field(21, ge=5, description="beats in the moving template")


class CleanEeg(_Part):
    """From the raw EEG to a clean one."""

    gradient: Gradient = Gradient()
    pulse: Pulse = Pulse()
    highpass_hz: Positive = 0.5
    lowpass_hz: Positive = 70.0
    sampling_hz: Positive = 250.0
    reference: Literal["average", "recording"] = "average"

    @model_validator(mode="after")
    def _band_fits(self) -> Self:
        if not self.highpass_hz < self.lowpass_hz < self.sampling_hz / 2:
            found = f"highpass {self.highpass_hz}, lowpass {self.lowpass_hz}, sampling {self.sampling_hz}"
            raise ValueError(f"highpass_hz < lowpass_hz < sampling_hz / 2 must hold, found {found} Hz")
        return self


class Normalise(_Part):
    """To which space and grid the BOLD goes."""

    space: Literal["MNI", "native"] = Field("MNI", description="MNI152NLin2009aSym, or the run's own space")
    resolution_mm: Positive = Field(3.0, description="voxel size of the grid; ignored in native space")


class Confounds(_Part):
    """Nuisance regressors."""

    model: Literal["motion6", "motion24", "none"] = "motion6"
    fd_threshold_mm: Positive = Field(0.5, description="volumes above it are marked and get a regressor each")
    high_pass_hz: Positive = Field(0.01, description="cut-off of the cosine drifts, in confounds and in maps")


class Features(_Part):
    """Power bands, Hz; half of the power passes at each limit."""

    bands: dict[str, tuple[float, float]] = {
        "delta": (1.0, 4.0),
        "theta": (4.0, 8.0),
        "alpha": (8.0, 12.0),
        "beta": (13.0, 30.0),
        "gamma": (30.0, 40.0),
    }

    @model_validator(mode="after")
    def _bands_are_intervals(self) -> Self:
        for name, (low, high) in self.bands.items():
            if not 0 < low < high:
                raise ValueError(f"band {name!r} must have 0 < low < high, found ({low}, {high}) Hz")
        return self


class Split(_Part):
    """What is left out: contiguous blocks of each run with a gap on both sides, or whole runs, sessions, subjects."""

    kind: Literal["block", "run", "session", "subject"] = Field(
        "block", description="of several runs, `multimap train` can leave out whole ones"
    )
    folds: int = Field(5, ge=2)
    gap_s: float = Field(16.0, ge=0)


class Fuse(_Part):
    """The joint model; the ridge is the reference that every other model is shown against."""

    model: Literal["ridge", "joint"] = Field("ridge", description="joint: the ridge, and a network on what it leaves")
    size: Literal["small", "base"] = Field("small", description="of the network: for a CPU, for a GPU")
    tokens: Literal["power", "patches"] = Field(
        "power", description="patches: `multimap train` also learns bands of its own from raw EEG"
    )
    region_mm: Positive = Field(24.0, description="edge of the cubes that the joint model takes as regions")
    lags_s: tuple[float, ...] = Field(
        (0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0), description="EEG this long before the volume"
    )
    split: Split = Split()
    seed: int = 0


class Map(_Part):
    """Which maps are made, and how they are judged."""

    contrasts: dict[str, dict[str, float]] = Field(
        default_factory=dict, description="name -> weight of each condition; empty: one contrast per condition"
    )
    hrf: Literal["spm", "glover"] = "spm"
    lags_s: tuple[float, ...] = Field((0.0, 2.0, 4.0), description="shift of the convolved band power against BOLD")
    noise: Literal["ar1", "ols"] = "ar1"
    null: Literal["auto", "phase", "shift", "block"] = Field(
        "auto", description="how the design is moved; auto: in blocks if it repeats itself, else by phases"
    )
    permutations: int = Field(199, ge=19, description="largest number of members of the null of activation")
    cluster_p: float | None = Field(
        None, gt=0, le=0.05, description="uncorrected p of voxels that form clusters, such as 0.001; none if not given"
    )
    smoothing_mm: float = Field(8.0, ge=0, description="full width at half maximum of the Gaussian")
    seed: int = 0


class Group(_Part):
    """What a study's members are asked together."""

    test: Literal["one-sample", "paired", "two-sample"] = "one-sample"
    column: str = Field(
        "", description="two-sample: a column of participants.tsv; paired: session, task or run, which is compared"
    )
    levels: tuple[str, str] | None = Field(None, description="values of the column: first minus second")
    task: str = Field("", description="only sessions of this task; a study of one task needs none")
    permutations: int = Field(999, ge=19, description="largest number of sign flips or labellings")
    coverage: float = Field(1.0, gt=0, le=1, description="share of the members that a voxel must have")
    cluster_p: float | None = Field(
        None, gt=0, le=0.05, description="as of map: adds the family-wise p of clusters of voxels"
    )
    seed: int = 0

    @model_validator(mode="after")
    def _comparison_has_a_column(self) -> Self:
        entities = ("session", "task", "run")
        if self.test == "paired" and self.column not in entities:
            raise ValueError(f"a paired test needs column to be one of {', '.join(entities)}, found {self.column!r}")
        if self.test == "two-sample" and not self.column:
            raise ValueError("a two-sample test needs a column of participants.tsv, found none")
        return self


class Publish(_Part):
    """What the pictures and the viewer show first."""

    threshold: float = Field(0.05, gt=0, lt=1, description="family-wise error p of the first view")


class Recipe(_Part):
    """Everything that changes a result; its parts enter the key of the step that reads them.

    Parameters
    ----------
    name
        What people call this recipe; not hashed.
    version
        Version of the recipe's form; only 1 exists.
    """

    name: str = "default"
    version: Literal[1] = 1
    ingest: Ingest = Ingest()
    align: Align = Align()
    realign: Realign = Realign()
    clean_eeg: CleanEeg = CleanEeg()
    normalise: Normalise = Normalise()
    confounds: Confounds = Confounds()
    features: Features = Features()
    fuse: Fuse = Fuse()
    map: Map = Map()
    publish: Publish = Publish()
    group: Group = Group()

    @model_validator(mode="after")
    def _bands_pass_the_filter(self) -> Self:
        limit = self.clean_eeg.lowpass_hz
        for name, (low, high) in self.features.bands.items():
            if high > limit:
                raise ValueError(
                    f"each of features.bands must end at or below clean_eeg.lowpass_hz ({limit:g} Hz), above which "
                    f"nothing is left of the EEG; found {name!r} of {low:g} to {high:g} Hz; raise lowpass_hz, or end "
                    "or leave out the band"
                )
        return self

    @classmethod
    def load(cls, path: str | Path) -> Recipe:
        """Read a recipe from YAML.

        Raises
        ------
        RecipeError
            If the file is not YAML, names an unknown option (with the nearest known one) or holds a wrong value.
        """
        try:
            with fsspec.open(str(path), "rt", encoding="utf-8") as stream:
                stored = yaml.safe_load(stream) or {}
        except (OSError, yaml.YAMLError) as fault:
            raise RecipeError(f"{path} must be a readable YAML file, found: {fault}") from fault
        return cls.parse(stored, str(path))

    @classmethod
    def parse(cls, stored: Any, origin: str = "recipe") -> Recipe:
        """Make a recipe from plain data; faults are told with ``origin``. Raises RecipeError."""
        try:
            return cls.model_validate(stored)
        except ValidationError as fault:
            lines = [_explain(dict(error)) for error in fault.errors()]
            raise RecipeError(f"{origin}: " + "; ".join(lines)) from None

    def dump(self) -> str:
        """The whole recipe as YAML."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def _explain(error: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in error["loc"]) or "recipe"
    if error["type"] != "extra_forbidden":
        found = f" (found {error['input']!r})" if error["loc"] else ""  # not the recipe whole
        return f"{where} is not allowed: {error['msg']}{found}"
    known = _options(error["loc"][:-1])
    near = difflib.get_close_matches(str(error["loc"][-1]), known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
    return f"unknown option {where!r}; {hint}"


def _options(path: tuple[Any, ...]) -> list[str]:
    part: type[BaseModel] = Recipe
    for name in path:
        inner = part.model_fields[str(name)].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        part = inner
    return list(part.model_fields)


class Cluster(_Part):
    """Where the work is done.

    ``threads`` runs inside this process, ``local`` starts worker processes, ``kubernetes`` asks the Dask operator,
    ``address`` joins a running scheduler. The last four options are for ``kubernetes`` alone.
    """

    kind: Literal["threads", "local", "kubernetes", "address"] = "local"
    workers: int = Field(2, ge=1)
    memory: str = Field("1GiB", description="limit of one worker")
    address: str = Field("", description="scheduler to join when kind is address")
    patience_s: Positive = Field(120.0, description="how long a run waits without any worker before it gives up")
    max_workers: int = Field(0, ge=0, description="above workers: the cluster grows and shrinks between the two")
    spot: bool = Field(True, description="workers on spot nodes, which are cheap and taken away at short notice")
    idle_s: int = Field(1800, ge=1, description="a cluster without work for this long is deleted")
    max_age_s: int = Field(43200, ge=1, description="a cluster of this age is deleted, whatever it does")


class Runtime(_Part):
    """Where results live and how work is done; never changes a result."""

    store: str = Field(
        default_factory=lambda: os.environ.get("MULTIMAP_STORE", "multimap-store"), description="any fsspec URL"
    )
    scratch: str = Field("", description="folder for temporary files; empty: the system's")
    cluster: Cluster = Cluster()
