"""Pairs of starts on either side of the borders of a map."""

import numpy as np


def border_pairs(labels: np.ndarray) -> np.ndarray:
    """Return flat indices [pairs, 2] of starts of different labels with none between them.

    They follow each other along an axis; between them may be starts without a label, as there are
    where a line of the grid is a line of symmetry.

    >>> border_pairs(np.array([0, 0, -1, 1, 1])).tolist()
    [[1, 3]]
    """
    numbers = np.arange(labels.size).reshape(labels.shape)
    pairs = [np.zeros((0, 2), int)]
    for axis in range(labels.ndim):
        label, number = np.moveaxis(labels, axis, 0), np.moveaxis(numbers, axis, 0)
        along = np.arange(len(label)).reshape(-1, *[1] * (labels.ndim - 1))
        last = np.maximum.accumulate(np.where(label >= 0, along, -1), axis=0)[:-1]
        before = np.take_along_axis(label, np.maximum(last, 0), axis=0)
        beside = (last >= 0) & (label[1:] >= 0) & (before != label[1:])
        first = np.take_along_axis(number, np.maximum(last, 0), axis=0)
        pairs.append(np.stack([first[beside], number[1:][beside]], axis=1))
    return np.concatenate(pairs)


def spread_over_borders(labels: np.ndarray, pairs: np.ndarray, most: int) -> np.ndarray:
    """Return which pairs to take: at most so many of each two labels, spread evenly.

    Args:
      labels: int [starts], flat.
      pairs: from `border_pairs`.
      most: of each two labels.

    Returns:
      Indices of the pairs.
    """
    between = np.sort(labels[pairs], axis=1)
    code = between[:, 0].astype(np.int64) * (int(labels.max(initial=0)) + 1) + between[:, 1]
    order = np.argsort(code, kind="stable")
    _, first, count = np.unique(code[order], return_index=True, return_counts=True)
    taken = [
        order[begin + np.unique(np.linspace(0, n - 1, min(n, most)).astype(int))]
        for begin, n in zip(first, count)
    ]
    return np.concatenate([np.zeros(0, int), *taken])
