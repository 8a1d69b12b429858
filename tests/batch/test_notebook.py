"""An executed notebook says how to come from its pictures to the live viewer, by a command that works."""

import shlex

import nbformat
import pytest
from faulty import write_notebook
from nbformat.v4 import new_output

from multimap_kernel.__main__ import _parser
from multimap_kernel.batch.notebook import correct_notebook
from multimap_kernel.batch.records import RunRecord

SESSION, STUDY = 'bids: str = ""\nstudy: str = "demo"\nsession: str = ""', 'bids: str = ""\nstudy: str = "demo"'


@pytest.mark.parametrize(
    ("cell", "given", "asked"),
    [
        (SESSION, {"study": "a b", "session": "sub-01_task-rest"}, ("a b", "sub-01_task-rest")),
        (SESSION, {"study": "mine", "bids": "raw"}, ("mine", "")),  # the first one, in the notebook and in the viewer
        (STUDY, {"study": "mine", "bids": "raw"}, ("mine", "group")),
        (STUDY, {"study": "mine"}, None),  # its own demonstration: the store is gone when somebody reads this
    ],
)
def test_correct_notebook__each_picture_has_a_way_to_the_live_viewer(tmp_path, cell, given, asked):
    path = write_notebook(tmp_path / "notebook.ipynb", "draw", "print(1)", parameters=cell)
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].outputs = [new_output("display_data", data={"image/png": "aGk="})]
    nbformat.write(notebook, path)
    correct_notebook(path, RunRecord("run", "row", 1, str(tmp_path), str(path), parameters=given, status="done"))
    _, drawn, printed = nbformat.read(path, as_version=4).cells
    assert printed.outputs == []
    told = [output.data["text/plain"].removeprefix("live viewer: ") for output in drawn.outputs[1:]]
    assert len(told) == (asked is not None)
    for command in told:
        options = _parser().parse_args(shlex.split(command)[1:])
        assert (options.study, options.session) == asked
