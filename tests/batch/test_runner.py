"""Real notebooks in real kernels: what is written about them is what happened to them."""

import os
import re
import shutil
import signal
import threading
from pathlib import Path

import nbformat
import psutil
import pytest
from nbformat import v4

from multimap_kernel.batch.process import Limits, execute
from multimap_kernel.batch.records import RunRecord
from multimap_kernel.batch.runner import Row, run_batch
from multimap_kernel.config import Runtime
from multimap_kernel.schema import InputError, RecipeError

pytestmark = pytest.mark.batch

PARAMETERS = 'subject: str = "01"\ncount: int = 1\nfault: str = ""'
SAY = """
import os
print(repr(subject), os.environ["MULTIMAP_BATCH"], os.environ.get("MULTIMAP_SCHEDULER", ""))
"""
ACT = """
import signal, time
if fault in ("exclude", "bad"):
    from multimap_kernel import schema  # slow: only where it is needed
if fault == "raise":
    raise ValueError("the cap fell off")
if fault == "exclude":
    raise schema.ExcludedError("sub-01 is held: moved too much")
if fault == "bad":
    raise schema.InputError("no markers")
if fault == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
if fault == "sleep":
    time.sleep(600)
"""
PICTURE = """
from IPython.display import Image
import base64
Image(base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="))
"""


@pytest.fixture
def notebook(tmp_path) -> Path:
    path = tmp_path / "act.ipynb"
    cells = [
        v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}),
        v4.new_code_cell(SAY.strip()),
        v4.new_code_cell(ACT.strip()),
        v4.new_code_cell(PICTURE.strip()),
    ]
    kernel = {"name": "python3", "language": "python", "display_name": "Python"}
    nbformat.write(v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    return path


def cells_of(record):
    notebook = nbformat.read(Path(record.folder, "notebook.ipynb"), as_version=4)
    return notebook, [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_run_batch__tells_the_truth_about_each_row(notebook, tmp_path):
    seen = []
    faults = {"sub-02": "", "sub-03": "raise", "sub-04": "exclude", "sub-05": "kill"}
    table = [Row(name, {"subject": name.removeprefix("sub-"), "fault": fault}) for name, fault in faults.items()]
    runtime = Runtime(cluster={"kind": "local", "workers": 1, "memory": "400MiB"})
    records = run_batch(notebook, table, runs=tmp_path / "runs", jobs=2, runtime=runtime, on_progress=seen.append)

    assert {record.session: (record.status, record.exit_code, record.attempt) for record in records} == {
        "sub-02": ("done", 0, 1),
        "sub-03": ("failed", 10, 1),
        "sub-04": ("excluded", 21, 1),
        "sub-05": ("died", 138, 2),  # a kernel that died is tried once more
    }
    done, failed, excluded, died = records
    assert all(RunRecord.load(record.folder) == record for record in records)
    assert failed.error == "ValueError: the cap fell off"
    assert excluded.error == "ExcludedError: sub-01 is held: moved too much"
    assert died.cell.startswith("In [4]: import signal, time")
    assert RunRecord.load(Path(died.folder).with_name("attempt-1")).status == "died"
    assert done.peak_memory_bytes > 30e6
    assert {item.session for item in seen} == set(faults)
    last = [item for item in seen if item.session == "sub-02"][-1]
    assert (last.status, last.cells_done, last.cells) == ("done", 5, 5)

    _, cells = cells_of(done)
    assert cells[2].outputs[0].text.startswith("'02' 1 tcp://127.0.0.1:")  # a string, with its zero; a shared cluster
    addresses = {cells_of(record)[1][2].outputs[0].text.split()[-1] for record in records}
    assert len(addresses) == 1
    assert_opens_without_network(Path(done.folder, "notebook.html").read_text(encoding="utf-8"))

    notebook_died, cells = cells_of(died)
    assert [cell.metadata.papermill.status for cell in cells] == ["completed"] * 3 + ["failed", "pending"]
    assert "not done: died" in notebook_died.cells[0].source
    assert notebook_died.metadata.papermill.exception is True


def assert_opens_without_network(page):
    assert "data:image/png;base64,iVBOR" in page
    assert not re.findall(r"""<(?:script|link|img|iframe)[^>]+(?:src|href)\s*=\s*["']?(?:https?:)?//""", page)
    assert not re.findall(r"""\b(?:import|from)\s+["']https?:|url\(\s*["']?https?:""", page)


def test_run_batch__ends_a_notebook_at_its_time_limit(notebook, tmp_path):
    (record,) = run_batch(notebook, [Row("sub-01", {"fault": "sleep"})], runs=tmp_path / "runs", timeout_s=6)
    assert (record.status, record.exit_code, record.attempt) == ("timed-out", 124, 1)
    _, cells = cells_of(record)
    assert cells[-1].metadata.papermill.status == "pending"


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (Row("sub-01", {"subjcet": "02"}), "unknown parameter 'subjcet'; did you mean 'subject'?"),
        (Row("sub-01", {"subject": 2}), "parameter 'subject' must be str, found int 2"),
        (Row("sub-01", {"count": True}), "parameter 'count' must be int, found bool True"),
        (Row("../up"), "a session must be a label"),
    ],
)
def test_run_batch__refuses_a_table_before_anything_starts(notebook, tmp_path, row, told):
    with pytest.raises(RecipeError, match=re.escape(told)):
        run_batch(notebook, [Row("sub-00"), row], runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_run_batch__refuses_what_is_not_there(notebook, tmp_path):
    with pytest.raises(InputError, match="must be a file, found none; check the path"):
        run_batch(tmp_path / "none.ipynb", [], runs=tmp_path)
    stored = nbformat.read(notebook, as_version=4)
    stored.metadata.kernelspec.name = "absent"
    nbformat.write(stored, notebook)
    with pytest.raises(InputError, match="kernel 'absent', which is not installed here"):
        run_batch(notebook, [Row("sub-01")], runs=tmp_path)


@pytest.mark.parametrize(("way", "code"), [("asked", 75), ("killed", 137)])
def test_execute__an_ended_process_leaves_no_kernel(notebook, tmp_path, way, code):
    folder = tmp_path / "attempt-1"
    folder.mkdir()
    shutil.copy(notebook, folder / "notebook.ipynb")
    RunRecord("r", "s", 1, str(folder), str(notebook), {"fault": "sleep"}).save(folder)
    stop, tree = threading.Event(), []

    def end_when_a_cell_sleeps(_peak):
        if "Executing Cell 4" in (folder / "log.txt").read_text() and not tree:
            (child,) = [one for one in psutil.Process().children() if str(folder) in one.cmdline()]
            tree.extend([child, *child.children(recursive=True)])
            stop.set() if way == "asked" else os.kill(child.pid, signal.SIGKILL)

    environment = {**os.environ, "MULTIMAP_BATCH": "1"}
    found = execute(
        folder, environment, limits=Limits(60), stop=stop, lost=threading.Event(), watch=end_when_a_cell_sleeps
    )
    assert found.code == code
    assert found.peak_bytes > 30e6
    assert len(tree) >= 2
    assert psutil.wait_procs(tree, timeout=10)[1] == []
    saved = nbformat.read(folder / "notebook.ipynb", as_version=4)
    assert "'01' 1" in str(saved.cells)  # what was done before is kept
