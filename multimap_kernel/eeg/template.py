"""The mean of the epochs around each epoch, which both average subtractions rest on, and who must not enter it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_FAR = 5.0
"""Times the usual squared distance between two epochs, which one of nine times the usual energy has to all others."""
_AROUND = 4
"""Windows over which it is found what is usual: a movement of almost half as long is still none."""
_ROWS = 128
"""Epochs compared with those around them at a time: memory does not grow with their number squared."""


def mean_of_others(epochs: np.ndarray, weight: NDArray[np.float64], window: int) -> np.ndarray:
    """Mean of the ``window`` epochs nearest to each epoch among those that may enter, without itself.

    An epoch in its own template would lose a part of its own brain signal. At the ends the window is shifted
    inwards, and past epochs that may not enter it reaches further, so that all epochs have as many neighbours.

    Parameters
    ----------
    epochs : (epoch, sample)
        Real or complex; sums are kept in this dtype, so take a common mean off before.
    weight : (epoch,)
        1 for epochs that may enter, 0 for others.
    window
        Number of neighbours.

    Returns
    -------
    Array (epoch, sample); 0 where no neighbour may enter.
    """
    own = weight > 0
    entering = np.flatnonzero(own)
    total = np.zeros((len(entering) + 1, epochs.shape[1]), epochs.dtype)
    np.cumsum(epochs[entering], axis=0, out=total[1:])
    place = np.searchsorted(entering, np.arange(len(epochs)))
    low = np.clip(place - window // 2, 0, np.maximum(0, len(entering) - window - own))
    high = np.minimum(low + window + own, len(entering))
    others = high - low - own
    mean = total[high]
    mean -= total[low]
    np.subtract(mean, epochs, out=mean, where=own[:, None])
    mean *= np.where(others > 0, 1 / np.maximum(others, 1), 0.0).astype(epochs.real.dtype)[:, None]
    return np.asarray(mean)


def outlying(epochs: np.ndarray, weight: NDArray[np.float64], window: int) -> NDArray[np.bool_]:
    """Whether each epoch is unlike all around it, as one with a movement or an electrode pop is.

    An epoch is judged by the squared distance to those of its neighbours that are most like it, the nearest quarter
    of a window, against what is usual in four windows around. So an artifact that changes for good, as with a new
    position of the head, makes no outliers: the epochs after the change have each other. A movement may last for
    almost two windows, or for one at the ends; more than that is the rule, not the exception.

    Parameters
    ----------
    epochs : (epoch, sample)
        Real, float32 or float64.
    weight : (epoch,)
        1 for epochs that may enter a mean, 0 for others.
    window
        How far neighbours, among those that may enter, reach to each side.

    Returns
    -------
    Array (epoch,); False for epochs that enter no mean anyway, and for all where one that enters holds NaN.
    """
    far = np.zeros(len(epochs), bool)
    usable = np.flatnonzero(weight > 0)
    if len(usable) < 2:
        return far
    apart = np.asarray(epochs[usable], np.float64)  # distances of epochs alike are small beside their energies
    apart -= apart.mean(0)
    energy = np.einsum("ij,ij->i", apart, apart)
    rank = max(0, min(window, len(usable) - 1) // 4 - 1)
    place, nearest = np.arange(len(usable)), np.empty(len(usable))
    for first in range(0, len(usable), _ROWS):
        own, around = slice(first, first + _ROWS), slice(max(0, first - window), first + _ROWS + window)
        distance = energy[own, None] + energy[around] - 2 * apart[own] @ apart[around].T
        steps = np.abs(place[own, None] - place[around])
        distance[(steps == 0) | (steps > window)] = np.inf
        nearest[own] = np.partition(distance, rank, axis=1)[:, rank]
    usual = ndimage.median_filter(nearest, _AROUND * window + 1, mode="reflect")
    far[usable] = nearest > _FAR * usual
    return far
