"""A study with four planted faults, each as it happens in a scanner or on a disk, and a notebook that can go wrong."""

from pathlib import Path

import nbformat
import nibabel as nib
import numpy as np
from nbformat import v4

RECIPE = """
ingest: {eeg_state: clean}
realign: {backend: none}
"""
PARAMETERS = """
bids: str
study: str = "faulty"
session: str
store: str = ""
recipe: str = ""
hungry: str = ""  # label of the session whose cell allocates without end
"""
RUN = """
import multimap_kernel as mm

runtime, chosen = mm.Runtime(store=store, cluster=mm.Cluster(kind="threads")), mm.Recipe.load(recipe)
(result,) = mm.run(bids, study=study, sessions=[session], recipe=chosen, runtime=runtime, upto="realign")
result.require_done()
"""
EAT = """
eaten = []
while session == hungry:
    eaten.append(bytearray(b"x" * 2**25))
"""
DRAW = """
alignment = mm.Alignment.from_json(mm.open_session(store, study, session)["align"].attrs["alignment"])
mm.alignment_figure(alignment)
"""


def write_notebook(path: Path, *cells: str, parameters: str, kernel: str = "multimap") -> Path:
    """A notebook as people write it: a cell of parameters, then the others."""
    first = v4.new_code_cell(parameters.strip(), metadata={"tags": ["parameters"]})
    others = [v4.new_code_cell(cell.strip()) for cell in cells]
    spec = {"name": kernel, "language": "python", "display_name": "Python"}
    nbformat.write(v4.new_notebook(cells=[first, *others], metadata={"kernelspec": spec}), path)
    return path


def write_line_notebook(path: Path) -> Path:
    """Runs the first steps of the line, eats memory if it is told to, and draws the clocks."""
    return write_notebook(path, RUN, EAT, DRAW, parameters=PARAMETERS)


def plant(bids: Path, *, silent: str, short: str, hollow: str) -> None:
    """Damage three sessions: no scanner marker; an EEG file whose copy was interrupted; volumes of NaN."""
    (header,) = (bids / silent / "eeg").glob("*.vmrk")
    lines = header.read_text().splitlines()
    header.write_text("\n".join(line for line in lines if ",R128," not in line) + "\n")
    (samples,) = (bids / short / "eeg").glob("*.eeg")
    with samples.open("r+b") as stream:
        stream.truncate(samples.stat().st_size // 2 + 1)
    (image,) = (bids / hollow / "func").glob("*_bold.nii.gz")
    loaded = nib.load(image)
    values = np.asarray(loaded.dataobj, "f4")
    values[..., 10:14] = np.nan
    hollowed = nib.Nifti1Image(values, loaded.affine, loaded.header)
    hollowed.set_data_dtype("f4")
    hollowed.header.set_slope_inter(1, 0)
    nib.save(hollowed, image)
