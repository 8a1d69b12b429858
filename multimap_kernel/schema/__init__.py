"""The words of the project: variables, axes, values and errors. Imports nothing else of multimap."""

from multimap_kernel.schema.axes import (
    INDEX,
    WORLD,
    Sampling,
    affine_coordinate,
    affine_matrix,
    regular_time,
    sampling,
    to_volume,
    volume_coordinates,
)
from multimap_kernel.schema.errors import (
    ClusterError,
    ExcludedError,
    HeldError,
    InputError,
    MultimapError,
    PreemptedError,
    RecipeError,
    SchemaError,
    StorageError,
)
from multimap_kernel.schema.markers import CONCENTRATION, LEAST_MARKERS, may_mark_volumes, mean_phase
from multimap_kernel.schema.values import Alignment, Decision, Evaluation, Fit, JointFit, RunFolder, Score, Value
from multimap_kernel.schema.variables import VARIABLES, Variable, annotate, require

__all__ = [
    "CONCENTRATION",
    "INDEX",
    "LEAST_MARKERS",
    "VARIABLES",
    "WORLD",
    "Alignment",
    "ClusterError",
    "Decision",
    "Evaluation",
    "ExcludedError",
    "Fit",
    "HeldError",
    "InputError",
    "JointFit",
    "MultimapError",
    "PreemptedError",
    "RecipeError",
    "RunFolder",
    "Sampling",
    "SchemaError",
    "Score",
    "StorageError",
    "Value",
    "Variable",
    "affine_coordinate",
    "affine_matrix",
    "annotate",
    "may_mark_volumes",
    "mean_phase",
    "regular_time",
    "require",
    "sampling",
    "to_volume",
    "volume_coordinates",
]
