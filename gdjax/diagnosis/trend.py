"""What the long run of a descent tells: whether it falls, grows, lifts, and when it arrives."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from gdjax.diagnosis.ahead import MOST_WINDOWS, ULPS, WINDOW, Ahead

FALLING = 0.5  # of the height of its oscillations, by which the loss must fall
GROWING = 0.1  # in logarithms, by which the steps must grow in each half
UNSATURATED = 0.5  # of the growth in the first half, what must be left of it in the second
NEARLY_ALL = 0.9  # of the windows
LIFTING = 3.0  # times the gradient at the end, what it may become while the loss falls
POWER = 0.7  # of the rate of decay, below which a half later it is no exponential


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
    quarter, middle = jnp.maximum(n // 4, 1), n // 2
    early, late = number < quarter, (number >= n - quarter) & (number < n)
    fall = _mean(seen.loss, early) - _mean(seen.loss, late)
    height = _mean(seen.largest - seen.least, late)
    rounding = ULPS * jnp.finfo(a.state.loss.dtype).eps * jnp.abs(seen.loss[last])
    clear = jnp.maximum(FALLING * height, rounding)
    falls = a.falls | a.arrives | ((n > 1) & (fall > clear))
    falls &= (n > 0) & (loss > seen.least[last])
    peak = jnp.max(jnp.where(number < n, seen.grad_norm, 0))
    later = (number >= middle) & (number < n)
    growth = _mean(seen.growth, later) / WINDOW
    return Trend(
        falls=falls,
        grows=_grows(seen.stride, n),
        lifts=falls & (peak >= LIFTING * grad_norm),
        slope=jnp.where(n > 0, (seen.loss[0] - loss) * 2 / (WINDOW + 1), jnp.nan),
        steps=_steps(a, grad_norm, tol, so_far),
        lyapunov=jnp.where(n > 0, growth, jnp.nan),
        alignment=jnp.where(n > 0, seen.alignment[0], jnp.nan),
    )


def highest_later(a: Ahead) -> jax.Array:
    """Return the largest loss in the second half of the windows."""
    number = jnp.arange(MOST_WINDOWS)
    later = (number >= a.windows // 2) & (number < a.windows)
    return jnp.max(jnp.where(later, a.seen.largest, -jnp.inf))


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
    n = a.windows
    middle, last = (
        a.seen.grad_norm[jnp.maximum(n // 2 - 1, 0)],
        a.seen.grad_norm[jnp.maximum(n - 1, 0)],
    )
    half, whole = (n // 2) * WINDOW, n * WINDOW
    before = (_log(grad_norm) - _log(middle)) / jnp.maximum(half, 1)
    after = (_log(middle) - _log(last)) / jnp.maximum(whole - half, 1)
    missing = jnp.maximum(_log(last) - _log(tol), 0)
    exponential = whole + missing / jnp.where(after > 0, after, 1)
    # A power of the number of steps from the start.
    total = (so_far + whole).astype(grad_norm.dtype)
    spread = jnp.log(total / jnp.maximum(so_far + half, 1))
    order = after * (whole - half) / jnp.where(spread > 0, spread, 1)
    power = whole + total * jnp.expm1(missing / jnp.where(order > 0, order, 1))
    found = jnp.where(after < POWER * before, power, exponential)
    found = jnp.where((after > 0) & (n > 1), found, jnp.where(a.resting, jnp.inf, jnp.nan))
    return jnp.where(a.first > 0, a.first.astype(grad_norm.dtype), found)


def _log(x: jax.Array) -> jax.Array:
    return jnp.log(jnp.maximum(x, jnp.finfo(x.dtype).tiny))
