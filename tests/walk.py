"""The line without a store: the real step functions, one after the other, in memory."""

from pathlib import Path

import xarray as xr

import multimap_kernel as mm
from multimap_kernel.pipeline import Inputs, line
from multimap_kernel.simulate import simulate_session

CLEAN = mm.Recipe.parse(
    {
        "ingest": {"eeg_state": "clean"},
        "realign": {"backend": "none"},
        "normalise": {"space": "native"},
        "clean_eeg": {"lowpass_hz": 45.0},
    }
)


def walk(bids: str | Path, recipe: mm.Recipe, upto: str = "map") -> dict[str, dict[str, xr.Dataset]]:
    """Datasets of each step of a study's one session."""
    (session,) = mm.find_sessions(str(bids))
    assert session.problems == ()
    datasets: dict[str, dict[str, xr.Dataset]] = {}
    values: dict[str, dict] = {}
    for step in line(upto):
        product = step.run(
            Inputs(
                session=session,
                options={part: getattr(recipe, part) for part in step.recipe},
                datasets={name: datasets[name] for name in step.reads},
                values={name: values[name] for name in step.reads},
            )
        )
        datasets[step.name] = {name: ds.load() for name, ds in product.datasets.items()}
        values[step.name] = dict(product.values)
    return datasets


def tiny_maps(folder: Path, seed: int, **effects) -> dict[str, xr.Dataset]:
    """Maps of a tiny clean session with these effects planted."""
    simulate_session(folder, size="tiny", seed=seed, artifacts=False, **effects)
    return walk(folder, CLEAN)["map"]


__all__ = ["CLEAN", "tiny_maps", "walk"]
