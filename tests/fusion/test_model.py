"""The networks by themselves: their shapes, their start, and that no tensor is left behind on another device."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from coupled import LAGS

from multimap_kernel.fusion.lessons import SEGMENT, EmbeddingLesson, ResidualLesson, contrast, windows
from multimap_kernel.fusion.model import FILTERS, SIZES, WINDOW, Bank, Embedding, ResidualModel, Shape

SHAPE = Shape(channels=6, bands=5, regions=10, latent=5, lags_s=LAGS)
PATCHED = SHAPE._replace(samples=100, patch_hz=50.0)


def lessons(size):
    draw = torch.Generator().manual_seed(0)
    rank, count = min(size.rank, SHAPE.channels), 40
    power, rows = torch.randn(count, len(LAGS), 6, 5, generator=draw), torch.randn(2, count, 10, generator=draw)
    courses, run = torch.randn(count, 5 * rank, generator=draw), torch.zeros(count, dtype=torch.int64)
    axes = np.ones((WINDOW * 10, 5), np.float32)
    starts = torch.arange(count - SEGMENT)
    patch, window = torch.randn(50, 6, 100, generator=draw), torch.arange(count)[:, None] + torch.arange(len(LAGS))
    plain = ResidualLesson(power=power, residual=rows[0], starts=torch.arange(count), run=np.zeros(count, int))
    return (
        plain,
        replace(plain, patch=patch, window=window),
        EmbeddingLesson(*rows, courses, run, 2.0 * torch.arange(count), starts, (axes, axes)),
    )


@pytest.mark.parametrize("size", SIZES)
def test_lesson__learns_whole_on_the_device_that_is_named(size):
    """The meta device knows shapes only, and refuses a tensor of another device as a GPU does."""
    for lesson in lessons(SIZES[size]):
        shape = SHAPE if getattr(lesson, "patch", None) is None else PATCHED
        model = lesson.model(shape, SIZES[size]).to("meta")
        rows = (lesson.starts[:3, None] + torch.arange(lesson.length)).to("meta")
        losses = lesson.to("meta").losses(model, rows)
        torch.stack(list(losses.values())).sum().backward()
        assert all(value.device.type == "meta" and value.shape == () for value in losses.values())
        assert all(value.grad is not None for value in model.parameters())


@pytest.mark.parametrize("size", SIZES)
def test_residual__is_nothing_at_the_start_and_begins_at_the_response(size):
    model = ResidualModel(SHAPE, SIZES[size])
    assert not model(torch.randn(4, len(LAGS), 6, 5)).any()
    weight = model.lag_weight().detach().numpy()
    np.testing.assert_allclose(weight.sum(axis=1), 1, rtol=1e-6)
    assert LAGS[weight[0].argmax()] in {4.0, 6.0}  # the canonical response peaks at 5 s
    assert LAGS[weight[1].argmax()] == max(LAGS)


def test_residual__tokens_are_the_filtered_courses_of_each_band():
    model = ResidualModel(SHAPE, SIZES["small"])
    draw = np.random.default_rng(0)
    power, filters = draw.standard_normal((2, 7, 6, 5)), draw.standard_normal((5, 6, 3)).astype(np.float32)
    model.start_from(filters)
    found = model.tokens(torch.from_numpy(power.astype(np.float32))).detach().numpy()
    expected = np.einsum("blcf,fck->blfk", power, filters).reshape(2, 7, 15)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_bank__begins_as_the_log_power_of_rhythms():
    """A rhythm whose strength changes from window to window moves the band around it, and no far one."""
    draw, hz = np.random.default_rng(2), 100.0
    strength = np.exp(draw.standard_normal((60, 2)))
    time = np.arange(200) / hz
    waves = strength[..., None] * np.sin(2 * np.pi * 10.0 * time + draw.uniform(0, 6, (60, 2, 1)))
    patch = torch.from_numpy((waves + 0.3 * draw.standard_normal((60, 2, 200))).astype(np.float32))
    bank = Bank(SHAPE._replace(channels=2, samples=200, patch_hz=hz))
    power = bank.start_from(patch).numpy()
    np.testing.assert_allclose(power.mean(axis=0), 0, atol=1e-4)
    centre = np.geomspace(3, 40, FILTERS)
    near, far = np.abs(np.log(centre / 10)).argmin(), FILTERS - 1
    for channel in range(2):
        wanted = np.log(strength[:, channel])
        assert np.corrcoef(power[:, channel, near], wanted)[0, 1] > 0.95
        assert abs(np.corrcoef(power[:, channel, far], wanted)[0, 1]) < 0.4


def test_embedding__starts_at_the_axes_of_both_sides():
    draw = np.random.default_rng(1)
    eeg_axes, bold_axes = draw.standard_normal((2, WINDOW * 10, 5)).astype(np.float32)
    model = Embedding(SHAPE, courses=15)
    model.start_from(eeg_axes, bold_axes)
    values = torch.from_numpy(draw.standard_normal((3, WINDOW, 10)).astype(np.float32))
    found = model.of_eeg(values, torch.randn(3, 15)).detach(), model.of_bold(values).detach()
    for place, axes in zip(found, (eeg_axes, bold_axes), strict=True):
        expected = values.numpy().reshape(3, -1) @ axes
        np.testing.assert_allclose(place, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-5)


def test_contrast__is_zero_for_sharp_truth_and_leaves_neighbours_out():
    run, time_s = torch.zeros(3, dtype=torch.int64), torch.tensor([0.0, 40.0, 80.0])
    assert contrast(100 * torch.eye(3), run, time_s) < 1e-6
    assert contrast(torch.zeros(3, 3), run, time_s) == pytest.approx(np.log(3))
    near = torch.tensor([0.0, 2.0, 80.0])  # the first two are the same moment, seen twice: each has one stranger left
    assert contrast(torch.zeros(3, 3), run, near) == pytest.approx((2 * np.log(2) + np.log(3)) / 3)
    assert contrast(torch.zeros(3, 3), torch.arange(3), near) == pytest.approx(np.log(3))  # other runs are strangers


def test_windows__cut_every_start_of_each_segment():
    values = torch.arange(2 * 7).reshape(2, 7, 1)
    found = windows(values)[..., 0]
    assert found.tolist() == [[s, s + 1, s + 2, s + 3, s + 4] for first in (0, 7) for s in range(first, first + 3)]
