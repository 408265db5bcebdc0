"""The loss against the step."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from gdjax.plot.axes import axes_or_new, legend_beside
from gdjax.plot.palette import DISTINCT
from gdjax.plot.text import number_text
from gdjax.record import Series
from gdjax.sweeps import Runs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DECADE = 10.0


class Curve(NamedTuple):
    """The history of one run, without the padding after its end."""

    name: str
    steps: np.ndarray  # int [records], or what they cost
    values: np.ndarray  # [records]


def loss_curves(
    series: Series | Runs | Mapping[str, Series],
    ax: "Axes | None" = None,
    labels: Sequence[str] | None = None,
) -> "Axes":
    """Draw the recorded loss against the step.

    Up to 8 curves are named in the legend; more are drawn thin and without names, with their
    median, for which a run that ended keeps its last loss. The loss is on a logarithmic scale
    where all of it is above 0 and spans more than a decade.

    Args:
      series: from `gdjax.record.every`: a `Series` with steps and values [*lanes, records], runs
        whose record is one, or a `Series` [records] by name.
      ax: the Axes to draw on; those of a new figure if left out.
      labels: a name for each curve; if left out, the values of the swept dimensions, the keys of
        the mapping, or the number of the lane.

    Returns:
      The Axes.

    Raises:
      ModuleNotFoundError: matplotlib is not installed: `pip install 'gdjax[plot]'`.
      TypeError: `series` is none of these, or `ax` is not an Axes.
      ValueError: the values are not one number a step, or there are not as many labels as curves.

    >>> import gdjax, gdjax.plot, optax
    >>> runs = gdjax.sweep(
    ...     lambda learning_rate: gdjax.Descent(lambda w: w**2, 1.0, optax.sgd(learning_rate),
    ...                                         record=gdjax.record.every(1), max_steps=50),
    ...     learning_rate=[0.1, 0.2])
    >>> ax = gdjax.plot.loss_curves(runs)
    >>> [line.get_label() for line in ax.lines], ax.get_yscale()
    (['0.1', '0.2'], 'log')
    """
    curves, about = curves_of(series)
    if labels is not None:
        if len(labels) != len(curves):
            raise ValueError(f"labels: expected {len(curves)} of them, got {len(labels)}")
        curves, about = [c._replace(name=name) for c, name in zip(curves, labels)], None
    ax = axes_or_new(ax)
    draw_curves(ax, curves, about, median=True)
    ax.set(xlabel="step", ylabel="loss")
    return ax


def draw_curves(ax: "Axes", curves: list[Curve], about: str | None, *, median: bool) -> None:
    """Draw curves, named where they are few, else with their median if that means something."""
    if len(curves) <= len(DISTINCT):
        _draw_named(ax, curves, about)
    else:
        _draw_many(ax, curves, median)
    finite = np.concatenate([c.values[np.isfinite(c.values)] for c in curves])
    if len(finite) and finite.min() > 0 and finite.max() > DECADE * finite.min():
        ax.set_yscale("log")


def curves_of(series: Any) -> tuple[list[Curve], str | None]:
    """Return the histories, and what their names are of, or raise."""
    if isinstance(series, Mapping):
        if not series:
            raise ValueError("series: expected at least one, got an empty mapping")
        return [_curve(f"series[{name!r}]", one, name) for name, one in series.items()], None
    if not isinstance(series, Runs):
        steps, values = _history("series", series)
        names = [str(lane) for lane in range(len(steps))]
        return _cut(names, steps, values), "lane"
    if not isinstance(series.record, Series):
        raise TypeError(
            "series: expected runs whose record is a gdjax.record.Series, theirs is a "
            f"{type(series.record).__name__}; pass the part of it that is one"
        )
    places = [[number_text(value) for value in series.coords[dim]] for dim in series.dims]
    names = [", ".join(place) for place in product(*places)]
    return _cut(names, *_history("series", series.record)), ", ".join(series.dims)


def _curve(where: str, series: Any, name: str) -> Curve:
    steps, values = _history(where, series)
    if len(steps) != 1:
        raise ValueError(f"{where}: expected a single run, got {len(steps)}")
    return _cut([name], steps, values)[0]


def _history(where: str, series: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps and values [lanes, records] of a series, or raise naming it."""
    if not isinstance(series, Series):
        raise TypeError(f"{where}: expected a gdjax.record.Series, got {series!r}")
    steps = np.asarray(series.steps)
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(series.values)]
    if shapes != [steps.shape]:
        raise ValueError(
            f"{where}: expected one number a step, values of shape {steps.shape}; "
            f"got {', '.join(map(str, shapes))}"
        )
    (values,) = jax.tree.leaves(series.values)
    lanes = -1, steps.shape[-1]
    return steps.reshape(lanes), np.asarray(values, dtype=float).reshape(lanes)


def _cut(names: Sequence[str], steps: np.ndarray, values: np.ndarray) -> list[Curve]:
    """Return the lanes as curves, each up to its last step."""
    goes_on = np.diff(steps, axis=1, prepend=-1) > 0
    return [Curve(n, s[live], v[live]) for n, s, v, live in zip(names, steps, values, goes_on)]


def _draw_named(ax: "Axes", curves: list[Curve], about: str | None) -> None:
    for curve, colour in zip(curves, DISTINCT):
        marker = "." if len(curve.steps) == 1 else None
        ax.plot(curve.steps, curve.values, color=colour, marker=marker, label=curve.name)
    if len(curves) > 1 or about is None:
        legend_beside(ax, *ax.get_legend_handles_labels(), title=about)


def _draw_many(ax: "Axes", curves: list[Curve], with_median: bool) -> None:
    from matplotlib.collections import LineCollection
    from matplotlib.lines import Line2D

    thin = {"linewidth": 0.6, "alpha": float(np.clip(12.0 / len(curves), 0.03, 0.6))}
    paths = [np.stack([curve.steps, curve.values], axis=1) for curve in curves]
    ax.add_collection(LineCollection(paths, colors=DISTINCT[0], **thin))
    handles, names = [Line2D([], [], color=DISTINCT[0], linewidth=0.6)], [f"{len(curves)} runs"]
    if with_median:
        handles += ax.plot(*_median(curves), color=DISTINCT[5], linewidth=2.0)
        names.append("median")
    ax.autoscale_view()
    legend_beside(ax, handles, names)


def _median(curves: list[Curve]) -> tuple[np.ndarray, np.ndarray]:
    """Return all steps, and the median at each.

    A run that ended, diverged or not, keeps its last loss; NaN counts as infinitely high.
    """
    steps = np.unique(np.concatenate([curve.steps for curve in curves]))
    held = [c.values[np.searchsorted(c.steps, steps, side="right") - 1] for c in curves]
    return steps, np.median(np.where(np.isnan(held), np.inf, held), axis=0)
