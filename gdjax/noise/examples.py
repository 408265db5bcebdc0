"""The gradients of single examples, a few at a time."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gdjax.batches import Batches, HostBatches
from gdjax.batches.outside import AT_ONCE
from gdjax.curvature import in_batches
from gdjax.curvature.products import product_with
from gdjax.losses import Loss, ascent_direction
from gdjax.permutation import permuted
from gdjax.trees import PyTree, inner, real_vector

NUMBERS = 2**22  # of gradients that are held at once, 16 MB in float32
TOGETHER = 1024  # examples that the loss of all of them is computed over at once


class Examples(NamedTuple):
    """A loss that is a mean over examples, at one point; to be made while tracing."""

    loss: Loss
    params: PyTree
    args: tuple
    data: PyTree  # leaves [examples, ...]: a batch of all

    @property
    def number(self) -> int:
        """The number of examples."""
        return len(jax.tree.leaves(self.data)[0])

    @property
    def whole(self) -> tuple[Loss, PyTree, tuple]:
        """The loss of all examples, in the memory of some, with its point and arguments."""
        return in_batches(self.loss, TOGETHER), self.params, (*self.args, self.data)

    def gradient(self) -> jax.Array:
        """Return the gradient [dim] over all examples."""
        return real_vector(ascent_direction(*self.whole))[0]

    def hessian_product(self) -> Callable[[jax.Array], jax.Array]:
        """Return the Hessian over all examples as a function of vectors [dim]."""
        return product_with(*self.whole)

    def map(
        self, function: Callable[[jax.Array], PyTree], mean: jax.Array, abreast: int | None = None
    ) -> PyTree:
        """Return a function of how far the gradient of each example [dim] is from `mean`.

        Args:
          function: function of an array [dim] to a pytree of arrays.
          mean: array [dim].
          abreast: examples at once; None takes as many as there is memory for.

        Returns:
          Leaves [examples, ...].
        """
        abreast = abreast or max(1, min(self.number, NUMBERS // mean.size))
        return lax.map(lambda row: function(self._of(row) - mean), self._rows(), batch_size=abreast)

    def bends(self, directions: jax.Array, abreast: int | None = None) -> jax.Array:
        """Return vᵀHv of the Hessian of each example, for directions v [k, dim]: [examples, k]."""

        def of(row: PyTree) -> jax.Array:
            product = product_with(self.loss, self.params, (*self.args, row))
            return jax.vmap(lambda v: inner(v, product(v)))(directions)

        abreast = abreast or max(1, min(self.number, NUMBERS // directions.size))
        return lax.map(of, self._rows(), batch_size=abreast)

    def drawn(self, key: jax.Array, most: int) -> "Examples":
        """Return at most so many of the examples, each once."""
        places = jnp.arange(min(most, self.number), dtype=jnp.uint32)
        rows = permuted(key, places, self.number)
        return self._replace(data=jax.tree.map(lambda leaf: leaf[rows], self.data))

    def _rows(self) -> PyTree:
        return jax.tree.map(lambda leaf: leaf[:, None], self.data)

    def _of(self, row: PyTree) -> jax.Array:
        return real_vector(ascent_direction(self.loss, self.params, (*self.args, row)))[0]


def require_batches(batches: Any) -> Batches:
    """Return the batches, or raise TypeError."""
    if isinstance(batches, HostBatches):
        raise TypeError(AT_ONCE)
    if not isinstance(batches, Batches):
        raise TypeError(
            "batches: expected batches of gdjax.batches, such as gdjax.batches.mini(data, 32), "
            f"got {batches!r}"
        )
    return batches
