"""The notebooks themselves: their form, and that their defaults are a demonstration that runs."""

import ast
import re
from pathlib import Path

import nbformat
import papermill
import pytest

from multimap_kernel.batch.runner import Row, run_batch

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def code_of(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_notebook__asks_a_question_and_runs_on_the_multimap_kernel(notebook):
    first = notebook.cells[0]
    assert first.cell_type == "markdown"
    assert re.match(r"# .+\n\n.+\?$", first.source)
    assert notebook.metadata.kernelspec.name == "multimap"


def test_notebook__has_typed_parameters_and_few_short_cells_of_verbs(notebook):
    parameters, *cells = code_of(notebook)
    assert parameters.metadata.tags == ["parameters"]
    assert all(isinstance(line, ast.AnnAssign) for line in ast.parse(parameters.source).body)
    assert len(cells) <= 10
    for cell in cells:
        assert len(cell.source.splitlines()) <= 15
        if not cell.source.startswith("%"):
            nodes = list(ast.walk(ast.parse(cell.source)))
            assert not [node for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda)]
        assert not re.search(r"""["']/\w""", cell.source)  # no absolute path


def test_notebook__carries_no_outputs(notebook):
    assert [cell.outputs for cell in code_of(notebook) if cell.outputs or cell.execution_count] == []


def test_session_report__takes_what_the_batch_command_gives():
    known = papermill.inspect_notebook(str(FOLDER / "session_report.ipynb"))
    assert {name: about["inferred_type_name"] for name, about in known.items()} == dict.fromkeys(
        ("bids", "study", "session", "store", "recipe"), "str"
    )


@pytest.mark.batch
def test_session_report__its_defaults_are_its_own_demonstration(tmp_path, monkeypatch):
    monkeypatch.setenv("MULTIMAP_STORE", str(tmp_path / "never"))
    (record,) = run_batch(FOLDER / "session_report.ipynb", [Row("demo")], runs=tmp_path / "runs")
    assert record.status == "done", f"{record.cell}\n{record.error}\n{record.log_tail}"
    executed = nbformat.read(Path(record.folder, "notebook.ipynb"), as_version=4)
    pictures = [
        output for cell in code_of(executed) for output in cell.outputs if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 6  # clocks, motion, EEG, activation, coupling, sensors
    assert "application/vnd.jupyter.widget-view+json" not in str(executed)
    page = Path(record.folder, "notebook.html").read_text(encoding="utf-8")
    assert len(re.findall(r"""<img[^>]+src="data:image/png;base64,""", page)) == 6
    assert not (tmp_path / "never").exists()  # a demonstration leaves the user's own store alone


@pytest.mark.batch
def test_align_qc__in_batch_keeps_a_picture_and_no_widget(tmp_path, monkeypatch):
    monkeypatch.setenv("MULTIMAP_STORE", str(tmp_path / "never"))
    (record,) = run_batch(FOLDER / "align_qc.ipynb", [Row("demo")], runs=tmp_path / "runs")
    assert record.status == "done", f"{record.cell}\n{record.error}\n{record.log_tail}"
    executed = nbformat.read(Path(record.folder, "notebook.ipynb"), as_version=4)
    outputs = [output for cell in code_of(executed) for output in cell.outputs]
    assert len([output for output in outputs if "image/png" in output.get("data", {})]) == 1
    assert "widgets" not in executed.metadata
    assert "application/vnd.jupyter.widget-view+json" not in str(executed)


@pytest.mark.batch
def test_maps__its_defaults_draw_each_kind_of_map_and_say_its_null(tmp_path, monkeypatch):
    monkeypatch.setenv("MULTIMAP_STORE", str(tmp_path / "never"))
    (record,) = run_batch(FOLDER / "maps.ipynb", [Row("demo")], runs=tmp_path / "runs")
    assert record.status == "done", f"{record.cell}\n{record.error}\n{record.log_tail}"
    executed = nbformat.read(Path(record.folder, "notebook.ipynb"), as_version=4)
    outputs = [output for cell in code_of(executed) for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 5  # each kind of map
    assert outputs[-1].data["text/plain"].count("smallest_p") == 7  # BOLD, EEG and joint have one each
    assert not (tmp_path / "never").exists()


@pytest.mark.batch
def test_train__its_defaults_find_what_no_line_can_see(tmp_path, monkeypatch):
    monkeypatch.setenv("MULTIMAP_STORE", str(tmp_path / "never"))
    (record,) = run_batch(FOLDER / "train.ipynb", [Row("demo")], runs=tmp_path / "runs")
    assert record.status == "done", f"{record.cell}\n{record.error}\n{record.log_tail}"
    executed = nbformat.read(Path(record.folder, "notebook.ipynb"), as_version=4)
    outputs = [output for cell in code_of(executed) for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2  # learning, judged
    (card,) = (output.data["text/markdown"] for output in outputs if "text/markdown" in output.get("data", {}))
    assert "**In short:** the network gains +0.0" in card
    assert not (tmp_path / "never").exists()


@pytest.mark.batch
def test_group_report__its_defaults_are_its_own_demonstration(tmp_path):
    (record,) = run_batch(FOLDER / "group_report.ipynb", [Row("study")], runs=tmp_path / "runs")
    assert record.status == "done", f"{record.cell}\n{record.error}\n{record.log_tail}"
    pictures = sorted(path.name for path in Path(record.folder, "pictures").iterdir())
    assert len(pictures) == 3  # quality, maps side by side, the group
    page = Path(record.folder, "notebook.html").read_text(encoding="utf-8")
    assert "sub-04_task-flicker: exclude by" in page
    assert "fell asleep" in page
    assert len(re.findall(r"""<img[^>]+src="data:image/png;base64,""", page)) == 3
