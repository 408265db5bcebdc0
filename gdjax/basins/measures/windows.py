"""Boxes at every place of a map: what each one holds, for boxes of growing size."""

from collections.abc import Callable

import numpy as np


def grown(over: np.ndarray, combine: Callable, by: int) -> np.ndarray:
    """Return `combine` over boxes wider by `by` from that over boxes at least as wide as `by`.

    Where `over` [...] holds the maximum (say) over the box that begins at each place, so does the
    result, for wider boxes; it is shorter by `by` along each axis.

    >>> grown(np.array([1, 5, 2, 3]), np.maximum, 1).tolist()
    [5, 5, 3]
    """
    for axis in range(over.ndim):
        ahead, behind = [slice(None)] * over.ndim, [slice(None)] * over.ndim
        ahead[axis], behind[axis] = slice(by, None), slice(None, over.shape[axis] - by)
        over = combine(over[tuple(ahead)], over[tuple(behind)])
    return over
