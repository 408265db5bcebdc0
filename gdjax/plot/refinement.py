"""A refined map: its cells, in the colours of their labels or of their levels."""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gdjax.basins import Refinement
from gdjax.plot.axes import axes_or_new, colour_bar, legend_beside
from gdjax.plot.cells import draw_cells
from gdjax.plot.colouring import label_colours, largest
from gdjax.plot.palette import MUTED, NEUTRAL, SEQUENTIAL

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FINEST = 512  # cells along a side that a picture shows
OUTLINED = 256  # cells along a side up to which they have an outline


def refinement(
    refined: Refinement,
    ax: "Axes | None" = None,
    colour: Literal["label", "level"] = "label",
) -> "Axes":
    """Draw the cells that a refined map consists of, which crowd along its borders.

    The first dimension runs along x. Cells have an outline where it can be told from the next one;
    grey ones lead to no minimum. The title says how many starts were run and how many of the
    others can be wrong.

    Args:
      refined: from `gdjax.basins.refine`, in two dimensions.
      ax: the Axes to draw on, in a figure with `layout="compressed"` to make room for the legend;
        those of a new figure if left out.
      colour: "label" for the attractor that a cell leads to, or "level" for how often its sides
        have been halved.

    Returns:
      The Axes.

    Raises:
      ModuleNotFoundError: matplotlib is not installed: `pip install 'gdjax[plot]'`.
      TypeError: `refined` is not from `gdjax.basins.refine`, or `ax` is not an Axes.
      ValueError: the map is not in two dimensions, or the colour is another.

    >>> import gdjax, gdjax.plot, optax
    >>> problem = lambda start: gdjax.Descent(gdjax.landscapes.double_well, start, optax.sgd(0.1))
    >>> refined = gdjax.basins.refine(problem, {"x": (-2, 2), "y": (-2, 2)}, levels=4, coarse=8)
    >>> print(gdjax.plot.refinement(refined).get_title())
    128 × 128 starts, 6.24% run, 0% [0, 0.3] of the others wrong
    """
    if not isinstance(refined, Refinement):
        raise TypeError(f"refined: expected what gdjax.basins.refine returns, got {refined!r}")
    if len(refined.shape) != 2:
        raise ValueError(f"refined: expected a map in two dimensions, got {refined.dims}")
    if colour not in ("label", "level"):
        raise ValueError(f"colour: expected 'label' or 'level', got {colour!r}")
    ax = axes_or_new(ax)
    shown = _last_level(refined, FINEST)
    coords = {
        dim: np.asarray(values, float).reshape(-1, 1 << (refined.levels - shown)).mean(axis=1)
        for dim, values in refined.coords.items()
    }
    if colour == "label":
        _draw_labels(ax, refined, coords, shown)
    else:
        _draw_levels(ax, refined, coords, shown)
    _outline(ax, refined)
    ax.set_title(_title(refined), fontsize="small")
    return ax


def _last_level(refined: Refinement, most: int) -> int:
    """Return the finest level with at most so many cells along a side, or the coarsest."""
    sides = [refined.shape[0] >> (refined.levels - k) for k in range(refined.levels + 1)]
    return max([k for k, side in enumerate(sides) if side <= most], default=0)


def _draw_labels(ax: "Axes", refined: Refinement, coords: Any, shown: int) -> None:
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Patch

    labels = refined.painted(refined.leaves.label, shown).astype(np.int64)
    names, index = np.unique(labels[labels >= 0], return_inverse=True)
    dense = np.full(labels.shape, -1)
    dense[labels >= 0] = index
    sizes = _sizes(refined, names)
    palette = label_colours(dense, sizes)
    colours = np.array([to_rgb(name) for name in [*palette, NEUTRAL]])
    draw_cells(ax, coords, refined.dims, colours[dense])
    own = largest(sizes)
    percent = 100 * sizes / int(refined.leaves.size.sum())
    handles: list[Any] = [Patch(color=palette[i]) for i in own]
    texts = [f"{names[i]}: {percent[i]:.3g}%" for i in own]
    if len(own) < len(names):
        handles.append(tuple(Patch(color=c) for c in MUTED[:3]))
        texts.append(f"{len(names) - len(own)} more: {percent.sum() - percent[own].sum():.3g}%")
    if (labels < 0).any():
        handles.append(Patch(color=NEUTRAL))
        texts.append(f"none: {100 - percent.sum():.3g}%")
    legend_beside(ax, handles, texts, title="label: share")


def _sizes(refined: Refinement, names: np.ndarray) -> np.ndarray:
    """Return how many starts of the finest map have each of these labels."""
    leaves = refined.leaves
    at = np.minimum(np.searchsorted(names, leaves.label), max(len(names) - 1, 0))
    named = names[at] == leaves.label if len(names) else np.zeros(len(at), bool)
    return np.bincount(at[named], leaves.size[named], len(names)).astype(np.int64)


def _draw_levels(ax: "Axes", refined: Refinement, coords: Any, shown: int) -> None:
    import matplotlib
    from matplotlib.colors import BoundaryNorm

    levels = refined.painted(refined.leaves.level, shown)
    count = refined.levels + 1
    norm = BoundaryNorm(np.arange(count + 1) - 0.5, count)
    cmap = matplotlib.colormaps[SEQUENTIAL].resampled(count)
    mesh = draw_cells(ax, coords, refined.dims, levels, cmap=cmap, norm=norm)
    bar = colour_bar(ax, mesh, "level")
    bar.set_ticks(list(range(count)), labels=[str(k) for k in range(count)])
    bar.minorticks_off()


def _outline(ax: "Axes", refined: Refinement) -> None:
    """Draw the left and the lower side of each cell that is large enough."""
    from matplotlib.collections import LineCollection

    leaves = refined.leaves
    large = leaves.level <= _last_level(refined, OUTLINED)
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    units = np.array([right - left, top - bottom]) / np.array(refined.shape)
    low = np.array([left, bottom]) + leaves.first[large] * units
    sides = (1 << (refined.levels - leaves.level[large].astype(int)))[:, None] * units
    across, up = sides * [1, 0], sides * [0, 1]
    segments = np.concatenate([np.stack([low, low + way], axis=1) for way in (across, up)])
    ax.add_collection(
        LineCollection(list(segments), colors="black", linewidths=0.25, alpha=0.5, rasterized=True)
    )
    ax.set(xlim=(left, right), ylim=(bottom, top))


def _title(refined: Refinement) -> str:
    sides = " × ".join(f"{n:,}" for n in refined.shape)
    title = f"{sides} starts, {100 * refined.share:.3g}% run"
    missed = refined.missed
    if missed.audited == 0:
        return title
    low, high = 100 * missed.low, 100 * missed.high
    return f"{title}, {100 * missed.share:.3g}% [{low:.2g}, {high:.2g}] of the others wrong"
