"""Joint models of EEG and BOLD; the ridge is the reference of them all.

What needs torch (``train``, ``evaluate``) is imported from its own module, because torch is an optional extra.
"""

from multimap_kernel.fusion.patterns import pattern_map
from multimap_kernel.fusion.regions import regions, shared_regions
from multimap_kernel.fusion.ridge import fit

__all__ = ["fit", "pattern_map", "regions", "shared_regions"]
