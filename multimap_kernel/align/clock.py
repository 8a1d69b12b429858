"""A recording on the scanner clock."""

from __future__ import annotations

import xarray as xr

from multimap_kernel.schema import Alignment, regular_time, require, sampling


def apply_alignment(eeg: xr.Dataset, alignment: Alignment) -> xr.Dataset:
    """Put a recording on the scanner clock: time 0 is the start of the first volume.

    Parameters
    ----------
    eeg
        Recording on its own clock, any variables ``(..., time)``; no sample is changed.
    alignment
        Offset and drift.

    Returns
    -------
    The same Dataset with ``time`` and ``marker_onset`` in s of the scanner clock, and ``clock`` set to ``scanner``.

    Raises
    ------
    SchemaError
        If the Dataset is not on the EEG clock or its time axis is not regular.

    Notes
    -----
    ``scanner_time = (eeg_time - offset) / (1 + drift)``: the samples stay, only their times are told anew.
    """
    require(eeg, where="apply_alignment", clock="eeg")
    axis = sampling(eeg)
    coordinates = regular_time(alignment.scanner_time(axis.start), axis.frequency * alignment.pace, axis.samples)
    moved = eeg.drop_vars("time").assign_coords(coordinates)
    if "marker_onset" in eeg:
        moved["marker_onset"] = ((eeg["marker_onset"] - alignment.offset_s) / alignment.pace).assign_attrs(
            eeg["marker_onset"].attrs
        )
    return moved.assign_attrs(clock="scanner")
