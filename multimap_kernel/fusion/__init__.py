"""Joint models of EEG and BOLD; the ridge is the reference of them all."""

from multimap_kernel.fusion.ridge import fit

__all__ = ["fit"]
