"""Sessions that lack something: the notebooks draw what is there, and say in a sentence what is not."""

from pathlib import Path

import nbformat
import pytest
from interrupted import RECIPE

import multimap_kernel as mm

pytestmark = pytest.mark.batch

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
EVENTS, PLACES = "sub-01_task-flicker", "sub-02_task-flicker"  # what each of them lacks
NO_EVENTS = "this session has no events"
NO_PLACES = "fewer than four electrodes have a position and a value"


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> list[mm.Row]:
    """Two tiny sessions in one store, one at rest, one whose electrodes nobody measured; run to the last step."""
    folder = tmp_path_factory.mktemp("lacking")
    for number in (1, 2):
        mm.simulate_session(folder / "bids", subject=f"{number:02d}", seed=number, artifacts=False)
    (events,) = folder.glob(f"bids/sub-01/func/{EVENTS}_events.tsv")
    events.unlink()
    (places,) = folder.glob("bids/sub-02/eeg/*_electrodes.tsv")
    header, *names = places.read_text().splitlines()
    unknown = ["\t".join([line.partition("\t")[0], *["n/a"] * header.count("\t")]) for line in names]
    places.write_text("\n".join([header, *unknown]) + "\n")
    recipe, store = folder / "recipe.yaml", str(folder / "store")
    recipe.write_text(RECIPE)
    runtime = mm.Runtime(store=store, cluster=mm.Cluster(kind="threads"))
    done = mm.run(str(folder / "bids"), study="lacking", recipe=mm.Recipe.load(recipe), runtime=runtime)
    assert [(one.session, one.status) for one in done] == [(EVENTS, "done"), (PLACES, "done")]
    given = {"bids": str(folder / "bids"), "study": "lacking", "store": store, "recipe": str(recipe)}
    return [mm.Row(label, {**given, "session": label}) for label in (EVENTS, PLACES)]


@pytest.mark.parametrize(
    ("name", "pictures", "told"),
    [
        ("session_report", {EVENTS: 4, PLACES: 5}, {EVENTS: ["activation", "sensor"], PLACES: ["sensor"]}),
        ("explore", {EVENTS: 5, PLACES: 5}, {EVENTS: [], PLACES: []}),
        (
            "maps",
            {EVENTS: 2, PLACES: 3},
            {EVENTS: ["activation", "sensor", "evoked"], PLACES: ["sensor", "EEG pattern"]},
        ),
    ],
)
def test_notebook__draws_what_is_there_and_says_what_is_not(rows, tmp_path, name, pictures, told):
    if name != "session_report":  # the others open what a run has left, by the recipe's name
        kept = ("study", "store", "session")
        rows = [mm.Row(row.session, {key: row.parameters[key] for key in kept}) for row in rows]
    for record in mm.run_batch(NOTEBOOKS / f"{name}.ipynb", rows, runs=tmp_path / "runs"):
        assert record.status == "done", f"{record.session}: {record.cell}\n{record.error}\n{record.log_tail}"
        executed = nbformat.read(Path(record.folder, "notebook.ipynb"), as_version=4)
        bundles = [out.get("data", {}) for cell in executed.cells for out in cell.get("outputs", [])]
        assert sum("image/png" in bundle for bundle in bundles) == pictures[record.session]
        sentences = [text for bundle in bundles if ": no" in (text := bundle.get("text/plain", ""))]
        why = NO_EVENTS if record.session == EVENTS else NO_PLACES
        for kind, sentence in zip(told[record.session], sentences, strict=True):
            assert sentence.startswith(kind)
            assert sentence.endswith(why)


def test_report__says_why_a_section_is_not_there(rows):
    for row, why in zip(rows, (f"none, {NO_EVENTS}", f"not drawn, {NO_PLACES}"), strict=True):
        subject = row.session.partition("_")[0]
        (page,) = Path(row.parameters["store"]).glob(f"lacking/{subject}/task-flicker/publish/*/data-*/report.html")
        assert f"sensor maps: {why}" in page.read_text(encoding="utf-8")
