"""How far two maps that use the same labels agree."""

from typing import Any, NamedTuple

import numpy as np

from gdjax.basins.measures.codes import NONE, checked_labels
from gdjax.basins.measures.intervals import wilson


class Agreement(NamedTuple):
    """How far two maps agree; with leading axes where one map is compared with many."""

    share: Any  # float64 [...] of the starts that are compared: those with equal labels
    low: Any  # [...] bounds of its 95% interval; NaN, as the share, where there are none
    high: Any
    compared: Any  # int64 [...] how many starts have a label in `before` or in `after`
    label: np.ndarray  # [labels] those that occur in either map, sorted; -1 is one of them
    counts: np.ndarray  # int64 [..., labels, labels] starts: the confusion matrix, before × after


def agreement(before: Any, after: Any) -> Agreement:
    """Return the share of starts that two maps label alike, and the confusion matrix.

    With c_ij the number of starts labelled i before and j after, the share is
    Σ_(i≥0) c_ii / (N − c_(−1,−1)). A label of -1 agrees with nothing: a start that reached an
    attractor in one map only counts against the agreement, and one that reached none in either is
    not compared. The labels must name the same attractors in both maps; `tipping_matrix` compares
    maps of which each has its own.

    Args:
      before: integer array of any shape.
      after: integer array of the same shape: the labels of the same starts.

    Returns:
      The share with its Wilson interval, for starts that are a random sample of the domain, and
      the confusion matrix.

    Raises:
      TypeError: labels are not integers.
      ValueError: there are none, or the shapes differ.

    References:
      Wilson, Probable inference, the law of succession, and statistical inference, 1927.

    >>> import gdjax
    >>> found = gdjax.basins.agreement([0, 0, 1, 1, -1], [0, 1, 1, -1, -1])
    >>> print(f"{found.share:.2f} of {found.compared} [{found.low:.2f}, {found.high:.2f}]")
    0.50 of 4 [0.15, 0.85]
    >>> found.label.tolist(), found.counts.tolist()
    ([-1, 0, 1], [[1, 0, 0], [0, 1, 1], [1, 0, 1]])
    """
    before, after = checked_labels("before", before), checked_labels("after", after)
    if before.shape != after.shape:
        raise ValueError(f"after: expected the shape of before, {before.shape}, got {after.shape}")
    return agreements(before.ravel(), after.ravel())


def agreements(before: np.ndarray, after: np.ndarray) -> Agreement:
    """Return the agreement of labels [starts] with each of those of other maps [starts, ...]."""
    label, shape = np.union1d(before, after), after.shape[1:]
    size, maps = len(label), int(np.prod(shape))
    others = after.reshape(len(after), maps)
    pair = np.searchsorted(label, before)[:, None] * size + np.searchsorted(label, others)
    pair += size**2 * np.arange(maps)
    counts = np.bincount(pair.ravel(), minlength=maps * size**2).reshape(*shape, size, size)
    equal = np.diagonal(counts, axis1=-2, axis2=-1)
    nothing = equal[..., label == NONE].sum(axis=-1)
    compared, right = before.size - nothing, equal.sum(axis=-1) - nothing
    total = np.where(compared > 0, compared, 1)
    bounds = right / total, *wilson(right, total)
    share, low, high = (np.where(compared > 0, x, np.nan)[()] for x in bounds)
    return Agreement(share, low, high, compared, label, counts)
