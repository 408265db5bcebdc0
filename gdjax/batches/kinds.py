"""The three kinds of gradient descent: full batch, mini-batch and stochastic."""

from typing import Any

import jax

from gdjax.batches.data import checked_data
from gdjax.batches.plan import Order, Plan, order_of, plan
from gdjax.batches.sampled import Batches
from gdjax.trees import PyTree


def full(data: PyTree) -> Batches:
    """Return the one batch of all examples, for every step: gradient descent itself.

    Args:
      data: pytree of arrays [examples, ...].

    Returns:
      The batches, for `gdjax.Descent(batches=...)`.

    Raises:
      TypeError: a leaf is not an array of numbers.
      ValueError: there is no example, the leaves have different numbers of them, or one is NaN,
        masked or out of the range of its dtype in JAX. Traced data have no values yet: there NaN
        ends the run as DIVERGED.

    >>> import jax.numpy as jnp
    >>> full(jnp.arange(3.0)).at(None, 7).tolist()
    [0.0, 1.0, 2.0]
    """
    data = checked_data(data)
    examples = _examples(data)
    return Batches(data, Plan(examples, examples, Order.GIVEN))


def mini(
    data: PyTree,
    size: Any,
    *,
    replace: bool = False,
    shuffle: bool = True,
    epochs: bool = True,
    pad: bool = False,
    most: int | None = None,
) -> Batches:
    """Return mini-batches of `size` examples.

    Without replacement an epoch sees no example twice, in an order of its own. It is
    `examples // size` batches, and those that fill no further batch are left out of it, others in
    each epoch; with `pad` they are its last batch, and an epoch sees each example once.

    With `pad` or `most` the loss gets `Weighted(examples, weights)`, since some of its rows may not
    count: those have weight 0 and the others 1. The mean over the batch is then
    `jnp.average(losses, weights=weights)`, and a loss that takes it is the same, to rounding, as
    the plain mean over a batch of that size.

    Args:
      data: pytree of arrays [examples, ...].
      size: examples of a batch, from 1 to all, or to `most`.
      replace: draw each example of a batch from all of them, so that it may come again.
      shuffle: False takes the examples in their order in every epoch, and needs no key.
      epochs: False draws each batch from all examples, none twice in it, whatever the batches
        before it had: they are independent, with (N − B) / (N − 1) of the variance that
        replacement would give. Batches of one epoch make up for one another, and add less noise.
      pad: fill a short last batch of an epoch up with examples of weight 0.
      most: the largest size, and the rows of every batch, whatever it costs. The size may then be
        an integer scalar array, traced or swept. `gdjax.sweep` refuses one out of its range; under
        `jit` or `vmap` alone it makes the weights NaN, so that its run ends as DIVERGED.

    Returns:
      The batches, for `gdjax.Descent(batches=...)`.

    Raises:
      TypeError: a leaf is not an array of numbers, or a sparse one; the size is no whole number, or
        traced without `most`; `replace`, `shuffle`, `epochs` or `pad` is no bool.
      ValueError: there is no example, the leaves have different numbers of them, or one is as in
        `full`; the size is 0 or above the number of examples; replacement or no
        epochs without shuffle or with pad.

    >>> import jax.numpy as jnp
    >>> batches = mini({"x": jnp.arange(6)}, 2)
    >>> epoch = [batches.at(jax.random.key(0), step)["x"] for step in range(3)]
    >>> sorted(jnp.concatenate(epoch).tolist())
    [0, 1, 2, 3, 4, 5]
    >>> batches = mini(jnp.arange(1, 6), 3, shuffle=False, pad=True)
    >>> examples, weights = batches.at(None, 1)
    >>> jnp.average(examples, weights=weights).item()  # of 4 and 5
    4.5
    """
    data = checked_data(data)
    order = order_of(replace, shuffle, epochs, pad)
    return Batches(data, plan(_examples(data), size, order, pad, most))


def stochastic(data: PyTree) -> Batches:
    """Return batches of one example, drawn with replacement: stochastic gradient descent.

    The loss gets it with its leading axis, of length 1, so that one loss serves all three kinds.

    Args:
      data: pytree of arrays [examples, ...].

    Returns:
      The batches, for `gdjax.Descent(batches=...)`.

    Raises:
      TypeError: a leaf is not an array of numbers.
      ValueError: there is no example, the leaves have different numbers of them, or one is as in
        `full`.

    >>> import jax.numpy as jnp
    >>> stochastic(jnp.arange(3.0)).at(jax.random.key(0), 0).shape
    (1,)
    """
    return mini(data, 1, replace=True)


def _examples(data: PyTree) -> int:
    return len(jax.tree.leaves(data)[0])
