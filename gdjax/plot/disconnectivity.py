"""The disconnectivity graph: which minima are joined below which loss."""

from typing import TYPE_CHECKING, Any

import numpy as np

from gdjax.basins import LandscapeGraph
from gdjax.basins.barriers import merge_tree
from gdjax.plot.axes import axes_or_new, legend_beside
from gdjax.plot.colouring import label_colours
from gdjax.plot.text import point_text
from gdjax.trees import real_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_NAMED = 12  # minima that have their parameters written beside them
MOST_NUMBERS = 3  # parameters that are written


def disconnectivity(graph: LandscapeGraph, ax: "Axes | None" = None) -> "Axes":
    """Draw the disconnectivity graph of a landscape.

    Each minimum is a line that begins at its loss. Two lines join at the loss from which on a path
    without a higher point leads from one to the other: that of the highest saddle on the lowest
    path. What is not joined at the top is not known to be connected.

    Args:
      graph: from `gdjax.basins.landscape_graph`.
      ax: the Axes to draw on; those of a new figure if left out.

    Returns:
      The Axes.

    Raises:
      ModuleNotFoundError: matplotlib is not installed: `pip install 'gdjax[plot]'`.
      TypeError: `graph` is something else, or `ax` is not an Axes.
      ValueError: the graph has no minima.

    References:
      Becker and Karplus, The topology of multidimensional potential energy surfaces, Journal of
      Chemical Physics 106, 1997.

    >>> import gdjax, gdjax.plot, jax.numpy as jnp, optax
    >>> runs = gdjax.sweep(
    ...     lambda start: gdjax.Descent(lambda x: x**4 / 4 - x**2 / 2, start, optax.sgd(0.1)),
    ...     start=jnp.array([-1.5, 0.5]))
    >>> graph = gdjax.basins.landscape_graph(runs, gdjax.map_basins(runs))
    >>> gdjax.plot.disconnectivity(graph).get_ylabel()
    'loss'
    """
    if not isinstance(graph, LandscapeGraph):
        raise TypeError(f"graph: expected what landscape_graph returns, got {graph!r}")
    loss = np.asarray(graph.minima.loss, float)
    if not len(loss):
        raise ValueError("graph: expected at least one minimum, got none")
    ax = axes_or_new(ax)
    from matplotlib.collections import LineCollection

    joins, leaves = _joins(graph.heights, loss)
    top = _top(joins, loss)
    stems = [np.array([root, [root[0], top]]) for root in _roots(joins, loss)]
    joined = [line for line in joins if np.isfinite(line[1, 1])]
    ax.add_collection(LineCollection([*joined, *stems], colors="black", linewidths=1.2))
    size = np.asarray(graph.minima.size)
    colours = label_colours(np.arange(len(loss)), size)
    for place, label in enumerate(leaves):
        ax.plot(place, loss[label], "o", color=colours[label], markersize=6, zorder=3)
    margin = (top - loss.min()) * 0.05
    ax.set(
        ylabel="loss",
        xlim=(-0.6, len(loss) - 0.4),
        ylim=(loss.min() - margin, top),
        xticks=np.arange(len(loss)),
    )
    ax.set_xticklabels([str(label) for label in leaves])
    ax.tick_params(axis="x", length=0)
    _name_minima(ax, graph, colours)
    for side in ("top", "right", "bottom"):
        ax.spines[side].set_visible(False)
    return ax


def _joins(heights: np.ndarray, loss: np.ndarray) -> tuple[list[np.ndarray], list[int]]:
    """Return lines [4, 2] that join two branches each, and the minima from left to right."""
    from scipy.cluster.hierarchy import dendrogram

    if len(loss) == 1:
        return [], [0]
    tree = merge_tree(heights)
    drawn: dict[str, Any] = dendrogram(tree.linkage, no_plot=True, distance_sort=True)
    leaves = list(drawn["leaves"])
    joins = []
    for x, rank in zip(drawn["icoord"], drawn["dcoord"]):
        place = (np.array(x) - 5) / 10  # scipy sets the leaves at 5, 15, 25, ...
        y = [
            tree.levels[int(r) - 1] if r > 0 else loss[leaves[round(p)]]
            for p, r in zip(place.tolist(), rank)
        ]
        joins.append(np.stack([place, y], axis=1))
    return joins, leaves


def _top(joins: list[np.ndarray], loss: np.ndarray) -> float:
    """Return where the picture ends, above all that is joined."""
    heights = np.array([*loss, *(line[1, 1] for line in joins)])
    highest, lowest = heights[np.isfinite(heights)].max(), loss.min()
    return highest + 0.1 * (highest - lowest if highest > lowest else max(abs(highest), 1.0))


def _roots(joins: list[np.ndarray], loss: np.ndarray) -> list[np.ndarray]:
    """Return the points [2] from which nothing is joined higher up."""
    if not joins:
        return [np.array([0.0, loss[0]])]
    ends = [end for line in joins if np.isinf(line[1, 1]) for end in (line[0], line[3])]
    if not ends:  # the last join is that of all
        ends = [joins[-1][1:3].mean(axis=0)]
    return [end for end in ends if np.isfinite(end[1])]


def _name_minima(ax: "Axes", graph: LandscapeGraph, colours: list[str]) -> None:
    """Say in a legend where the minima are, if they are few and have few parameters."""
    from matplotlib.lines import Line2D

    columns = real_columns(graph.minima.params)
    if len(columns) > MOST_NAMED or columns.shape[1] > MOST_NUMBERS:
        return
    scale = np.abs(columns).max(axis=0, initial=0.0)
    handles = [Line2D([], [], linestyle="none", marker="o", color=colour) for colour in colours]
    texts = [f"{label}: {point_text(point, scale)}" for label, point in enumerate(columns)]
    legend_beside(ax, handles, texts, title="minimum")
