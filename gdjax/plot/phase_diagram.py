"""How each run ended over two swept dimensions: learning rate and start, say."""

from collections.abc import Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from gdjax.plot.axes import axes_or_new, legend_beside
from gdjax.plot.cells import draw_cells
from gdjax.plot.palette import DISTINCT, MUTED, NEUTRAL
from gdjax.plot.text import member_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = (*DISTINCT, *MUTED)


def phase_diagram(
    labels: Any,
    coords: Mapping[str, Any],
    names: Mapping[int, str] | type[IntEnum],
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw a label of each run as a colour over two dimensions.

    A label has the same colour in all diagrams with the same names; what is named "diverged" is
    grey. The first dimension runs along x; the scale of a geometric coordinate is logarithmic.

    Args:
      labels: integers [columns, rows], such as the `status` of runs.
      coords: the values along both dimensions by name, real [columns] and real [rows].
      names: the name of each label: a mapping, or an enumeration such as `gdjax.Status`.
      ax: the Axes to draw on, in a figure with `layout="compressed"` to make room for the legend;
        those of a new figure if left out.

    Returns:
      The Axes.

    Raises:
      ModuleNotFoundError: matplotlib is not installed: `pip install 'gdjax[plot]'`.
      TypeError: the labels are not integers, or `ax` is not an Axes.
      ValueError: the labels do not fit two coordinates, a coordinate has equal or complex values,
        a label has no name, or there are more than 14 names.

    >>> import gdjax, gdjax.plot, jax.numpy as jnp, optax
    >>> runs = gdjax.sweep(
    ...     lambda learning_rate, start: gdjax.Descent(lambda w: w**4, start,
    ...                                                optax.sgd(learning_rate)),
    ...     learning_rate=jnp.geomspace(1e-2, 1.0, 5), start=[1.0, 2.0, 3.0])
    >>> ax = gdjax.plot.phase_diagram(runs.status, runs.coords, gdjax.Status)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['converged', 'diverged']
    """
    labels, named = _checked(labels, coords, names)
    ax = axes_or_new(ax)
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Patch

    colours = {
        label: NEUTRAL if name == "diverged" else colour
        for (label, name), colour in zip(named.items(), COLOURS)
    }
    shown, place = np.unique(labels, return_inverse=True)
    cells = np.array([to_rgb(colours[label]) for label in shown.tolist()])
    draw_cells(ax, coords, tuple(coords), cells[place.reshape(labels.shape)])
    handles = [Patch(color=colours[label]) for label in shown.tolist()]
    legend_beside(ax, handles, [named[label] for label in shown.tolist()])
    return ax


def _checked(
    labels: Any, coords: Mapping[str, Any], names: Mapping[int, str] | type[IntEnum]
) -> tuple[np.ndarray, dict[int, str]]:
    labels = np.asarray(labels)
    if not np.issubdtype(labels.dtype, np.integer):
        raise TypeError(f"labels: expected integers, got {labels.dtype}")
    lengths = tuple(np.size(values) for values in coords.values())
    if len(lengths) != 2 or labels.shape != lengths:
        raise ValueError(
            f"labels: expected two dimensions as long as {dict(zip(coords, lengths))}, "
            f"got {labels.shape}"
        )
    if not isinstance(names, Mapping):
        names = {int(member): member_text(member) for member in names}
    if missing := sorted(set(np.unique(labels).tolist()) - set(names)):
        raise ValueError(f"names: expected one for each label, got none for {missing}")
    if len(names) > len(COLOURS):
        raise ValueError(f"names: expected at most {len(COLOURS)}, got {len(names)}")
    return labels, dict(names)
