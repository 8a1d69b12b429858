"""EEG recorded inside the scanner: artifacts out, band power in."""

from multimap_kernel.eeg.cleaning import clean
from multimap_kernel.eeg.decimation import decimate
from multimap_kernel.eeg.gradient import remove_gradient_artifact
from multimap_kernel.eeg.power import band_power
from multimap_kernel.eeg.pulse import remove_pulse_artifact
from multimap_kernel.eeg.spans import blank_spans
from multimap_kernel.eeg.unmarked import find_unmarked_scanning

__all__ = [
    "band_power",
    "blank_spans",
    "clean",
    "decimate",
    "find_unmarked_scanning",
    "remove_gradient_artifact",
    "remove_pulse_artifact",
]
