"""The two clocks: how they are matched, corrected by people, and applied."""

from multimap_kernel.align.clock import apply_alignment
from multimap_kernel.align.corrections import correct_alignment, correct_markers
from multimap_kernel.align.estimate import estimate_alignment

__all__ = ["apply_alignment", "correct_alignment", "correct_markers", "estimate_alignment"]
