"""Batches of data that are in memory, drawn inside the compiled program."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gdjax import checks
from gdjax.batches.plan import Order, Plan, Weighted
from gdjax.trees import PyTree


@partial(jax.tree_util.register_dataclass, data_fields=["data", "plan"], meta_fields=[])
@dataclass(frozen=True, eq=False)
class Batches:
    """The batches of a descent, made by `full`, `mini` or `stochastic`.

    It is a pytree: the data are traced, and so is a batch size below a given maximum; how the
    batches are drawn is static.
    """

    data: PyTree  # leaves [examples, ...]
    plan: Plan

    @property
    def examples(self) -> int:
        """The number of examples."""
        return self.plan.examples

    @property
    def size(self) -> int:
        """The rows of a batch; where it is weighted, some of them may not count."""
        return self.plan.size

    @property
    def order(self) -> Order:
        """How the examples are drawn."""
        return self.plan.order

    @property
    def per_epoch(self) -> Any:
        """The batches of an epoch; traced where the batch size is."""
        return self.plan.per_epoch

    @property
    def whole(self) -> PyTree:
        """All examples, as the loss takes a batch."""
        if not self.plan.weighted:
            return self.data
        return Weighted(self.data, jnp.ones(self.examples, jnp.float32))

    def at(self, key: jax.Array | None, step: jax.Array | int) -> PyTree:
        """Return the batch of a step: the same for the same key and step, whatever ran before.

        Args:
          key: the random key of the run; None where the examples come in their order.
          step: integer scalar >= 0.

        Returns:
          The data with leaves [size, ...]; with `pad` or `most`, `Weighted` with its weights.

        Raises:
          TypeError: the key is none, or the step no integer scalar.
          ValueError: there is no key, and the examples are drawn at random; the step is negative.

        >>> import gdjax
        >>> batches = gdjax.batches.mini(jnp.arange(10), 4, shuffle=False)
        >>> [batches.at(None, step).tolist() for step in range(3)]
        [[0, 1, 2, 3], [4, 5, 6, 7], [0, 1, 2, 3]]
        """
        if checks.is_concrete(step):
            checks.whole_number("step", step, least=0)
        elif np.shape(step) != () or not jnp.issubdtype(checks.dtype(step), jnp.integer):
            raise TypeError(f"step: expected an integer scalar, got {checks.described(step)}")
        if not self.plan.weighted:
            return self._examples(key, step)
        return Weighted(self._examples(key, step), self.plan.weights(step))

    def _examples(self, key: jax.Array | None, step: jax.Array | int) -> PyTree:
        if self.order is Order.GIVEN and not self.plan.weighted:
            if self.size == self.examples:
                return self.data
            first = self.plan.first(step)
            return jax.tree.map(
                lambda leaf: lax.dynamic_slice_in_dim(leaf, first, self.size), self.data
            )
        rows = self.plan.rows(key, step)
        return jax.tree.map(lambda leaf: leaf.at[rows].get(mode="promise_in_bounds"), self.data)
