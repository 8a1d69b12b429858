"""Which markers of a recording can be those of the volumes: what `check` asks first, and `align` on the way."""

from __future__ import annotations

import re

import numpy as np

NEVER_VOLUMES = re.compile(r"sync on|syncstatus|new segment|^((bad|edge) )?boundary$", re.IGNORECASE)
"""Labels that recorders and readers write by themselves; a 2 s sync pulse looks like volumes where TR is 2 s."""
CONCENTRATION = 0.8
"""Least length of the mean phase vector at the repetition time; slice markers and other periods give about 0."""
LEAST_MARKERS = 5
"""Fewer markers show no period."""
RIVALS = 0.9
"""A label with fewer markers than this part of the commonest one's does not stand against it."""


def may_mark_volumes(label: str) -> bool:
    """Whether markers of this label can be those of the volumes without a person saying so."""
    return NEVER_VOLUMES.search(label.strip()) is None


def mean_phase(onset: np.ndarray, repetition_time: float) -> complex:
    """Mean of the unit vectors at the phase of each onset (s) within the repetition time (s)."""
    return complex(np.exp(2j * np.pi * onset / repetition_time).mean())
