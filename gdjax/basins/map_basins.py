"""The map: which minimum each start leads to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from gdjax import checks
from gdjax.basins.critical import CriticalPoint, critical_points_program
from gdjax.descent import Status
from gdjax.sweeps import Runs
from gdjax.trees import PyTree, real_columns, real_vector

SAMPLE = 1024  # starts that are looked at for the spread of the coordinates


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

    The ends of converged runs are gathered in cells; one end of each cell is polished by Newton's
    method, refused if its Hessian has a negative eigenvalue or the loss falls along a flat
    direction (a saddle, a maximum, a slope), and merged with its neighbours within `tol`.

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
    cell, lanes = _representatives(runs, converged, points, spread, tol)
    found = _look_closer(runs, lanes, spread)
    minima = np.flatnonzero(found.is_minimum)
    group = _groups(np.asarray(found.vector, float)[minima] / spread, tol)
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


def _look_closer(runs: Runs, lanes: np.ndarray, spread: np.ndarray) -> CriticalPoint:
    """Return the critical points at the ends of these lanes, numpy arrays."""
    if not len(lanes):
        lanes, keep = np.zeros(1, int), 0
    else:
        keep = len(lanes)
    # A power of 2, so that the number of points compiles only a few programs.
    padded = np.pad(lanes, (0, (1 << (len(lanes) - 1).bit_length()) - len(lanes)), mode="edge")
    params = jax.tree.map(lambda leaf: leaf[padded], _flat_lanes(runs, runs.params))
    numbers = padded.astype(np.int32)
    dtype = jax.eval_shape(lambda p: real_vector(p)[0], params).dtype
    found = critical_points_program(runs.lanes.lane)(
        runs.lanes.values(padded), numbers, runs.lanes.key, params, spread.astype(dtype)
    )
    return jax.tree.map(lambda leaf: np.asarray(leaf)[:keep], found)


def _groups(points: np.ndarray, tol: float) -> np.ndarray:
    """Return a group number for each point [points, dim]: neighbours within `tol` share one."""
    if not len(points):
        return np.zeros(0, int)
    pairs = KDTree(points).query_pairs(tol, p=np.inf, output_type="ndarray")
    links = coo_array((np.ones(len(pairs)), pairs.T), shape=(len(points), len(points)))
    return connected_components(links, directed=False)[1]


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
