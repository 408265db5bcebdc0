"""The minima and saddles of a map: their parameters, and where they are marked."""

from typing import TYPE_CHECKING, Any

import numpy as np

from gdjax.basins import Basins, LandscapeGraph
from gdjax.basins.critical import is_bottom
from gdjax.diagnosis import Verdict
from gdjax.trees import PyTree, real_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def parameters(params: PyTree, parts: tuple[str, ...]) -> np.ndarray:
    """Return the parameters of each point as numbers [points, count].

    A dict with the names of the coordinates of the picture comes in their order, all else in that
    of the tree.
    """
    if isinstance(params, dict) and set(params) == set(parts):
        params = [params[part] for part in parts]
    return real_columns(params)


def mark_minima(ax: "Axes", basins: Basins, parts: tuple[str, ...]) -> None:
    """Draw a star, to be seen on any colour, at each minimum that some start leads to.

    Nothing is drawn where the parameters are not two numbers, nor where most minima lie in
    the basin of another: then the picture is not over the parameters, but over two rates, say.
    """
    points = _minima_shown(ax, basins, parts)
    if not len(points):
        return
    size = float(np.clip(90.0 / np.sqrt(len(points)), 2.0, 11.0))
    ax.plot(
        *points.T,
        linestyle="none",
        marker="*" if size > 4 else ".",
        markersize=size,
        markerfacecolor="white",
        markeredgecolor="black",
        markeredgewidth=min(0.8, size / 8),
    )


def mark_saddles(
    ax: "Axes", basins: Basins, parts: tuple[str, ...], graph: LandscapeGraph | None
) -> None:
    """Draw a cross at each saddle that starts lead to, and at those of the graph.

    Those that starts lead to are drawn where minima would be.
    """
    points = np.zeros((0, 2))
    if len(_minima_shown(ax, basins, parts)):
        led_to = basins.attractors.verdict == Verdict.SADDLE
        points = parameters(basins.attractors.params, parts)[led_to]
    if graph is not None and parameters(graph.saddles.params, parts).shape[1] == 2:
        points = np.concatenate([points, parameters(graph.saddles.params, parts)])
    points = points[_inside(ax, points)]
    if not len(points):
        return
    # White within black, to be seen on any colour.
    for colour, size, width in (("black", 7.5, 3.5), ("white", 6.0, 1.5)):
        cross: dict[str, Any] = {"marker": "x", "markersize": size, "markeredgewidth": width}
        ax.plot(*points.T, linestyle="none", color=colour, zorder=2.1, **cross)


def _minima_shown(ax: "Axes", basins: Basins, parts: tuple[str, ...]) -> np.ndarray:
    """Return the minima [n, 2] that lie in the picture, none if it is not over the parameters."""
    points = parameters(basins.attractors.params, parts)
    if points.shape[1] != 2:
        return points[:0]
    shown = _inside(ax, points)
    shown &= np.isin(np.arange(len(points)), basins.labels) & is_bottom(basins.attractors.verdict)
    own = _nearest_labels(basins, parts, points[shown]) == np.flatnonzero(shown)
    return points[shown] if len(own) and np.mean(own) >= 0.5 else points[:0]


def _inside(ax: "Axes", points: np.ndarray) -> np.ndarray:
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    x, y = points.T
    return (left < x) & (x < right) & (bottom < y) & (y < top)


def _nearest_labels(basins: Basins, parts: tuple[str, ...], points: np.ndarray) -> np.ndarray:
    """Return the label of the start nearest to each point [n, 2]."""
    x, y = (np.asarray(basins.coords[part], dtype=float) for part in parts)
    if basins.labels.ndim == 1:
        from scipy.spatial import KDTree  # slow to import, and needed here only

        _, nearest = KDTree(np.stack([x, y], axis=1)).query(points)
        return basins.labels[nearest]
    column, row = (np.abs(c[:, None] - p).argmin(axis=0) for c, p in zip((x, y), points.T))
    return basins.labels[column, row]
