"""The group step on a real store: sessions of a simulated study whose maps were committed with known truth."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import xarray as xr
from nilearn.glm.contrasts import compute_fixed_effects

import multimap_kernel as mm
from multimap_kernel.__main__ import main
from multimap_kernel.io.store import Product, Store
from multimap_kernel.schema import InputError, affine_coordinate

SHAPE = (5, 6, 7)
AFFINE = np.diag([4.0, 4.0, 4.0, 1.0])
MNI = "MNI152NLin2009aSym"


def session_maps(seed, planted=3.0):
    """Activation and coupling of one session: noise, and in the first plane an effect."""
    random = np.random.default_rng(seed)
    activation = random.normal(0, 1, (1, 1, *SHAPE)).astype(np.float32)
    activation[..., 0, :, :] += planted
    r = np.tanh(random.normal(0, 0.1, (2, 3, *SHAPE))).astype(np.float32)
    shared = {"affine": affine_coordinate(AFFINE), "null": "{}"}
    dims = ("condition", "modality", "z", "y", "x")
    return {
        "activation": xr.Dataset(
            {
                "effect": (dims, activation),
                "effect_variance": (dims, random.gamma(3, 1, activation.shape).astype(np.float32)),
            },
            {"condition": ["go"], "modality": ["bold"], **shared},
            {"space": MNI},
        ),
        "coupling": xr.Dataset(
            {"statistic": (("band", "lag", "z", "y", "x"), r)},
            {"band": ["alpha", "beta"], "lag": [0.0, 2.0, 4.0], "statistic_kind": "r", **shared},
            {"space": MNI},
        ),
    }


@pytest.fixture(scope="module")
def bids(tmp_path_factory):
    """Six subjects, the first with two runs; the raw files of one simulated session under other names."""
    root = tmp_path_factory.mktemp("study")
    mm.simulate_session(root, subject="01", size="tiny", seed=0)
    for number in range(2, 7):
        copy_as(root, f"sub-{number:02d}")
    rows = "".join(f"sub-{number:02d}\t{'old' if number < 4 else 'young'}\n" for number in range(1, 7))
    (root / "participants.tsv").write_text("participant_id\tage_group\n" + rows)
    return root


def copy_as(root: Path, subject: str) -> None:
    for source in sorted((root / "sub-01").rglob("*.*")):
        target = root / subject / source.parent.name / source.name.replace("sub-01", subject)
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix in {".vhdr", ".vmrk", ".json"}:
            target.write_text(source.read_text().replace("sub-01", subject))
        else:
            shutil.copy(source, target)


@pytest.fixture
def study(bids, tmp_path):
    """The store with committed maps, the runtime, and the maps by session label."""
    runtime = mm.Runtime(store=str(tmp_path / "store"), cluster=mm.Cluster(kind="threads"))
    store, maps = Store(runtime.store, "s"), {}
    planned = mm.plan(str(bids), study="s", recipe=mm.Recipe(), runtime=runtime, upto="map")
    for seed, result in enumerate(planned):
        assert result.status == "planned", result.error
        maps[result.session] = session_maps(seed)
        store.write(result.steps[-1].place, result.steps[-1].key, Product(maps[result.session]), {})
    return store, runtime, maps


def recipe(**group):
    return mm.Recipe.parse({"group": group})


def test_run_group__is_the_group_map_of_the_sessions(bids, study):
    _, runtime, maps = study
    done = mm.run_group(str(bids), study="s", recipe=mm.Recipe(), runtime=runtime)
    assert (done.state, done.place) == ("computed", "group/group")
    got = mm.open_session(runtime.store, "s", "group")
    named = {label.partition("_")[0]: one["activation"] for label, one in maps.items()}
    expected = mm.group_map(mm.stack_maps(named))
    for name in ("statistic", "effect", "p_fwe", "n"):
        np.testing.assert_array_equal(got["group/activation"][name].values, expected[name].values)
    assert got["group/activation"].attrs["members"] == [f"sub-{number:02d}" for number in range(1, 7)]
    assert got["group/coupling"]["null_maximum"].dims == ("permutation",)
    strongest = np.abs(got["group/coupling"]["statistic"]).argmax("lag")
    assert np.abs(got["group/coupling"]["best_lag"] - got["group/coupling"]["lag"][strongest]).max() <= 1
    again = mm.run_group(str(bids), study="s", recipe=mm.Recipe(), runtime=runtime)
    assert (again.state, again.key) == ("reused", done.key)


def test_link__of_the_group_holds_its_maps_over_the_template(bids, study, monkeypatch, capsys):
    _, runtime, _ = study
    monkeypatch.delenv("MULTIMAP_PLACES", raising=False)
    mm.run_group(str(bids), study="s", recipe=mm.Recipe(), runtime=runtime)
    code = main(["link", "--study", "s", "--store", runtime.store, "--session", "group"])
    assert (code, "multimap link --revoke" in capsys.readouterr().out) == (0, True)
    (told,) = Path(runtime.store, "shared").glob("*/layers.json")
    layers = json.loads(told.read_text())
    assert [layer["kind"] for layer in layers].count("grey") == 1
    assert any("alpha" in layer["title"] for layer in layers)


def test_run_group__leaves_out_who_is_excluded_and_says_so(bids, study):
    store, runtime, maps = study
    first = mm.run_group(str(bids), study="s", recipe=mm.Recipe(), runtime=runtime)
    mm.decide(store, "sub-02_task-flicker", "exclude", reason="sleep")
    done = mm.run_group(str(bids), study="s", recipe=mm.Recipe(), runtime=runtime)
    assert done.key != first.key
    commit = store.commit(done.place, done.key)
    assert "sub-02" not in commit["values"]["members"]
    assert "sleep" in commit["values"]["left_out"]["sub-02_task-flicker"]
    with pytest.raises(InputError, match="at least 3 members, found"):
        mm.run_group(str(bids), study="s", sessions=list(maps)[2:4], recipe=mm.Recipe(), runtime=runtime)


def test_run_group__two_groups_come_from_participants(bids, study):
    _, runtime, maps = study
    wanted = recipe(test="two-sample", column="age_group", levels=["young", "old"])
    mm.run_group(str(bids), study="s", recipe=wanted, runtime=runtime)
    effects = np.stack([one["activation"]["effect"].values for one in maps.values()])
    got = mm.open_session(runtime.store, "s", "group")["group/activation"]["effect"].values
    np.testing.assert_allclose(got, effects[3:].mean(0) - effects[:3].mean(0), rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match=r"must have the columns \['participant_id', 'handedness'\]"):
        mm.run_group(str(bids), study="s", recipe=recipe(test="two-sample", column="handedness"), runtime=runtime)


def test_run_group__runs_of_a_subject_are_one_member(bids, study, tmp_path):
    """A second run of the first subject: fixed effects within, then one of six members."""
    _, runtime, _ = study
    root = tmp_path / "runs"
    shutil.copytree(bids, root)
    for source in sorted((root / "sub-01").rglob("*_task-*")):
        for run in ("1", "2"):
            target = source.with_name(source.name.replace("_task-flicker_", f"_task-flicker_run-{run}_"))
            text = source.suffix in {".vhdr", ".vmrk"}
            content = source.read_text().replace("task-flicker_eeg", f"task-flicker_run-{run}_eeg") if text else None
            target.write_text(content) if text else shutil.copy(source, target)
        source.unlink()
    planned = mm.plan(str(root), study="r", recipe=mm.Recipe(), runtime=runtime, upto="map")
    maps = {result.session: session_maps(seed) for seed, result in enumerate(planned)}
    assert list(maps)[:2] == ["sub-01_task-flicker_run-1", "sub-01_task-flicker_run-2"]
    for result in planned:
        assert result.status == "planned", result.error
        Store(runtime.store, "r").write(result.steps[-1].place, result.steps[-1].key, Product(maps[result.session]), {})
    mm.run_group(str(root), study="r", recipe=mm.Recipe(), runtime=runtime)
    got = mm.open_session(runtime.store, "r", "group")["group/activation"]
    assert len(got.attrs["members"]) == 6
    runs = [one["activation"] for one in maps.values()][:2]
    images = [[nib.Nifti1Image(run[name].values[0, 0].astype(float), AFFINE) for run in runs]
              for name in ("effect", "effect_variance")]  # fmt: skip
    mask = nib.Nifti1Image(np.ones(SHAPE, np.uint8), AFFINE)
    fixed = compute_fixed_effects(*images, mask, precision_weighted=True)[0].get_fdata()
    others = [one["activation"]["effect"].values[0, 0] for one in maps.values()][2:]
    np.testing.assert_allclose(got["effect"].values[0, 0], np.mean([fixed, *others], axis=0), rtol=1e-4, atol=1e-5)


def test_run_group__files_are_clean_in_the_bids_validator(bids, study):
    store, runtime, _ = study
    done = mm.run_group(str(bids), study="s", recipe=mm.Recipe(), runtime=runtime)
    maps = Path(store.folder(done.place, done.key)) / "maps"
    names = {path.name for path in maps.rglob("*.nii.gz")}
    stem = f"task-flicker_space-{MNI}_res-4"
    for label in ("t", "pfwe", "qfdr", "effect", "n"):
        assert f"{stem}_contrast-go_desc-bold_stat-{label}_statmap.nii.gz" in names
    assert f"{stem}_desc-brain_mask.nii.gz" in names
    sidecar = next(maps.rglob("*contrast-go*stat-t_statmap.json"))
    facts = json.loads(sidecar.read_text())
    assert (facts["Null"]["n"], facts["Null"]["smallest_p"]) == (31, 0.03125)
    assert facts["Provenance"]["members"]["sub-02"] == ["sub-02_task-flicker"]
    command = [str(Path(sys.executable).with_name("bids-validator-deno")), "--json", str(maps)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    issues = json.loads(ran.stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == []


def test_collect_garbage__keeps_the_group_that_is_current(bids, study):
    store, runtime, _ = study
    first = mm.run_group(str(bids), study="s", recipe=mm.Recipe(), runtime=runtime)
    mm.decide(store, "sub-06_task-flicker", "exclude", reason="sleep")
    second = mm.run_group(str(bids), study="s", recipe=mm.Recipe(), runtime=runtime)
    gone = mm.collect_garbage(store)
    assert store.url(first.place, first.key) in gone
    assert store.commit(second.place, second.key)
    assert store.commit(first.place, first.key) is None


def test_recipe__a_comparison_needs_its_column():
    with pytest.raises(mm.MultimapError, match="a paired test needs column to be one of session, task, run"):
        recipe(test="paired")
    with pytest.raises(mm.MultimapError, match=r"two-sample test needs a column of participants.tsv"):
        recipe(test="two-sample")
