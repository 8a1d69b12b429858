"""What a training run leaves behind while it works: events, checkpoints, and obedience to stop and pause.

Every line of ``events.jsonl`` is an object with ``event`` (its kind) and ``time`` (s since 1970). Numbers that are not
known are null. The kinds, in the order in which they come:

``resumed``
    A later life goes on: ``done`` networks are finished; ``job`` at ``step`` is next ("" and 0: a new one). Folds that
    were told before are told again; of two ``fold`` events with one number the later counts.
``started``
    ``jobs`` networks will be learned: for each fold three ``fold-N/inner-K`` (which choose the gates), one
    ``fold-N/residual`` and one ``fold-N/embedding``. ``runs``, ``regions``, ``conditions``, ``channels``, ``bands``,
    ``lags_s``: what the columns are; ``latent``, ``seed``, ``size``; ``split``: the manifest (`fusion.split.manifest`)
    with its segments ``[run, first volume, last volume]``; ``hashes`` of data, split and config.
``step``
    At most one a second and the last of each job: ``job``, ``step`` of ``steps``, ``losses`` by name, ``part`` of all
    work that is done (0 to 1), ``eta_s`` to the end of the run, ``held_out``: of ``inner`` and ``residual`` jobs
    ``ridge`` and ``joint``, mean correlations in rows that do not train the network, the network taken whole, before
    any gate; of ``embedding`` jobs ``retrieval`` and ``chance``. Nothing is chosen by them.
``fold``
    ``fold`` (number from 0) of ``folds``; ``penalty``; ``gate`` (region); ``lag_weight``: head -> weight (lag);

    - ``so_far``, over all ``volumes`` predicted up to here: mean correlations ``joint`` and ``ridge``; ``gain`` with
      its ``gain_interval`` (two numbers, over pieces); ``null_band`` of the joint model's mean correlation (2.5, 50
      and 97.5 % of ``null_members``); ``region_joint``, ``region_ridge``, ``region_p_fwe`` (region);
      ``threshold_fwe``: correlation from which a region is significant at family-wise p .05;
    - ``retrieval`` in this fold: ``top_one`` by the embedding, by patterns of the ``ridge``, by ``chance``;
      ``similarity`` (EEG moment, BOLD moment) among moments ``volume`` of one ``run``;
    - ``embedding`` in this fold: ``eeg`` and ``bold`` (moment, 2) along the two strongest directions, with ``run``,
      ``volume`` and ``condition`` (moment).
``stopped``
    The run was ended at ``step`` of ``job`` with a checkpoint.
``done``
    ``score``, ``ridge_score`` (means over folds and regions), sha256 of all ``weights``.
``judged``
    ``evaluation``: the value of `fusion.evaluate`, as JSON.
"""

from __future__ import annotations

import hashlib
import io
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from multimap_kernel.fusion.loop import State
from multimap_kernel.schema import InputError, PreemptedError, RunFolder

CHECKPOINT = "last.pt"
EVERY_S = 60.0
"""Most time that a kill can cost."""
_EVENT_S = 1.0
"""Least time between two events of steps; an object may be written once a second."""
_CONTROL_S = 1.0
"""Least time between two looks at the orders; an object store charges for each."""


@contextmanager
def sigterm() -> Iterator[Callable[[], bool]]:
    """Tell whether SIGTERM has come since, instead of dying of it; only the main thread can listen."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    before = signal.signal(signal.SIGTERM, lambda *_: asked.set())
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGTERM, before)


def tell(folder: RunFolder | None, event: str, **facts: Any) -> None:
    """Add an event to the history of a run, if it has one."""
    if folder is not None:
        folder.append_event({"event": event, "time": time.time(), **_known(facts)})


def _known(value: Any) -> Any:
    """The same without NaN and infinity, which are no JSON."""
    if isinstance(value, Mapping):
        return {name: _known(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_known(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Journal:
    """The memory of one training run over its jobs (one network each).

    Parameters
    ----------
    folder
        Where events, orders and checkpoints are; None keeps nothing.
    hashes
        Of data, split and configuration: what a checkpoint must agree with.
    preempted
        Whether the machine wants the run to end.
    jobs
        How many networks will be learned.

    Raises
    ------
    InputError
        If the folder holds a checkpoint of other data, another split or another configuration, or a broken one.
    """

    def __init__(
        self, folder: RunFolder | None, hashes: Mapping[str, str], preempted: Callable[[], bool], jobs: int
    ) -> None:
        self.folder, self.hashes, self.preempted, self.jobs = folder, dict(hashes), preempted, jobs
        self.done: dict[str, State] = {}
        self._job, self._state = "", None
        self._saved = self._told = self._looked = time.monotonic()
        stored = folder.load_checkpoint(CHECKPOINT) if folder else None
        if stored is not None:
            self._resume(stored)
        self._born, self._begun = self._saved, len(self.done)

    def _resume(self, stored: bytes) -> None:
        try:
            kept = torch.load(io.BytesIO(stored), weights_only=True)
        except Exception as fault:  # torch raises half a dozen kinds for a file that is not its own
            found = f"{len(stored)} bytes that torch does not read"
            raise InputError(f"{CHECKPOINT} must be a checkpoint, found {found}; choose another run folder") from fault
        different = [name for name, value in self.hashes.items() if kept["hashes"].get(name) != value]
        if different:
            found = ", ".join(f"{name} {str(kept['hashes'].get(name))[:12]}" for name in different)
            wanted = ", ".join(self.hashes[name][:12] for name in different)
            raise InputError(
                f"a run goes on with the same {' and '.join(different)} only: the checkpoint has {found}, now it is "
                f"{wanted}; choose another run folder"
            )
        self.done, self._job, self._state = kept["done"], kept["job"], kept["state"]
        self.tell("resumed", done=len(self.done), job=self._job, step=self._state["step"] if self._state else 0)

    def begun(self, job: str) -> State | None:
        """State of a job that an earlier life began."""
        return self._state if job == self._job else None

    def tell(self, event: str, **facts: Any) -> None:
        """Add an event to the history."""
        tell(self.folder, event, **facts)

    def tick(
        self,
        job: str,
        watch: Callable[[], Mapping[str, float]],
        step: int,
        steps: int,
        losses: Mapping[str, float],
        snapshot: Callable[[], State],
    ) -> None:
        """Tell, save and obey, as often as each is due.

        Raises
        ------
        PreemptedError
            After the checkpoint is saved, if a person or the machine wants the run to end.
        """
        now = time.monotonic()
        if self.folder and (step == steps or now - self._told >= _EVENT_S):
            self._told = now
            facts = {"losses": dict(losses), "held_out": dict(watch()), **self._outlook(step / steps)}
            self.tell("step", job=job, step=step, steps=steps, **facts)
        stop = self.preempted()
        if not stop and self.folder and now - self._looked >= _CONTROL_S:
            self._looked = now
            stop = self._obey()
        if stop or now - self._saved >= EVERY_S:
            self.save(job, snapshot())
        if stop:
            self.tell("stopped", job=job, step=step)
            raise PreemptedError(
                f"the training was asked to end and did so at step {step} of {steps} of {job}, with a checkpoint; "
                "start it again with the same run folder to go on"
            )

    def _outlook(self, share: float) -> dict[str, float]:
        """Part of all work that is done, with this share of the present job, and the time that the rest will take."""
        done = len(self.done) + share
        pace = (time.monotonic() - self._born) / (done - self._begun)
        return {"part": round(done / self.jobs, 4), "eta_s": round(pace * (self.jobs - done), 1)}

    def _obey(self) -> bool:
        """Wait while a person wants a pause; whether the run must end."""
        assert self.folder is not None  # noqa: S101  # for the type checker
        orders = self.folder.read_control()
        while orders.get("pause") and not orders.get("stop") and not self.preempted():
            time.sleep(0.25)
            orders = self.folder.read_control()
        return bool(orders.get("stop")) or self.preempted()

    def finish(self, job: str, weights: State) -> None:
        """Keep the weights of a finished job."""
        self.done[job] = {name: value.detach().cpu().clone() for name, value in weights.items()}
        self.save("", None)

    def save(self, job: str, state: State | None) -> None:
        """Save everything that the run needs to go on."""
        self._saved = time.monotonic()
        if self.folder is None:
            return
        content = io.BytesIO()
        torch.save({"hashes": self.hashes, "done": self.done, "job": job, "state": state}, content)
        self.folder.save_checkpoint(CHECKPOINT, content.getvalue())

    def digest(self) -> str:
        """sha256 over the weights of all finished jobs."""
        total = hashlib.sha256()
        for job in sorted(self.done):
            for name, value in sorted(self.done[job].items()):
                total.update(f"{job}/{name}".encode())
                total.update(value.numpy().tobytes())
        return total.hexdigest()
