"""The graph of minima and the saddles between them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import numpy as np

from gdjax import checks
from gdjax.basins.attractors import Attractors, Basins
from gdjax.basins.barriers import direct_heights, lowest_heights
from gdjax.basins.borders import border_pairs, spread_over_borders
from gdjax.basins.edge import Edge, EdgeStatus, tracked_edge
from gdjax.basins.ends import starts_in_line
from gdjax.basins.looks import padded
from gdjax.basins.merging import connected
from gdjax.sweeps import Runs
from gdjax.sweeps.constants_apart import ConstantsApart
from gdjax.sweeps.lanes import Lane, Lanes
from gdjax.trees import PyTree, real_columns

ABREAST = 64  # borders that are followed at once
ARRIVED = (EdgeStatus.SADDLE, EdgeStatus.OTHER_MINIMA)


class Saddles(NamedTuple):
    """The distinct saddles of index 1, in the order of the labels; arrays [saddles, ...]."""

    params: PyTree
    loss: np.ndarray
    loss_error: np.ndarray
    curvature_min: np.ndarray  # the negative eigenvalue of the Hessian
    minima: np.ndarray  # int [saddles, 2] the labels it falls to, -1 for a minimum not on the map
    found: np.ndarray  # int [saddles] how many of the borders led there


@dataclass(frozen=True, eq=False)
class LandscapeGraph:
    """Minima, the saddles between them, and the lowest paths.

    Attributes:
      minima: those of the map, in the order of their labels.
      saddles: those found on the borders: the edges of the graph.
      heights: float [minima, minima], the greatest loss along the lowest known path between two
        minima; infinite where none is known, and the loss of the minimum on the diagonal.
      pairs: int [pairs, 2], the labels of the pairs of starts whose border was followed.
      status: int [pairs], an `EdgeStatus`: what was found at its end.
    """

    minima: Attractors
    saddles: Saddles
    heights: np.ndarray
    pairs: np.ndarray
    status: np.ndarray

    @property
    def barriers(self) -> np.ndarray:
        """How far the loss rises on the lowest path from a minimum (row) to another (column)."""
        return self.heights - np.diagonal(self.heights)[:, None]


def landscape_graph(
    runs: Runs, basins: Basins, pairs: int = 16, tol: float = 1e-3
) -> LandscapeGraph:
    """Find the saddles on the borders of a map, and the barriers between its minima.

    Starts that are neighbours along an axis of the map and have different labels are two sides of
    a border, which `edge` follows to a saddle, in one compiled program for all. Each two minima
    are then joined by the path whose greatest loss is least.

    A saddle that no followed border leads to is missing, and a barrier is then too high: borders
    beyond the starts, or finer than their grid, are not seen. More `pairs` find more.

    Args:
      runs: from `gdjax.sweep`, over the starts of one loss.
      basins: from `gdjax.map_basins` of these runs.
      pairs: whole number of at least 1: how many borders to follow between each two labels,
        spread evenly over all there are.
      tol: number > 0: saddles, and minima, closer than `tol` times the extent of all are one.

    Returns:
      The graph. `gdjax.plot.disconnectivity` draws it.

    Raises:
      TypeError: `runs` or `basins` are something else, or `pairs` is no whole number.
      ValueError: the map is not of these runs, `pairs` is below 1, or `tol` not above 0.

    References:
      Becker and Karplus, The topology of multidimensional potential energy surfaces, Journal of
      Chemical Physics 106, 1997. Wales, Energy Landscapes, Cambridge, 2003.

    >>> import gdjax, jax.numpy as jnp, optax
    >>> runs = gdjax.sweep(
    ...     lambda start: gdjax.Descent(lambda x: x**4 / 4 - x**2 / 2, start, optax.sgd(0.1)),
    ...     start=jnp.array([-1.5, 0.5]))
    >>> graph = gdjax.basins.landscape_graph(runs, gdjax.map_basins(runs))
    >>> graph.saddles.params.round(6).tolist(), graph.barriers.round(6).tolist()
    ([0.0], [[0.0, 0.25], [0.25, 0.0]])
    """
    if not isinstance(runs, Runs):
        raise TypeError(f"runs: expected what gdjax.sweep returns, got {runs!r}")
    if not isinstance(basins, Basins):
        raise TypeError(f"basins: expected what gdjax.map_basins returns, got {basins!r}")
    if basins.labels.shape != runs.shape:
        raise ValueError(
            f"basins: expected a map of these runs, of shape {runs.shape}, "
            f"got {basins.labels.shape}"
        )
    pairs = checks.whole_number("pairs", pairs, least=1)
    tol = checks.positive_scalar("tol", tol)
    basins = basins.minima  # a start at a saddle is on a border, not beside one
    labels = basins.labels.ravel()
    starts = starts_in_line(runs)
    beside = _apart(real_columns(starts), border_pairs(basins.labels))
    chosen = beside[spread_over_borders(labels, beside, pairs)]
    edges = _edges(runs.lanes, starts, chosen)
    minima = basins.attractors
    saddles = _distinct(edges, minima, tol)
    on_map = (saddles.minima >= 0).all(axis=1)
    direct = direct_heights(saddles.minima[on_map], saddles.loss[on_map], len(minima.loss))
    heights = lowest_heights(direct, minima.loss)
    return LandscapeGraph(minima, saddles, heights, labels[chosen], np.asarray(edges.status))


@lru_cache(maxsize=32)
def _edges_program(lane: Lane) -> Callable[..., Edge]:
    """Return a function of `(values, numbers, key, others)` to edges [pairs, ...]."""

    @ConstantsApart
    def edges(values: PyTree, numbers: Any, key: Any, others: PyTree) -> Edge:
        def follow(pair: tuple) -> Edge:
            values, number, other = pair
            d = lane.descent(values, number, key)
            return tracked_edge(d, d.params, other)

        return jax.lax.map(follow, (values, numbers, others), batch_size=ABREAST)

    return edges


def _apart(starts: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return the pairs whose starts differ: along a swept learning rate, say, they do not."""
    ones, others = starts[pairs].swapaxes(0, 1)
    return pairs[(ones != others).any(axis=1)]


def _edges(lanes: Lanes, starts: PyTree, pairs: np.ndarray) -> Edge:
    """Return the edges of pairs of lanes, numpy arrays [pairs, ...], from the starts of all."""
    ones, others = padded(pairs).astype(np.int32).T
    program = _edges_program(lanes.lane)
    starts = jax.tree.map(lambda leaf: leaf[others], starts)
    arguments = lanes.values(ones), ones, lanes.key, starts
    if not len(pairs):
        shapes = jax.eval_shape(program, *arguments)
        return jax.tree.map(lambda leaf: np.zeros((0, *leaf.shape[1:]), leaf.dtype), shapes)
    return jax.tree.map(lambda leaf: np.asarray(leaf)[: len(pairs)], program(*arguments))


def _distinct(edges: Edge, minima: Attractors, tol: float) -> Saddles:
    """Return the saddles among the edges, each once."""
    from scipy.spatial import KDTree  # scipy is slow to import

    arrived = np.isin(edges.status, ARRIVED)
    found: Edge = jax.tree.map(lambda leaf: leaf[arrived], edges)
    points, known = real_columns(found.params), real_columns(minima.params)
    extent = np.linalg.norm(np.ptp(np.concatenate([points, known]), axis=0)) if len(known) else 0.0
    ends = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), found.minima)
    between = np.sort(_nearest(known, real_columns(ends), tol * extent).reshape(-1, 2), axis=1)
    if not len(points):
        group = np.zeros(0, int)
    else:
        links = KDTree(points).query_pairs(tol * extent, output_type="ndarray")
        group = connected(len(points), [links])
    best = np.lexsort((*points.T[::-1], found.error, group))
    best = best[np.unique(group[best], return_index=True)[1]]
    order = np.lexsort((*points[best].T[::-1], found.loss[best], *between[best].T[::-1]))
    best = best[order]
    return Saddles(
        params=jax.tree.map(lambda leaf: leaf[best], found.params),
        loss=np.asarray(found.loss[best]),
        loss_error=np.asarray(found.loss_error[best]),
        curvature_min=np.asarray(found.curvatures[best, 0]),
        minima=between[best],
        found=np.bincount(group, minlength=len(best))[order],
    )


def _nearest(known: np.ndarray, points: np.ndarray, reach: float) -> np.ndarray:
    """Return the label of the minimum at each point, -1 where there is none."""
    from scipy.spatial import KDTree

    labels = np.full(len(points), -1)
    finite = np.isfinite(points).all(axis=1)
    if len(known) and finite.any():
        distance, label = map(np.asarray, KDTree(known).query(points[finite]))
        labels[finite] = np.where(distance <= reach, label, -1)
    return labels
