"""Boxes at every place of a map: what each one holds, for boxes of growing size."""

from collections.abc import Callable, Iterable

import numpy as np


def grown(
    over: np.ndarray, combine: Callable, by: int, ways: Iterable[tuple[int, ...]] | None = None
) -> np.ndarray:
    """Return `combine` over boxes wider by `by` from that over boxes at least as wide as `by`.

    Where `over` [...] holds the maximum (say) over the box that begins at each place, so does the
    result, for wider boxes; it is shorter by `by` along each axis. Each of the `ways` is a set of
    axes along which a step goes at once: `[(0,), (1,)]` for boxes over two axes, which is meant if
    left out, `[(0,)]` for segments along the first, and `[(0, 1)]` for those along the diagonal.

    >>> grown(np.array([1, 5, 2, 3]), np.maximum, 1).tolist()
    [5, 5, 3]
    """
    for way in [(axis,) for axis in range(over.ndim)] if ways is None else ways:
        ahead, behind = [slice(None)] * over.ndim, [slice(None)] * over.ndim
        for axis in way:
            ahead[axis], behind[axis] = slice(by, None), slice(None, over.shape[axis] - by)
        over = combine(over[tuple(ahead)], over[tuple(behind)])
    return over
