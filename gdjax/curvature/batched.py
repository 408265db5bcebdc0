"""The curvature over many examples, in the memory of a few of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from gdjax import checks
from gdjax.losses import Loss, value
from gdjax.trees import PyTree


@dataclass(frozen=True)
class _InBatches:
    """The loss, compared by what it is made of so that its programs are found again."""

    loss: Loss
    size: int

    def __call__(self, params: PyTree, *args: Any) -> jax.Array:
        if not args or not (leaves := jax.tree.leaves(args[-1])):
            raise TypeError("data: expected arrays [examples, ...] as the last argument, got none")
        *others, data = args
        lengths = {jnp.shape(leaf)[:1] for leaf in leaves}
        if len(lengths) > 1 or not all(map(sum, lengths)):
            raise ValueError(f"data: expected arrays of as many examples each, got {lengths}")
        examples = len(leaves[0])
        most = min(self.size, examples)
        whole, rest = divmod(examples, most)

        def share(params: PyTree, first: jax.Array | int, size: int) -> jax.Array:
            batch = jax.tree.map(lambda x: lax.dynamic_slice_in_dim(x, first, size), data)
            return size / examples * value(self.loss, params, (*others, batch))

        # What a batch needs to be differentiated is computed again rather than kept.
        one = jax.checkpoint(lambda params, first: share(params, first, most))
        dtype = jnp.promote_types(jax.eval_shape(one, params, 0).dtype, jnp.float32)
        starts = most * jnp.arange(whole, dtype=jnp.int32)
        total, _ = lax.scan(
            lambda total, first: (total + one(params, first).astype(dtype), None),
            jnp.zeros((), dtype),
            starts,
        )
        return total + share(params, whole * most, rest).astype(dtype) if rest else total


def in_batches(loss: Loss, size: int) -> Callable[..., jax.Array]:
    """Return a loss that goes through its examples in batches, for curvature in bounded memory.

    A loss that is a mean over its examples keeps its value and its derivatives, up to rounding;
    each takes the memory of one batch, and computes the loss once more.

    Args:
      loss: function of `(params, *args, batch)` to a scalar, the mean over the batch.
      size: examples of a batch; the last one has what is left.

    Returns:
      Function of `(params, *args, data)` with data a pytree of arrays [examples, ...]: for `hvp`,
      `extremes` and the others, and any other use of a loss.

    Raises:
      TypeError: the loss is no function, or the size no whole number.
      ValueError: the size is below 1.

    >>> from gdjax.curvature import sharpness
    >>> mean_square = in_batches(lambda w, x: jnp.mean((w * x) ** 2), 2)
    >>> print(f"{sharpness(mean_square, 1.0, jnp.array([1.0, 2.0, 3.0])).value:.4f}")
    9.3333
    """
    checks.function("loss", loss)
    return _InBatches(loss, checks.whole_number("size", size, least=1))
