"""What the networks learn from: rows as tensors, and the losses of a step."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn import functional

from multimap_kernel.fusion.linear import principal_filters, shared_axes
from multimap_kernel.fusion.model import WINDOW, Embedding, ResidualModel, Shape, Size
from multimap_kernel.fusion.tables import Reading, Table
from multimap_kernel.schema import InputError

SEGMENT = 16
"""Consecutive volumes that enter a step together, so that windows lie inside."""
NEIGHBOUR_S = 16.0
"""Moments of one run that are this near are neither the same nor different: the response is as long."""
CROSS = 0.2
"""Weight of the predictions from each side to the other, beside the contrastive loss."""
SLOW = 0.01
"""Learning rate of the shared axes: they start near their best and have few independent moments to learn from."""


@dataclass(frozen=True)
class ResidualLesson:
    """Standardised log power (row, lag, channel, band) and the ridge's residual (row, region), float32.

    If the network reads raw EEG, ``patch (window, channel, sample)`` and the ``window (row, lag)`` of each row are
    there too. Each row is learned from by itself.
    """

    power: torch.Tensor
    residual: torch.Tensor
    starts: torch.Tensor
    run: np.ndarray
    patch: torch.Tensor | None = None
    window: torch.Tensor | None = None
    length: int = 1

    def model(self, shape: Shape, size: Size) -> ResidualModel:
        """A network at its start: the strongest spatial patterns of each band, fixed or learned."""
        model = ResidualModel(shape, size)
        power = self.power[:, 0].numpy()
        if model.bank is not None and self.patch is not None and self.window is not None:
            learned = model.bank.start_from(self.patch[self.window[:, 0]])
            power = np.concatenate([power, learned.numpy()], axis=2)
        model.start_from(principal_filters(power, self.run, size.rank))
        return model

    def to(self, device: str) -> ResidualLesson:
        """The same with its values on a device; ``starts`` stay, a step's rows are drawn on the CPU."""
        moved = {name: getattr(self, name) for name in ("power", "residual", "patch", "window")}
        return replace(self, **{name: value.to(device) for name, value in moved.items() if value is not None})

    def groups(self, model: torch.nn.Module, rate: float) -> list[dict[str, object]]:
        """All weights learn at one rate."""
        return [{"params": list(model.parameters()), "lr": rate}]

    def losses(self, model: torch.nn.Module, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        """Mean square of what is left of the residual."""
        flat = rows.flatten()
        patch = None if self.patch is None or self.window is None else self.patch[self.window[flat]]
        return {"residual": functional.mse_loss(model(self.power[flat], patch), self.residual[flat])}


@dataclass(frozen=True)
class EmbeddingLesson:
    """BOLD as predicted out of fold and as measured (row, region), and the EEG's courses (row, course), float32.

    ``starts`` are rows from which `SEGMENT` volumes follow each other.
    """

    predicted: torch.Tensor
    bold: torch.Tensor
    courses: torch.Tensor
    run: torch.Tensor
    time_s: torch.Tensor
    starts: torch.Tensor
    axes: tuple[np.ndarray, np.ndarray]
    length: int = SEGMENT

    def model(self, shape: Shape, size: Size) -> Embedding:
        """An embedding at its start."""
        del size  # the data decide its size
        model = Embedding(shape, self.courses.shape[1])
        model.start_from(*self.axes)
        return model

    def to(self, device: str) -> EmbeddingLesson:
        """The same with its values on a device; ``starts`` stay, a step's rows are drawn on the CPU."""
        return replace(
            self, **{name: getattr(self, name).to(device) for name in ("predicted", "bold", "courses", "run", "time_s")}
        )

    def groups(self, model: torch.nn.Module, rate: float) -> list[dict[str, object]]:
        """The decoders learn fast, all that makes the embedding learns slowly."""
        fast = [value for name, value in model.named_parameters() if name.startswith("to_")]
        slow = [value for name, value in model.named_parameters() if not name.startswith("to_")]
        return [{"params": fast, "lr": rate}, {"params": slow, "lr": rate * SLOW}]

    def losses(self, model: torch.nn.Module, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        """Contrast between moments, and predictions across, of all windows in segments."""
        assert isinstance(model, Embedding)  # noqa: S101  # for the type checker
        bold = windows(self.bold[rows])
        courses = windows(self.courses[rows]).mean(dim=1)
        of_eeg, of_bold = model.of_eeg(windows(self.predicted[rows]), courses), model.of_bold(bold)
        run, time_s = (windows(values[rows][..., None])[:, 0, 0] for values in (self.run, self.time_s))
        return {
            "contrast": contrast(model.similarity(of_eeg, of_bold), run, time_s),
            "to_bold": CROSS * functional.mse_loss(model.to_bold(of_eeg), bold.flatten(1)),
            "to_eeg": CROSS * functional.mse_loss(model.to_eeg(of_bold), courses),
        }


def windows(values: torch.Tensor) -> torch.Tensor:
    """Cut segments (segment, volume, column) into windows (segment * start, WINDOW, column)."""
    return values.unfold(1, WINDOW, 1).transpose(2, 3).flatten(0, 1)


def contrast(logits: torch.Tensor, run: torch.Tensor, time_s: torch.Tensor) -> torch.Tensor:
    """Symmetric cross entropy of "the same moment"; neighbours in time do not count.

    References
    ----------
    Radford et al. (2021), ICML, section 2.3.
    """
    near = (run[:, None] == run[None]) & ((time_s[:, None] - time_s[None]).abs() < NEIGHBOUR_S)
    own = torch.arange(len(logits), device=logits.device)
    near[own, own] = False
    logits = logits.masked_fill(near, -torch.inf)
    return (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2


def residual_lesson(table: Table, rows: np.ndarray, reading: Reading, ridge: np.ndarray) -> ResidualLesson:
    """Gather what the residual of these rows is learned from.

    Parameters
    ----------
    table
        The runs.
    rows
        Rows that train, ascending.
    reading
        What a network reads, scaled by these rows.
    ridge : (row of the table, region)
        Out-of-fold prediction of the ridge.
    """
    raw = reading.patch.size > 0
    return ResidualLesson(
        power=_tensor(reading.power[rows]),
        residual=_tensor(table.target[rows] - ridge[rows]),
        starts=torch.arange(rows.size),
        run=table.run[rows],
        patch=_tensor(reading.patch) if raw else None,
        window=_tensor(reading.window[rows]) if raw else None,
    )


def embedding_lesson(
    table: Table, rows: np.ndarray, predicted: np.ndarray, courses: np.ndarray, latent: int
) -> EmbeddingLesson:
    """Gather what the embedding is learned from: rows of the table, and arrays over all its rows.

    Raises
    ------
    InputError
        If no `SEGMENT` volumes follow each other.
    """
    whole = rows[window_starts(table, rows, WINDOW)[:, None] + np.arange(WINDOW)]
    first, second = (values[whole].reshape(len(whole), -1) for values in (predicted, table.target))
    return EmbeddingLesson(
        predicted=_tensor(predicted[rows]),
        bold=_tensor(table.target[rows]),
        courses=_tensor(courses[rows]),
        run=_tensor(table.run[rows]),
        time_s=_tensor(table.volume[rows] * table.step_s),
        starts=torch.from_numpy(_segments(table, rows)),
        axes=shared_axes(first, second, latent),
    )


def window_starts(table: Table, rows: np.ndarray, length: int) -> np.ndarray:
    """Positions in ``rows`` from which ``length`` volumes follow each other in one run."""
    if rows.size < length:
        return np.array([], np.int64)
    last = rows[length - 1 :]
    first = rows[: last.size]
    whole = (table.volume[last] - table.volume[first] == length - 1) & (table.run[last] == table.run[first])
    return np.flatnonzero(whole)


def _segments(table: Table, rows: np.ndarray) -> np.ndarray:
    starts = window_starts(table, rows, SEGMENT)
    if not starts.size:
        raise InputError(
            f"the joint model needs {SEGMENT} volumes in a row to learn from, found none among {rows.size}; "
            "use longer runs, fewer folds or a shorter gap_s"
        )
    return starts


def _tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))
