"""Which examples an update sees: all of them, a mini-batch, or one.

The three kinds of gradient descent differ in nothing else. `Descent(batches=...)` takes what
`full`, `mini` or `stochastic` returns, and calls the loss with the batch as its last argument.
"""

from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gdjax import checks
from gdjax.permutation import permuted
from gdjax.trees import PyTree, strongly_typed

__all__ = ["Batches", "Order", "full", "mini", "stochastic"]

# A descent's key also serves its recorders, and what a lane draws from it.
OWN_STREAM = 0x62617463


class Order(Enum):
    """How the examples of a batch are drawn."""

    GIVEN = "as they come"
    SHUFFLED = "each at most once an epoch"
    REPLACED = "each time from all"


@partial(jax.tree_util.register_dataclass, data_fields=["data"], meta_fields=["size", "order"])
@dataclass(frozen=True, eq=False)
class Batches:
    """The batches of a descent, made by `full`, `mini` or `stochastic`.

    It is a pytree: the data are traced, the size and the order are static.
    """

    data: PyTree  # leaves [examples, ...]
    size: int
    order: Order

    @property
    def examples(self) -> int:
        """The number of examples."""
        return len(jax.tree.leaves(self.data)[0])

    @property
    def per_epoch(self) -> int:
        """The batches of an epoch; the examples that fill no further one are left out of it."""
        return self.examples // self.size

    def at(self, key: jax.Array | None, step: jax.Array | int) -> PyTree:
        """Return the batch of a step: the same for the same key and step, whatever ran before.

        Args:
          key: the random key of the run; None where the examples come in their order.
          step: integer scalar >= 0.

        Returns:
          The data with leaves [size, ...].

        Raises:
          ValueError: there is no key, and the examples are drawn at random.

        >>> batches = mini(jnp.arange(10), 4, shuffle=False)
        >>> [batches.at(None, step).tolist() for step in range(3)]
        [[0, 1, 2, 3], [4, 5, 6, 7], [0, 1, 2, 3]]
        """
        step, per_epoch = jnp.asarray(step, jnp.int32), np.int32(self.per_epoch)
        first = lax.rem(step, per_epoch) * self.size
        if self.order is Order.GIVEN:
            if self.size == self.examples:
                return self.data
            return jax.tree.map(
                lambda leaf: lax.dynamic_slice_in_dim(leaf, first, self.size), self.data
            )
        if key is None:
            raise ValueError(
                "key: these batches are drawn at random; give the descent a key, such as "
                "jax.random.key(0), or the sweep"
            )
        key = jax.random.fold_in(key, OWN_STREAM)
        if self.order is Order.REPLACED:
            shape, key = (self.size,), jax.random.fold_in(key, step)
            rows = jax.random.randint(key, shape, 0, self.examples, jnp.uint32)
        else:
            places = (first + jnp.arange(self.size, dtype=jnp.int32)).astype(jnp.uint32)
            key = jax.random.fold_in(key, lax.div(step, per_epoch))
            rows = permuted(key, places, self.examples)
        return jax.tree.map(lambda leaf: leaf.at[rows].get(mode="promise_in_bounds"), self.data)


def full(data: PyTree) -> Batches:
    """Return the one batch of all examples, for every step: gradient descent itself.

    Args:
      data: pytree of arrays [examples, ...].

    Returns:
      The batches, for `gdjax.Descent(batches=...)`.

    Raises:
      TypeError: a leaf is not an array of numbers.
      ValueError: there is no example, the leaves have different numbers of them, or one is NaN.

    >>> full(jnp.arange(3.0)).at(None, 7).tolist()
    [0.0, 1.0, 2.0]
    """
    data = _checked(data)
    return Batches(data, len(jax.tree.leaves(data)[0]), Order.GIVEN)


def mini(data: PyTree, size: int, *, replace: bool = False, shuffle: bool = True) -> Batches:
    """Return mini-batches of `size` examples.

    An epoch is `examples // size` batches. Without replacement it sees no example twice, in an
    order of its own; those that fill no further batch are left out of it, others in each epoch.

    Args:
      data: pytree of arrays [examples, ...].
      size: examples of a batch, from 1 to all.
      replace: draw each example of a batch from all of them, so that it may come again.
      shuffle: False takes the examples in their order in every epoch, and needs no key.

    Returns:
      The batches, for `gdjax.Descent(batches=...)`.

    Raises:
      TypeError: a leaf is not an array of numbers, or the size is no whole number.
      ValueError: there is no example, the leaves have different numbers of them, or one is NaN;
        the size is 0 or above the number of examples; replace without shuffle.

    >>> batches = mini({"x": jnp.arange(6)}, 2)
    >>> epoch = [batches.at(jax.random.key(0), step)["x"] for step in range(3)]
    >>> sorted(jnp.concatenate(epoch).tolist())
    [0, 1, 2, 3, 4, 5]
    """
    data = _checked(data)
    examples = len(jax.tree.leaves(data)[0])
    size = checks.whole_number("size", size, least=1)
    if size > examples:
        raise ValueError(f"size: expected at most the {examples} examples of the data, got {size}")
    if replace and not shuffle:
        raise ValueError("shuffle: examples drawn with replacement have no order to keep")
    return Batches(
        data, size, Order.REPLACED if replace else Order.SHUFFLED if shuffle else Order.GIVEN
    )


def stochastic(data: PyTree) -> Batches:
    """Return batches of one example, drawn with replacement: stochastic gradient descent.

    The loss gets it with its leading axis, of length 1, so that one loss serves all three kinds.

    Args:
      data: pytree of arrays [examples, ...].

    Returns:
      The batches, for `gdjax.Descent(batches=...)`.

    Raises:
      TypeError: a leaf is not an array of numbers.
      ValueError: there is no example, the leaves have different numbers of them, or one is NaN.

    >>> stochastic(jnp.arange(3.0)).at(jax.random.key(0), 0).shape
    (1,)
    """
    return mini(data, 1, replace=True)


def _checked(data: PyTree) -> PyTree:
    """Return the data as arrays in the dtypes of JAX, or raise naming the leaf."""
    leaves = [
        (f"data{jax.tree_util.keystr(path)}", leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(data)
    ]
    if not leaves:
        raise ValueError(f"data: there are no arrays, got {data!r}")
    for name, leaf in leaves:
        dtype = checks.dtype(leaf)
        if not (jnp.issubdtype(dtype, jnp.number) or jnp.issubdtype(dtype, jnp.bool_)):
            raise TypeError(f"{name}: expected an array of numbers, got {dtype}")
        if np.ndim(leaf) == 0:
            raise TypeError(
                f"{name}: expected an array with a leading example axis, got {leaf!r}; "
                "of a list, make an array first"
            )
    (first_name, first), *_ = leaves
    if not len(first):
        raise ValueError(f"{first_name}: there are no examples")
    for name, leaf in leaves:
        if len(leaf) != len(first):
            raise ValueError(
                f"{name}: expected {len(first)} examples, as in {first_name}, got {len(leaf)}"
            )
        if checks.is_concrete(leaf):
            bad = np.isnan(leaf).any(axis=tuple(range(1, np.ndim(leaf))))
            if bad.any():
                raise ValueError(f"{name}: row {bad.argmax()} is NaN")
    return jax.tree.map(_on_device, strongly_typed(data))


def _on_device(leaf: Any) -> jax.Array:
    """Return the leaf as a jax array, made once, here, and not by every call of a program."""
    if not checks.is_concrete(leaf):
        return leaf
    with jax.ensure_compile_time_eval():
        return jnp.asarray(leaf)
