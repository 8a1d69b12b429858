"""What ingest gives, and that its key follows every file that it opens, whatever its name and wherever it lies."""

import shutil
import sys
from pathlib import Path

import pytest
from recordings import write_session

import multimap_kernel as mm
from multimap_kernel.io.bids import find_sessions
from multimap_kernel.io.store import Store
from multimap_kernel.pipeline import STEPS, key_of
from multimap_kernel.pipeline.keys import Inputs

OPENED: list[str] = []
"""Files that this process opens; nothing but an audit hook sees all of them, and it cannot be taken away again."""
sys.addaudithook(lambda event, args: OPENED.append(str(args[0])) if event == "open" else None)


def brainvision_under_names_of_its_own(study: Path, _: Path) -> None:
    """The header names samples and markers as the recorder did; tables are inherited from above."""
    eeg = study / "sub-01" / "eeg"
    header = eeg / "sub-01_task-x_eeg.vhdr"
    for ending in (".eeg", ".vmrk"):
        header.with_suffix(ending).rename(eeg / f"raw01{ending}")
    text = header.read_text().replace("sub-01_task-x_eeg.eeg", "raw01.eeg")
    header.write_text(text.replace("sub-01_task-x_eeg.vmrk", "raw01.vmrk"))
    (study / "sub-01" / "sub-01_electrodes.tsv").write_text("name\tx\ty\tz\nFp1\t1\t80\t0\n")
    (study / "sub-01" / "sub-01_coordsystem.json").write_text('{"EEGCoordinateUnits": "mm"}')
    (eeg / "sub-01_task-x_channels.tsv").write_text("name\ttype\tunits\nFp1\tEEG\tuV\n")
    (study / "sub-01" / "func" / "sub-01_task-x_events.tsv").rename(study / "task-x_events.tsv")


def eeglab_pair(study: Path, shared_data: Path) -> None:
    """A ``.set`` that names its ``.fdt`` as EEGLAB did, beside the one of another run."""
    eeg = study / "sub-01" / "eeg"
    for file in eeg.iterdir():
        file.unlink()
    shutil.copyfile(shared_data / "eeglab_sample" / "eeglab_data.set", eeg / "sub-01_task-x_eeg.set")
    shutil.copyfile(shared_data / "eeglab_sample" / "eeglab_data.fdt", eeg / "eeglab_data.fdt")
    (eeg / "sub-01_task-y_eeg.fdt").write_bytes(b"of another run")


@pytest.mark.parametrize("disguise", [brainvision_under_names_of_its_own, eeglab_pair])
def test_key__every_file_that_ingest_opens_changes_it(tmp_path, shared_data, disguise):
    study = write_session(tmp_path / "bids")
    disguise(study, shared_data)
    (session,) = find_sessions(str(study))
    ingest, store, recipe = STEPS[0], Store(str(tmp_path / "store"), "x"), mm.Recipe()
    OPENED.clear()
    for ds in ingest.run(Inputs(session, {"ingest": recipe.ingest})).datasets.values():
        ds.compute()
    opened = {Path(file) for file in OPENED if file.startswith(str(study))}
    assert {Path(url) for url in ingest.files(session)} == opened
    assert len(opened) >= 4
    before = {key_of(ingest, session, recipe, {}, (), store)}
    for number, file in enumerate(sorted(opened), 1):
        content = file.read_bytes()
        file.write_bytes(bytes([content[0] ^ 1]) + content[1:])
        before.add(key_of(ingest, session, recipe, {}, (), store))
        assert len(before) == number + 1, f"a change of {file.name} leaves the key as it was"
        file.write_bytes(content)


def test_key__an_inherited_sidecar_changes_it(tmp_path):
    study, store, ingest = write_session(tmp_path / "bids"), Store(str(tmp_path / "store"), "x"), STEPS[0]
    before = key_of(ingest, find_sessions(str(study))[0], mm.Recipe(), {}, (), store)
    (study / "task-x_bold.json").write_text('{"RepetitionTime": 2.0, "SliceTiming": [0, 0.5, 1, 1.5, 0.3, 0.8]}')
    assert key_of(ingest, find_sessions(str(study))[0], mm.Recipe(), {}, (), store) != before


def test_ingest__a_table_without_events_makes_a_session_without_events(tmp_path):
    study = write_session(tmp_path / "bids")
    table = study / "sub-01" / "func" / "sub-01_task-x_events.tsv"
    table.write_text("onset\tduration\ttrial_type\n")
    groups = STEPS[0].run(Inputs(find_sessions(str(study))[0], {"ingest": mm.Recipe().ingest})).datasets
    assert sorted(groups) == ["bold", "eeg"]
    assert groups["bold"].attrs["warnings"] == [
        f"{table.name} gives no event of this run: it is taken as one without events"
    ]
