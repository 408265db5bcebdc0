"""The map of basins: every start in the colour of its minimum."""

from typing import TYPE_CHECKING, Any

import numpy as np

from gdjax.basins import Basins, LandscapeGraph, fractions
from gdjax.diagnosis import Verdict
from gdjax.plot.axes import axes_or_new, legend_beside
from gdjax.plot.cells import draw_cells
from gdjax.plot.colouring import label_colours, largest
from gdjax.plot.minima import mark_minima, mark_saddles, parameters
from gdjax.plot.overlays import checked_steps, draw_borders, shaded
from gdjax.plot.palette import MUTED, NEUTRAL
from gdjax.plot.text import number_text, point_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDEST = 3.0  # ratio of the sides up to which x and y are drawn to one scale
MOST_NUMBERS = 3  # parameters that the legend spells out
KINDS = {
    Verdict.SADDLE: "saddle ",
    Verdict.MAXIMUM: "maximum ",
    Verdict.VALLEY: "valley ",
    Verdict.OSCILLATING: "cycle ",
}


def basin_map(
    basins: Basins,
    ax: "Axes | None" = None,
    *,
    steps: Any = None,
    border: bool = False,
    graph: LandscapeGraph | None = None,
) -> "Axes":
    """Draw every start in the colour of the minimum it leads to.

    The first dimension runs along x. Stars mark the minima where their parameters are the two
    coordinates of the picture, and lie in it, and crosses the saddles that starts on their line of
    symmetry lead to; grey starts lead to no minimum. The legend gives the minimum, its loss, and
    the share of the starts with its 95% interval, for the 8 largest basins; smaller ones share a
    few muted colours.

    Args:
      basins: from `gdjax.map_basins`, labels [columns, rows], or [starts] of scattered starts
        with two components (`gdjax.uniform`, `gdjax.sobol`).
      ax: the Axes to draw on, in a figure with `layout="compressed"` to make room for the legend;
        those of a new figure if left out.
      steps: real numbers, shaped as the labels, such as the `steps` of the runs: the more, the
        darker is the colour, on a logarithmic scale.
      border: whether to draw the sides where cells of two basins meet.
      graph: from `gdjax.basins.landscape_graph`, to mark its saddles too.

    Returns:
      The Axes.

    Raises:
      ModuleNotFoundError: matplotlib is not installed: `pip install 'gdjax[plot]'`.
      TypeError: `basins` is not from `gdjax.map_basins`, `graph` is not from `landscape_graph`, the
        steps are no real numbers, or `ax` is not an Axes.
      ValueError: the map is not over two coordinates, a coordinate has equal or complex values, the
        steps are not shaped as the labels, or a border is to be drawn between scattered starts.

    >>> import gdjax, gdjax.plot, optax
    >>> well = gdjax.landscapes.double_well
    >>> runs = gdjax.sweep(lambda start: gdjax.Descent(well, start, optax.sgd(0.1)),
    ...                    start=gdjax.grid(x=(-2, 2, 10), y=(-2, 2, 10)))
    >>> ax = gdjax.plot.basin_map(gdjax.map_basins(runs))
    >>> print(ax.get_legend().get_texts()[0].get_text())
    (−1, −1), loss −0.5
    25% [17.5, 34.3]
    """
    parts = _coordinates(basins)
    labels = basins.labels
    if steps is not None:
        steps = checked_steps(steps, labels.shape)
    if border and labels.ndim != 2:
        raise ValueError("border: expected False for scattered starts, which have no sides")
    if graph is not None and not isinstance(graph, LandscapeGraph):
        raise TypeError(f"graph: expected what landscape_graph returns, got {graph!r}")
    ax = axes_or_new(ax)
    from matplotlib.colors import to_rgb

    sizes = np.bincount(labels[labels >= 0], minlength=len(basins.attractors.loss))
    palette = label_colours(labels, sizes)
    colours = np.array([to_rgb(name) for name in [*palette, NEUTRAL]])[labels]  # -1 is the last
    if steps is not None:
        colours = shaded(ax, colours, labels, steps)
    if labels.ndim == 2:
        draw_cells(ax, basins.coords, parts, colours)
    else:
        x, y = (basins.coords[part] for part in parts)
        ax.scatter(x, y, s=min(20.0, 20_000.0 / len(labels)), c=colours, linewidths=0)
        ax.set(xlabel=parts[0], ylabel=parts[1])
    sides = np.ptp(ax.get_xlim()), np.ptp(ax.get_ylim())
    if ax.get_xscale() == ax.get_yscale() == "linear" and max(sides) <= WIDEST * min(sides):
        ax.set_aspect("equal", anchor="E")  # next to the legend, so that layouts see its width
    if border:
        draw_borders(ax, basins)
    mark_saddles(ax, basins, parts, graph)
    mark_minima(ax, basins, parts)
    handles, texts = _entries(basins, parts, sizes, palette)
    legend_beside(ax, handles, texts, title="minimum, loss\nshare [95% interval]")
    return ax


def _coordinates(basins: Any) -> tuple[str, ...]:
    """Return the names of the coordinates along x and y, or raise."""
    if not isinstance(basins, Basins):
        raise TypeError(f"basins: expected what gdjax.map_basins returns, got {basins!r}")
    if basins.labels.ndim == 2:
        return basins.dims
    got = f"the dimensions {basins.dims}"
    if basins.labels.ndim == 1:
        parts = tuple(name for name in basins.coords if name not in basins.dims)
        if len(parts) == 2:
            return parts
        got += f" with the components {parts}"
    raise ValueError(
        "basins: expected a map over two dimensions, or over one of scattered starts with two "
        f"components; got {got}. To select two of more dimensions: "
        "dataclasses.replace(basins, labels=basins.labels[:, :, 0], dims=basins.dims[:2])"
    )


def _entries(
    basins: Basins, parts: tuple[str, ...], sizes: np.ndarray, palette: list[str]
) -> tuple[list[Any], list[str]]:
    """Return the handles of the legend and their texts."""
    from matplotlib.patches import Patch

    own = largest(sizes)
    smaller = int(np.count_nonzero(sizes)) - len(own)
    others = len(sizes)  # one label for all smaller basins
    handles: dict[int, Any] = {label: Patch(color=palette[label]) for label in own.tolist()}
    texts = dict(zip(handles, _minima_texts(basins, parts, own)))
    handles[others] = tuple(Patch(color=colour) for colour in MUTED[:3])
    texts[others] = f"{smaller} other{'s' * (smaller > 1)}"
    handles[-1], texts[-1] = Patch(color=NEUTRAL), "no minimum"

    shares = fractions(np.where(np.isin(basins.labels, [-1, *own]), basins.labels, others))
    bounds = 100 * np.stack([shares.share, shares.low, shares.high], axis=1)
    percent = dict(zip(shares.label.tolist(), bounds))
    shown = [label for label in handles if label in percent]
    return [handles[label] for label in shown], [
        "{}\n{:.3g}% [{:.3g}, {:.3g}]".format(texts[label], *percent[label]) for label in shown
    ]


def _minima_texts(basins: Basins, parts: tuple[str, ...], labels: np.ndarray) -> list[str]:
    """Return each of these attractors with its loss as text, and what it is if no minimum."""
    kinds = [KINDS.get(verdict, "") for verdict in basins.attractors.verdict[labels].tolist()]
    columns = parameters(basins.attractors.params, parts)
    known = np.abs(basins.attractors.loss) > basins.attractors.loss_error
    losses = map(number_text, np.where(known, basins.attractors.loss, 0.0)[labels])
    if columns.shape[1] > MOST_NUMBERS:
        return [
            f"{kind or 'minimum '}{label}, loss {loss}"
            for kind, label, loss in zip(kinds, labels, losses)
        ]
    scale = np.abs(columns).max(axis=0, initial=0.0)
    points = [point_text(point, scale) for point in columns[labels]]
    return [f"{kind}{point}, loss {loss}" for kind, point, loss in zip(kinds, points, losses)]
