"""The loss against the learning rate of a range test."""

from typing import TYPE_CHECKING, Any

import numpy as np

from gdjax.advice import RangeTest
from gdjax.plot.axes import axes_or_new, legend_beside, log_ticks
from gdjax.plot.palette import DISTINCT, NEUTRAL
from gdjax.plot.text import number_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DECADE = 10.0
HEADROOM = 3.0  # of the range of the losses up to the largest rate, or of its decades


def range_test(test: RangeTest, ax: "Axes | None" = None) -> "Axes":
    """Draw the losses of a learning-rate range test, with what they suggest.

    The loss is on a logarithmic scale where it is above 0 and falls by more than a decade.

    Args:
      test: from `gdjax.lr_range_test`.
      ax: the Axes to draw on; those of a new figure if left out.

    Returns:
      The Axes.

    Raises:
      ModuleNotFoundError: matplotlib is not installed: `pip install 'gdjax[plot]'`.
      TypeError: `test` is not from `gdjax.lr_range_test`, or `ax` is not an Axes.
      ValueError: it is of more than one run.

    >>> import gdjax, gdjax.plot, optax
    >>> test = gdjax.lr_range_test(lambda w: 2 * w**2, 1.0, optax.sgd, low=1e-2, high=1.0, steps=50)
    >>> ax = gdjax.plot.range_test(test)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['loss', 'fastest fall, 0.0121', 'before it rises, 0.471']
    """
    if not isinstance(test, RangeTest):
        raise TypeError(f"test: expected what gdjax.lr_range_test returns, got {test!r}")
    if np.ndim(test.rates) != 1:
        raise ValueError(f"test: expected that of one run, got rates {np.shape(test.rates)}")
    ax = axes_or_new(ax)
    rates, losses, smoothed = (np.asarray(x, float) for x in test[:3])
    if np.array_equal(losses, smoothed):
        ax.plot(rates, losses, color=DISTINCT[0], label="loss")
    else:
        ax.plot(rates, losses, color=NEUTRAL, linewidth=0.8, label="loss")
        ax.plot(rates, smoothed, color=DISTINCT[0], label="running median")
    for value, text, colour in (
        (test.suggestion, "fastest fall", DISTINCT[2]),
        (test.largest, "before it rises", DISTINCT[5]),
    ):
        if np.isfinite(value):
            label = f"{text}, {number_text(value)}"
            ax.axvline(float(value), color=colour, linestyle="--", label=label)
    ax.set(xscale="log", xlabel="learning rate", ylabel="loss", xlim=rates[[0, -1]])
    log_ticks(ax.xaxis)
    _scale_losses(ax, smoothed[rates <= test.largest] if test.largest > 0 else smoothed[:1])
    legend_beside(ax, *ax.get_legend_handles_labels())
    return ax


def _scale_losses(ax: "Axes", stable: Any) -> None:
    """Set the scale by the losses of stable rates, since later ones may be anything."""
    if not np.isfinite(stable).all():
        return
    low, high = stable.min(), stable.max()
    if low > 0 and high > DECADE * low:
        ax.set(yscale="log", ylim=(low / HEADROOM, high * HEADROOM))
    elif high > low:
        ax.set(ylim=(low - (high - low) / 10, high + (high - low) / HEADROOM))
