"""Affine registration of a run to a template by mutual information (SimpleITK)."""

# SimpleITK's own stubs leave its functions without types:
# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import SimpleITK as sitk  # noqa: N813  # the name its documentation uses
import xarray as xr
from dask.delayed import delayed
from scipy.ndimage import binary_dilation, center_of_mass, gaussian_filter

from multimap_kernel import schema
from multimap_kernel.fmri.blocks import finish, from_task
from multimap_kernel.fmri.interpolation import coefficients, sample
from multimap_kernel.fmri.rigid import grid_matrix

# Sums over threads differ in their last bits from run to run, and the metric heeds only the global number.
sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)

WORK_MM = 4.0
"""Both images are brought to an upright grid of this edge first: no oblique, flipped or sheared grid is left."""
RIM_MM = 12.0
"""The brain and this much around it are compared: its outline is the strongest landmark."""
PITCHES = (0.0, -0.3, 0.3)
"""Starting angles about x, rad: slices are often tilted along the AC-PC line, heads nod."""
PLAUSIBLE = (0.75, 1.4)
"""Stretch from a head to the adult template; else a failed registration, or a small infant."""


def estimate_normalisation(ds: xr.Dataset, *, target: xr.Dataset, anatomy: xr.Dataset | None = None) -> xr.Dataset:
    """Find the affine that takes a head to a template.

    Parameters
    ----------
    ds
        Either a run, as `realign` gives it: ``reference (z, y, x)``, ``mask (z, y, x)``, ``affine``; or a subject's
        T1-weighted image: ``anatomy (z, y, x)``, ``affine``.
    target
        Template (`io.load_template`): ``anatomy (z, y, x)``, ``mask (z, y, x)``, ``affine``.
    anatomy
        T1-weighted image of the run's subject with its own ``transform`` to the template. If given, the run is
        brought to it rigidly, and both steps are joined to one affine; else the run goes to the template directly.

    Returns
    -------
    Dataset with ``transform (world, index; mm)`` float64: native RAS+ mm to template RAS+ mm. Lazy if an input is.

    Raises
    ------
    SchemaError
        If a variable is missing.
    InputError
        When computed: if the brain mask is empty, or the affine found is not that of a head (a stretch below 0.75
        or above 1.4, as a small infant's head needs: the template is an adult's); then native space is the way on.

    References
    ----------
    Mattes et al. (2003), IEEE Trans Med Imaging 22:120.
    """
    schema.require(target, "anatomy", "mask", where="estimate_normalisation")
    if "anatomy" in ds:
        schema.require(ds, "anatomy", where="estimate_normalisation")
        head = delayed(_upright)(ds["anatomy"].data, None, grid_matrix(ds))
    else:
        schema.require(ds, "reference", "mask", where="estimate_normalisation")
        head = delayed(_upright)(ds["reference"].data, ds["mask"].data, grid_matrix(ds))
    if anatomy is None:
        template = delayed(_upright)(target["anatomy"].data, target["mask"].data, grid_matrix(target))
        matrix = delayed(_to_template)(head, template)
    else:
        schema.require(anatomy, "anatomy", "transform", where="estimate_normalisation")
        whole = delayed(_upright)(anatomy["anatomy"].data, None, grid_matrix(anatomy))
        matrix = delayed(_through)(head, whole, anatomy["transform"].data)
    result = xr.Dataset(
        {"transform": (("world", "index"), from_task(matrix, (3, 4), np.float64))},
        coords={"world": list(schema.WORLD), "index": list(schema.INDEX)},
    )
    result["transform"] = schema.annotate(result["transform"])
    return finish(result, ds, target, *([] if anatomy is None else [anatomy]))


class _Upright(NamedTuple):
    """An image on a grid along the world's axes: values and mask (z, y, x), world (x, y, z) of the first voxel."""

    values: np.ndarray
    mask: np.ndarray
    origin: np.ndarray


def _upright(volume: np.ndarray, mask: np.ndarray | None, to_world: np.ndarray) -> _Upright:
    size, edges = np.array(volume.shape), np.linalg.norm(to_world[:3, :3], axis=0)
    corners = np.stack(np.meshgrid(*[(-0.5, count - 0.5) for count in size], indexing="ij"), -1).reshape(-1, 3)
    world = corners @ to_world[:3, :3].T + to_world[:3, 3]
    origin, reach = world.min(0), np.ceil(np.ptp(world, axis=0) / WORK_MM).astype(int)
    shape = tuple(reach[::-1])
    place = np.eye(4)
    place[:3] = np.array([[0, 0, WORK_MM, origin[0]], [0, WORK_MM, 0, origin[1]], [WORK_MM, 0, 0, origin[2]]])
    points = np.indices(shape, np.float32).reshape(3, -1).T.copy()
    matrix = (np.linalg.inv(to_world) @ place)[:3]
    # A finer image is first blurred to what voxels of the working grid would see of it.
    blur = 0.42 * np.sqrt(np.maximum(WORK_MM**2 - edges**2, 0)) / edges
    seen = gaussian_filter(np.nan_to_num(np.asarray(volume, np.float32)), blur)
    inside = np.ones(volume.shape, np.float32) if mask is None else gaussian_filter(mask.astype(np.float32), blur)
    values, share = (np.empty(len(points), np.float32) for _ in range(2))
    sample(coefficients(seen), size, matrix, points, values)
    sample(coefficients(inside), size, matrix, points, share)
    return _Upright(np.nan_to_num(values).reshape(shape), np.nan_to_num(share).reshape(shape) > 0.5, origin)


def _to_template(head: _Upright, template: _Upright) -> np.ndarray:
    """Template to head is searched, its inverse is the answer: the template's mask is the better one to compare in."""
    if not head.mask.all():  # a run, with its brain mask: the template has no scalp either
        brain = gaussian_filter(binary_dilation(head.mask).astype(np.float32), 0.5)
        head = head._replace(values=head.values * brain)
    return _checked(np.linalg.inv(_search(template, head, stretch=True)))


def _through(run: _Upright, whole: _Upright, onwards: np.ndarray) -> np.ndarray:
    return _checked(np.vstack([onwards, [0.0, 0.0, 0.0, 1.0]]) @ _search(run, whole, stretch=False))


def _search(fixed: _Upright, moving: _Upright, *, stretch: bool) -> np.ndarray:
    """World to world, fixed to moving, (4, 4): the best of several rigid starts, refined."""
    if not fixed.mask.any() or not moving.mask.any():
        raise schema.InputError("normalisation needs a brain mask that is not empty; look at the mask of realign")
    centre, there = _middle(fixed), _middle(moving)
    tried = []
    for pitch in PITCHES:
        start = sitk.Euler3DTransform(centre.tolist(), pitch, 0.0, 0.0, (there - centre).tolist())
        tried.append((_refine(fixed, moving, start, sigma_mm=6.0, shrink=2), start))
    best: Any = min(tried, key=lambda one: one[0])[1]
    if stretch:
        wide = sitk.AffineTransform(best.GetMatrix(), best.GetTranslation(), best.GetCenter())
        _refine(fixed, moving, wide, sigma_mm=4.0)
        best = wide
    _refine(fixed, moving, best, sigma_mm=1.0)
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(best.GetMatrix(), (3, 3))
    pivot = np.array(best.GetCenter())
    matrix[:3, 3] = pivot + best.GetTranslation() - matrix[:3, :3] @ pivot
    return matrix


def _middle(image: _Upright) -> np.ndarray:
    """Centre of the mask, or of the signal where there is no mask, RAS+ mm."""
    weight = np.maximum(image.values, 0) if image.mask.all() else image.mask
    middle: np.ndarray = image.origin + WORK_MM * np.array(center_of_mass(weight))[::-1]
    return middle


def _refine(fixed: _Upright, moving: _Upright, transform: Any, *, sigma_mm: float, shrink: int = 1) -> float:
    """Improve a transform in place; returns the negative mutual information."""
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.NONE)
    method.SetMetricFixedMask(_picture(fixed, binary_dilation(fixed.mask, iterations=round(RIM_MM / WORK_MM))))
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, 100, relaxationFactor=0.6)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([shrink])
    method.SetSmoothingSigmasPerLevel([0])
    method.SetInitialTransform(transform, inPlace=True)
    blurred = [_picture(one, gaussian_filter(one.values, sigma_mm / WORK_MM)) for one in (fixed, moving)]
    method.Execute(*blurred)
    return float(method.GetMetricValue())


def _picture(image: _Upright, values: np.ndarray) -> Any:
    """SimpleITK image in RAS+ mm; it is told no other convention, so none has to be undone."""
    picture = sitk.GetImageFromArray(values.astype(np.uint8 if values.dtype == bool else np.float32))
    picture.SetSpacing((WORK_MM,) * 3)
    picture.SetOrigin(image.origin.tolist())
    return picture


def _checked(matrix: np.ndarray) -> np.ndarray:
    stretch = np.linalg.svd(matrix[:3, :3], compute_uv=False)
    if np.linalg.det(matrix[:3, :3]) <= 0 or stretch.min() < PLAUSIBLE[0] or stretch.max() > PLAUSIBLE[1]:
        raise schema.InputError(
            f"normalisation must stretch a head by {PLAUSIBLE[0]} to {PLAUSIBLE[1]}, found {np.round(stretch, 2)}; "
            "look at the reference and mask of realign, or choose normalise.space: native"
        )
    return matrix[:3]
