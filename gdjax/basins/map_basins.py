"""The map: which minimum each start leads to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np

from gdjax import checks
from gdjax.basins.critical import CriticalPoint, critical_points_program
from gdjax.basins.valleys import bridging_pairs, joined_program, neighbouring_pairs
from gdjax.descent import Status
from gdjax.sweeps import Runs
from gdjax.trees import PyTree, coarsest_eps, real_columns, real_vector

SAMPLE = 1024  # starts that are looked at for the spread of the coordinates
MOST_PARTS = 64  # of valleys, that are tried to be joined across the gaps between them


class Attractors(NamedTuple):
    """The distinct minima, in the order of their labels; arrays [minima, ...]."""

    params: PyTree  # polished by Newton's method
    loss: np.ndarray
    loss_error: np.ndarray  # how far rounding and the last of the way down may have left it
    curvature_min: np.ndarray  # least and greatest eigenvalue of the Hessian, NaN beyond 256
    curvature_max: np.ndarray  # parameters, where it is not looked at
    size: np.ndarray  # how many starts lead there


@dataclass(frozen=True, eq=False)
class Basins:
    """A map of basins.

    Attributes:
      labels: int32, shaped as the runs; the index of an attractor, or -1 for a run that reached
        no minimum.
      attractors: the minima, sorted by loss, then coordinates.
      dims: the names of the dimensions.
      coords: the coordinates of the runs, by name.
    """

    labels: np.ndarray
    attractors: Attractors
    dims: tuple[str, ...]
    coords: Mapping[str, np.ndarray]


def map_basins(runs: Runs, tol: float = 1e-3) -> Basins:
    """Find the distinct minima among the ends of the runs, and label every start with its own.

    The ends of converged runs are gathered in cells, and one end of each cell is polished by
    Newton's method. It is refused where Newton's method has farther to go than `tol`, where its
    Hessian has a negative eigenvalue, or where the loss falls nearby: a saddle, a maximum or a
    slope. Minima within `tol` of each other are merged, as are degenerate ones that a path joins
    along which the loss does not rise: a valley or a plateau is one attractor. Beyond 256
    parameters the ends are only gathered and merged by `tol`: their curvature is not looked at.

    Args:
      runs: from `gdjax.sweep`.
      tol: number > 0: ends that differ in no coordinate by more than about `tol` times its spread
        (over starts and ends) are one minimum, and chains of such ends too.

    Returns:
      The map. Labels do not depend on the order or number of the starts as long as the same
      minima are reached: they are sorted by loss, where losses differ by more than their
      rounding, then by coordinates.

    Raises:
      TypeError: `runs` is not from `gdjax.sweep`, or `tol` is not a real number.
      ValueError: `tol` is not finite or not above 0.

    >>> import gdjax, optax
    >>> well = gdjax.landscapes.double_well
    >>> runs = gdjax.sweep(lambda start: gdjax.Descent(well, start, optax.sgd(0.1)),
    ...                    start=gdjax.grid((-2, 2, 10), (-2, 2, 10)))
    >>> basins = gdjax.map_basins(runs)
    >>> basins.attractors.params.round(3).tolist(), basins.attractors.size.tolist()
    ([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]], [25, 25, 25, 25])
    """
    if not isinstance(runs, Runs):
        raise TypeError(f"runs: expected what gdjax.sweep returns, got {runs!r}")
    if checks.finite_scalar("tol", tol) <= 0:
        raise ValueError(f"tol: expected a number above 0, got {tol!r}")
    labels = np.full(runs.lanes.count, -1, np.int32)
    converged = np.flatnonzero(runs.status.ravel() == Status.CONVERGED)
    ends = _flat_lanes(runs, runs.params)
    points = real_columns(jax.tree.map(lambda leaf: leaf[converged], ends))
    spread = _spread(runs, points)
    tol = max(float(tol), _resolution(runs, points, spread))
    cell, lanes = _representatives(runs, converged, points, spread, tol)
    found = _look_closer(runs, lanes, spread, tol)
    minima = np.flatnonzero(found.is_minimum)
    group = _groups(runs, lanes[minima], jax.tree.map(lambda x: x[minima], found), spread, tol)
    chosen = _chosen(found, minima, group)
    order = _order(found, chosen, spread, tol)
    label_of_group = np.argsort(order)
    label_of_cell = np.full(len(lanes), -1, np.int32)
    label_of_cell[minima] = label_of_group[group]
    labels[converged] = label_of_cell[cell]
    attractors = jax.tree.map(lambda leaf: leaf[chosen[order]], found)
    return Basins(
        labels=labels.reshape(runs.shape),
        attractors=Attractors(
            params=attractors.params,
            loss=attractors.loss,
            loss_error=attractors.loss_error,
            curvature_min=attractors.curvature_min,
            curvature_max=attractors.curvature_max,
            size=np.bincount(labels[labels >= 0], minlength=len(chosen)),
        ),
        dims=runs.dims,
        coords=runs.coords,
    )


def _flat_lanes(runs: Runs, tree: PyTree) -> PyTree:
    """Return a tree of the runs with one leading axis over all lanes."""
    rank = len(runs.shape)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[rank:]), tree)


def _spread(runs: Runs, ends: np.ndarray) -> np.ndarray:
    """Return how far each coordinate reaches over starts and ends, a few strays left out."""
    count = runs.lanes.count
    sample = np.unique(np.linspace(0, count - 1, min(count, SAMPLE)).astype(np.int32))
    lane, key = runs.lanes.lane, runs.lanes.key
    starts = jax.vmap(
        lambda values, number: real_vector(lane.descent(values, number, key).params)[0]
    )(runs.lanes.values(sample), sample)
    points = np.concatenate([np.asarray(starts, dtype=float), ends])
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        return np.ones(ends.shape[1])
    low, high = np.quantile(points, [0.05, 0.95], axis=0)
    spread = np.where(high > low, high - low, np.ptp(points, axis=0))
    spread = np.where(spread > 0, spread, np.abs(points).max(axis=0))
    return np.where(spread > 0, spread, 1.0)


def _representatives(
    runs: Runs, converged: np.ndarray, points: np.ndarray, spread: np.ndarray, tol: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the cell of each converged lane, and of each cell the lane of least gradient."""
    # Half as wide as the reach of a link, so that points of neighbouring cells are linked.
    cells = np.floor(points / (spread * tol / 2)).astype(np.int64)
    _, cell = np.unique(cells, axis=0, return_inverse=True)
    gradient = runs.grad_norm.ravel()[converged].astype(float)
    # Equal gradients fall to the coordinates, so that the order of the lanes decides nothing.
    by_cell = np.lexsort((*points.T[::-1][:3], gradient, cell.ravel()))
    _, first = np.unique(cell.ravel()[by_cell], return_index=True)
    return cell.ravel(), converged[by_cell[first]]


def _look_closer(runs: Runs, lanes: np.ndarray, spread: np.ndarray, tol: float) -> CriticalPoint:
    """Return the critical points at the ends of these lanes, numpy arrays."""
    if not len(lanes):
        lanes, keep = np.zeros(1, int), 0
    else:
        keep = len(lanes)
    padded = _padded(lanes)
    params = jax.tree.map(lambda leaf: leaf[padded], _flat_lanes(runs, runs.params))
    numbers = padded.astype(np.int32)
    dtype = jax.eval_shape(lambda p: real_vector(p)[0], params).dtype
    found = critical_points_program(runs.lanes.lane)(
        runs.lanes.values(padded),
        numbers,
        runs.lanes.key,
        params,
        spread.astype(dtype),
        np.asarray(tol, dtype),
    )
    return jax.tree.map(lambda leaf: np.asarray(leaf)[:keep], found)


def _groups(
    runs: Runs, lanes: np.ndarray, found: CriticalPoint, spread: np.ndarray, tol: float
) -> np.ndarray:
    """Return a group number for each minimum: neighbours within `tol` share one, and valleys."""
    from scipy.spatial import KDTree  # scipy is slow to import, and few programs map basins

    points = np.asarray(found.vector, float) / spread
    if not len(points):
        return np.zeros(0, int)
    close = KDTree(points).query_pairs(tol, p=np.inf, output_type="ndarray")
    degenerate = np.flatnonzero(found.is_degenerate)
    near = degenerate[neighbouring_pairs(points[degenerate])]
    links = [close, near[_joined(runs, lanes, found, spread, near)]]
    group = _connected(len(points), links)
    while len(np.unique(group[degenerate])) in range(2, MOST_PARTS + 1):
        across = degenerate[bridging_pairs(points[degenerate], group[degenerate])]
        links.append(across[_joined(runs, lanes, found, spread, across)])
        parts, group = group.max(), _connected(len(points), links)
        if group.max() == parts:
            break
    return group


def _connected(count: int, pairs: list[np.ndarray]) -> np.ndarray:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = np.concatenate(pairs)
    graph = coo_array((np.ones(len(links)), links.T), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def _joined(
    runs: Runs, lanes: np.ndarray, found: CriticalPoint, spread: np.ndarray, pairs: np.ndarray
) -> np.ndarray:
    """Return for each pair [pairs, 2] of degenerate minima whether they are one valley."""
    if not len(pairs):
        return np.zeros(0, bool)
    padded = _padded(pairs)
    one, other = (jax.tree.map(lambda x, i=i: x[padded[:, i]], found) for i in (0, 1))
    numbers = lanes[padded[:, 0]].astype(np.int32)
    joined = joined_program(runs.lanes.lane)(
        runs.lanes.values(numbers),
        numbers,
        runs.lanes.key,
        one,
        other,
        spread.astype(found.vector.dtype),
    )
    return np.asarray(joined)[: len(pairs)]


def _padded(rows: np.ndarray) -> np.ndarray:
    """Return rows up to a power of 2, so that their number compiles only a few programs."""
    missing = (1 << (len(rows) - 1).bit_length()) - len(rows)
    return np.pad(rows, [(0, missing)] + [(0, 0)] * (rows.ndim - 1), mode="edge")


def _resolution(runs: Runs, points: np.ndarray, spread: np.ndarray) -> float:
    """Return how far apart the parameters' dtype sets two ends that are the same."""
    eps = coarsest_eps(runs.params)
    return 8 * eps * float(np.max(np.abs(points) / spread, initial=0.0))


def _chosen(found: CriticalPoint, minima: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return of each group the point of least loss, then of least coordinates."""
    vectors = found.vector[minima]
    by_group = np.lexsort((*vectors.T[::-1], found.loss[minima], group))
    _, first = np.unique(group[by_group], return_index=True)
    return minima[by_group[first]]


def _order(found: CriticalPoint, chosen: np.ndarray, spread: np.ndarray, tol: float) -> np.ndarray:
    """Return the groups sorted by loss, then coordinates; what differs by rounding is a tie."""
    loss, error = (np.asarray(x, float)[chosen] for x in (found.loss, found.loss_error))
    loss_rank = _ranks(loss, error)
    vectors = np.asarray(found.vector, float)[chosen] / spread
    coordinate_ranks = [_ranks(column, np.full(len(chosen), tol)) for column in vectors.T]
    return np.lexsort((*coordinate_ranks[::-1], loss_rank))


def _ranks(values: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Return ranks in which values share one where their neighbours overlap within the error."""
    order = np.argsort(values, kind="stable")
    apart = np.diff(values[order]) > np.maximum(error[order][1:], error[order][:-1])
    ranks = np.zeros(len(values), int)
    ranks[order[1:]] = np.cumsum(apart)
    return ranks
