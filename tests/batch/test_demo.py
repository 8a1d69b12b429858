"""What a stranger gets from ``make demo``: the commands of the Makefile, their results against the planted truth."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE, STDOUT

import nibabel as nib
import numpy as np
import pytest
from matplotlib.image import imread
from memory import Peak
from pages import READY
from truth import activation_auc, alpha_auc, displacement_mm, truth_of

import multimap_kernel as mm

pytestmark = pytest.mark.batch

ROOT = Path(__file__).parents[2]
LABELS = ("sub-01_task-flicker", "sub-02_task-flicker")
MULTIMAP = (sys.executable, "-m", "multimap_kernel")


def commands() -> list[list[str]]:
    """The two commands under ``demo:`` in the Makefile, so that this test cannot drift from it."""
    recipe = re.search(r"^demo:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    lines = [line.strip().lstrip("@") for line in recipe.splitlines()]
    return [line.replace("$(BIN)/multimap ", "").replace("$(DEMO)", "demo").split() for line in lines]


class Demo:
    """Everything is in ``folder``: ``demo/bids``, ``multimap-store``, ``notebooks``."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bids, self.store = folder, folder / "demo" / "bids", folder / "multimap-store"
        shutil.copytree(ROOT / "notebooks", folder / "notebooks")

    def run(self) -> str:
        out = ""
        for command in commands():
            done = subprocess.run(
                [*MULTIMAP, *command],
                cwd=self.folder,
                env=self.environment,
                stdout=PIPE,
                stderr=STDOUT,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout
            out += done.stdout
        return out

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "MULTIMAP_STORE": str(self.store), "COLUMNS": "200"}

    def tree(self, label: str):
        return mm.open_session(str(self.store), "demo", label)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    made = Demo(tmp_path_factory.mktemp("demo"))
    with Peak() as peak:
        made.out = made.run()
    made.peak = peak.above_idle
    return made


def test_demo__says_where_everything_is(demo):
    for word in ("notebook.ipynb", "notebook.html", "report.html", "/maps", "multimap show --study demo"):
        assert word in demo.out
    for path in re.findall(r"(/\S+\.(?:html|ipynb))", demo.out):
        assert Path(path).is_file()
    assert demo.peak < 4 * 2**30


def test_demo__second_time_computes_nothing_and_says_so(demo):
    before = sorted(demo.store.rglob("commit.json")), sorted(demo.store.rglob("run.json"))
    assert "nothing to do: all 2 sessions are done" in demo.run()
    assert before == (sorted(demo.store.rglob("commit.json")), sorted(demo.store.rglob("run.json")))


@pytest.mark.parametrize("label", LABELS)
def test_line__finds_what_was_planted(demo, label):
    tree, truth = demo.tree(label), truth_of(demo.bids, label)["clock"]
    alignment = tree["align"].attrs["alignment"]
    assert abs(alignment["offset_s"] - truth["offset_s"]) < 0.5 / truth["sampling_hz"] + 1e-4
    assert abs(alignment["drift_ppm"] - truth["drift_ppm"]) < 1.0
    activation, coupling = tree["map/activation"].to_dataset(), tree["map/coupling"].to_dataset()
    for condition in ("flicker", "tapping"):
        assert activation_auc(activation, demo.bids, label, condition) >= 0.95
    assert alpha_auc(coupling, demo.bids, label) >= 0.95


@pytest.mark.parametrize("label", LABELS)
def test_line__keeps_the_geometry_and_the_motion_of_the_truth(demo, label):
    tree, stem = demo.tree(label), demo.bids / "sourcedata" / "truth" / f"{label}_truth.npz"
    with np.load(stem) as truth:
        regions = truth_of(demo.bids, label)["regions"]
        mni = np.array([region["centre_mm"] for region in regions], float)
        native = nib.affines.apply_affine(np.linalg.inv(truth["epi_to_mni"]), mni)
        found = nib.affines.apply_affine(np.vstack([tree["normalise"]["transform"].values, [0, 0, 0, 1]]), native)
        assert np.linalg.norm(found - mni, axis=1).max() < 3.0
        error = displacement_mm(tree["realign"].to_dataset(), truth["motion"], truth_of(demo.bids, label)["motion"])
    assert error.mean() < 0.1  # mm, of voxels of 6.5 mm
    assert error.max() < 0.25


def test_publish__images_are_where_fsl_and_nilearn_expect_them(demo):
    (image,) = demo.store.glob("demo/sub-01/**/*contrast-flicker_desc-bold_stat-z_statmap.nii.gz")
    loaded = nib.load(image)
    assert loaded.header["sform_code"] == loaded.header["qform_code"] == 4
    peak = np.unravel_index(np.nanargmax(loaded.get_fdata()), loaded.shape)
    where = nib.affines.apply_affine(loaded.affine, peak)
    assert np.linalg.norm(where - [0, -86, 2]) < 15.0
    told = json.loads(image.with_name(image.name.replace(".nii.gz", ".json")).read_text())
    assert (told["Contrast"], told["Modality"], told["StatisticKind"]) == ("flicker", "bold", "z")
    assert told["Null"]["smallest_p"] == pytest.approx(1 / (1 + told["Null"]["n"]))
    assert told["Threshold"]["FamilyWiseError"] == 0.05
    assert 3.0 < told["Threshold"]["Statistic"] <= np.nanmax(np.abs(loaded.get_fdata()))
    (computed,) = demo.store.glob("demo/sub-01/task-flicker/map/*")
    assert told["Provenance"]["keys"]["map"] == computed.name
    assert told["Provenance"]["recipe"]["normalise"]["resolution_mm"] == 4.0  # of demo.yaml, whose grid this is
    np.testing.assert_allclose(np.diag(loaded.affine)[:3], 4.0)


def test_batch__executed_notebooks_keep_their_pictures_and_ask_for_no_network(demo):
    for path in demo.store.glob("demo/runs/*/*/attempt-1/notebook.html"):
        page = path.read_text()
        assert page.count("data:image/png;base64,") >= 5
        assert not re.search(r"""<(?:script|link|img)[^>]+(?:src|href)=["']https?:""", page)


def test_batch__page_opened_without_network_shows_every_picture(demo, chromium, tmp_path):
    folder = next(demo.store.glob("demo/runs/*/*/attempt-1"))
    context = chromium.new_context(offline=True, viewport={"width": 1200, "height": 900})
    page = context.new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((folder / "notebook.html").as_uri())
    pictures = page.locator("img")
    assert pictures.count() == len(list((folder / "pictures").iterdir())) >= 5
    for number in range(pictures.count()):
        pictures.nth(number).scroll_into_view_if_needed()
        pictures.nth(number).screenshot(path=tmp_path / "picture.png")
        pixels = imread(tmp_path / "picture.png")[..., :3].mean(-1)
        assert pixels.shape[0] > 100
        assert pixels.std() > 0.04, f"picture {number} is blank"
    assert [url[:80] for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    context.close()


@pytest.mark.parametrize("folder", ["raw", "derivative"])
def test_bids_validator__finds_no_error(demo, folder):
    (maps,) = demo.store.glob("demo/sub-01/**/publish/*/data-*/maps")
    study = demo.bids if folder == "raw" else maps
    command = [str(Path(sys.executable).with_name("bids-validator-deno")), "--json", str(study)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    issues = json.loads(done.stdout)["issues"]["issues"]
    errors = [(issue["code"], issue.get("location")) for issue in issues if issue["severity"] == "error"]
    assert errors == []


def test_show__planted_blob_is_in_the_pixels(demo, chromium, tmp_path):
    """The last command that the demo names, in a real browser: the map of the flicker, cut through its blob."""
    server = subprocess.Popen(
        [*MULTIMAP, "show", "--study", "demo"], cwd=demo.folder, env=demo.environment, stdout=subprocess.PIPE, text=True
    )
    try:
        url = next(found[0] for line in server.stdout if (found := re.search(r"http://127\.0\.0\.1:\S+", line)))
        page = chromium.new_page(viewport={"width": 1400, "height": 700})
        page.goto(url)
        page.wait_for_function(READY, timeout=90_000)
        page.wait_for_timeout(1_000)  # a frame of the software renderer after the last chunk
        page.screenshot(path=tmp_path / "show.png")
        picture = (imread(tmp_path / "show.png")[..., :3] * 255).astype(int)
        picture = picture[90:]  # below the colour bar
        warm = (picture[..., 0] > 200) & (picture[..., 2] < 90) & (picture[..., 0] - picture[..., 2] > 120)
        for plane in np.array_split(warm, 3, axis=1):  # axial, coronal, sagittal, cut through the flicker's peak
            assert plane.sum() > 200
    finally:
        server.terminate()
        server.communicate()  # waits, and closes the pipe: left open, it would be another test's warning
