"""Run tables: labels stay labels, and what does not fit the notebook is told before anything starts."""

import json
import re

import pytest
from faulty import write_notebook

from multimap_kernel.batch.table import Row, check_table, read_parameters, read_table
from multimap_kernel.schema import InputError, RecipeError

PARAMETERS = """
subject: str
task: str = "rest"
count: int = 1
width: float = 1.0
deep: bool = False
bands: list[str] = ["alpha"]
note = "free"
limit: "int | None" = None
"""


@pytest.fixture
def notebook(tmp_path):
    return write_notebook(tmp_path / "act.ipynb", "print(subject)", parameters=PARAMETERS, kernel="python3")


def write(tmp_path, text, ending=".csv"):
    path = tmp_path / f"runs{ending}"
    path.write_text(text)
    return str(path)


def test_read_parameters__knows_kinds_and_what_has_no_value(notebook):
    found = {name: (one.kind, one.required) for name, one in read_parameters(notebook).items()}
    assert found == {
        "subject": ("str", True),
        "task": ("str", False),
        "count": ("int", False),
        "width": ("float", False),
        "deep": ("bool", False),
        "bands": ("list", False),
        "note": ("str", False),
        "limit": ("", False),
    }


def test_read_table__labels_that_look_like_numbers_stay_text(notebook, tmp_path):
    header = "session,subject,task,count,width,deep,bands"
    table = [header, 'sub-02,02,true,3,1e3,true,"[""1e3"", ""beta""]"', "sub-1e3,1e3,,,,,"]
    first, second = read_table(write(tmp_path, "\n".join(table)), notebook)
    assert first.parameters == {
        "subject": "02",
        "task": "true",
        "count": 3,
        "width": 1000.0,
        "deep": True,
        "bands": ["1e3", "beta"],
    }
    assert second == Row("sub-1e3", {"subject": "1e3"})  # an empty cell leaves the notebook's own value
    check_table(notebook, [first, second])


def test_read_table__json_keeps_its_types(notebook, tmp_path):
    rows = [{"session": "sub-02", "subject": "02", "note": "", "count": 2}]
    (row,) = read_table(write(tmp_path, json.dumps(rows), ".json"), notebook)
    assert row == Row("sub-02", {"subject": "02", "note": "", "count": 2})


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("sesion,subject\na,01\n", "every row must have a 'session'; did you mean it by 'sesion'?"),
        ("session,subjcet\na,01\n", "unknown parameter 'subjcet'; did you mean 'subject'?"),
        ("session,subject,count\na,01,three\n", "row 1 (a): 'count' must be int (a number), found 'three'"),
        ("session,subject,deep\na,01,1\n", "row 1 (a): 'deep' must be bool (true or false), found '1'"),
        ("session,subject\na,01,02\n", "a row has more cells than the header"),
        ("session,subject\n", "at least one row under its header, found none"),
    ],
)
def test_read_table__tells_what_does_not_fit(notebook, tmp_path, table, told):
    with pytest.raises(RecipeError, match=re.escape(told)):
        read_table(write(tmp_path, table), notebook)


def test_check_table__a_parameter_without_a_value_must_be_given(notebook):
    with pytest.raises(RecipeError, match="sub-07 must give 'subject'"):
        check_table(notebook, [Row("sub-07", {"task": "rest"})])


def test_read_parameters__a_cell_that_is_no_python_is_told(tmp_path):
    path = write_notebook(tmp_path / "act.ipynb", parameters="subject: = 1", kernel="python3")
    with pytest.raises(InputError, match=r"the parameters cell of act.ipynb must be Python"):
        read_parameters(path)
