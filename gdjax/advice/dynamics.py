"""How gradient descent with momentum moves along one axis of a quadratic bowl.

Two steps in a row are related linearly there, and all depends on the reach s = gain · learning
rate · curvature. In the long run a step multiplies the error by the larger root of
z² − z (1 + β − s (1 + νβ)) + β (1 − νs), with the momentum β, and ν = 1 for a gradient taken ahead.

Polyak, Some methods of speeding up the convergence of iteration methods, 1964; Lessard, Recht and
Packard, Analysis and design of optimization algorithms via integral quadratic constraints, 2016.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

HALVINGS = 60


class Dynamics(NamedTuple):
    """An optimizer as gradient descent with momentum; without momentum β is 0."""

    momentum: jax.Array  # [] from 0 to below 1
    ahead: jax.Array  # bool [] whether the gradient is taken ahead (Nesterov)
    is_mean: jax.Array  # bool [] whether a step takes the mean of the gradients, not their sum

    @property
    def gain(self) -> jax.Array:
        """What the weight of a gradient is multiplied by."""
        return jnp.where(self.is_mean, 1 - self.momentum, 1)

    def contraction(self, reach: jax.Array) -> jax.Array:
        """Return what a step multiplies the error by in the long run."""
        trace = 1 + self.momentum - reach * (1 + self.ahead * self.momentum)
        determinant = self.momentum * (1 - self.ahead * reach)
        inside = trace**2 - 4 * determinant
        real = (jnp.abs(trace) + jnp.sqrt(jnp.maximum(inside, 0))) / 2
        return jnp.where(inside < 0, jnp.sqrt(jnp.abs(determinant)), real)

    def shrinkage(self, reach: jax.Array) -> jax.Array:
        """Return 1 − contraction, exact to its own last digits where it is small."""
        sum_of_gaps = 1 - self.momentum + reach * (1 + self.ahead * self.momentum)
        inside = sum_of_gaps**2 - 4 * reach
        # The gaps 1 − z of the two roots z have the product `reach`.
        least = 2 * reach / (sum_of_gaps + jnp.sqrt(jnp.maximum(inside, 0)))
        trace = 2 - sum_of_gaps
        return jnp.where((inside >= 0) & (trace >= 0), least, 1 - self.contraction(reach))

    def largest_reach(self) -> jax.Array:
        """Return the reach from which on the error no longer shrinks."""
        return 2 * (1 + self.momentum) / (1 + 2 * self.ahead * self.momentum)

    def best_reach(self, condition: jax.Array) -> jax.Array:
        """Return the reach of the greatest curvature at which the slowest error shrinks most.

        Both ends of the spectrum shrink alike there: without Nesterov's gradient at equal distances
        from 1 + β, else where halving an interval finds it.
        """

        def halve(_: int, bracket: tuple) -> tuple:
            low, high = bracket
            middle = (low + high) / 2
            further = self.contraction(middle) < self.contraction(middle / condition)
            return jnp.where(further, middle, low), jnp.where(further, high, middle)

        largest = self.largest_reach()
        bracket = jnp.ones_like(largest * condition), largest + jnp.zeros_like(condition)
        low, high = lax.fori_loop(0, HALVINGS, halve, bracket)
        even = 2 * (1 + self.momentum) * condition / (condition + 1)
        return jnp.where(self.ahead, (low + high) / 2, even)


class Best(NamedTuple):
    """The momentum at which the slowest error shrinks most."""

    momentum: jax.Array  # []
    reach: jax.Array  # [] of the greatest curvature
    contraction: jax.Array  # []


def best_momentum(condition: jax.Array, ahead: jax.Array) -> Best:
    """Return the best momentum for a ratio of the ends of the spectrum: Polyak, Lessard et al."""
    root = jnp.sqrt(condition)
    slow = (root - 1) / (root + 1)
    polyak = Best(slow**2, 4 * condition / (root + 1) ** 2, slow)
    root = jnp.sqrt(3 * condition + 1)
    nesterov = Best((root - 2) / (root + 2), 4 * condition / root**2, 1 - 2 / root)
    return jax.tree.map(lambda a, b: jnp.where(ahead, a, b), nesterov, polyak)
