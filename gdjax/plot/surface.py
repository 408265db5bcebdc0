"""The loss over two parameters, with the paths of descents."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from gdjax import checks
from gdjax.plot.axes import axes_or_new, colour_bar, legend_below
from gdjax.plot.palette import DISTINCT, NEUTRAL, SEQUENTIAL
from gdjax.plot.text import number_text
from gdjax.record import Series
from gdjax.sweeps.axes.box import checked_bounds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEVELS = 25


def surface(
    loss: Callable[[jax.Array], jax.Array],
    domain: Sequence[tuple[float, float]] | None = None,
    trajectories: Sequence[Series | Any] = (),
    ax: "Axes | None" = None,
    resolution: int = 200,
) -> "Axes":
    """Draw a loss of two parameters as filled contours, with descents over it.

    The levels follow the ranks of the values, closer together towards the lowest, so that both
    deep minima and high walls can be read. Where the loss is not finite, the picture is grey.

    Args:
      loss: function of a vector [2] to a scalar, or a `gdjax.landscapes.Landscape`.
      domain: `((x_low, x_high), (y_low, y_high))`; `loss.domain` if left out.
      trajectories: for each path a `Series` of parameters, whose values are an array [records, 2]
        or a pytree of two arrays [records] (the first in tree order along x), or the values alone.
      ax: the Axes to draw on; those of a new figure if left out.
      resolution: points along each axis, at least 2.

    Returns:
      The Axes.

    Raises:
      ModuleNotFoundError: matplotlib is not installed: `pip install 'gdjax[plot]'`.
      TypeError: an argument is not of this form.
      ValueError: there is no domain of two ranges, the loss is not a scalar or nowhere finite, a
        trajectory is not of two columns, or the resolution is too low.

    >>> import gdjax, gdjax.plot, optax
    >>> camel = gdjax.landscapes.six_hump_camel
    >>> d = gdjax.Descent(camel, jnp.array([1.5, 0.5]), optax.sgd(0.02), max_steps=100,
    ...                   record=gdjax.record.every(1, lambda state: state.params))
    >>> ax = gdjax.plot.surface(camel, trajectories=[gdjax.run(d).record], resolution=50)
    >>> ax.get_xlim() == camel.domain[0], len(ax.lines[0].get_xdata())
    (True, 101)
    """
    checks.function("loss", loss)
    x_range, y_range = _checked_domain(getattr(loss, "domain", None) if domain is None else domain)
    paths = [_path(f"trajectories[{i}]", given) for i, given in enumerate(trajectories)]
    resolution = checks.whole_number("resolution", resolution, least=2)
    ax = axes_or_new(ax)
    x, y = np.linspace(*x_range, resolution), np.linspace(*y_range, resolution)
    _draw_loss(ax, x, y, _values(loss, x, y))
    _draw_paths(ax, paths)
    ax.set(xlim=x_range, ylim=y_range, xlabel="x", ylabel="y")
    return ax


def _checked_domain(domain: Any) -> list[tuple[float, float]]:
    if domain is None:
        raise ValueError(
            "domain: expected ((x_low, x_high), (y_low, y_high)), as this loss has no domain"
        )
    if len(domain) != 2 or any(np.shape(pair) != (2,) for pair in domain):
        raise ValueError(f"domain: expected ((x_low, x_high), (y_low, y_high)), got {domain!r}")
    return [checked_bounds(f"domain[{i}]", low, high) for i, (low, high) in enumerate(domain)]


def _path(name: str, given: Any) -> np.ndarray:
    """Return a trajectory as numbers [records, 2], or raise naming it."""
    values = given.values if isinstance(given, Series) else given
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(values)]
    shapes = [leaf.shape for leaf in leaves]
    match shapes:
        case [(n, 2)] if n > 0:
            return leaves[0]
        case [(n,), (m,)] if n == m > 0:
            return np.stack(leaves, axis=1)
    raise ValueError(
        f"{name}: expected the parameters of one run, an array [records, 2] or two arrays "
        f"[records]; got {len(shapes)} arrays, the first of shape {shapes[0] if shapes else None}"
    )


def _values(loss: Callable[[jax.Array], jax.Array], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the loss [rows, columns] at all combinations of the coordinates."""
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    values = np.asarray(jax.jit(jax.vmap(loss))(jnp.asarray(grid, dtype=float)))
    if values.shape != (len(grid),):
        raise ValueError(f"loss: expected a scalar, got an array of shape {values.shape[1:]}")
    if not np.isfinite(values).any():
        raise ValueError("loss: expected a finite value somewhere in the domain, got none")
    return values.reshape(len(y), len(x)).astype(float)


def _levels(values: np.ndarray) -> np.ndarray:
    """Return increasing levels, from the lowest finite value to the highest."""
    finite = values[np.isfinite(values)]
    levels = np.unique(np.quantile(finite, np.linspace(0, 1, LEVELS) ** 2))
    return levels if len(levels) > 1 else levels[0] + np.array([-0.5, 0.5])


def _draw_loss(ax: "Axes", x: np.ndarray, y: np.ndarray, values: np.ndarray) -> None:
    from matplotlib.colors import BoundaryNorm

    levels = _levels(values)
    masked = np.ma.masked_invalid(values)
    filled = ax.contourf(
        x, y, masked, levels, cmap=SEQUENTIAL, norm=BoundaryNorm(levels, 256), zorder=0.5
    )
    thin: dict[str, Any] = {"colors": "black", "linewidths": 0.3, "alpha": 0.3}
    ax.contour(x, y, masked, levels, linestyles="solid", zorder=0.6, **thin)
    ax.set_facecolor(NEUTRAL)
    bar = colour_bar(ax, filled, "loss")
    ticks = levels[::4].tolist()
    bar.set_ticks(ticks, labels=list(map(number_text, ticks)))
    bar.minorticks_off()


def _draw_paths(ax: "Axes", paths: list[np.ndarray]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patheffects import withStroke

    outline = [withStroke(linewidth=3.0, foreground="white")]
    ends = {"start": ("o", 5.0), "end": ("s", 5.0)}
    for i, path in enumerate(paths):
        colour = DISTINCT[i % len(DISTINCT)]
        ax.plot(*path.T, color=colour, linewidth=1.5, path_effects=outline, zorder=3)
        for (marker, size), point in zip(ends.values(), (path[0], path[-1])):
            ax.plot(
                *point,
                color=colour,
                marker=marker,
                markersize=size,
                markeredgecolor="white",
                markeredgewidth=0.8,
                zorder=4,
            )
    if paths:
        handles = [
            Line2D([], [], linestyle="none", color="black", marker=marker, markersize=size)
            for marker, size in ends.values()
        ]
        legend_below(ax, handles, list(ends))
