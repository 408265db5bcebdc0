"""Learning-rate schedules that optax lacks: the silver schedule and Chebyshev's.

Warm restarts it has: `optax.sgdr_schedule`. Functions from the step, which may be traced, to the
learning rate, for any optax optimizer.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from gdjax import checks

__all__ = ["chebyshev", "silver"]

SILVER_RATIO = 1 + 2**0.5
SILVER_STEPS = 1 + SILVER_RATIO ** np.arange(-1.0, 31.0)  # by how often 2 divides the number


def silver(learning_rate: Any) -> optax.Schedule:
    """Return the silver schedule, with which gradient descent is faster on every convex loss.

    The k-th step, from 1, is `1 + ρ^(ν(k) - 1)` times the learning rate, with the silver ratio
    `ρ = 1 + √2` and ν(k) how often 2 divides k. For a learning rate of 1/L, with L the largest
    curvature, the loss after n = 2^m - 1 steps is of the order of `n^(-log2 ρ) = n^-1.2716` above
    the minimum, where a constant learning rate leaves n^-1. The loss rises on the way, and is that
    low only at such n.

    Nearest in optax: none; its schedules go down, or in cycles.

    Args:
      learning_rate: of what constant steps would take, at most 1/L: positive real scalar, may be
        traced.

    Returns:
      The schedule.

    Raises:
      TypeError: `learning_rate` is not a real scalar.
      ValueError: `learning_rate` is not finite and positive.

    References:
      Altschuler, Parrilo, Acceleration by stepsize hedging II: silver stepsize schedule for smooth
      convex optimization, 2023, arXiv 2309.16530.

    >>> import gdjax, optax
    >>> schedule = silver(1.0)
    >>> [round(float(schedule(step)), 3) for step in range(7)]
    [1.414, 2.0, 1.414, 3.414, 1.414, 2.0, 1.414]
    >>> huber = lambda w: optax.huber_loss(w, delta=0.01)
    >>> for rate in (1.0, schedule):
    ...     d = gdjax.Descent(huber, 1.0, optax.sgd(rate), stop=None, max_steps=31)
    ...     print(f"{gdjax.run(d).loss:.4f}")
    0.0069
    0.0018
    """
    learning_rate = checks.positive_scalar("learning_rate", learning_rate)

    def schedule(step):
        number = jnp.asarray(step, jnp.int32) + 1
        twos = lax.population_count((number & -number) - 1)
        # With its dtype: jax 0.10 remembers the array in that of the first trace, be it x64 or not.
        return learning_rate * jnp.asarray(SILVER_STEPS, jnp.result_type(float))[twos]

    return schedule


def chebyshev(smallest: Any, largest: Any, steps: int) -> optax.Schedule:
    """Return Chebyshev's schedule, the best for quadratics of which the curvatures are known.

    With curvatures from μ to L, the learning rates are `2/((L + μ) + (L - μ) cos((2k - 1)π/2n))`,
    k = 1 … n. In n steps the distance to the minimum shrinks at least by the Chebyshev polynomial
    `T_n((L + μ)/(L - μ))`, and no other n learning rates guarantee as much. Then they begin again.
    In between, the loss may rise.

    They come in the order of Lebedev and Finogenov, in which neither the parameters nor rounding
    errors grow large on the way: in ascending or descending order a hundred steps lose all digits.
    Powers of two are the most stable lengths. In float32 and at a condition of 10⁶, a thousand
    steps still lose a few percent.

    Nearest in optax: none; `sgd` with momentum gets as fast in the limit.

    Args:
      smallest: μ, the smallest curvature, a positive real scalar, may be traced.
      largest: L, the largest curvature, a real scalar of at least μ, may be traced.
      steps: n, a whole number of at least 1. The order depends on it, so it cannot be traced.

    Returns:
      The schedule.

    Raises:
      TypeError: a curvature is not a real scalar, or `steps` is not a whole number.
      ValueError: a curvature is not finite and positive, `largest` is below `smallest`, or `steps`
        is below 1.

    References:
      Young, On Richardson's method for solving linear systems with positive definite matrices,
      Journal of Mathematics and Physics 32, 1953. Lebedev, Finogenov, Ordering of the iterative
      parameters in the cyclical Chebyshev iterative method, USSR Computational Mathematics and
      Mathematical Physics 11, 1971; for any length: Samarskii, Nikolaev, Numerical methods for grid
      equations II, 1989.

    >>> import gdjax, jax.numpy as jnp, optax
    >>> curvatures = jnp.geomspace(1.0, 100.0, 9)
    >>> loss = lambda w: 0.5 * jnp.sum(curvatures * w**2)
    >>> for rate in (2 / 101, gdjax.schedules.chebyshev(1.0, 100.0, 16)):
    ...     d = gdjax.Descent(loss, jnp.ones(9), optax.sgd(rate), stop=None, max_steps=16)
    ...     print(f"{jnp.max(jnp.abs(gdjax.run(d).params)):.3f}")
    0.726
    0.081
    """
    smallest = checks.positive_scalar("smallest", smallest)
    largest = checks.positive_scalar("largest", largest)
    both_known = checks.is_concrete(smallest) and checks.is_concrete(largest)
    if both_known and largest < smallest:
        raise ValueError(f"largest: expected at least smallest, {smallest}, got {largest}")
    steps = checks.whole_number("steps", steps, least=1)
    nodes = np.cos(_stable_order(steps) * np.pi / (2 * steps))

    def schedule(step):
        node = jnp.asarray(nodes)[jnp.asarray(step, jnp.int32) % steps]
        return 2 / ((largest + smallest) + (largest - smallest) * node)

    return schedule


def _stable_order(steps: int) -> np.ndarray:
    """Return the odd numbers below `2 * steps` so that large and small alternate."""
    order = [1]
    for bit in f"{steps:b}"[1:]:
        whole = 4 * len(order)
        order = [k for j in order for k in (j, whole - j)]
        if bit == "1":
            order.append(whole + 1)
    return np.array(order)
