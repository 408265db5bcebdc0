"""What the long run of a descent tells: whether it falls, grows, lifts, and when it arrives."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from gdjax.diagnosis.ahead import MOST_WINDOWS, ULPS, Ahead
from gdjax.diagnosis.orbit import WINDOW

FALLING = 0.5  # of the height of its oscillations, by which the loss must fall
GROWING = 0.1  # in logarithms, by which the steps must grow in each half
UNSATURATED = 0.5  # of the growth in the first half, what must be left of it in the second
NEARLY_ALL = 0.9  # of the windows
LIFTING = 3.0  # times the gradient at the end, what it may become while the loss falls
ALIKE = 4.0  # times the least of such slopes, what the largest may be
SURE = 4.0  # standard errors by which noisy losses must fall
SAMPLES = 4  # windows in a quarter, from which their scatter can be told
SLOWEST = 2.0  # growth in a step of the time to decay e-fold: of the slowest tail, a logarithm's


class Trend(NamedTuple):
    """What the windows of a run say together."""

    falls: jax.Array  # bool [] whether the loss falls
    grows: jax.Array  # bool [] whether its steps grow without bound
    lifts: jax.Array  # bool [] whether the gradient grows while the loss falls
    slope: jax.Array  # [] of the loss in a step, over the first window
    steps: jax.Array  # [] until the tolerance first holds, NaN where that cannot be told
    lyapunov: jax.Array  # []
    alignment: jax.Array  # [] over the first window


def trend(a: Ahead, loss: jax.Array, grad_norm: jax.Array, tol: jax.Array, so_far: jax.Array):
    """Return what the windows say of a run that made `so_far` steps before, with this end."""
    n, seen = a.windows, a.seen
    number = jnp.arange(MOST_WINDOWS)
    last = jnp.maximum(n - 1, 0)
    middle = n // 2
    early, late = _quarters(n)
    fall = _mean(seen.loss, early) - _mean(seen.loss, late)
    height = _mean(seen.largest - seen.least, late)
    rounding = ULPS * jnp.finfo(a.state.loss.dtype).eps * jnp.abs(seen.loss[last])
    clear = jnp.maximum(FALLING * height, rounding)
    falls = a.falls | a.arrives | ((n > 1) & (fall > clear))
    falls &= (n > 0) & (loss > seen.least[last])
    peak = jnp.max(jnp.where(number < n, seen.grad_norm, 0))
    later = (number >= middle) & (number < n)
    growth = jnp.where(a.closed, a.orbit.growth, _mean(seen.growth, later) / WINDOW)
    return Trend(
        falls=falls,
        grows=_grows(seen.stride, n),
        lifts=falls & (peak >= LIFTING * grad_norm),
        slope=jnp.where(n > 0, (seen.loss[0] - loss) * 2 / (WINDOW + 1), jnp.nan),
        steps=_steps(a, grad_norm, tol, so_far),
        lyapunov=jnp.where(n > 0, growth, jnp.nan),
        alignment=jnp.where(n > 0, seen.alignment[0], jnp.nan),
    )


def declines(a: Ahead) -> jax.Array:
    """Return whether the losses of batches fall from window to window, by more than chance."""
    early, late = _quarters(a.windows)
    count, mean = jnp.sum(late), _mean(a.seen.loss, late)
    scatter = jnp.sqrt(_mean((a.seen.loss - mean) ** 2, late))
    fall = _mean(a.seen.loss, early) - mean
    return (count >= SAMPLES) & (fall > SURE * scatter * jnp.sqrt(2 / count))


def highest_later(a: Ahead) -> jax.Array:
    """Return the largest loss in the second half of the windows."""
    number = jnp.arange(MOST_WINDOWS)
    later = (number >= a.windows // 2) & (number < a.windows)
    return jnp.max(jnp.where(later, a.seen.largest, -jnp.inf))


def _quarters(n: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return which windows are in the first and in the last quarter of n, one at least."""
    number, quarter = jnp.arange(MOST_WINDOWS), jnp.maximum(n // 4, 1)
    return number < quarter, (number >= n - quarter) & (number < n)


def _mean(values: jax.Array, where: jax.Array) -> jax.Array:
    return jnp.sum(jnp.where(where, values, 0)) / jnp.maximum(jnp.sum(where), 1)


def _grows(stride: jax.Array, n: jax.Array) -> jax.Array:
    """Return whether steps grow from window to window, and no less towards the end."""
    logs = _log(stride)
    number = jnp.arange(MOST_WINDOWS)
    larger = (jnp.diff(logs, prepend=logs[:1]) > 0) & (number > 0) & (number < n)
    first, middle, last = logs[0], logs[n // 2], logs[jnp.maximum(n - 1, 0)]
    mostly = jnp.sum(larger) >= NEARLY_ALL * (n - 1)
    second = last - middle
    return (n > 2) & mostly & (second > GROWING) & (second > UNSATURATED * (middle - first))


def _steps(a: Ahead, grad_norm: jax.Array, tol: jax.Array, so_far: jax.Array) -> jax.Array:
    """Return the steps until the tolerance first holds: seen, else by how the gradient decays."""
    grad_norms = jnp.concatenate([grad_norm[None], a.seen.grad_norm])
    found = extrapolated(grad_norms, a.windows, jnp.asarray(WINDOW), so_far, tol)
    found = jnp.where(jnp.isnan(found) & a.resting, jnp.inf, found)
    return jnp.where(a.first > 0, a.first.astype(grad_norm.dtype), found)


def extrapolated(
    grad_norms: jax.Array, n: jax.Array, window: jax.Array, so_far: jax.Array, tol: jax.Array
) -> jax.Array:
    """Return after how many steps the tolerance holds if a gradient goes on to decay so, or NaN.

    The time that it takes to decay e-fold is constant where it decays exponentially, and grows
    with each step by 1/p where it decays as a power -p of the number of steps: so it is
    extrapolated along a line, whose slope is measured early, late, and for a power from the start.

    Args:
      grad_norms: [most + 1] at first, and after each of n windows.
      n: int32 [] how many there are.
      window: int32 [] steps of each.
      so_far: int32 [] steps before.
      tol: [] the tolerance.
    """
    logs = _log(grad_norms)

    def between(first: jax.Array, last: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the time to decay e-fold between two windows, and the step in the middle."""
        decay = (logs[first] - logs[last]) / (jnp.maximum(last - first, 1) * window)
        return 1 / decay, (first + last) * window / 2

    def slope(one: tuple, other: tuple) -> jax.Array:
        return (other[0] - one[0]) / jnp.maximum(other[1] - one[1], 1)

    half, last_quarter, whole = n // 2, n - jnp.maximum(n // 4, 1), n * window
    first, second = between(jnp.zeros_like(n), half), between(half, n)
    third, fourth = between(half, last_quarter), between(last_quarter, n)
    # From the start on, the logarithm decays by p in each unit of that of the steps.
    spread = jnp.log((so_far + whole) / jnp.maximum(so_far + half * window, 1))
    of_power = spread / (logs[half] - logs[n])
    slopes = jnp.stack([slope(first, second), slope(third, fourth), of_power])
    growth = jnp.clip(jnp.median(slopes), 0, SLOWEST)
    # Of what is no power, they tell nothing.
    growth = jnp.where(jnp.max(slopes) <= ALIKE * jnp.min(slopes), growth, 0)
    time = fourth[0] + growth * (whole - fourth[1])
    missing = jnp.maximum(logs[n] - _log(tol), 0)
    bent = jnp.where(growth > 0, jnp.expm1(growth * missing) / growth, missing)
    found = whole + time * bent
    decays = (n > 1) & (second[0] > 0) & (fourth[0] > 0) & jnp.isfinite(found)
    return jnp.where(decays, found, jnp.nan)


def _log(x: jax.Array) -> jax.Array:
    return jnp.log(jnp.maximum(x, jnp.finfo(x.dtype).tiny))
