"""How two maps of the same starts differ: where each basin's starts go in the other."""

from typing import Any, NamedTuple

import numpy as np

from gdjax.basins.measures.codes import checked_labels, counted
from gdjax.basins.measures.intervals import wilson


class TippingMatrix(NamedTuple):
    """Where the starts of each basin go; `before` are the rows and `after` the columns."""

    before: np.ndarray  # [rows] labels, sorted
    after: np.ndarray  # [columns] labels, sorted
    counts: np.ndarray  # [rows, columns] starts: the confusion matrix
    share: np.ndarray  # [rows, columns] of the row's starts: each row sums to 1
    low: np.ndarray  # [rows, columns] bounds of the share's 95% interval
    high: np.ndarray
    agreement: float  # share of all starts whose two labels are equal
    agreement_low: float  # bounds of its 95% interval
    agreement_high: float


def tipping_matrix(before: Any, after: Any) -> TippingMatrix:
    """Return the share of each basin's starts that go to each basin of another map.

    With B_i and A_j the basins before and after: P_ij = |B_i ∩ A_j| / |B_i|. Where both maps use
    the same names for the same attractors, `agreement` = Σ_i |B_i ∩ A_i| / N says how far they are
    alike. A label of -1 is a row and a column as any other, and agrees with -1. The intervals are
    Wilson's, for starts that are a random sample of the domain.

    Args:
      before: integer array of any shape.
      after: integer array of the same shape: the labels of the same starts.

    Returns:
      Counts, shares and their intervals, and the agreement.

    Raises:
      TypeError: labels are not integers.
      ValueError: there are none, or the shapes differ.

    References:
      Kaszás, Feudel, Tél, Tipping phenomena in typical dynamical systems subjected to parameter
      drift, 2019. Wilson (1927) for the intervals.

    >>> import gdjax
    >>> tipped = gdjax.basins.tipping_matrix([0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 1])
    >>> tipped.share.tolist(), round(tipped.agreement, 3)
    ([[0.75, 0.25], [0.0, 1.0]], 0.833)
    """
    before, after = checked_labels("before", before), checked_labels("after", after)
    if before.shape != after.shape:
        raise ValueError(f"after: expected the shape of before, {before.shape}, got {after.shape}")
    rows, columns = counted(before)[0], counted(after)[0]
    # Few pairs occur where both maps have many labels, but the matrix has room for all.
    pair = np.searchsorted(rows, before.ravel()) * len(columns)
    pair += np.searchsorted(columns, after.ravel())
    count = np.bincount(pair, minlength=len(rows) * len(columns)).reshape(len(rows), -1)
    total = count.sum(axis=1, keepdims=True)
    low, high = wilson(count, total)
    agreeing = count[np.equal.outer(rows, columns)].sum(keepdims=True)
    agreement_low, agreement_high = wilson(agreeing, before.size)
    return TippingMatrix(
        rows,
        columns,
        count,
        count / total,
        low,
        high,
        float(agreeing[0] / before.size),
        float(agreement_low[0]),
        float(agreement_high[0]),
    )
