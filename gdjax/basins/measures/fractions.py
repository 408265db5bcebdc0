"""How large each basin is: shares with their confidence intervals, and what was not seen."""

from typing import Any, NamedTuple

import numpy as np

from gdjax.basins.measures.codes import NONE, checked_labels, counted
from gdjax.basins.measures.intervals import wilson


class Fractions(NamedTuple):
    """The share of each label; arrays [labels], sorted by label, and what is known of others."""

    label: np.ndarray  # integer
    share: np.ndarray  # of all entries, those labelled -1 included
    low: np.ndarray  # lower and upper bound of the 95% interval
    high: np.ndarray
    unseen: float  # estimated share of all attractors together that no start has reached
    unseen_error: float  # its standard error
    never: float  # upper 95% bound on the share of any one attractor that no start has reached


def fractions(labels: Any) -> Fractions:
    """Return the share of each label with its 95% Wilson interval, and bounds on what is unseen.

    Of N starts let n1 attractors have drawn one, and n2 two. The unseen attractors together have
    the share n1 / N (Good and Turing) with variance (n1 (1 - n1 / N) + 2 n2) / N² (Esty); any one
    of them has at most 3 / N, with 95% confidence (the rule of three). The starts are taken for a
    random sample of the domain; those labelled -1 count among the N, but -1 is no attractor. Times
    the volume of the box or ball that they fill, the shares are the volumes of the basins there.

    Args:
      labels: integer array of any shape, such as `Basins.labels`.

    Returns:
      The labels that occur, their shares, the intervals' bounds, and the unseen.

    Raises:
      TypeError: the labels are not integers.
      ValueError: there are none.

    References:
      Wilson, Probable inference, the law of succession, and statistical inference, 1927.
      Good, The population frequencies of species and the estimation of population parameters, 1953.
      Esty, A normal limit law for a nonparametric estimator of the coverage of a random sample,
      1983.
      Hanley, Lippman-Hand, If nothing goes wrong, is everything all right?, 1983.

    >>> import gdjax
    >>> shares = gdjax.basins.fractions([0, 0, 0, 1])
    >>> shares.label.tolist(), shares.share.tolist()
    ([0, 1], [0.75, 0.25])
    >>> print(f"{shares.low[0]:.4f} {shares.high[0]:.4f}, unseen {shares.unseen}")
    0.3006 0.9544, unseen 0.25
    """
    labels = checked_labels("labels", labels)
    label, count = counted(labels)
    total = labels.size
    low, high = wilson(count, total)
    once, twice = (int(np.sum((count == times) & (label != NONE))) for times in (1, 2))
    return Fractions(
        label,
        count / total,
        low,
        high,
        unseen=once / total,
        unseen_error=float(np.sqrt(once * (1 - once / total) + 2 * twice)) / total,
        never=min(1.0, 3 / total),
    )
