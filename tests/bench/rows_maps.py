"""Rows of the maps: GLM, coupling, the largest statistic under permutation, smoothing."""

import numpy as np
import xarray as xr
from rows import Row, Side, correlation

VOLUMES, TR, NUISANCE = 300, 2.0, 20
VOXELS, CHANNELS, BANDS, LAGS = 60_000, 32, 5, 9
BLOCK = 8192  # the maps' own grid of voxel blocks
MEMBERS = 1000


def glm_inputs(_: int = 0):
    """AR(1) series of 44 414 voxels and a design of 20 columns, the first of them tested."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((VOLUMES, 44_414), np.float32)
    for volume in range(1, VOLUMES):
        noise[volume] += 0.35 * noise[volume - 1]
    return 100 + 2 * noise, np.column_stack([rng.standard_normal((VOLUMES, NUISANCE - 1)), np.ones(VOLUMES)])


def our_glm(data):
    from multimap_kernel.maps.design import Design
    from multimap_kernel.maps.prewhitening import fit_ar1
    from multimap_kernel.maps.shifts import basis

    series, X = data
    design = Design(("a",), X[:, :1], basis(X[:, 1:]), np.ones(VOLUMES, bool))
    starts = range(0, series.shape[1], BLOCK)
    parts = [fit_ar1(series[:, first : first + BLOCK], design, np.eye(1), "ar1") for first in starts]
    return np.concatenate([part["z"] for part in parts], axis=1)[0]


def nilearn_glm(data):
    from nilearn.glm.contrasts import compute_contrast
    from nilearn.glm.first_level import run_glm

    labels, fits = run_glm(data[0], data[1], noise_model="ar1")
    return compute_contrast(labels, fits, np.eye(NUISANCE)[0], stat_type="t").z_score()


def every_tenth(z) -> list[float]:
    return np.ravel(z)[::10].astype(float).tolist()


def coupling_inputs(_: int = 0):
    """BOLD (time, voxel), EEG regressors (time, band x lag x channel), confounds (time, 20)."""
    rng = np.random.default_rng(1)
    confounds = np.column_stack([np.ones(VOLUMES), rng.standard_normal((VOLUMES, NUISANCE - 1))])
    regressors = rng.standard_normal((VOLUMES, BANDS * LAGS * CHANNELS), np.float32)
    return rng.standard_normal((VOLUMES, VOXELS), np.float32), regressors, confounds


def bare_product(data):
    series, regressors, _ = data
    return regressors.T @ series


def whole_map(data):
    """Every correlation (regressor, voxel), with the maps' own kernels."""
    from multimap_kernel.maps.shifts import basis, scaled, unit_residuals

    series, regressors, confounds = data
    nuisance = basis(confounds)
    return scaled(regressors.T[:, None], nuisance)[:, 0] @ unit_residuals(series, nuisance)


def in_blocks(data):
    """The strongest channel and lag of each band and voxel; never holds the map."""
    from multimap_kernel.maps.shifts import basis, scaled, strongest, unit_residuals

    series, regressors, confounds = data
    nuisance = basis(confounds)
    rows = scaled(regressors.T[:, None], nuisance).reshape(BANDS, LAGS * CHANNELS, 1, VOLUMES)
    best = np.empty((BANDS, VOXELS), np.float32)
    chosen = np.empty((BANDS, VOXELS), np.int16)
    for first in range(0, VOXELS, BLOCK):
        part = slice(first, first + BLOCK)
        residuals = unit_residuals(series[:, part], nuisance)
        for band in range(BANDS):
            found = strongest(rows[band], residuals)
            best[band, part], chosen[band, part] = found.best, found.chosen
    return best, chosen


TIDY = 40  # of the 1440 regressors


def tidy_inputs(_: int = 0):
    from nilearn.signal import clean

    series, regressors, confounds = coupling_inputs()
    kept = clean(series.astype(np.float64), confounds=confounds[:, 1:], detrend=False, standardize="zscore_sample")
    return kept, regressors[:, :TIDY].astype(np.float64), confounds[:, 1:]


def tidy_loop(data):
    """What nilearn's seed-to-voxel example does, for each regressor; BOLD was cleaned before."""
    from nilearn.signal import clean

    series, regressors, confounds = data
    out = np.empty((TIDY, VOXELS))
    for place in range(TIDY):
        one = clean(regressors[:, place : place + 1], confounds=confounds, detrend=False, standardize="zscore_sample")
        out[place] = (np.dot(series.T, one) / VOLUMES).ravel()
    return out


def family_inputs(_: int = 0):
    """One block of voxels of a run, 10 Hz power of all channels and bands; the maps go through blocks alike."""
    from multimap_kernel.schema import affine_coordinate, volume_coordinates

    rng = np.random.default_rng(2)
    bins = np.arange(0.05, VOLUMES * TR, 0.1)
    ds = xr.Dataset({"series": (("time", "voxel"), rng.standard_normal((VOLUMES, BLOCK), np.float32))})
    ds["mask"] = (("z", "y", "x"), np.ones((16, 16, 32), bool))
    ds["band_power_fine"] = (("bin", "channel", "band"), rng.gamma(4, 1e-11, (len(bins), CHANNELS, BANDS)))
    ds["channel_type"] = ("channel", ["eeg"] * CHANNELS)
    ds = ds.assign_coords(volume_coordinates(VOLUMES, TR)).assign_coords(affine=affine_coordinate(np.eye(4)))
    return ds.assign_coords(bin=bins).assign_attrs(repetition_time=TR, space="native", clock="scanner")


def family(ds):
    from multimap_kernel.maps import coupling_map

    return coupling_map(ds, lags_s=tuple(np.arange(LAGS) * TR / 2), null="shift")


def permutation_inputs(seed: int):
    """6 000 voxels, one tested regressor in blocks of 10 volumes, 20 confounds."""
    rng = np.random.default_rng(seed)
    series = rng.standard_normal((VOLUMES, 6_000), np.float32)
    confounds = np.column_stack([np.ones(VOLUMES), rng.standard_normal((VOLUMES, NUISANCE - 1))])
    return series, rng.standard_normal(VOLUMES), confounds, seed


def our_maxima(data):
    from multimap_kernel.maps.inference import student
    from multimap_kernel.maps.prewhitening import permute

    series, tested, confounds, seed = data
    rng = np.random.default_rng(seed)
    blocks = tested.reshape(-1, 10)
    order = rng.permuted(np.tile(np.arange(len(blocks)), (MEMBERS, 1)), axis=1)
    rows = np.concatenate([tested[None], blocks[order].reshape(MEMBERS, -1)])
    _, maximum, *_ = permute(series, rows, confounds, "ols")
    return student(maximum, VOLUMES - NUISANCE - 1)


def nilearn_maxima(data):
    from nilearn.mass_univariate import permuted_ols

    series, tested, confounds, seed = data
    found = permuted_ols(
        tested[:, None], series.astype(np.float64), confounding_vars=confounds, n_perm=MEMBERS, n_jobs=1,
        random_state=seed, output_type="dict",
    )  # fmt: skip
    return found["h0_max_t"]


def threshold(maxima) -> list[float]:
    return [float(np.quantile(maxima, 0.95))]


def images(_: int = 0) -> xr.Dataset:
    """60 volumes of 64x64x36 inside a ball, as the series of its voxels."""
    from multimap_kernel.schema import affine_coordinate, volume_coordinates

    z, y, x = np.indices((36, 64, 64))
    mask = ((z - 18) / 17) ** 2 + ((y - 32) / 28) ** 2 + ((x - 32) / 28) ** 2 < 1
    series = np.random.default_rng(0).normal(100, 2, (60, int(mask.sum()))).astype("f4")
    ds = xr.Dataset({"series": (("time", "voxel"), series), "mask": (("z", "y", "x"), mask)})
    ds = ds.assign_coords(volume_coordinates(60, TR)).assign_coords(affine=affine_coordinate(np.diag([3.0, 3, 3.5, 1])))
    return ds.assign_attrs(repetition_time=TR, space="native", clock="scanner")


def our_smoothing(ds: xr.Dataset):
    from multimap_kernel.maps import smooth

    return smooth(ds, fwhm_mm=6.0)


def as_image(_: int = 0):
    import nibabel as nib

    from multimap_kernel.schema import affine_matrix, to_volume

    ds = images()
    grid = to_volume(ds["series"].values, ds["mask"].values, 0.0)
    return nib.Nifti1Image(grid.T, affine_matrix(ds))


def nilearn_smoothing(image):
    from nilearn.image import smooth_img

    return smooth_img(image, 6.0)


def thresholds_agree(ours: list[list[float]], peers: list[list[float]]) -> str:
    told = [f"{np.mean(one):.3f} (sd {np.std(one, ddof=1):.3f})" for one in (ours, peers)]
    return f"95 % thresholds over {len(ours)} seeds {told[0]} and {told[1]}"


GLM_SIDE = Side("", glm_inputs, our_glm, every_tenth, compiles=True)
SIZE = f"{BANDS} bands x {CHANNELS} channels x {LAGS} lags x {VOXELS:,} voxels".replace(",", " ")
WHOLE = Side("", coupling_inputs, whole_map, compiles=True)
BLOCKS = Side("", coupling_inputs, in_blocks, compiles=True)
BARE = Side("bare float32 product", coupling_inputs, bare_product)
ROWS = (
    Row(
        "glm",
        "GLM AR(1), 44 414 voxels x 300 volumes, 20 regressors, one contrast",
        GLM_SIDE,
        Side("nilearn run_glm ar1", glm_inputs, nilearn_glm, every_tenth),
        least=2.5,
        agree=correlation,
    ),
    Row("coupling", f"coupling map, {SIZE}, 20 confounds", WHOLE, BARE, least=1 / 1.5, memory_mib=600),
    Row(
        "coupling_tidy",
        "the same",
        WHOLE,
        Side("nilearn signal.clean + dot per regressor", tidy_inputs, tidy_loop, scale=BANDS * LAGS * CHANNELS / TIDY),
        least=18,
        note=f"`coupling_tidy`: {TIDY} of the {BANDS * LAGS * CHANNELS} regressors are measured and scaled; cleaning "
        "BOLD once is not counted.",
    ),
    Row("coupling_blocks", "the same, strongest channel and lag in blocks", BLOCKS, BARE, least=1 / 3, memory_mib=250),
    Row(
        "coupling_family",
        "the whole family of a run, every circular shift outside ±30 s",
        Side("", family_inputs, family, scale=VOXELS / BLOCK, compiles=False),
        None,
        runs=1,
        note=f"`coupling_family`: `coupling_map(null='shift')`, one block of {BLOCK} voxels measured and scaled to "
        f"{VOXELS}; blocks go through alike, one after the other or on a cluster.",
    ),
    Row(
        "maximum",
        "largest statistic, 1000 block permutations, 6 000 voxels x 300 volumes, 20 confounds",
        Side("", permutation_inputs, our_maxima, threshold, compiles=True),
        Side("nilearn permuted_ols", permutation_inputs, nilearn_maxima, threshold),
        least=80,
        agree=thresholds_agree,
        runs=4,
    ),
    Row(
        "smoothing",
        "smoothing 6 mm, 60 volumes 64x64x36",
        Side("", images, our_smoothing),
        Side("nilearn smooth_img", as_image, nilearn_smoothing),
    ),
)
