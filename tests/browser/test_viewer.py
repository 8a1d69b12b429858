"""The viewer and the report as a person sees them: pixels of a real browser."""

import io
from collections.abc import Callable

import numpy as np
import planted
import pytest
from matplotlib.figure import Figure
from pages import READY
from PIL import Image

from multimap_kernel.view.layers import map_layers
from multimap_kernel.view.picked import PickedTime
from multimap_kernel.view.report import Section, report_html
from multimap_kernel.view.serving import serve
from multimap_kernel.view.volumes import make_volumes

pytestmark = pytest.mark.browser

MM_PER_PIXEL = 0.65  # of the state that the viewer starts with
AT = """([target, tolerance]) => {
  const viewer = document.getElementById("viewer").contentWindow.viewer;
  const near = (value, axis) => Math.abs(value - target[axis]) < tolerance;
  return viewer.isReady() && viewer.navigationState.position.value.every(near);
}"""
PLANES = """() => {
  const page = document.getElementById("viewer").contentDocument;
  const panels = [...page.querySelectorAll(".neuroglancer-rendered-data-panel")];
  return panels.map((panel) => panel.getBoundingClientRect().toJSON());
}"""
# plane -> (which world axis goes right, which goes up, position of the cross-hair that shows the planted blob)
X, Y, Z = planted.LEFT_MOTOR
VIEWS = {"axial": (0, 1, (0, -18, Z)), "coronal": (0, 2, (0, Y, 10)), "sagittal": (1, 2, (X, -18, 10))}


@pytest.fixture
def open_viewer(chromium):
    """Open the page of some maps; the noise of a page is an error."""
    page = chromium.new_page(viewport={"width": 1400, "height": 760})
    noise = []
    page.on("pageerror", lambda error: noise.append(str(error)))
    page.on("response", lambda response: noise.append(f"{response.status} {response.url}"))

    def start(layers, **more):
        served = serve(layers, **more)
        page.goto(served.url)
        page.wait_for_function(READY, timeout=30_000)
        return page, served.viewer

    yield start
    page.close()
    # 412: kernel and browser changed the state at once; the client then takes the kernel's
    assert [one for one in noise if not one.startswith(("200 ", "304 ", "412 "))] == []


def _colours(page, rectangle) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Red, green and blue of one plane."""
    page.wait_for_timeout(400)  # two frames of the software renderer
    page.mouse.move(5, 5)
    clip = {key: rectangle[key] for key in ("x", "y", "width", "height")}
    clip["y"] += page.locator("#viewer").bounding_box()["y"]
    image = np.asarray(Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB"), int).copy()
    image[:90, :40] = 0  # the coloured names of the axes
    return tuple(np.moveaxis(image, -1, 0))


def _heat(page, rectangle) -> tuple[np.ndarray, np.ndarray]:
    """Where one plane is coloured warm and cold: pixels (n, 2), right and up from its middle."""
    red, green, blue = _colours(page, rectangle)
    image_middle = np.array(red.shape[::-1]) / 2

    def places(where: np.ndarray) -> np.ndarray:
        down, right = np.nonzero(where)
        return (np.column_stack([right, down]) + 0.5 - image_middle) * (1, -1)

    # the thin lines of the cross-hair are pure red, green and blue
    return places((red > 150) & (green > 40) & (red - blue > 60)), places(
        (blue > 150) & (green > 70) & (blue - red > 60)
    )


def _wait(condition: Callable[[], bool], page) -> None:
    for _ in range(40):
        if condition():
            return
        page.wait_for_timeout(100)
    raise AssertionError("the page did not follow")


def test_viewer__planted_blob_is_where_it_was_planted(open_viewer):
    hand = [planted.activation(grid).sel(condition=["hand"], modality=["BOLD"]) for grid in planted.GRIDS]
    maps = [ds.assign_coords(condition=[grid]) for ds, grid in zip(hand, planted.GRIDS, strict=True)]
    page, viewer = open_viewer(map_layers(maps, anatomy=planted.anatomy("ras")))
    for grid in planted.GRIDS:
        page.select_option("#map", label=f"{grid} · BOLD (activation, t)")
        page.wait_for_function(AT, arg=[planted.LEFT_MOTOR, 6], timeout=10_000)
        _wait(lambda shown=grid: viewer.state.layers[f"activation-{shown}-BOLD"].visible, page)
        for number, (right, up, position) in enumerate(VIEWS.values()):
            with viewer.txn() as state:
                state.position = position
            page.wait_for_function(AT, arg=[position, 1e-3], timeout=10_000)
            warm, _ = _heat(page, page.evaluate(PLANES)[number])
            expected = (np.array(planted.LEFT_MOTOR) - position)[[right, up]]
            assert len(warm) > 40
            np.testing.assert_allclose(np.median(warm, 0) * MM_PER_PIXEL, expected, atol=3.0)
            distance = np.linalg.norm(warm * MM_PER_PIXEL - expected, axis=1)
            assert distance.max() < 16, "the threshold must hide everything but the blob"


def test_viewer__no_plane_of_a_narrow_window_cuts_the_head(open_viewer):
    page, _ = open_viewer(map_layers(planted.coupling(), anatomy=planted.anatomy()))
    page.set_viewport_size({"width": 900, "height": 760})
    page.reload()
    page.wait_for_function(READY, timeout=30_000)
    page.add_style_tag(content=".plane { display: none; }")  # the letters are grey as well
    for plane in page.evaluate(PLANES):
        red, green, blue = _colours(page, plane)
        head = (red > 90) & (red == green) & (green == blue)
        assert head.sum() > 5000
        edges = head[:, 2:8], head[:, -8:-2], head[2:8], head[-8:-2]  # beside the lines between the planes
        assert not any(edge.any() for edge in edges)


def test_viewer__sign_and_threshold_and_choice_of_the_map(open_viewer):
    layers = map_layers([planted.activation(), planted.coupling()], anatomy=planted.anatomy())
    page, viewer = open_viewer(layers)
    plane = page.evaluate(PLANES)[0]
    warm, cold = _heat(page, plane)
    assert len(warm) > 40
    assert len(cold) == 0

    page.locator("#threshold").evaluate("slider => { slider.value = 1; slider.oninput(); }")
    _wait(lambda: viewer.state.layers["activation-hand-BOLD"].shader_controls["threshold"] < 1.1, page)
    warm, cold = _heat(page, plane)
    assert min(len(warm), len(cold)) > 2000, "noise must show under a low threshold"

    page.select_option("#map", label="alpha (coupling, r)")
    page.wait_for_function(AT, arg=[planted.RIGHT_VISUAL, 6], timeout=10_000)
    warm, cold = _heat(page, plane)
    assert len(warm) == 0
    assert len(cold) > 40
    assert "largest at lag 4 s" in page.inner_text("#legend")
    _wait(lambda: not viewer.state.layers["activation-hand-BOLD"].visible, page)

    page.select_option("#map", label="rest · BOLD (activation, t): nothing passes")
    page.wait_for_timeout(500)
    assert [len(one) for one in _heat(page, plane)] == [0, 0]
    assert "nothing passes p_fwe < .05" in page.inner_text("#legend")


def test_viewer__colour_bar_marks_both_error_rates_and_the_cross_hair_tells_place_and_value(open_viewer):
    ds = planted.activation("las").assign_attrs(space="MNI152NLin2009aSym")
    hand = map_layers(ds)[0]
    page, viewer = open_viewer(map_layers(ds, anatomy=planted.anatomy()))
    names = page.locator("#bar text.name").all_text_contents()
    assert [name.partition(":")[0] for name in names] == ["FWE .05", "FDR .05"]
    assert [float(name.partition(":")[2]) for name in names] == pytest.approx(
        [hand.threshold, hand.fdr_threshold], rel=5e-3
    )
    assert page.inner_text("#space") == "mm, MNI"

    page.fill("#where", "24 -84 4")
    page.press("#where", "Enter")
    page.wait_for_function(AT, arg=[planted.RIGHT_VISUAL, 1e-3], timeout=10_000)
    expected = hand.at(np.array([planted.RIGHT_VISUAL])).item()
    assert expected < -8
    _wait(lambda: page.inner_text("#here") == f"t −{abs(expected):.3g}", page)

    page.click("#fdr")
    _wait(
        lambda: viewer.state.layers[hand.name].shader_controls["threshold"] == pytest.approx(hand.fdr_threshold), page
    )
    assert page.inner_text("#value").endswith("below FWE")
    page.select_option("#map", label="rest · BOLD (activation, t): nothing passes")
    _wait(lambda: page.is_disabled("#fdr"), page)
    assert page.locator("#bar text.name").count() == 1


def test_viewer__a_click_moves_the_cross_hair_and_shows_that_voxel(open_viewer):
    page, viewer = open_viewer(map_layers(planted.activation("las")), series=planted.series("las"))
    with viewer.txn() as state:
        state.position = (0, -18, planted.LEFT_MOTOR[2])
    page.wait_for_function(AT, arg=[(0, -18, planted.LEFT_MOTOR[2]), 1e-3], timeout=10_000)
    plane, top = page.evaluate(PLANES)[0], page.locator("#viewer").bounding_box()["y"]
    right, up = (np.array(planted.LEFT_MOTOR) - (0, -18, 0))[:2] / MM_PER_PIXEL
    page.mouse.move(plane["x"] + plane["width"] / 2 + right, top + plane["y"] + plane["height"] / 2 - up)
    page.mouse.down()
    page.mouse.up()
    page.wait_for_function(AT, arg=[planted.LEFT_MOTOR, 1.5], timeout=10_000)

    def told_place() -> np.ndarray:
        words = page.text_content("figcaption").replace("−", "-").removeprefix("Voxel at ").split()
        return np.array(words[:3], float) if "BOLD measured" in page.text_content("figcaption") else np.zeros(3)

    _wait(lambda: bool((np.abs(told_place() - planted.LEFT_MOTOR) <= 2).all()), page)
    _wait(lambda: page.locator("figure .measured").count() == 1, page)
    heights = (
        page.evaluate("document.querySelector('figure .measured').getBBox().height"),
        page.evaluate("document.querySelector('figure .predicted').getBBox().height"),
    )
    assert heights[1] / heights[0] == pytest.approx(0.5, abs=0.02)  # the EEG was made to predict half
    assert page.locator("figure rect").count() == 3 + 2  # three events, two names
    page.fill("#where", "0 -18 100")
    page.press("#where", "Enter")
    _wait(lambda: "no voxel of the brain" in page.inner_text("figcaption"), page)


def test_viewer__time_follows_both_ways_and_volumes_are_seen(open_viewer):
    picked = PickedTime()
    volumes = make_volumes(planted.volumes(repetition_time=1.5))
    page, _ = open_viewer((), volumes=volumes, picked=picked)

    def brightness() -> float:
        page.wait_for_timeout(600)
        shot = page.screenshot(clip={"x": 40, "y": 200, "width": 380, "height": 300})
        return float(np.asarray(Image.open(io.BytesIO(shot)).convert("L"), float).mean())

    first = brightness()
    picked.time = 15.6  # within volume 10 of 20, which has half of the first one's values
    _wait(lambda: page.inner_text("#time") == "volume 10 of 20 · 15.60 s", page)
    assert brightness() / first == pytest.approx(0.5, abs=0.08)
    page.click("#after")
    _wait(lambda: picked.time == pytest.approx(17.25), page)  # the middle of volume 11
    page.focus("#volume")
    page.keyboard.press("End")
    _wait(lambda: picked.time == pytest.approx(29.25), page)
    assert page.inner_text("#time") == "volume 19 of 20 · 29.25 s"


def test_viewer__letters_go_when_the_planes_are_turned(open_viewer):
    page, viewer = open_viewer(map_layers(planted.activation()))
    assert page.locator(".plane").first.is_visible()
    with viewer.txn() as state:
        state.layout = "4panel"
    _wait(lambda: not page.locator(".plane").first.is_visible(), page)


def test_report__opens_from_disk_without_a_request(chromium, tmp_path):
    figure = Figure(figsize=(3, 2))
    figure.add_subplot().plot([0, 1])
    sections = [Section("Facts <script>", "a & b", (("drift", "8 ppm"),)), Section("Clocks", figure=figure)]
    path = tmp_path / "report.html"
    path.write_text(report_html("sub-01", sections, {"recipe": "name: x", "keys": {"align": "0"}}), encoding="utf-8")
    page = chromium.new_page()
    asked, noise = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: noise.append(message.text))
    page.goto(path.as_uri())
    widths = page.evaluate("[...document.images].map(image => image.complete && image.naturalWidth)")
    assert len(widths) == 1
    assert min(widths) > 300
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
    assert noise == []
    assert page.inner_text("h2 >> nth=0") == "Facts <script>"
    page.close()
