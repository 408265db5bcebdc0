"""The confusion matrix of two maps of the same starts."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gdjax.basins import Agreement, TippingMatrix
from gdjax.plot.axes import axes_or_new, colour_bar
from gdjax.plot.palette import SEQUENTIAL

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_WRITTEN = 12  # labels of which the counts are written into the cells
DARK = 0.6  # share of the row above which a cell is bright


def confusion(
    found: Agreement | TippingMatrix,
    names: Mapping[int, str] | None = None,
    sides: tuple[str, str] = ("before", "after"),
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw where the starts of each basin of one map go in another, rows before and columns after.

    The colour is the share of the row's starts; the number of starts is written into the cells of
    up to 12 labels.

    Args:
      found: from `gdjax.basins.agreement` or `gdjax.basins.tipping_matrix`.
      names: the name of each label; one without is written as its number, and -1 as "none".
      sides: what the rows and the columns are.
      ax: the Axes to draw on; those of a new figure if left out.

    Returns:
      The Axes.

    Raises:
      ModuleNotFoundError: matplotlib is not installed: `pip install 'gdjax[plot]'`.
      TypeError: what was found is from neither, or `ax` is not an Axes.
      ValueError: it is not of two maps, but of none or more; there are not two sides.

    >>> import gdjax, gdjax.plot
    >>> ax = gdjax.plot.confusion(gdjax.basins.agreement([0, 0, 1, -1], [0, 1, 1, 1]))
    >>> [text.get_text() for text in ax.get_xticklabels()]
    ['none', '0', '1']
    """
    if not isinstance(found, Agreement | TippingMatrix):
        raise TypeError(f"found: expected what gdjax.basins.agreement returns, got {found!r}")
    if found.counts.ndim != 2 or not found.counts.size:
        raise ValueError(f"found: expected one matrix, got counts of shape {found.counts.shape}")
    if isinstance(sides, str) or len(sides) != 2:
        raise ValueError(f"sides: expected two names, got {sides!r}")
    ax = axes_or_new(ax)
    is_agreement = isinstance(found, Agreement)
    rows, columns = (found.label,) * 2 if is_agreement else (found.before, found.after)
    total = found.counts.sum(axis=1, keepdims=True)
    share = np.where(total > 0, found.counts / np.where(total > 0, total, 1), np.nan)
    image = ax.imshow(share, cmap=SEQUENTIAL, vmin=0, vmax=1)
    colour_bar(ax, image, "share of the row")
    ax.set_xticks(range(len(columns)), labels=[_name(x, names) for x in columns.tolist()])
    ax.set_yticks(range(len(rows)), labels=[_name(x, names) for x in rows.tolist()])
    ax.set(ylabel=sides[0], xlabel=sides[1])
    if max(share.shape) <= MOST_WRITTEN:
        for (i, j), count in np.ndenumerate(found.counts):
            colour: Any = "black" if not share[i, j] <= DARK else "white"
            ax.text(j, i, f"{count:,}", color=colour, ha="center", va="center", fontsize="small")
    return ax


def _name(label: int, names: Mapping[int, str] | None) -> str:
    return (names or {}).get(label, "none" if label == -1 else str(label))
