"""The share of starts that end where the gradient flow ends, against the learning rate."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gdjax.basins import Fidelity
from gdjax.plot.axes import axes_or_new, legend_beside, log_ticks
from gdjax.plot.palette import DISTINCT

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def fidelity(found: Fidelity | Mapping[str, Fidelity], ax: "Axes | None" = None) -> "Axes":
    """Draw the share of starts that end where the gradient flow ends, with its 95% interval.

    The scale of the rates is logarithmic where they are above 0.

    Args:
      found: from `gdjax.basins.fidelity` over one dimension beside the starts, or several of them
        by name: one for each optimizer, say.
      ax: the Axes to draw on, in a figure with `layout="compressed"` to make room for the legend;
        those of a new figure if left out.

    Returns:
      The Axes.

    Raises:
      ModuleNotFoundError: matplotlib is not installed: `pip install 'gdjax[plot]'`.
      TypeError: what was found is not from `gdjax.basins.fidelity`, or `ax` is not an Axes.
      ValueError: it is not over one dimension with a real rate, or there are none or more than 8.

    >>> import gdjax, gdjax.plot, optax
    >>> runs = gdjax.sweep(
    ...     lambda start, learning_rate: gdjax.Descent(
    ...         lambda w: w**4 / 4 - w**2 / 2, start, optax.sgd(learning_rate)),
    ...     start=[-0.5, 0.5, 2.0], learning_rate=[0.1, 0.3, 0.4])
    >>> ax = gdjax.plot.fidelity(gdjax.basins.fidelity(runs))
    >>> ax.lines[0].get_ydata().round(3).tolist()
    [1.0, 1.0, 0.667]
    """
    named = dict(found) if isinstance(found, Mapping) else {"": found}
    if not 1 <= len(named) <= len(DISTINCT):
        raise ValueError(f"found: expected 1 to {len(DISTINCT)} of them, got {len(named)}")
    for name, one in named.items():
        _check(f"found[{name!r}]" if name else "found", one)
    ax = axes_or_new(ax)
    for (name, one), colour in zip(named.items(), DISTINCT):
        rates = np.asarray(one.coords[str(one.rate)], float)
        order, shown = np.argsort(rates), one.agreement
        ax.plot(rates[order], shown.share[order], ".-", color=colour, label=name)
        ax.fill_between(
            rates[order], shown.low[order], shown.high[order], color=colour, alpha=0.25, linewidth=0
        )
    rates = np.concatenate([one.coords[str(one.rate)] for one in named.values()])
    label = ", ".join(dict.fromkeys(str(one.rate) for one in named.values()))
    ax.set(xscale="log" if (rates > 0).all() else "linear", xlabel=label, ylim=(0, 1.02))
    if ax.get_xscale() == "log":
        log_ticks(ax.xaxis)
    ax.set_ylabel("share that ends where the flow ends")
    if any(named):
        legend_beside(ax, *ax.get_legend_handles_labels())
    return ax


def _check(where: str, one: Any) -> None:
    if not isinstance(one, Fidelity):
        raise TypeError(f"{where}: expected what gdjax.basins.fidelity returns, got {one!r}")
    if one.rate is None or len(one.dims) != 1:
        raise ValueError(
            f"{where}: expected one over a single dimension with a real rate, got {one.dims}"
        )
