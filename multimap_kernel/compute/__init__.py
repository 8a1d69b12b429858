"""Dask clusters behind one context manager: the same work runs in threads, in processes, on Kubernetes.

Names are looked up when they are used: `compute.retire` runs in the last seconds of a worker and must start at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multimap_kernel.compute.start import SCHEDULER, cluster, joining, readable_faults

__all__ = ["SCHEDULER", "cluster", "joining", "readable_faults"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"multimap_kernel.compute has no {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module("multimap_kernel.compute.start"), name)
