"""Recipe and Runtime: frozen, checked, told in plain words."""

import pytest
import yaml
from pydantic import ValidationError

from multimap_kernel.config import Recipe, Runtime
from multimap_kernel.pipeline import GROUP, STEPS
from multimap_kernel.schema import RecipeError


def test_recipe__survives_yaml(tmp_path):
    recipe = Recipe.parse(
        {"name": "fast", "normalise": {"resolution_mm": 4.0}, "features": {"bands": {"alpha": [8, 12]}}}
    )
    (tmp_path / "recipe.yaml").write_text(recipe.dump())
    assert Recipe.load(tmp_path / "recipe.yaml") == recipe


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({"mapp": {}}, "unknown option 'mapp'; did you mean 'map'"),
        ({"map": {"hrff": "spm"}}, "unknown option 'map.hrff'; did you mean 'hrf'"),
        ({"clean_eeg": {"gradient": {"windows": 3}}}, "did you mean 'window'"),
        ({"clean_eeg": {"lowpass_hz": 200}}, "highpass_hz < lowpass_hz < sampling_hz / 2"),
        ({"features": {"bands": {"alpha": [12, 8]}}}, "band 'alpha' must have 0 < low < high"),
        (
            {"clean_eeg": {"lowpass_hz": 35}},
            r"features.bands must end at or below clean_eeg.lowpass_hz \(35 Hz\).*found 'gamma' of 30 to 40 Hz",
        ),
        ({"features": {"bands": {"high": [60, 100]}}}, "'high' of 60 to 100 Hz; raise lowpass_hz"),
        ({"realign": {"backend": "magic"}}, "realign.backend is not allowed"),
        ({"version": 7}, "version is not allowed"),
    ],
)
def test_recipe__refuses_and_says_what_was_meant(stored, message):
    with pytest.raises(RecipeError, match=message):
        Recipe.parse(stored, "recipe.yaml")


def test_recipe__a_band_may_end_where_the_filter_does():
    recipe = Recipe.parse({"clean_eeg": {"lowpass_hz": 40}})
    assert recipe.features.bands["gamma"][1] == recipe.clean_eeg.lowpass_hz


def test_recipe__tells_all_faults_at_once():
    with pytest.raises(RecipeError, match=r"hrff.*mapp"):
        Recipe.parse({"map": {"hrff": 1}, "mapp": 1})


def test_recipe__is_refused_when_it_is_not_yaml(tmp_path):
    (tmp_path / "recipe.yaml").write_text("a: [1")
    with pytest.raises(RecipeError, match="must be a readable YAML file"):
        Recipe.load(tmp_path / "recipe.yaml")


def test_recipe__is_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        Recipe().name = "other"


def test_recipe__each_part_is_read_by_a_step():
    parts = set(Recipe.model_fields) - {"name", "version"}
    assert parts == {part for step in (*STEPS, GROUP) for part in step.recipe}


def test_runtime__reads_the_store_from_the_environment(monkeypatch):
    monkeypatch.setenv("MULTIMAP_STORE", "gs://bucket/store")
    assert Runtime().store == "gs://bucket/store"
    assert yaml.safe_load(Recipe().dump())["version"] == 1
