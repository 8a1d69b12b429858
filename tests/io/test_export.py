"""Exported maps read back by nibabel: place, values, names, sidecars, and the same bytes twice."""

import json

import fsspec
import nibabel as nib
import numpy as np
import pytest
import xarray as xr

from multimap_kernel.io.export import (
    write_activation,
    write_coupling,
    write_description,
    write_evoked,
    write_mask,
    write_pattern,
    write_picture,
    write_sensor,
)
from multimap_kernel.io.templates import load_template
from multimap_kernel.schema import InputError, SchemaError, affine_coordinate

GRID = ("z", "y", "x")
QUANTITIES = ("statistic", "effect", "p_fwe", "q_fdr")
ENTITIES = {"subject": "01", "session": "", "task": "demo", "run": ""}
PROVENANCE = {"recipe": "default", "hash": "abc"}
NULL = json.dumps({"method": "circular shifts", "n": 99, "smallest_p": 0.01, "seed": 0})
TILTED = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(0.2, 0.1, -0.3) @ np.diag([-3.0, 3.0, 4.0]), [40.0, -50.0, -20.0]
)


def activation(space="native", affine=TILTED, conditions=("visual", "go left"), shape=(3, 4, 5)):
    values = np.random.default_rng(0).standard_normal((len(conditions), 2, *shape)).astype("f4")
    dims = ("condition", "modality", *GRID)
    maps = {"statistic": values, "effect": values * 2, "p_fwe": np.abs(values) / 9, "q_fdr": np.abs(values) / 10}
    ds = xr.Dataset({name: (dims, array) for name, array in maps.items()}, attrs={"space": space})
    ds["mask"] = (GRID, np.ones(shape, bool))
    return ds.assign_coords(
        condition=list(conditions),
        modality=["bold", "eeg"],
        statistic_kind=("modality", ["z", "t"]),
        null=("modality", [NULL, NULL]),
        affine=affine_coordinate(affine),
    )


def coupling():
    values = np.random.default_rng(0).uniform(-1, 1, (2, 3, 3, 4, 5)).astype("f4")
    best = np.abs(values).argmax(1)
    ds = xr.Dataset(
        {
            name: (("band", "lag", *GRID), values * factor)
            for name, factor in (("statistic", 1), ("p_fwe", 0.5), ("q_fdr", 0.1))
        },
        attrs={"space": "native"},
    )
    lags = np.array([0.0, 2.0, 4.0])
    ds["best_lag"] = (("band", *GRID), lags[best].astype("f4"))
    return ds.assign_coords(
        band=["alpha", "beta"], lag=lags, statistic_kind="r", null=NULL, affine=affine_coordinate(TILTED)
    )


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_write_activation__nibabel_finds_values_at_their_place(tmp_path):
    ds = activation()
    written = write_activation(ds, str(tmp_path), entities=ENTITIES, provenance=PROVENANCE)
    assert sorted(written) == sorted(files_of(tmp_path))
    path = "sub-01/func/sub-01_task-demo_contrast-goleft_desc-eeg_stat-t_statmap"
    image = nib.load(tmp_path / f"{path}.nii.gz")
    expected = ds["statistic"].sel(condition="go left", modality="eeg").values
    np.testing.assert_array_equal(image.get_fdata(dtype=np.float32), expected.T)
    np.testing.assert_allclose(image.get_sform(), TILTED, atol=1e-5)
    np.testing.assert_allclose(image.get_qform(), TILTED, atol=1e-4)
    assert (image.header["sform_code"], image.header["qform_code"]) == (1, 1)
    assert f"{path.replace('stat-t', 'stat-pfwe')}.nii.gz" in written
    facts = json.loads((tmp_path / f"{path}.json").read_text())
    assert facts["StatisticKind"] == "t"
    assert facts["Null"]["n"] == 99
    assert facts["Provenance"] == PROVENANCE
    assert (facts["Contrast"], facts["Modality"]) == ("go left", "eeg")
    small = np.abs(expected)[np.abs(expected) / 9 < 0.05]
    assert facts["Threshold"] == {"FamilyWiseError": 0.05, "Statistic": pytest.approx(small.min())}


def test_write_activation__template_space_is_in_name_and_codes(tmp_path):
    template = load_template(8)
    affine = template["affine"].values
    ds = activation(template.attrs["space"], affine, ("visual",), template["mask"].shape)
    entities = ENTITIES | {"session": "a", "run": "2"}
    written = write_activation(ds, str(tmp_path), entities=entities, provenance={})
    stem = "sub-01/ses-a/func/sub-01_ses-a_task-demo_run-2_space-MNI152NLin2009aSym_res-8"
    assert f"{stem}_contrast-visual_desc-bold_stat-z_statmap.nii.gz" in written
    header = nib.load(tmp_path / written[0]).header
    assert (header["sform_code"], header["qform_code"]) == (4, 4)


def test_write_activation__same_bytes_from_lazy_maps_and_later(tmp_path):
    ds = activation()
    write_activation(ds, str(tmp_path / "a"), entities=ENTITIES, provenance=PROVENANCE)
    write_activation(ds.chunk({"z": 2, "modality": 1}), str(tmp_path / "b"), entities=ENTITIES, provenance=PROVENANCE)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    assert all(content[4:8] == bytes(4) for name, content in files_of(tmp_path / "a").items() if name.endswith(".gz"))


def test_write_activation__remote_folder():
    (first, *_) = write_activation(activation(), "memory://maps", entities=ENTITIES, provenance={})
    assert fsspec.filesystem("memory").exists(f"/maps/{first}")


def test_write_activation__refuses(tmp_path):
    with pytest.raises(InputError, match=r"names must differ in letters and digits .*\['go-1', 'go1'\]"):
        write_activation(activation(conditions=("go-1", "go1")), str(tmp_path), entities=ENTITIES, provenance={})
    with pytest.raises(SchemaError, match=r"write_activation: q_fdr .* must be there"):
        write_activation(activation().drop_vars("q_fdr"), str(tmp_path), entities=ENTITIES, provenance={})


def test_write_activation__says_what_the_effect_of_each_modality_is(tmp_path):
    ds = activation().assign_coords(modality=["bold", "joint"], statistic_kind=("modality", ["z", "delta_r2"]))
    written = write_activation(ds, str(tmp_path), entities=ENTITIES, provenance={})
    effects = [tmp_path / path for path in written if path.endswith("stat-effect_statmap.json")]
    told = {(one["Modality"], one["Description"]) for one in (json.loads(path.read_text()) for path in effects)}
    assert told == {
        ("bold", "contrast estimate in percent of the mean"),
        ("joint", "variance that the prediction from EEG explains beyond the design, in percent"),
    }


def test_write_coupling__takes_each_voxel_at_its_best_lag(tmp_path):
    ds = coupling()
    ds["best_lag"][0, 0, 0, 0] = np.nan  # outside the mask
    written = write_coupling(ds, str(tmp_path), entities=ENTITIES, provenance=PROVENANCE)
    path = tmp_path / "sub-01/func/sub-01_task-demo_contrast-alpha_desc-coupling_stat-r_statmap.nii.gz"
    values = nib.load(path).get_fdata().T
    strongest = np.abs(ds["statistic"].sel(band="alpha").values).max(0)
    np.testing.assert_allclose(np.abs(values).ravel()[1:], strongest.ravel()[1:], rtol=1e-6)
    lag = nib.load(str(path).replace("stat-r", "stat-lag")).get_fdata().T
    np.testing.assert_array_equal(lag, ds["best_lag"].sel(band="alpha").values)
    assert len(written) == 2 * 2 * 4
    assert json.loads((tmp_path / written[1]).read_text())["Lags"] == [0.0, 2.0, 4.0]


def test_write_sensor__one_row_per_channel(tmp_path):
    values = np.arange(12, dtype="f4").reshape(1, 2, 6)
    values[0, 0, 0] = np.nan
    ds = xr.Dataset(dict.fromkeys(QUANTITIES, (("condition", "band", "channel"), values)))
    ds = ds.assign_coords(
        condition=["visual"], band=["alpha", "beta"], channel=list("abcdef"), statistic_kind="t", null=NULL
    )
    table, sidecar = write_sensor(ds, str(tmp_path), entities=ENTITIES, provenance=PROVENANCE)
    rows = (tmp_path / table).read_text().splitlines()
    assert table == "sub-01/eeg/sub-01_task-demo_desc-sensor_stats.tsv"
    assert rows[:2] == ["condition\tband\tchannel\tstatistic\teffect\tp_fwe\tq_fdr", "visual\talpha\ta" + 4 * "\tn/a"]
    assert rows[-1] == "visual\tbeta\tf\t11\t11\t11\t11"
    assert json.loads((tmp_path / sidecar).read_text())["StatisticKind"] == "t"


def test_write_evoked__one_row_per_latency_and_its_picture(tmp_path):
    values = np.arange(6, dtype="f4").reshape(1, 2, 3) * 1e-6
    ds = xr.Dataset(dict.fromkeys(QUANTITIES, (("condition", "channel", "latency"), values)))
    ds = ds.assign_coords(
        condition=["visual"], channel=["Oz", "Pz"], latency=[-0.1, 0.0, 0.1], statistic_kind="t", null=NULL
    )
    table, _ = write_evoked(ds, str(tmp_path), entities=ENTITIES, provenance=PROVENANCE)
    rows = (tmp_path / table).read_text().splitlines()
    assert rows[0].split("\t") == ["condition", "channel", "latency", *QUANTITIES]
    assert rows[-1].split("\t")[:3] == ["visual", "Pz", "0.1"]
    np.testing.assert_allclose([float(cell) for cell in rows[-1].split("\t")[3:]], 5e-6, rtol=1e-6)
    path = write_picture(b"png", str(tmp_path), entities=ENTITIES, name="evoked")
    assert path == "sub-01/eeg/sub-01_task-demo_desc-evoked_topomap.png"
    assert (tmp_path / path).read_bytes() == b"png"


def test_write_pattern__one_row_per_band_lag_and_channel_of_the_region(tmp_path):
    values = np.arange(12, dtype="f4").reshape(2, 3, 2)
    ds = xr.Dataset(dict.fromkeys(("pattern", "statistic", "p_fwe", "q_fdr"), (("channel", "band", "lag"), values)))
    ds = ds.assign_coords(channel=["Oz", "Pz"], band=list("abc"), lag=[4.0, 6.0], region="x+12 y-84 z+12")
    ds = ds.assign_coords(statistic_kind="r", null=NULL)
    table, sidecar = write_pattern(ds, str(tmp_path), entities=ENTITIES, provenance=PROVENANCE)
    rows = (tmp_path / table).read_text().splitlines()
    assert table == "sub-01/eeg/sub-01_task-demo_desc-pattern_stats.tsv"
    assert rows[0].split("\t") == ["band", "lag", "channel", "statistic", "effect", "p_fwe", "q_fdr"]
    assert rows[4].split("\t") == ["a", "6", "Pz", *4 * ["7"]]
    assert json.loads((tmp_path / sidecar).read_text())["Region"] == "x+12 y-84 z+12"


def test_write_mask_and_description(tmp_path):
    path, _ = write_mask(activation(), str(tmp_path), entities=ENTITIES, provenance={})
    image = nib.load(tmp_path / path)
    assert path.endswith("_desc-brain_mask.nii.gz")
    assert image.get_data_dtype() == np.uint8
    write_description(str(tmp_path))
    described = json.loads((tmp_path / "dataset_description.json").read_text())
    assert described["DatasetType"] == "derivative"
    assert described["GeneratedBy"][0]["Name"] == "multimap"
