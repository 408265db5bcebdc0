"""Values over two dimensions, drawn as cells around their coordinates."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gdjax.plot.axes import log_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh

SAME = 1e-3  # relative difference below which two steps along a coordinate are one
ROUNDING = 1e-4  # of a cell, by which its border may move


class Cells(NamedTuple):
    """Where the cells of one dimension lie."""

    order: np.ndarray  # int [n] sorts the coordinate
    edges: np.ndarray  # float64 [n + 1] the borders, from low to high
    is_geometric: bool


def cells_along(coords: Mapping[str, Any], dim: str) -> Cells:
    """Return the cells around the coordinate of a dimension, halfway to its neighbours.

    Where the coordinate is geometric, halfway is meant on the logarithmic scale.

    Raises:
      ValueError: the coordinate has values that are equal, not finite or complex.

    >>> cells_along({"x": [0.5, 1.5, 2.5]}, "x").edges.tolist()
    [0.0, 1.0, 2.0, 3.0]
    >>> cells_along({"rate": [1.0, 4.0, 16.0]}, "rate").edges.tolist()
    [0.5, 2.0, 8.0, 32.0]
    """
    if np.iscomplexobj(coords[dim]):
        raise ValueError(f"coords[{dim!r}]: expected real values, got {coords[dim]}")
    values = np.asarray(coords[dim], dtype=float)
    order = np.argsort(values, kind="stable")
    centres = values[order]
    if not np.isfinite(centres).all() or (np.diff(centres) <= 0).any():
        raise ValueError(f"coords[{dim!r}]: expected finite values, all different, got {values}")
    if not _is_geometric(centres):
        return Cells(order, _edges(centres), False)
    return Cells(order, np.exp2(_edges(np.log2(centres))), True)


def _is_geometric(centres: np.ndarray) -> bool:
    if len(centres) < 3 or centres[0] <= 0 or _is_even(centres):
        return False
    return _is_even(np.log2(centres))


def _is_even(centres: np.ndarray) -> bool:
    steps = np.diff(centres)
    return bool(np.ptp(steps) <= SAME * steps.mean())


def _edges(centres: np.ndarray) -> np.ndarray:
    """Return the borders halfway between the centres, the outer ones as far as the inner."""
    if len(centres) == 1:
        return centres[0] + np.array([-0.5, 0.5])
    inner = (centres[1:] + centres[:-1]) / 2
    first, last = 2 * centres[0] - inner[0], 2 * centres[-1] - inner[-1]
    # Without the rounding errors of float32, so that the border of a grid is the bound given.
    decimals = int(np.ceil(-np.log10(ROUNDING * np.diff(centres).min())))
    return np.round(np.concatenate([[first], inner, [last]]), decimals)


def draw_cells(
    ax: "Axes",
    coords: Mapping[str, Any],
    dims: tuple[str, ...],
    values: np.ndarray,
    **how: Any,
) -> "QuadMesh":
    """Draw an array with the first of two dimensions along x and the second along y.

    Args:
      ax: the Axes; its scales, limits and labels are set.
      coords: the values along each dimension.
      dims: the names of the two dimensions.
      values: [len of dims[0], len of dims[1]], or with a last axis of colours.
      **how: keywords of `Axes.pcolormesh`.

    Returns:
      The cells.
    """
    x, y = (cells_along(coords, dim) for dim in dims)
    placed = np.swapaxes(values[x.order][:, y.order], 0, 1)
    # Set before the cells are drawn: the margins of a linear scale may reach below zero.
    for scale, cells in ((ax.set_xscale, x), (ax.set_yscale, y)):
        scale("log" if cells.is_geometric else "linear")
    mesh = ax.pcolormesh(x.edges, y.edges, placed, rasterized=True, **how)
    ax.set(xlim=x.edges[[0, -1]], ylim=y.edges[[0, -1]], xlabel=dims[0], ylabel=dims[1])
    for axis, cells in ((ax.xaxis, x), (ax.yaxis, y)):
        if cells.is_geometric:
            log_ticks(axis)
    return mesh
