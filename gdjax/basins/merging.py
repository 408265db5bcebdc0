"""Which polished points are one: neighbours by their true distance, and parts of one valley."""

from collections.abc import Callable

import numpy as np

from gdjax.basins.cells import MOST_RAW, features, gathered
from gdjax.basins.valleys import bridging_pairs, neighbouring_pairs

MOST_PARTS = 64  # of valleys, that are tried to be joined across the gaps between them
MOST_MEMBERS = 1024  # of valleys, that are compared with all their neighbours
STRETCHED = 4.0  # by the projection, what a distance is at most

Joined = Callable[[np.ndarray], np.ndarray]


def groups(
    points: np.ndarray, degenerate: np.ndarray, preferred: np.ndarray, tol: float, joined: Joined
) -> np.ndarray:
    """Return a group for each point [n, dim]: neighbours within `tol` share one, and valleys.

    Args:
      points: in units of the spread.
      degenerate: bool [n], of which some may be parts of one valley.
      preferred: [n]; the point of a crowd that is compared with others is that of the least.
      tol: in units of the spread.
      joined: function of pairs [pairs, 2] to whether they are one valley.
    """
    if not len(points):
        return np.zeros(0, int)
    near = features(points)
    ones, links = _crowds(near, points, preferred, np.zeros(len(points), int), tol / 2, tol)
    links.append(_close(near[ones], points[ones], ones, tol))
    part = ones[degenerate[ones]]
    width = 2 * tol
    while len(part) > MOST_MEMBERS and width < 1:
        # Each of a crowd is compared with one of it, and these with each other.
        cells = gathered(near[part].T, width, [preferred[part]], np.zeros(len(part), int))
        first = part[cells.first[cells.of]]
        pairs = np.stack([part, first], axis=1)[part != first]
        same = joined(pairs)
        links.append(pairs[same])
        part = np.concatenate([part[cells.first], pairs[~same, 0]])
        width *= 2
    pairs = part[neighbouring_pairs(near[part])]
    links.append(pairs[joined(pairs)])
    group = connected(len(points), links)
    while len(np.unique(group[part])) in range(2, MOST_PARTS + 1):
        across = part[bridging_pairs(near[part], group[part])]
        links.append(across[joined(across)])
        parts, group = group.max(), connected(len(points), links)
        if group.max() == parts:
            break
    return group


def _crowds(
    near: np.ndarray,
    points: np.ndarray,
    preferred: np.ndarray,
    apart: np.ndarray,
    width: float,
    tol: float,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return one point of each cell, with the others of it that are not close, and links."""
    cells = gathered(near.T, width, [preferred, *near.T], apart)
    first = cells.first[cells.of]
    close = np.max(np.abs(points - points[first]), axis=1) <= tol
    pairs = np.stack([np.arange(len(points)), first], axis=1)
    ones = np.union1d(cells.first, np.flatnonzero(~close))
    return ones, [pairs[close & (pairs[:, 0] != first)]]


def _close(near: np.ndarray, points: np.ndarray, names: np.ndarray, tol: float) -> np.ndarray:
    """Return the pairs of names of points within `tol` of each other."""
    from scipy.spatial import KDTree  # scipy is slow to import, and few programs map basins

    stretched = 1.0 if points.shape[1] <= MOST_RAW else STRETCHED
    pairs = KDTree(near).query_pairs(stretched * tol, p=np.inf, output_type="ndarray")
    gaps = [np.max(np.abs(points[a] - points[b])) for a, b in pairs] if stretched > 1 else []
    return names[pairs[np.asarray(gaps) <= tol] if stretched > 1 else pairs].reshape(-1, 2)


def connected(count: int, links: list[np.ndarray]) -> np.ndarray:
    """Return the number [count] of the part of a graph that each node is in."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs = np.concatenate(links)
    graph = coo_array((np.ones(len(pairs)), pairs.T), shape=(count, count))
    return connected_components(graph, directed=False)[1]
