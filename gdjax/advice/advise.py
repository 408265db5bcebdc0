"""What the curvature at a point says about the learning rate and the momentum."""

from enum import IntEnum
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gdjax import checks
from gdjax.advice.dynamics import Dynamics, best_momentum
from gdjax.advice.text import paragraph
from gdjax.curvature import Estimate, extremes
from gdjax.curvature.extremes import real_size, steps_for
from gdjax.curvature.preconditioned import (
    ADAM,
    CENTRED,
    RMS,
    kinds_of_moments,
    preconditioned_ends,
)
from gdjax.curvature.products import widened
from gdjax.losses import Loss, ascent_direction, check_params
from gdjax.trees import PyTree, strongly_typed

MUCH_SLOWER = 10  # times


class Family(IntEnum):
    """Which optimizer an advice is for."""

    GD = 0
    POLYAK = 1
    NESTEROV = 2
    ADAM = 3
    RMSPROP = 4


class RateVerdict(IntEnum):
    """What a learning rate is: small integers, which compare with the arrays inside `jit`."""

    TOO_SMALL = -1  # a tenth as quick as the best rate, or slower, and below it
    FINE = 0
    TOO_LARGE = 1  # beyond the limit of stability, or so near it that it is as slow
    UNKNOWN = 2  # no curvature that is above 0 and finite


FAMILIES = {  # with the momentum where none is given
    "gd": (Family.GD, 0.0),
    "sgd": (Family.GD, 0.0),
    "polyak": (Family.POLYAK, 0.9),
    "nesterov": (Family.NESTEROV, 0.9),
    "adam": (Family.ADAM, 0.9),
    "rmsprop": (Family.RMSPROP, 0.0),
}

ADAPTIVE = {Family.ADAM: optax.scale_by_adam(), Family.RMSPROP: optax.scale_by_rms()}
MOMENTS = {Family.ADAM: {ADAM}, Family.RMSPROP: {*RMS, *CENTRED}}  # the states of optax with them


class Figures(NamedTuple):
    """What is computed from the two ends of the spectrum, or the errors of it."""

    curvature_min: jax.Array  # [] least and greatest eigenvalue of the (preconditioned) Hessian
    curvature_max: jax.Array
    condition: jax.Array  # [] their ratio; inf where the least is not above 0
    largest_rate: jax.Array  # [] learning rate below which it is stable; inf without curvature > 0
    best_rate: jax.Array  # [] best constant learning rate with the momentum given
    best_contraction: jax.Array  # [] what it multiplies the error by at each step
    best_momentum: jax.Array  # [] NaN where the condition is not finite, as are the other two
    best_momentum_rate: jax.Array  # [] best constant learning rate with the best momentum
    best_momentum_contraction: jax.Array  # [] what both multiply the error by at each step


class Advice(NamedTuple):
    """What the curvature at a point says about the learning rate; see `advise`.

    Under `vmap` every array has a leading axis. `str` of it is a paragraph.
    """

    family: jax.Array  # int8 [] a Family
    momentum: jax.Array  # [] the momentum given
    curvature_min: jax.Array  # [] as in Figures
    curvature_max: jax.Array
    condition: jax.Array
    largest_rate: jax.Array
    best_rate: jax.Array
    best_contraction: jax.Array
    best_momentum: jax.Array
    best_momentum_rate: jax.Array
    best_momentum_contraction: jax.Array
    error: Figures  # how far each may be off, as the curvature is an estimate; inf is any distance

    def contraction(self, learning_rate: Any) -> jax.Array:
        """Return what the error is multiplied by at each step in the long run.

        Args:
          learning_rate: scalar of at least 0.

        Returns:
          Scalar, the largest over the spectrum: at least 1 where it does not shrink along an axis.

        Raises:
          ValueError: the learning rate is negative.

        >>> import gdjax
        >>> print(gdjax.advise(lambda w: w**2, 1.0, "gd").contraction(0.25))
        0.5
        """
        learning_rate = checks.real_array("learning_rate", learning_rate, least=0)
        dynamics = _dynamics(self.family, self.momentum)
        ends = self.curvature_min, self.curvature_max
        return _slowest(dynamics, learning_rate, *ends, jnp.isfinite(self.condition))

    def steps(self, learning_rate: Any, factor: Any = 10.0) -> jax.Array:
        """Return how many steps divide the distance to the minimum by a factor, in the long run.

        The loss is divided by the square of the factor.

        Args:
          learning_rate: scalar of at least 0.
          factor: scalar of at least 1.

        Returns:
          Scalar, a whole number; inf where the distance does not shrink.

        Raises:
          ValueError: the learning rate is negative, or the factor less than 1.

        >>> import gdjax
        >>> print(gdjax.advise(lambda w: w**2, 1.0, "gd").steps(0.05, 1000.0))
        66.0
        """
        learning_rate = checks.real_array("learning_rate", learning_rate, least=0)
        factor = checks.real_array("factor", factor, least=1)
        shrinkage = _shrinkage(self, learning_rate)
        shrinks = shrinkage > 0
        needed = jnp.log(factor) / -jnp.log1p(-jnp.where(shrinks, shrinkage, 0.5))
        return jnp.where(shrinks, jnp.maximum(jnp.ceil(needed), 1), jnp.inf)

    def verdict(self, learning_rate: Any) -> jax.Array:
        """Return whether a learning rate is too large, too small or fine.

        Where the curvature is not positive everywhere, and so no speed can be predicted, it is too
        small below a tenth of the best rate, which is half of the largest stable one there.

        Args:
          learning_rate: scalar of at least 0.

        Returns:
          Scalar, int8: a `gdjax.RateVerdict`.

        Raises:
          ValueError: the learning rate is negative.

        >>> import gdjax
        >>> advice = gdjax.advise(lambda w: w**2, 1.0, "gd")
        >>> [gdjax.RateVerdict(int(advice.verdict(rate))).name for rate in (1e-3, 0.1, 1.1)]
        ['TOO_SMALL', 'FINE', 'TOO_LARGE']
        """
        rate = checks.real_array("learning_rate", learning_rate, least=0)
        speed, best = _shrinkage(self, rate), _shrinkage(self, self.best_rate)
        bowl = jnp.isfinite(self.condition)
        slow = jnp.where(bowl, speed * MUCH_SLOWER < best, rate * MUCH_SLOWER < self.best_rate)
        verdict = jnp.where(slow & (rate < self.best_rate), RateVerdict.TOO_SMALL, RateVerdict.FINE)
        too_large = (rate >= self.largest_rate) | (bowl & slow & (rate > self.best_rate))
        verdict = jnp.where(too_large, RateVerdict.TOO_LARGE, verdict)
        known = jnp.isfinite(self.largest_rate) & ~jnp.isnan(rate)
        return jnp.where(known, verdict, RateVerdict.UNKNOWN).astype(jnp.int8)

    def __str__(self) -> str:
        return paragraph(self)


def advise(
    loss: Loss,
    params: PyTree,
    optimizer_family: str,
    *args: Any,
    momentum: Any = None,
    opt_state: Any = None,
    key: jax.Array | None = None,
) -> Advice:
    """Return which learning rates are stable and quick, from the curvature of a loss at a point.

    On a quadratic bowl with curvatures from μ to L all of it is exact; elsewhere it holds as long
    as the curvature does. With a momentum β the largest stable rate is 2(1 + β)/L, with Nesterov's
    gradient (2 + 2β)/((1 + 2β)L), and with the mean of the gradients that Adam takes
    2(1 + β)/((1 − β)L), 38/L for β = 0.9. The best constant rate is 2/(μ + L) without momentum.

    For Adam and RMSProp μ and L are those of the preconditioned Hessian, at the second moments in
    `opt_state`, or without it at those of a first step. Where curvature is negative or 0 along
    some axis, no rate of convergence can be told: the condition is inf, the best rate is half of
    the largest stable one (1/L without momentum), and the best momentum NaN. Where none is
    positive, no rate is too large by it.

    Args:
      loss: function of `(params, *args)` that returns a real floating scalar.
      params: pytree of floating or complex arrays, the point.
      optimizer_family: "gd" or "sgd", "polyak", "nesterov", "adam" or "rmsprop": as
        `optax.sgd(rate)`, `optax.sgd(rate, momentum)`, `optax.sgd(rate, momentum, nesterov=True)`,
        `optax.adam(rate, b1=momentum)` and `optax.rmsprop(rate, momentum=momentum)` do it.
      *args: what else the loss takes.
      momentum: scalar from 0 to below 1; None is 0.9 for "polyak", "nesterov" and "adam", else 0.
      opt_state: state of the optimizer, for "adam" and "rmsprop" only; those of Adamax, LAMB, Nadam
        and Yogi look like that of Adam, but the advice does not hold for them.
      key: random key for the curvature of more than a few hundred parameters; see
        `gdjax.curvature.extremes`.

    Returns:
      The advice; `.error` has what the error of the curvature makes of each figure.

    Raises:
      TypeError: an argument is of the wrong kind, as is a state of another optimizer, and any for
        a family that has no second moments.
      ValueError: an unknown family, or a momentum outside of [0, 1).

    References:
      Polyak, 1964; Nesterov, 1983; Lessard, Recht and Packard, 2016 (best momenta); Cohen et al.,
      Adaptive gradient methods at the edge of stability, 2022 (Adam).

    >>> import gdjax
    >>> advice = gdjax.advise(lambda w: w[0] ** 2 / 2 + 50 * w[1] ** 2, jnp.ones(2), "gd")
    >>> print(f"{advice.largest_rate:.3f} {advice.best_rate:.4f} {advice.steps(0.01):.0f}")
    0.020 0.0198 230
    """
    checks.function("loss", loss)
    params = check_params("params", params)
    if not isinstance(optimizer_family, str) or optimizer_family not in FAMILIES:
        raise ValueError(
            f"optimizer_family: expected one of {', '.join(FAMILIES)}, got {optimizer_family!r}"
        )
    family, default = FAMILIES[optimizer_family]
    momentum = checks.momentum("momentum", default if momentum is None else momentum)
    key = None if key is None else checks.typed_key("key", key)
    if opt_state is not None:
        _check_moments(family, optimizer_family, opt_state)
    return _advise(loss, family, params, args, strongly_typed(momentum), opt_state, key)


def _check_moments(family: Family, name: str, opt_state: Any) -> None:
    """Raise where there are second moments of another family only, or of several."""
    if family not in ADAPTIVE:
        raise TypeError(
            f"opt_state: expected None for {name!r}, whose learning rate no state scales; it is "
            f"what 'adam' and 'rmsprop' have second moments in, got {type(opt_state).__name__}"
        )
    kinds = kinds_of_moments(opt_state)
    if not kinds or not kinds <= MOMENTS[family]:
        found = ", ".join(sorted(kinds)) or "no second moments"
        raise TypeError(f"opt_state: expected that of optax.{name}, got one with {found}")


@partial(jax.jit, static_argnums=(0, 1))
def _advise(loss, family, params, args, momentum, opt_state, key):
    if family in ADAPTIVE:
        low, high = _adaptive_ends(loss, family, params, args, momentum, opt_state, key)
    else:
        found = extremes(loss, params, *args, key=key)
        low = Estimate(found.low[0], found.low_error[0])
        high = Estimate(found.high[0], found.high_error[0])
    code, momentum = jnp.asarray(family, jnp.int8), momentum.astype(high.value.dtype)
    dynamics = _dynamics(code, momentum)
    is_bowl, may_be_bowl = low.value > low.error, low.value + low.error > 0

    def figures(low_sign: Any, high_sign: Any, is_bowl: jax.Array) -> Figures:
        least, most = low.value + low_sign * low.error, high.value + high_sign * high.error
        least_in_bowl = jnp.maximum(least, jnp.finfo(least.dtype).eps * most)
        found = _figures(dynamics, jnp.where(is_bowl, least_in_bowl, least), most, is_bowl)
        return found._replace(curvature_min=least)

    # Each figure rises or falls with either end alone, so that it is farthest off at a corner.
    signs = jnp.array([-1, -1, 1, 1]), jnp.array([-1, 1, -1, 1])
    corners = jax.vmap(figures, (0, 0, None))(*signs, may_be_bowl)
    found = figures(0, 0, is_bowl)
    return Advice(code, momentum, *found, error=jax.tree.map(_farthest, found, corners))


def _adaptive_ends(loss, family, params, args, momentum, opt_state, key):
    params = widened(params)
    if opt_state is None:
        _, opt_state = ADAPTIVE[family].update(
            ascent_direction(loss, params, args), ADAPTIVE[family].init(params)
        )
    given = {"b1": momentum} if family is Family.ADAM else {}
    key = jax.random.key(0) if key is None else key
    steps = steps_for(real_size(params), None)
    return preconditioned_ends(loss, params, opt_state, args, key, given, True, steps)


def _dynamics(family: jax.Array, momentum: jax.Array) -> Dynamics:
    return Dynamics(momentum, ahead=family == Family.NESTEROV, is_mean=family == Family.ADAM)


def _slowest(
    dynamics: Dynamics, rate: Any, low: jax.Array, high: jax.Array, is_bowl: jax.Array
) -> jax.Array:
    reach = dynamics.gain * rate
    slowest = jnp.maximum(dynamics.contraction(reach * low), dynamics.contraction(reach * high))
    return jnp.where(is_bowl, slowest, jnp.maximum(slowest, 1))  # which rounding may miss


def _shrinkage(advice: Advice, rate: jax.Array) -> jax.Array:
    """Return 1 − contraction, exact even where that is rounding beside 1."""
    dynamics = _dynamics(advice.family, advice.momentum)
    reach = dynamics.gain * rate
    ends = reach * advice.curvature_min, reach * advice.curvature_max
    least = jnp.minimum(*map(dynamics.shrinkage, ends))
    return jnp.where(jnp.isfinite(advice.condition), least, jnp.minimum(least, 0))


def _figures(dynamics: Dynamics, low: jax.Array, high: jax.Array, is_bowl: jax.Array) -> Figures:
    condition = jnp.where(is_bowl, high / jnp.where(is_bowl, low, 1), 1)
    best = best_momentum(condition, dynamics.ahead)
    best_gain = dynamics._replace(momentum=best.momentum).gain
    rate_of = 1 / jnp.where(high > 0, high, jnp.nan)  # of a reach of 1
    largest = dynamics.largest_reach() * rate_of / dynamics.gain
    rate = jnp.where(is_bowl, dynamics.best_reach(condition) * rate_of / dynamics.gain, largest / 2)
    in_bowl = partial(jnp.where, is_bowl)
    return Figures(
        curvature_min=low,
        curvature_max=high,
        condition=in_bowl(condition, jnp.where(jnp.isnan(low), jnp.nan, jnp.inf)),
        largest_rate=jnp.where(high <= 0, jnp.inf, largest),
        best_rate=rate,
        best_contraction=_slowest(dynamics, rate, low, high, is_bowl),
        best_momentum=in_bowl(best.momentum, jnp.nan),
        best_momentum_rate=in_bowl(best.reach * rate_of / best_gain, jnp.nan),
        best_momentum_contraction=in_bowl(best.contraction, jnp.nan),
    )


def _farthest(value: jax.Array, others: jax.Array) -> jax.Array:
    """Return how far others can be: NaN where the value is, inf where only they are."""
    distance = jnp.where(others == value, 0, jnp.abs(others - value))
    distance = jnp.where(jnp.isnan(distance), jnp.inf, distance)
    return jnp.where(jnp.isnan(value), jnp.nan, jnp.max(distance))
