"""What is drawn over a map of basins: its borders, and how long each run took."""

from typing import TYPE_CHECKING, Any

import numpy as np

from gdjax.basins import Basins
from gdjax.plot.axes import colour_bar, log_ticks
from gdjax.plot.cells import cells_along

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DARKEST = 0.7  # share of its colour that the longest run loses
RARE = 0.02  # share of the starts below, and above, which all are equally bright


def checked_steps(steps: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return the steps as float64.

    Raises:
      TypeError: they are no real numbers.
      ValueError: they are not of this shape, or one is not finite or below 0.
    """
    steps = np.asarray(steps)
    if steps.dtype.kind not in "iuf":
        raise TypeError(f"steps: expected real numbers, got {steps.dtype}")
    if steps.shape != shape:
        raise ValueError(f"steps: expected the shape of the labels, {shape}, got {steps.shape}")
    if not (np.isfinite(steps) & (steps >= 0)).all():
        raise ValueError("steps: expected finite numbers of at least 0, got others among them")
    return steps.astype(float)


def shaded(ax: "Axes", colours: np.ndarray, labels: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return the colours [..., 3], darker where steps are more, and add the bar that tells it.

    Starts that lead to no attractor keep theirs: they took all that they had, or diverged.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, LogNorm

    steps, reached = np.maximum(steps, 1), labels >= 0
    if not reached.any():
        return colours
    low, high = np.quantile(steps[reached], [RARE, 1 - RARE])
    norm = LogNorm(low, max(high, low + 1), clip=True)
    greys = LinearSegmentedColormap.from_list("greys", [(1.0,) * 3, (1 - DARKEST,) * 3])
    bar = colour_bar(ax, ScalarMappable(norm, greys), "steps (updates)", location="bottom")
    log_ticks(bar.ax.xaxis)
    darkness = np.where(reached, np.asarray(norm(steps)), 0)
    return colours * (1 - DARKEST * darkness[..., None])


def draw_borders(ax: "Axes", basins: Basins) -> None:
    """Draw the sides that cells of different labels share, on a map [columns, rows]."""
    from matplotlib.collections import LineCollection

    x, y = (cells_along(basins.coords, dim) for dim in basins.dims)
    labels = basins.labels[x.order][:, y.order]
    column, low, high = _stretches(labels[1:] != labels[:-1])
    upright = [x.edges[column + 1], y.edges[low], x.edges[column + 1], y.edges[high]]
    row, left, right = _stretches((labels[:, 1:] != labels[:, :-1]).T)
    level = [x.edges[left], y.edges[row + 1], x.edges[right], y.edges[row + 1]]
    sides = np.concatenate([np.stack(upright, axis=1), np.stack(level, axis=1)])
    lines: dict[str, Any] = {"colors": "black", "linewidths": 0.6, "rasterized": True}
    ax.add_collection(LineCollection(list(sides.reshape(-1, 2, 2)), **lines), autolim=False)


def _stretches(differ: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return row, first column and the one past the last of each stretch of what is true.

    >>> [found.tolist() for found in _stretches(np.array([[True, True, False, True]]))]
    [[0, 0], [0, 3], [2, 4]]
    """
    change = np.diff(differ.astype(np.int8), axis=1, prepend=0, append=0)
    (row, first), (_, last) = np.nonzero(change > 0), np.nonzero(change < 0)
    return row, first, last
