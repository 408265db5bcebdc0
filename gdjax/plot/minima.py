"""The minima of a map: their parameters, and where they are marked."""

from typing import TYPE_CHECKING

import numpy as np

from gdjax.basins import Basins
from gdjax.basins.critical import is_bottom
from gdjax.trees import real_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def parameters(basins: Basins, parts: tuple[str, ...]) -> np.ndarray:
    """Return the parameters of each minimum as numbers [minima, count].

    A dict with the names of the coordinates of the picture comes in their order, all else in that
    of the tree.
    """
    params = basins.attractors.params
    if isinstance(params, dict) and set(params) == set(parts):
        params = [params[part] for part in parts]
    return real_columns(params)


def mark_minima(ax: "Axes", basins: Basins, parts: tuple[str, ...]) -> None:
    """Draw a star, to be seen on any colour, at each minimum that some start leads to.

    Nothing is drawn where the parameters are not two numbers, nor where most minima lie in
    the basin of another: then the picture is not over the parameters, but over two rates, say.
    """
    points = parameters(basins, parts)
    if points.shape[1] != 2:
        return
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    x, y = points.T
    inside = (left < x) & (x < right) & (bottom < y) & (y < top)
    inside &= np.isin(np.arange(len(points)), basins.labels) & is_bottom(basins.attractors.verdict)
    own = _nearest_labels(basins, parts, points[inside]) == np.flatnonzero(inside)
    if len(own) == 0 or np.mean(own) < 0.5:
        return
    size = float(np.clip(90.0 / np.sqrt(len(own)), 2.0, 11.0))
    ax.plot(
        x[inside],
        y[inside],
        linestyle="none",
        marker="*" if size > 4 else ".",
        markersize=size,
        markerfacecolor="white",
        markeredgecolor="black",
        markeredgewidth=min(0.8, size / 8),
    )


def _nearest_labels(basins: Basins, parts: tuple[str, ...], points: np.ndarray) -> np.ndarray:
    """Return the label of the start nearest to each point [n, 2]."""
    x, y = (np.asarray(basins.coords[part], dtype=float) for part in parts)
    if basins.labels.ndim == 1:
        from scipy.spatial import KDTree  # slow to import, and needed here only

        _, nearest = KDTree(np.stack([x, y], axis=1)).query(points)
        return basins.labels[nearest]
    column, row = (np.abs(c[:, None] - p).argmin(axis=0) for c, p in zip((x, y), points.T))
    return basins.labels[column, row]
