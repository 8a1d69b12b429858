"""BOLD: timing, motion, normalisation, confounds, series."""

from multimap_kernel.fmri.confounds import confounds
from multimap_kernel.fmri.coverage import check_coverage
from multimap_kernel.fmri.motion import realign
from multimap_kernel.fmri.normalise import normalise
from multimap_kernel.fmri.registration import estimate_normalisation
from multimap_kernel.fmri.rigid import motion_matrices
from multimap_kernel.fmri.series import series
from multimap_kernel.fmri.timing import correct_timing

__all__ = [
    "check_coverage",
    "confounds",
    "correct_timing",
    "estimate_normalisation",
    "motion_matrices",
    "normalise",
    "realign",
    "series",
]
