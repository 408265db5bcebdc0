"""The learning-rate range test: one run in which the learning rate grows at every step."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from gdjax import checks
from gdjax.batches import Batches
from gdjax.descent import Descent, State, Status
from gdjax.descent.description import canonical
from gdjax.descent.stepping import first_state, next_state
from gdjax.losses import Loss
from gdjax.trees import PyTree

NOISY_WINDOW = 1 / 20  # of the steps, over which the losses of batches are smoothed


class RangeTest(NamedTuple):
    """The losses of a learning-rate range test, and what they suggest."""

    rates: jax.Array  # [steps] the learning rates, from low to high
    losses: jax.Array  # [steps] loss after the update with each rate; inf from where it diverged
    smoothed: jax.Array  # [steps] their running median
    suggestion: jax.Array  # [] rate at which they fall the fastest; NaN where they never fall
    largest: jax.Array  # [] last rate before they rise, or vanish; NaN where they never fall


def lr_range_test(
    loss: Loss,
    params: PyTree,
    optimizer: Callable[[jax.Array], Any],
    args: tuple = (),
    *,
    batches: Batches | None = None,
    key: jax.Array | None = None,
    low: Any = 1e-6,
    high: Any = 10.0,
    steps: int = 200,
) -> RangeTest:
    """Run one descent while the learning rate grows geometrically, as one compiled scan.

    Without momentum the loss falls fastest at a rate that is safe to start with, though the more
    steps the ramp has the smaller it is, since the steps before add up; the loss is lowest where
    rates are about to be unstable: on a quadratic of one curvature, at the largest stable one.
    Where curvatures differ it is several times higher, as what is left along the steepest axes
    takes many steps to grow again: see `gdjax.advise` for the limit. With momentum the loss swings,
    and both are read off a swing: either can be on any side of the limit. With `batches`, whose
    losses are noisy, both are read off the running median over a twentieth of the steps.

    Args:
      loss: function of `(params, *args)`, or with `batches` of `(params, *args, batch)`, that
        returns a real floating scalar.
      params: the start, any pytree of floating or complex arrays.
      optimizer: function from a learning rate, a traced scalar, to an optax optimizer, such as
        `optax.adam` or `lambda rate: optax.chain(optax.clip(1.0), optax.sgd(rate, momentum=0.9))`.
        A `learning_rate` in the state of the optimizer (`optax.inject_hyperparams`) grows too.
      args: tuple of what else the loss takes.
      batches: batches of `gdjax.batches`, one for each step.
      key: a random key that batches are drawn with.
      low: scalar > 0, the first learning rate.
      high: scalar above `low`, the last one.
      steps: whole number of at least 2.

    Returns:
      The rates, the losses and the suggestion.

    Raises:
      TypeError: an argument is of the wrong kind: see `gdjax.Descent`.
      ValueError: not 0 < low < high, or `steps` is below 2.

    References:
      Smith, Cyclical learning rates for training neural networks, 2017.

    >>> import gdjax, optax
    >>> test = gdjax.lr_range_test(lambda w: 2 * w**2, 1.0, optax.sgd, low=1e-2, high=1.0, steps=50)
    >>> print(f"{test.suggestion:.3f} {test.largest:.2f}")  # the limit of stability is 2 / 4
    0.012 0.47
    """
    checks.function("loss", loss)
    checks.function("optimizer", optimizer)
    steps = checks.whole_number("steps", steps, least=2)
    low, high = (checks.finite_scalar(name, rate) for name, rate in (("low", low), ("high", high)))
    if checks.is_concrete(low) and low <= 0:
        raise ValueError(f"low: expected a learning rate above 0, got {low!r}")
    if checks.is_concrete(low) and checks.is_concrete(high) and high <= low:
        raise ValueError(f"high: expected a learning rate above low = {low!r}, got {high!r}")
    d = Descent(loss, params, optimizer(low), args, batches=batches, key=key)
    ramped = _ramped(loss, optimizer, steps, canonical(d).params, args, batches, d.key, low, high)
    window = 1 if batches is None else 2 * round(steps * NOISY_WINDOW / 2) + 1
    return _suggested(*ramped, window)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _ramped(loss, optimizer, steps, params, args, batches, key, low, high):
    """Return the rates, and the losses with that of the start before them."""
    rates = low * jnp.exp(jnp.log(high / low) * jnp.linspace(0, 1, steps))

    def descent(rate: jax.Array) -> Descent:
        rest: dict[str, Any] = {"batches": batches, "stop": None, "max_steps": steps, "key": key}
        return canonical(Descent(loss, params, optimizer(rate), args, **rest))

    def update(state: State, rate: jax.Array) -> tuple[State, jax.Array]:
        if found := optax.tree.get_all_with_path(state.opt_state, "learning_rate"):
            (_, like), *_ = found
            held = optax.tree.set(state.opt_state, learning_rate=rate.astype(like.dtype))
            state = state._replace(opt_state=held)
        state = next_state(descent(rate), state)
        return state, _loss(state)

    start = first_state(descent(rates[0]))
    _, losses = lax.scan(update, start, rates)
    return rates, jnp.concatenate([_loss(start)[None], losses])


def _loss(state: State) -> jax.Array:
    return jnp.where(state.status == Status.DIVERGED, jnp.inf, state.loss)


@partial(jax.jit, static_argnums=2)
def _suggested(rates, losses, window):
    smoothed = _running_median(losses, window)
    first, last = jnp.argmin(smoothed), len(losses) - 1 - jnp.argmin(smoothed[::-1])
    # Of equal ones the last, except where the loss has underflowed and never rises.
    lowest = jnp.where(last == len(losses) - 1, first, last)
    # Over as many steps as the median is, lest it be led by what noise is left.
    wide = jnp.pad(smoothed, window // 2, mode="edge")
    rises = wide[window:] - wide[:-window]
    rises = jnp.where(jnp.arange(len(rates)) < lowest, rises, jnp.inf)
    fell = smoothed[lowest] < smoothed[0]
    return RangeTest(
        rates=rates,
        losses=losses[1:],
        smoothed=smoothed[1:],
        suggestion=jnp.where(fell, rates[jnp.argmin(rises)], jnp.nan),
        largest=jnp.where(fell, rates[lowest - 1], jnp.nan),
    )


def _running_median(values: jax.Array, window: int) -> jax.Array:
    """Return the medians over `window` neighbours: no lag, and deaf to single outliers."""
    padded = jnp.pad(values, window // 2, mode="reflect")
    return jnp.median(jnp.stack([padded[i : i + len(values)] for i in range(window)]), axis=0)
