"""The loss against what it cost."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gdjax import checks
from gdjax.descent.cost import Cost
from gdjax.plot.axes import axes_or_new, log_ticks
from gdjax.plot.loss_curves import Curve, curves_of, draw_curves
from gdjax.record import Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABELS = {
    "examples": "examples seen",
    "updates": "updates",
    "flops": "floating-point operations",
    "seconds": "seconds",
}


def cost(
    series: Mapping[str, Series],
    costs: Sequence[Cost],
    against: Literal["examples", "updates", "flops", "seconds"] = "examples",
    *,
    seconds: Sequence[float] | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw the recorded loss of several kinds of descent against what it cost.

    Args:
      series: a `Series` [records] of `gdjax.record.every` by name, of the loss of all examples say.
      costs: for each of them the cost of an update, from `gdjax.cost`, or that of the whole run,
        `result.cost`, which is spread evenly over its updates, trials along lines included.
      against: what of the cost.
      seconds: for each of them how long the run took, measured; needed where it is drawn.
      ax: the Axes to draw on; those of a new figure if left out.

    Returns:
      The Axes; the cost is on a logarithmic scale, which leaves out a start that cost nothing. Up
      to 8 curves are named.

    Raises:
      ModuleNotFoundError: matplotlib is not installed: `pip install 'gdjax[plot]'`.
      TypeError: a series or a cost is none, a time no number, or `ax` is not an Axes.
      ValueError: `against` is unknown, there are not as many costs or seconds as series, or what
        is asked for is not known: the examples of a descent without batches, say.

    >>> import gdjax, gdjax.plot, optax
    >>> d = gdjax.Descent(lambda w: w**2, 1.0, optax.sgd(0.1), record=gdjax.record.every(1))
    >>> ax = gdjax.plot.cost({"gd": gdjax.run(d).record}, [gdjax.cost(d)], "flops")
    >>> ax.get_xlabel()
    'floating-point operations'
    """
    if against not in LABELS:
        raise ValueError(f"against: expected one of {', '.join(LABELS)}, got {against!r}")
    if against == "seconds" and seconds is None:
        raise ValueError("seconds: expected those that each run took, got None")
    if not isinstance(series, Mapping):
        raise TypeError(f"series: expected a Series by name, got {series!r}")
    for name, given in (("costs", costs), ("seconds", seconds)):
        if given is not None and len(given) != len(series):
            raise ValueError(f"{name}: expected {len(series)} of them, got {len(given)}")
    for one in costs:
        if not isinstance(one, Cost):
            raise TypeError(f"costs: expected those of gdjax.cost, got {one!r}")
        if against in ("examples", "flops") and np.isnan(getattr(one, against)).any():
            raise ValueError(f"against: {against} are not known of each, got {one!r}")
    for one in () if seconds is None else seconds:
        checks.positive_scalar("seconds", one)
    curves, about = curves_of(series)
    took = [None] * len(curves) if seconds is None else seconds
    curves = [_spent(against, *one) for one in zip(curves, costs, took)]
    ax = axes_or_new(ax)
    draw_curves(ax, curves, about, median=False)
    ax.set(xscale="log", xlabel=LABELS[against], ylabel="loss")
    log_ticks(ax.xaxis)
    return ax


def _spent(against: str, curve: Curve, cost: Cost, seconds: Any) -> Curve:
    """Return the curve over what it cost, without a start that cost nothing."""
    steps = curve.steps.astype(float)
    if against == "updates":
        spent = steps
    elif against == "seconds":
        spent = seconds * steps / max(steps[-1], 1)
    elif cost.updates is None:
        spent = getattr(cost.of(steps), against)
    else:
        spent = getattr(cost, against) * (steps + 1) / (cost.updates + 1)
    return Curve(curve.name, spent[spent > 0], curve.values[spent > 0])
