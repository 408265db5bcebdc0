"""How much a map misses that was not computed everywhere, judged by a random sample."""

from typing import NamedTuple

import numpy as np

from gdjax.basins.measures.intervals import wilson


class Missed(NamedTuple):
    """The share of the starts that were not run whose label is wrong, as a random audit shows."""

    share: float  # in the sample; NaN where nothing was audited
    low: float  # bounds of the 95% interval
    high: float
    audited: int  # the size of the sample
    starts: np.ndarray  # int64 [wrong, dims], the indices of the wrong ones in the finest map


def skipped_sample(known: np.ndarray, total: int, count: int, seed: int) -> np.ndarray:
    """Return different codes below `total`, at random and sorted, that are not among the known.

    Args:
      known: int64 [n], sorted, each once.
      total: how many codes there are.
      count: how many are wanted; all that are left, where they are fewer.
      seed: of the sample.

    >>> skipped_sample(np.array([0, 2, 3]), 6, 9, seed=0).tolist()
    [1, 4, 5]
    """
    left = total - len(known)
    ranks = np.random.default_rng(seed).choice(left, min(count, left), replace=False, shuffle=False)
    before = known - np.arange(len(known))  # for each of the known, how many are left below it
    return np.sort(ranks + np.searchsorted(before, ranks, side="right"))


def missed(wrong: np.ndarray, audited: int, left: int) -> Missed:
    """Return what is missed of the `left` starts that were not run, of which some were audited.

    Where none of N is wrong, at most 3 / N are with 95% confidence (the rule of three), else the
    interval is Wilson's; where all were audited the share is known.

    >>> print(missed(np.zeros((0, 2), int), 1000, 10**6).high)
    0.003
    """
    if audited == left:
        share = len(wrong) / left if left else 0.0
        return Missed(share, share, share, audited, wrong)
    if audited == 0:
        return Missed(float("nan"), 0.0, 1.0, audited, wrong)
    if len(wrong) == 0:
        return Missed(0.0, 0.0, min(1.0, 3 / audited), audited, wrong)
    low, high = wilson(np.array(len(wrong)), audited)
    return Missed(len(wrong) / audited, float(low), float(high), audited, wrong)
