"""The mean of the epochs around each epoch, which both average subtractions rest on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


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
