"""The report: every number of the session, nothing from outside, and what is missing is said."""

import re

import numpy as np
import planted
import xarray as xr

from multimap_kernel.schema import Fit
from multimap_kernel.view.layers import map_layers
from multimap_kernel.view.report import Section, report_html
from multimap_kernel.view.sections import SessionResults, session_facts, session_sections

FIT = Fit("ridge", 0.083, (0.002, 0.021), (10.0,) * 5, (0.0, 2.0, 4.0), ((0, 20),) * 5, 16.0, 0)


def test_report_html__escapes_and_asks_for_nothing():
    page = report_html("a <b>", [Section("x & y", "<script>", (("<i>", "1"),))], {"keys": {"align": "<0>"}})
    assert "<script" not in page
    assert "a &lt;b&gt;" in page
    assert "&lt;0&gt;" in page
    assert re.findall(r'(?:src|href)="(?!#|data:)', page) == []
    assert "default-src 'none'" in page


def test_report_html__says_what_was_left_out():
    assert "Left out:" not in report_html("t", [], {})
    assert "<b>Left out:</b> motion: none; maps: none." in report_html(
        "t", [], {}, left_out=("motion: none", "maps: none")
    )


def test_session_sections__whole_session():
    motion = xr.Dataset(
        {"motion": (("time", "parameter"), np.full((12, 6), 0.01))},
        {"time": 2.0 * np.arange(12), "parameter": ["trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z"]},
    )
    results = SessionResults(
        planted.alignment(),
        raw=planted.eeg(1000.0, artifact=True),
        clean=planted.eeg(250.0, artifact=False),
        motion=motion,
        framewise_displacement=np.array([0.0] + [0.6] * 11),
        fit=FIT,
        layers=map_layers([planted.activation(), planted.coupling()], anatomy=planted.anatomy()),
    )
    sections, left_out = session_sections(results)
    assert [section.title for section in sections] == [
        "Facts",
        "Clocks",
        "Motion",
        "EEG before and after cleaning",
        "Heart beats",
        "BOLD from EEG",
        "Activation maps",
        "Coupling maps",
    ]
    assert left_out == (
        "EEG pattern of BOLD: none was made",
        "sensor maps: none, this session has no events",
        "evoked responses: none, this session has no events",
    )
    facts = dict(sections[0].table)
    assert facts["alignment"] == "suspect; 2 markers are missing"
    assert facts["drift"] == "+8.000 ppm"
    assert facts["marker residual"] == "rms 0.0100 ms, largest 0.0100 ms"
    assert facts["volumes"] == "12 at TR 2 s; 2 without EEG"
    assert facts["largest motion"] == "0.01 mm, 0.57°"
    assert facts["framewise displacement"] == "mean 0.550 mm; 11 volumes over 0.5 mm"
    assert facts["heart beats"] == "25, median 75 per minute"
    assert facts["ridge score"] == "0.0830, above its null (mean 0.0020, 95 % 0.0210)"
    assert "n = 199, p ≥ 0.005" in facts["rest · BOLD (activation, t)"]


def test_session_facts__name_the_channels_that_the_amplifier_clipped():
    clean = planted.eeg(250.0, artifact=False)
    facts = []
    for share in ([0.0, 0.001, 0.3], [0.05, 0.0123, np.nan], [np.nan] * 3):
        told = clean.assign(quality=(("channel", "metric"), np.array([share]).T)).assign_coords(metric=["saturated"])
        facts.append(dict(session_facts(SessionResults(planted.alignment(), clean=told))).get("saturation"))
    limit = "more than 0.2 % of the samples in the volumes at an end of the amplifier's range"
    assert facts == [f"no channel with {limit}", f"Oz (5.0 %), Cz (1.2 %): not good, with {limit}", None]


def test_session_sections__no_beat_found_is_left_out():
    clean = planted.eeg(250.0, artifact=False)
    clean["r_peak"] = clean["r_peak"] * np.nan
    sections, left_out = session_sections(SessionResults(planted.alignment(), clean=clean))
    assert "heart beats: none were looked for or found" in left_out
    assert dict(sections[0].table)["heart beats"] == "0"


def test_session_sections__only_an_alignment_says_what_is_missing():
    sections, left_out = session_sections(SessionResults(planted.alignment()))
    assert [section.title for section in sections] == ["Facts", "Clocks"]
    assert len(left_out) == 9
    assert dict(session_facts(SessionResults(planted.alignment())))["markers"] == "8 matched, 2 missing, 1 extra"
