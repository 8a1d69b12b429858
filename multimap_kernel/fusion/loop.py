"""The training loop, and a state from which it goes on as if it had never stopped."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, Self

import torch
from threadpoolctl import threadpool_limits

from multimap_kernel.fusion.model import Shape, Size

State = dict[str, Any]
Tick = Callable[[int, int, Mapping[str, float], Callable[[], State]], None]


class Lesson(Protocol):
    """Knows the losses of a step, and which weights learn at which rate."""

    @property
    def starts(self) -> torch.Tensor:
        """Rows at which segments may start."""

    @property
    def length(self) -> int:
        """Rows of a segment."""

    def model(self, shape: Shape, size: Size) -> torch.nn.Module:
        """A network at its start."""

    def to(self, device: str) -> Self:
        """The same with its values on a device."""

    def groups(self, model: torch.nn.Module, rate: float) -> list[dict[str, object]]:
        """Groups of weights with their rates."""

    def losses(self, model: torch.nn.Module, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        """Losses by name; their sum is learned."""


def learn(model: torch.nn.Module, lesson: Lesson, size: Size, seed: int, state: State | None, tick: Tick) -> None:
    """Train a network to the end of its schedule; there is no early stop, so that nothing is chosen by a score.

    Parameters
    ----------
    model
        Changed in place.
    lesson
        What it learns from.
    size
        Length of the schedule and rates.
    seed
        With the epoch, decides the order of segments.
    state
        What ``tick`` was offered in an earlier life; None at the beginning.
    tick
        Called after each step with step, number of steps, losses and a function that gives the state; what it raises
        ends the training.
    """
    per_epoch = max(1, round(2 * lesson.starts.numel() / size.batch))
    steps = size.epochs * per_epoch
    groups = lesson.groups(model, size.rate)
    optimiser = torch.optim.AdamW(groups, weight_decay=size.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, [float(str(g["lr"])) for g in groups], total_steps=steps)
    first = _restore(state, model, optimiser, schedule)
    device = next(model.parameters()).device
    model.train()
    for step in range(first, steps):
        optimiser.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            losses = lesson.losses(model, _draw(lesson, size.batch, seed, step, per_epoch).to(device))
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()

        def snapshot(done: int = step + 1) -> State:
            return {
                "model": model.state_dict(),
                "optimiser": optimiser.state_dict(),
                "schedule": schedule.state_dict(),
                "rng": torch.get_rng_state(),
                "step": done,
            }

        tick(step + 1, steps, {name: float(loss.detach()) for name, loss in losses.items()}, snapshot)
    model.eval()


def _restore(state: State | None, model: torch.nn.Module, *parts: Any) -> int:
    """Load a state into model, optimiser and schedule; the step that comes next."""
    if state is None:
        return 0
    model.load_state_dict(state["model"])
    for part, name in zip(parts, ("optimiser", "schedule"), strict=True):
        part.load_state_dict(state[name])
    torch.set_rng_state(state["rng"])
    return int(state["step"])


def _draw(lesson: Lesson, batch: int, seed: int, step: int, per_epoch: int) -> torch.Tensor:
    """Rows (segment, row) of a step, ``batch`` rows in all; the order is a function of seed and epoch alone."""
    generator = torch.Generator().manual_seed(seed * 100_003 + step // per_epoch)
    order = torch.randperm(lesson.starts.numel(), generator=generator)
    segments = max(1, batch // lesson.length)
    first = step % per_epoch * segments
    chosen = lesson.starts[order[torch.arange(first, first + segments) % order.numel()]]
    return chosen[:, None] + torch.arange(lesson.length)


@contextmanager
def deterministic() -> Iterator[None]:
    """One thread, fixed order of sums, and the caller's random state left as it was.

    ``use_deterministic_algorithms`` would set the same switch and import the compiler, which takes seconds.
    """
    threads, mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it CUDA refuses to be deterministic
    with torch.random.fork_rng(), threadpool_limits(1):
        torch.set_num_threads(1)
        torch.set_deterministic_debug_mode("error")
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.set_deterministic_debug_mode(mode)
