"""How large each basin is: shares with their confidence intervals."""

from typing import Any, NamedTuple

import numpy as np

CONFIDENCE = 0.95


class Fractions(NamedTuple):
    """The share of each label; arrays [labels], sorted by label."""

    label: np.ndarray  # integer
    share: np.ndarray  # of all entries, those labelled -1 included
    low: np.ndarray  # lower and upper bound of the 95% interval
    high: np.ndarray


def fractions(labels: Any) -> Fractions:
    """Return the share of each label with its 95% Wilson interval.

    The interval is for the share in the whole domain, if the starts are a random sample of it.

    Args:
      labels: integer array of any shape, such as `Basins.labels`.

    Returns:
      The labels that occur, their shares, and the intervals' bounds.

    Raises:
      TypeError: the labels are not integers.
      ValueError: there are none.

    References:
      Wilson, Probable inference, the law of succession, and statistical inference, 1927; computed
      by `scipy.stats.binomtest`.

    >>> import gdjax
    >>> shares = gdjax.basins.fractions([0, 0, 0, 1])
    >>> shares.label.tolist(), shares.share.tolist()
    ([0, 1], [0.75, 0.25])
    >>> print(f"{shares.low[0]:.4f} {shares.high[0]:.4f}")
    0.3006 0.9544
    """
    from scipy.stats import binomtest  # slow to import, and needed here only

    labels = np.asarray(labels)
    if labels.size == 0:
        raise ValueError("labels: expected at least one, got none")
    if not np.issubdtype(labels.dtype, np.integer):
        raise TypeError(f"labels: expected integers, got {labels.dtype}")
    label, count = np.unique(labels, return_counts=True)
    intervals = [
        binomtest(int(k), labels.size).proportion_ci(CONFIDENCE, method="wilson") for k in count
    ]
    low, high = np.array(intervals).T
    return Fractions(label, count / labels.size, low, high)
