"""Activation, coupling, sensor and evoked maps, each with its null."""

from multimap_kernel.maps.coupling import coupling_map
from multimap_kernel.maps.evoked import evoked_map
from multimap_kernel.maps.glm import activation_map
from multimap_kernel.maps.group import group_map
from multimap_kernel.maps.inference import critical_value
from multimap_kernel.maps.members import fixed_effects, stack_maps
from multimap_kernel.maps.sensors import sensor_map
from multimap_kernel.maps.smoothing import smooth
from multimap_kernel.maps.subject import subject_map

__all__ = [
    "activation_map",
    "coupling_map",
    "critical_value",
    "evoked_map",
    "fixed_effects",
    "group_map",
    "sensor_map",
    "smooth",
    "stack_maps",
    "subject_map",
]
