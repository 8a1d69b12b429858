"""Names, dimensions, units and meaning of the variables that cross a boundary, and the check there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import xarray as xr

from multimap_kernel.schema.errors import SchemaError


@dataclass(frozen=True)
class Variable:
    """One named array of the project.

    Parameters
    ----------
    name
        Name in the Dataset.
    dims
        Dimensions, in this order.
    units
        SI unit, ``"1"`` for pure numbers, ``""`` for text and flags.
    kind
        NumPy kind codes that are allowed (``f`` real, ``i`` integer, ``b`` flag, ``U`` text).
    doc
        Meaning, in one sentence.
    """

    name: str
    dims: tuple[str, ...]
    units: str
    kind: str
    doc: str


_ALL = (
    # recordings
    Variable("bold", ("time", "z", "y", "x"), "1", "fiu", "BOLD volumes; time is the start of each volume"),
    Variable("eeg", ("channel", "time"), "V", "f", "potential against the recording's reference"),
    Variable(
        "count", ("channel", "time"), "1", "fi", "the recording as its file holds it: eeg = count * scale + offset"
    ),
    Variable("scale", ("channel",), "V", "f", "volts per count"),
    Variable("offset", ("channel",), "V", "f", "volts at count 0"),
    Variable(
        "overview",
        ("channel", "stretch", "extreme"),
        "1, V",
        "fi",
        "least and largest value of stretches of 8, 64, 512, ... samples, in the unit of the signal",
    ),
    Variable("position", ("channel", "world"), "mm", "f", "electrode position in head RAS+; NaN where unknown"),
    Variable("channel_type", ("channel",), "", "UOT", "eeg, ecg, eog or misc"),
    Variable("marker_onset", ("marker",), "s", "f", "time of each marker on the EEG clock, from the first sample"),
    Variable("marker_label", ("marker",), "", "UOT", "text of each marker"),
    Variable("event_onset", ("event",), "s", "f", "onset from the start of the first volume"),
    Variable("event_duration", ("event",), "s", "f", "duration"),
    Variable("event_condition", ("event",), "", "UOT", "name of the condition"),
    Variable("anatomy", ("z", "y", "x"), "1", "f", "anatomical image"),
    # spatial preparation
    Variable("motion", ("time", "parameter"), "mm, rad", "f", "position of the head against the reference volume"),
    Variable("reference", ("z", "y", "x"), "1", "f", "reference volume of the run"),
    Variable("carpet", ("row", "time"), "1", "f", "series without trend, in standard deviations, bottom to top"),
    Variable("mask", ("z", "y", "x"), "", "b", "voxels inside the brain"),
    Variable("transform", ("world", "index"), "mm", "f", "affine that takes native to target RAS+ millimetres"),
    Variable("confound", ("time", "regressor"), "1", "f", "nuisance regressors"),
    Variable("framewise_displacement", ("time",), "mm", "f", "motion against the volume before (Power, 50 mm)"),
    Variable("dvars", ("time",), "1", "f", "root mean square change of the brain, its mean scaled to 1000"),
    # EEG preparation
    Variable("r_peak", ("beat",), "s", "f", "times of the R peaks on the scanner clock; NaN after the last"),
    Variable("bad_span", ("span", "end"), "s", "f", "begin and end of times that a person calls bad, scanner clock"),
    Variable("density", ("channel", "frequency"), "V2/Hz", "f", "power spectral density"),
    Variable("volume_average", ("channel", "phase"), "V", "f", "mean course within a volume, from its start"),
    Variable("saturated", ("channel", "volume"), "1", "f", "share of samples at an end of the amplifier's range"),
    Variable("quality", ("channel", "metric"), "1", "f", "quality of each channel"),
    # features
    Variable("band_power", ("time", "channel", "band"), "V2", "f", "mean power of each band within each volume"),
    Variable("band_power_fine", ("bin", "channel", "band"), "V2", "f", "power of each band in bins of 0.1 s"),
    Variable("eeg_patch", ("time", "channel", "sample"), "V", "f", "clean EEG of one repetition time around a volume"),
    Variable("series", ("time", "voxel"), "1", "f", "BOLD series of the voxels of the mask"),
    Variable("region_series", ("time", "region"), "1", "f", "mean BOLD series of regions"),
    # joint model and maps
    Variable("prediction", ("time", "voxel"), "1", "f", "BOLD predicted out of fold from EEG alone"),
    Variable("hat", ("time", "trained"), "1", "f", "weight of BOLD at one volume in the prediction at another"),
    Variable("region_prediction", ("time", "region"), "1", "f", "BOLD predicted out of fold by the joint model"),
    Variable("region_ridge", ("time", "region"), "1", "f", "BOLD predicted out of fold by the ridge alone"),
    Variable("region_measured", ("time", "region"), "1", "f", "BOLD without trend and confounds, deviation 1"),
    Variable("embedding", ("time", "modality", "latent"), "1", "f", "place of a window in the space of both sides"),
    Variable("gate", ("fold", "region"), "1", "f", "share of the network's prediction that is added to the ridge"),
    Variable("lag_weight", ("fold", "head", "lag"), "1", "f", "weight of the EEG this long before the volume"),
    Variable("statistic", ("condition", "modality", "z", "y", "x"), "1", "f", "test statistic; kind in statistic_kind"),
    Variable("effect", ("condition", "modality", "z", "y", "x"), "percent", "f", "of the mean; joint: of the variance"),
    Variable(
        "effect_variance", ("condition", "modality", "z", "y", "x"), "percent2", "f", "squared standard error of effect"
    ),
    Variable("p_fwe", ("condition", "modality", "z", "y", "x"), "1", "f", "family-wise error p"),
    Variable("p_cluster", ("condition", "modality", "z", "y", "x"), "1", "f", "p of the voxel's cluster, by its size"),
    Variable("n", ("z", "y", "x"), "1", "i", "members that have the voxel"),
    Variable("q_fdr", ("condition", "modality", "z", "y", "x"), "1", "f", "false discovery rate q"),
)
VARIABLES: dict[str, Variable] = {variable.name: variable for variable in _ALL}
"""Each by its name."""


def require(ds: xr.Dataset, *names: str, where: str, clock: str | None = None) -> None:
    """Check that a Dataset holds what a boundary needs, and raise with all faults at once.

    Parameters
    ----------
    ds
        Dataset to check; nothing is computed.
    *names
        Names out of `VARIABLES`.
    where
        Name of the verb that asks, for the message.
    clock
        ``"eeg"`` or ``"scanner"``: the clock that the Dataset's time axis must be on.

    Raises
    ------
    SchemaError
        Lists each missing variable, wrong dimension order, wrong kind and wrong clock.
    """
    faults = [fault for name in names for fault in _faults(ds, VARIABLES[name])]
    if clock is not None and ds.attrs.get("clock") != clock:
        remedy = "call apply_alignment first" if clock == "scanner" else "give the recording as it was ingested"
        faults.append(f"time must be on the {clock} clock, found {ds.attrs.get('clock', 'no clock')!r}; {remedy}")
    if faults:
        raise SchemaError(where, faults)


def _faults(ds: xr.Dataset, variable: Variable) -> Iterable[str]:
    if variable.name not in ds:
        yield f"{variable.name} {variable.dims} must be there ({variable.doc}), found {sorted(map(str, ds.variables))}"
        return
    array = ds[variable.name]
    if array.dims != variable.dims:
        yield f"{variable.name} must have dimensions {variable.dims}, found {array.dims}; use .transpose{variable.dims}"
    if array.dtype.kind not in variable.kind:
        yield f"{variable.name} must be of kind {variable.kind!r}, found {array.dtype}"


def annotate(array: xr.DataArray, name: str | None = None) -> xr.DataArray:
    """Give an array the units and the meaning that the schema holds for its name.

    Parameters
    ----------
    array
        The array; its values are not touched.
    name
        Name in the schema, if it differs from the array's own.

    Returns
    -------
    The same array with ``units`` and ``long_name`` set.
    """
    variable = VARIABLES[str(name or array.name)]
    return array.assign_attrs(units=variable.units, long_name=variable.doc)
