"""Real recordings through the whole line: unrelated EEG and BOLD, so that no coupling is the truth."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from nilearn.glm.contrasts import compute_contrast
from nilearn.glm.first_level import make_first_level_design_matrix, run_glm
from nilearn.maskers import NiftiMasker
from real import CATEGORIES, DRIFT_PPM, OFFSET_S, REPETITION_TIME, SAMPLING, VOLUMES, lay_out
from scipy.stats import norm
from sklearn.model_selection import LeaveOneGroupOut, cross_val_score
from sklearn.svm import SVC

import multimap_kernel as mm

pytestmark = pytest.mark.line

VISUAL = {"visual": dict.fromkeys(CATEGORIES, 1 / len(CATEGORIES))}
NATIVE = {"realign": {"backend": "none"}, "normalise": {"space": "native"}, "map": {"contrasts": VISUAL}}
HERE = mm.Cluster(kind="threads")
COVERED = 72  # whole volumes within the 182 s of EEG


def run(bids, store, recipe):
    runtime = mm.Runtime(store=str(store), cluster=HERE)
    results = mm.run(str(bids), study="real", recipe=mm.Recipe.parse(recipe), runtime=runtime)
    assert [(result.session, result.status, result.error) for result in results if result.status != "done"] == []
    return [mm.open_session(str(store), "real", result.session) for result in results]


@pytest.fixture(scope="module")
def slices(shared_data, tmp_path_factory):
    """All 12 runs of the single slice, no smoothing, no realignment."""
    folder = tmp_path_factory.mktemp("slices")
    bids = lay_out(shared_data, folder / "bids", "1slice", tuple(range(1, 13)))
    return run(bids, folder / "store", {**NATIVE, "map": {"contrasts": VISUAL, "smoothing_mm": 0.0}})


@pytest.fixture(scope="module")
def whole(shared_data, tmp_path_factory):
    """Run 1 as 25 mm volumes, realigned, through the whole line."""
    folder = tmp_path_factory.mktemp("whole")
    bids = lay_out(shared_data, folder / "bids", "25mm", (1,))
    (tree,) = run(bids, folder / "store", {"normalise": {"space": "native"}, "map": {"contrasts": VISUAL}})
    return tree


def test_line__finds_the_clocks_that_were_planted(whole):
    alignment = whole["align"].attrs["alignment"]
    assert alignment["offset_s"] == pytest.approx(OFFSET_S, abs=0.5 / SAMPLING + 1e-4)
    assert alignment["drift_ppm"] == pytest.approx(DRIFT_PPM, abs=1.0)
    assert alignment["marker"] == "R128"


def test_line__keeps_the_whole_volumes_and_says_that_the_eeg_ends_early(whole):
    alignment = whole["align"].attrs["alignment"]
    assert sum(alignment["covered"]) == COVERED
    assert any("ends" in reason for reason in alignment["reasons"])
    power = whole["features"]["band_power"].transpose("time", ...).values
    assert power.shape[0] == VOLUMES
    eeg = whole["features"]["channel_type"].values.astype(str) == "eeg"
    assert np.isfinite(power[:COVERED][:, eeg]).all()
    assert np.isnan(power[COVERED:]).all()
    assert np.isnan(whole["fuse"]["prediction"].values[COVERED:]).all()


def visual_z(tree):
    activation = tree["map/activation"].to_dataset()
    return activation["statistic"].sel(condition="visual", modality="bold").values


def test_activation__of_odd_runs_is_there_in_even_runs(slices):
    """Six runs each, joined by Stouffer's sum; family-wise by Bonferroni over the voxels of the slice."""
    odd, even = (
        np.sum([visual_z(tree) for tree in part], axis=0) / np.sqrt(6) for part in (slices[0::2], slices[1::2])
    )
    chosen = np.abs(odd) > norm.isf(0.025 / np.isfinite(odd).sum())
    assert chosen.sum() >= 20
    assert (np.sign(odd) * even)[chosen].mean() > 3.0


def test_activation__agrees_with_nilearn(slices):
    tree = slices[0]
    features = tree["features"].to_dataset()
    times = features["time"].values + features.attrs["sampled_at"] * REPETITION_TIME
    names = ("onset", "duration", "condition")
    events = pd.DataFrame({name: features[f"event_{name}"].values for name in names}).rename(
        columns={"condition": "trial_type"}
    )
    nuisance = features["confound"].values
    # the drifts are among the confounds of the line already; the design itself is nilearn's on both sides
    matrix = make_first_level_design_matrix(
        times, events, hrf_model="spm", drift_model="cosine", high_pass=0.01, add_regs=None
    )
    extra = nuisance - matrix.values @ np.linalg.lstsq(matrix.values, nuisance, rcond=None)[0]
    scale = np.linalg.norm(extra, axis=0) > 1e-6 * np.linalg.norm(nuisance, axis=0).max()
    design = np.column_stack([matrix.values, extra[:, scale]])
    labels, fits = run_glm(features["series"].values.astype(float), design, noise_model="ar1")
    weights = np.array([VISUAL["visual"].get(name, 0.0) for name in matrix.columns] + [0.0] * int(scale.sum()))
    expected = compute_contrast(labels, fits, weights, stat_type="t").z_score()
    found = visual_z(tree)[features["mask"].values]
    assert np.corrcoef(found, expected)[0, 1] > 0.999


def block_means(values, times, events):
    """Mean (block, voxel) from 5 s after the onset of each block of pictures to 5 s after its end."""
    ends = events["onset"] + events["duration"]
    return [
        values[(times >= on + 5) & (times < off + 5)].mean(axis=0)
        for on, off in zip(events["onset"], ends, strict=True)
    ]


def test_series__tell_what_was_seen_as_well_as_those_of_nilearn(slices, shared_data):
    """Haxby's eight categories, one run left out at a time; same voxels, blocks and classifier on both sides."""
    every = [tree["features"].to_dataset().load() for tree in slices]
    common = np.logical_and.reduce([ds["mask"].values for ds in every])
    ours, theirs, seen, runs = [], [], [], []
    for number, ds in enumerate(every, 1):
        folder = shared_data / "haxby_pymvpa" / "haxby2001" / "sub001" / "BOLD" / f"task001_run{number:03d}"
        events = pd.read_csv(folder / "bold_events.tsv", sep="\t")
        times = ds["time"].values + ds.attrs["sampled_at"] * REPETITION_TIME
        series = ds["series"].values[:, common[ds["mask"].values]].astype(np.float64)
        nuisance = np.column_stack([np.ones(VOLUMES), ds["confound"].fillna(0.0).values])
        series -= nuisance @ np.linalg.lstsq(nuisance, series, rcond=None)[0]
        ours += block_means(series / series.std(axis=0), times, events)
        image = nib.load(folder / "bold_1slice.nii.gz")
        mask = nib.Nifti1Image(common.T.astype(np.uint8), image.affine)
        cleaned = {"standardize": "zscore_sample", "high_pass": 0.01, "clean_args": {"filter": "cosine"}}  # as the line
        masker = NiftiMasker(mask, t_r=REPETITION_TIME, **cleaned)
        theirs += block_means(masker.fit_transform(nib.Nifti1Image(image.get_fdata(), image.affine)), times, events)
        seen += list(events["trial_type"])
        runs += [number] * len(events)
    accuracy = [
        cross_val_score(SVC(kernel="linear"), np.array(means), seen, groups=runs, cv=LeaveOneGroupOut()).mean()
        for means in (ours, theirs)
    ]
    assert accuracy[1] > 0.4  # chance is 1 in 8
    assert accuracy[0] == pytest.approx(accuracy[1], abs=0.03)


def test_coupling__of_two_people_is_empty(slices):
    smallest = [float(np.nanmin(tree["map/coupling"]["p_fwe"].values)) for tree in slices]
    assert sum(p < 0.05 for p in smallest) <= 2, smallest
