"""A number of each run over two swept dimensions."""

from typing import TYPE_CHECKING, Any

import numpy as np

from gdjax.descent import Status
from gdjax.plot.axes import axes_or_new, colour_bar, legend_below
from gdjax.plot.cells import draw_cells
from gdjax.plot.palette import DISTINCT, NEUTRAL, SEQUENTIAL
from gdjax.plot.text import member_text
from gdjax.sweeps import Runs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

FIELDS = {
    "steps": "steps (updates)",
    "loss": "loss",
    "grad_norm": "grad_norm (largest absolute entry)",
    "status": "status",
}
STATUS_COLOURS = {
    Status.RUNNING: DISTINCT[6],
    Status.CONVERGED: DISTINCT[0],
    Status.DIVERGED: NEUTRAL,
    Status.STEP_LIMIT: DISTINCT[1],
}
DECADES = 2  # a scale of colours over more than these is logarithmic


def heat_map(runs: Runs, field: str = "steps", ax: "Axes | None" = None) -> "Axes":
    """Draw a number of each run as a colour over the two dimensions of a sweep.

    The first dimension runs along x; the scale of a geometric coordinate is logarithmic, and so
    is that of the colours where the values are above 0 and span more than two decades. Runs that
    diverged are grey and hatched.

    Args:
      runs: from `gdjax.sweep`, over two dimensions.
      field: "steps", "loss", "grad_norm" or "status".
      ax: the Axes to draw on; those of a new figure if left out.

    Returns:
      The Axes.

    Raises:
      ModuleNotFoundError: matplotlib is not installed: `pip install 'gdjax[plot]'`.
      TypeError: `runs` is not from `gdjax.sweep`, or `ax` is not an Axes.
      ValueError: the runs have not two dimensions, the field is none of these, or a coordinate
        has equal or complex values.

    >>> import gdjax, gdjax.plot, optax
    >>> runs = gdjax.sweep(
    ...     lambda start, learning_rate: gdjax.Descent(lambda w: w**2, start,
    ...                                                optax.sgd(learning_rate)),
    ...     start=[1.0, 2.0, 3.0], learning_rate=[0.01, 0.1, 1.0])
    >>> ax = gdjax.plot.heat_map(runs, "status")
    >>> ax.get_xlabel(), ax.get_ylabel(), ax.get_yscale()
    ('start', 'learning_rate', 'log')
    """
    if not isinstance(runs, Runs):
        raise TypeError(f"runs: expected what gdjax.sweep returns, got {runs!r}")
    if len(runs.dims) != 2:
        raise ValueError(f"runs: expected two dimensions, got {runs.dims}")
    if field not in FIELDS:
        raise ValueError(f"field: expected one of {', '.join(FIELDS)}, got {field!r}")
    ax = axes_or_new(ax)
    draw = _draw_status if field == "status" else _draw_number
    draw(ax, runs, field)
    return ax


def _draw_number(ax: "Axes", runs: Runs, field: str) -> None:
    from matplotlib.patches import Patch

    diverged = runs.status == Status.DIVERGED
    values = getattr(runs, field).astype(float)
    seen = values[~diverged]
    masked = np.ma.masked_where(diverged, values)
    mesh = draw_cells(ax, runs.coords, runs.dims, masked, cmap=SEQUENTIAL, norm=_norm(seen))
    if len(seen):
        colour_bar(ax, mesh, FIELDS[field])
    if diverged.any():
        hatched: dict[str, Any] = {"facecolor": NEUTRAL, "edgecolor": "grey", "hatch": "////"}
        ax.patch.set(**hatched)  # what no cell covers
        legend_below(ax, [Patch(**hatched)], ["diverged"])


def _norm(seen: np.ndarray) -> "Normalize":
    from matplotlib.colors import LogNorm, Normalize

    if not len(seen):
        return Normalize()
    low, high = seen.min(), seen.max()
    spans_decades = low > 0 and high > 10.0**DECADES * low
    return LogNorm(low, high) if spans_decades else Normalize(low, high)


def _draw_status(ax: "Axes", runs: Runs, field: str) -> None:
    from matplotlib.colors import BoundaryNorm, ListedColormap

    present = np.unique(runs.status)
    colours = ListedColormap([STATUS_COLOURS[Status(code)] for code in present])
    index = np.searchsorted(present, runs.status)
    norm = BoundaryNorm(np.arange(len(present) + 1) - 0.5, len(present))
    mesh = draw_cells(ax, runs.coords, runs.dims, index, cmap=colours, norm=norm)
    bar = colour_bar(ax, mesh, FIELDS[field])
    names = [member_text(Status(code)) for code in present]
    bar.set_ticks(range(len(present)), labels=names)
    bar.ax.tick_params(length=0, which="both")
