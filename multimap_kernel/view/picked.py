"""The moment that several views of one session look at together."""

from __future__ import annotations

import traitlets


class PickedTime(traitlets.HasTraits):
    """The moment that several views of one session show, and that a person picks in any of them.

    Each view observes ``time`` and sets it when a person picks a moment in it; none needs to know of the others. The
    viewer takes it as ``show(..., volumes=bold, picked=picked)``; a widget with a trait of its own, in the same unit,
    joins by ``traitlets.link((picked, "time"), (widget, "picked"))``.

    Parameters
    ----------
    time
        s on the scanner's clock: 0 is the start of the first volume, and volume i is shown from i to i + 1 repetition
        times. May be set from any thread; a view that shows whole volumes does not round it.
    """

    time = traitlets.Float(0.0)
