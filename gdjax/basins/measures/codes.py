"""Labels at the door: checked, and in the smallest integers that hold them."""

from typing import Any

import numpy as np

NONE = -1  # the label of a start that reached no attractor


def checked_labels(name: str, labels: Any) -> np.ndarray:
    """Return labels as a numpy array if they are integers and there are any, else raise."""
    try:
        labels = np.asarray(labels)
    except ValueError as error:
        raise ValueError(f"{name}: expected an array of integers, but {error}") from error
    if labels.size == 0:
        raise ValueError(f"{name}: expected at least one, got none")
    if not np.issubdtype(labels.dtype, np.integer):
        raise TypeError(f"{name}: expected integers, got {labels.dtype}")
    return labels


def checked_map(labels: Any) -> np.ndarray:
    """Return the labels as `codes` over the axes along which there is more than one."""
    labels = checked_labels("labels", labels)
    return codes(labels.reshape([n for n in labels.shape if n > 1] or [1]))


def codes(labels: np.ndarray) -> np.ndarray:
    """Return labels as unsigned numbers above 0 in their order, -1 as 0, with room for one more.

    >>> codes(np.array([7, -1, 7, 9])).tolist()
    [9, 0, 9, 11]
    """
    low, high = int(labels.min()), int(labels.max())
    if high - low > 2**31:
        values, index = np.unique(labels, return_inverse=True)
        found = codes(np.where(values == NONE, NONE, np.arange(len(values))))[index]
        return found.reshape(labels.shape)
    smallest = np.min_scalar_type(high - low + 2)
    found = (_above(labels, low) + 1).astype(smallest)
    found[labels == NONE] = 0
    return found


def counted(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels that occur, sorted, and how often each does; in linear time if they can.

    >>> [found.tolist() for found in counted(np.array([7, -1, 7]))]
    [[-1, 7], [1, 2]]
    """
    low, high = int(labels.min()), int(labels.max())
    if high - low > 4 * labels.size:
        return np.unique(labels, return_counts=True)
    count = np.bincount(_above(labels, low).ravel())
    (occurs,) = np.nonzero(count)
    return (occurs.astype(_widest(labels)) + _widest(labels)(low)).astype(labels.dtype), count[
        occurs
    ]


def _above(labels: np.ndarray, low: int) -> np.ndarray:
    """Return int64 `labels - low`, where that is small, for labels of any integer type."""
    return (labels.astype(_widest(labels)) - _widest(labels)(low)).astype(np.int64)


def _widest(labels: np.ndarray) -> type[np.uint64] | type[np.int64]:
    return np.uint64 if labels.dtype.kind == "u" else np.int64
