"""How much of the network's word is believed, chosen where the network did not learn."""

from __future__ import annotations

import numpy as np

from multimap_kernel.fusion.tables import Table

BLOCK_S = 60.0
"""Length of the pieces over which the gate's gain must be steady; several times the response and the slow rhythms."""


def choose_gate(table: Table, rows: np.ndarray, error: np.ndarray, beyond: np.ndarray) -> np.ndarray:
    """How much of the network's prediction to believe in each region.

    Parameters
    ----------
    table
        The runs.
    rows
        Rows that train; their predictions are out of inner folds.
    error, beyond : (row of the table, region)
        What the ridge left, and what the network says of it.

    Returns
    -------
    Gate (region,) between 0 and 1, float32: the slope of the error on the prediction, and 0 where the squared error
    falls by less than one standard error, taken over pieces of a minute.
    """
    e, p = error[rows].astype(np.float64), beyond[rows].astype(np.float64)
    power = (p * p).sum(axis=0)
    slope = np.clip((e * p).sum(axis=0) / np.where(power > 0, power, np.inf), 0, 1)
    length = max(1, round(BLOCK_S / table.step_s))
    _, piece = np.unique(np.stack([table.run[rows], table.volume[rows] // length]), axis=1, return_inverse=True)
    gain = np.zeros((piece.max() + 1, e.shape[1]))
    np.add.at(gain, piece, e**2 - (e - slope * p) ** 2)
    steady = gain.mean(axis=0) > gain.std(axis=0, ddof=min(1, len(gain) - 1)) / np.sqrt(len(gain))
    return np.asarray(np.where(steady, slope, 0.0), np.float32)
