"""The mean of the epochs around each epoch, which both average subtractions rest on, and who must not enter it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_FAR = 5.0
"""Times the usual squared distance between two epochs, which one of nine times the usual energy has to all others."""
_ROWS = 128
"""Epochs compared with those around them at a time: memory does not grow with their number squared."""


def mean_of_others(epochs: np.ndarray, weight: NDArray[np.float64], window: int) -> np.ndarray:
    """Mean of the ``window`` epochs nearest to each epoch, without itself.

    An epoch in its own template would lose a part of its own brain signal. At the ends the window is shifted
    inwards, so that first and last epochs have as many neighbours as others.

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
    count = len(epochs)
    share = weight.astype(epochs.real.dtype)[:, None]
    entering = epochs * share
    total = np.zeros((count + 1, epochs.shape[1]), epochs.dtype)
    np.cumsum(entering, axis=0, out=total[1:])
    number = np.concatenate([[0.0], np.cumsum(weight)])
    low = np.clip(np.arange(count) - window // 2, 0, max(0, count - window - 1))
    high = np.minimum(low + window + 1, count)
    others = number[high] - number[low] - weight
    mean = total[high]
    mean -= total[low]
    mean -= entering
    mean *= np.where(others > 0.5, 1 / np.maximum(others, 1), 0.0).astype(share.dtype)[:, None]
    return np.asarray(mean)


def outlying(epochs: np.ndarray, weight: NDArray[np.float64], window: int) -> NDArray[np.bool_]:
    """Whether each epoch is unlike all around it, as one with a movement or an electrode pop is.

    An epoch is judged by the squared distance to those of its neighbours that are most like it, the nearest quarter
    of a window, against what is usual around. So an artifact that changes for good, as with a new position of the
    head, makes no outliers: the epochs after the change have each other. About half of each window always stays.

    Parameters
    ----------
    epochs : (epoch, sample)
        Real, float32 or float64.
    weight : (epoch,)
        1 for epochs that may enter a mean, 0 for others.
    window
        How far neighbours reach to each side.

    Returns
    -------
    Array (epoch,); all False where an epoch holds NaN.
    """
    usable = weight > 0
    apart = epochs - epochs[usable].mean(0)  # what all share would cost float32 its digits
    energy = np.einsum("ij,ij->i", apart, apart)
    rank = max(0, min(window, int(usable.sum()) - 1) // 4 - 1)
    place, nearest = np.arange(len(epochs)), np.empty(len(epochs))
    for first in range(0, len(epochs), _ROWS):
        own, around = slice(first, first + _ROWS), slice(max(0, first - window), first + _ROWS + window)
        distance = energy[own, None] + energy[around] - 2 * apart[own] @ apart[around].T
        steps = np.abs(place[own, None] - place[around])
        distance[(steps == 0) | (steps > window) | ~usable[around]] = np.inf
        nearest[own] = np.partition(distance, rank, axis=1)[:, rank]
    usual = ndimage.median_filter(nearest, 2 * (window // 2) + 1, mode="reflect")
    return np.asarray(nearest > _FAR * usual)
