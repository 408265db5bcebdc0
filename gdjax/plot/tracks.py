"""Attractors along an axis of a sweep: how many starts each one draws."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from gdjax.basins import Tracks
from gdjax.plot.axes import axes_or_new, legend_beside, log_ticks
from gdjax.plot.cells import cells_along
from gdjax.plot.colouring import fixed_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LISTED = 12  # tracks in the legend


def tracks(
    found: Tracks,
    along: str = "learning_rate",
    names: Mapping[int, str] | None = None,
    limits: bool = True,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw the share of the starts that each attractor draws along an axis, from birth to death.

    A filled circle is the first value at which some start leads there, an empty one the last,
    where it is not the end of the axis. A dotted line is where the learning rate passes the
    attractor's 2 / λ_max, and gradient descent with a constant rate leaves it. The scale of
    geometric values is logarithmic. The legend names the 12 tracks of the largest shares.

    Args:
      found: from `gdjax.basins.tracks`.
      along: the name of the axis.
      names: the name of each attractor, by the first label of its track; one without is written as
        its number.
      limits: whether to draw the dotted lines, which mean nothing along another axis.
      ax: the Axes to draw on, in a figure with `layout="compressed"` to make room for the legend;
        those of a new figure if left out.

    Returns:
      The Axes.

    Raises:
      ModuleNotFoundError: matplotlib is not installed: `pip install 'gdjax[plot]'`.
      TypeError: `found` is not from `gdjax.basins.tracks`, or `ax` is not an Axes.
      ValueError: the values of the axis are equal or complex.

    >>> import gdjax, gdjax.plot, optax
    >>> def lane(start, learning_rate):
    ...     return gdjax.Descent(lambda w: w**2, start, optax.sgd(learning_rate))
    >>> runs = gdjax.sweep(lane, start=[-1.0, 1.0], learning_rate=[0.1, 0.9, 1.1])
    >>> found = gdjax.basins.tracks(gdjax.map_basins(runs), along="learning_rate")
    >>> ax = gdjax.plot.tracks(found)
    >>> ax.lines[0].get_ydata().tolist(), [text.get_text() for text in ax.get_legend().get_texts()]
    ([1.0, 1.0], ['0'])
    """
    if not isinstance(found, Tracks):
        raise TypeError(f"found: expected what gdjax.basins.tracks returns, got {found!r}")
    ax = axes_or_new(ax)
    cells = cells_along({along: found.values}, along)
    values = np.asarray(found.values, float)[cells.order]
    largest = np.argsort(-found.share.max(axis=1, initial=0.0), kind="stable")
    for track in largest[::-1]:  # the largest on top
        share, label = found.share[track, cells.order], found.label[track, cells.order]
        there = np.flatnonzero(share > 0)
        colour, alive = fixed_colour(int(label[there[0]])), slice(there[0], there[-1] + 1)
        ax.plot(values[alive], share[alive], color=colour, linewidth=1.4)
        ends = [(there[0], colour)] + [(there[-1], "white")] * bool(there[-1] < len(values) - 1)
        for end, face in ends:
            ax.plot(values[end], share[end], "o", color=colour, markersize=5, markerfacecolor=face)
        for passed in _passed(values, found.limit[track, cells.order]) if limits else ():
            ax.axvline(passed, color=colour, linestyle=":", linewidth=1.2, zorder=1)
    top = min(1.02, 1.1 * found.share.max(initial=0.1))
    ax.set(xlabel=along, ylabel="share of the starts", ylim=(0, top), xlim=cells.edges[[0, -1]])
    if cells.is_geometric:
        ax.set_xscale("log")
        log_ticks(ax.xaxis)
    _name(ax, found, np.sort(largest[:LISTED]), names or {})
    return ax


def _passed(values: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """Return the limits that the values pass, from one to the next."""
    below = values < limit
    return limit[:-1][below[:-1] & (values[1:] >= limit[:-1])]


def _name(ax: "Axes", found: Tracks, shown: np.ndarray, names: Mapping[int, str]) -> None:
    from matplotlib.lines import Line2D

    first = [int(found.label[track][found.share[track] > 0][0]) for track in shown]
    handles = [Line2D([], [], color=fixed_colour(label)) for label in first]
    texts = [names.get(label, str(label)) for label in first]
    if hidden := len(found.label) - len(shown):
        handles.append(Line2D([], [], linestyle="none"))
        texts.append(f"{hidden} more")
    legend_beside(ax, handles, texts, title="attractor")
