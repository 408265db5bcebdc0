"""Which saddle the lowest path between two minima goes over.

That path is the one in the minimum spanning tree of the graph of minima and saddles, and single
linkage merges minima in its order: Gower and Ross, Minimum spanning trees and single linkage
cluster analysis, Journal of the Royal Statistical Society C 18, 1969.
"""

from typing import NamedTuple

import numpy as np


class MergeTree(NamedTuple):
    """The order in which minima merge as the loss rises."""

    linkage: np.ndarray  # [minima - 1, 4] as scipy's, with ranks from 1 for distances
    levels: np.ndarray  # [ranks] the loss at each rank; infinite where no path is known


def direct_heights(minima: np.ndarray, loss: np.ndarray, count: int) -> np.ndarray:
    """Return the least loss [count, count] of a saddle between two minima, else infinity.

    Args:
      minima: int [saddles, 2], the two minima of each.
      loss: float [saddles].
      count: number of minima.
    """
    heights = np.full((count, count), np.inf)
    for one, other in (minima.T, minima.T[::-1]):
        np.minimum.at(heights, (one, other), loss)
    return heights


def merge_tree(heights: np.ndarray) -> MergeTree:
    """Return the tree of at least two minima, from `direct_heights` or those of the lowest paths.

    >>> merge_tree(np.array([[0, 1.5, 9], [1.5, 0, 2.5], [9, 2.5, 0]])).levels.tolist()
    [1.5, 2.5, 9.0, inf]
    """
    from scipy.cluster.hierarchy import linkage  # scipy is slow to import

    # Ranks, since losses may be negative or infinite, as distances may not.
    between = heights[np.triu_indices(len(heights), 1)]
    levels = np.unique(np.append(between, np.inf))
    return MergeTree(linkage(1.0 + np.searchsorted(levels, between), "single"), levels)


def lowest_heights(direct: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """Return the greatest loss along the lowest path between two minima, [minima, minima].

    Args:
      direct: from `direct_heights`.
      loss: float [minima], which is the height of the path that goes nowhere.
    """
    from scipy.cluster.hierarchy import cophenet
    from scipy.spatial.distance import squareform

    heights = np.diag(np.asarray(loss, float))
    if len(loss) > 1:
        tree = merge_tree(direct)
        ranks = squareform(cophenet(tree.linkage)).astype(int)
        heights = np.where(ranks > 0, tree.levels[ranks - 1], heights)
    return heights
