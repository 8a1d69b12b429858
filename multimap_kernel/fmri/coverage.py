"""How much of the brain a run shows."""

from __future__ import annotations

import numpy as np
import xarray as xr

from multimap_kernel import schema
from multimap_kernel.fmri.blocks import small
from multimap_kernel.fmri.rigid import grid_matrix

WHOLE_MM = 120.0
"""A brain cut off by the field of view and shorter than that is too small a part to find its size by."""
FLAT = 1 / 3
"""A brain tapers: an outer slice of the mask above this share of its largest is a cut. Of the template's brain in
slices of up to 10 mm it is 0.28 at most, and 0.4 or more where a cut leaves less than 120 mm."""
ALONG = ("left to right", "back to front", "bottom to top")


def check_coverage(ds: xr.Dataset) -> tuple[str, ...]:
    """Tell where a run shows too little of the brain to be registered to a template by itself.

    Where the top or the bottom of the brain is outside the field of view, an affine may trade a shift for a stretch:
    the 85 mm below the vertex came to lie 12 mm off in the median, stretched by 1.3, on simulated heads. The rigid
    way through a T1-weighted image is not concerned (0.5 mm).

    Parameters
    ----------
    ds
        A run, as `realign` gives it: ``mask (z, y, x)``, ``affine``.

    Returns
    -------
    One sentence for each direction in which the brain is shorter than 120 mm and goes on to an end of the field of
    view, or ends flat before it, at slices without data (padding, motion correction); none for an empty mask.

    Raises
    ------
    SchemaError
        If the mask is missing.
    """
    schema.require(ds, "mask", where="check_coverage")
    mask, to_world = small(ds["mask"]), grid_matrix(ds)[:3, :3]
    told = []
    for axis, edge in enumerate(np.linalg.norm(to_world, axis=0)):
        area = mask.sum(axis=tuple({0, 1, 2} - {axis}))
        rows = np.flatnonzero(area)
        if not rows.size:
            break
        extent = edge * (rows[-1] - rows[0] + 1)
        reaches = rows[0] == 0 or rows[-1] == len(area) - 1  # as `brain_mask` does where the brain goes on
        cut_off = reaches or area[rows[[0, -1]]].max() > FLAT * area.max()
        if cut_off and extent < WHOLE_MM:
            way = ALONG[int(np.abs(to_world[:, axis]).argmax())]
            told.append(
                f"the BOLD run shows only {extent:.0f} mm of the brain from {way}, cut off by the field of view, and "
                "may lie more than 10 mm off in the template: give a T1w, or set normalise.space: native"
            )
    return tuple(told)
