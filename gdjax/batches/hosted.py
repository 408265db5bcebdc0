"""Batches of data that stay outside the compiled program, for data larger than memory."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, count, islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gdjax import checks
from gdjax.batches.data import (
    as_array,
    check_examples,
    check_lengths,
    check_numbers,
    check_rows,
    in_range,
    named_leaves,
)
from gdjax.batches.outside import READ_OUTSIDE, HostBatches
from gdjax.batches.plan import Plan, Weighted, order_of, plan
from gdjax.trees import PyTree


@jax.tree_util.register_static
@dataclass(frozen=True, eq=False)
class _Indexed(HostBatches):
    data: PyTree
    plan: Plan

    def following(self, key: jax.Array | None, step: int) -> Iterator[PyTree]:
        key = None if key is None else checks.typed_key("key", key)
        return (self._read(key, np.int32(number)) for number in count(step))

    def _read(self, key: jax.Array | None, step: np.int32) -> PyTree:
        rows, weights = jax.device_get(_drawn(self.plan, key, step))
        # In order, so that a file is read in one direction, and each row once.
        unique, places = np.unique(rows.astype(np.int64), return_inverse=True)
        batch = jax.tree.map(lambda leaf: as_array(leaf[unique])[places], self.data)
        for name, leaf in named_leaves("data", batch):
            check_numbers(name, leaf.dtype)
            check_rows(name, leaf, rows)
        batch = in_range("data", batch)
        return Weighted(batch, weights) if self.plan.weighted else batch


@jax.jit
def _drawn(plan: Plan, key: jax.Array | None, step: jax.Array) -> tuple[jax.Array, Any]:
    return plan.rows(key, step), plan.weights(step) if plan.weighted else None


@jax.tree_util.register_static
@dataclass(frozen=True, eq=False)
class _Streamed(HostBatches):
    make: Callable[[], Iterable[PyTree]]

    def following(self, key: jax.Array | None, step: int) -> Iterator[PyTree]:
        return map(_checked_batch, islice(self._all(), step, None), count(step))

    def _all(self) -> Iterator[PyTree]:
        while True:
            made = self.make()
            try:
                epoch = iter(made)
            except TypeError as error:
                raise TypeError(
                    f"make: expected it to return an iterable of batches, got {made!r}"
                ) from error
            if (first := next(epoch, None)) is None:
                raise ValueError(
                    "make: it returned an iterator without a batch; "
                    "each call is to return a new one"
                )
            yield from chain((first,), epoch)


def _checked_batch(batch: PyTree, step: int) -> PyTree:
    name = f"batch {step}"
    batch = jax.tree.map(as_array, batch)
    named = named_leaves(name, batch)
    check_examples(named)
    for leaf_name, leaf in named:
        check_rows(leaf_name, leaf)
    return in_range(name, batch)


def host(
    data: PyTree,
    size: int,
    *,
    replace: bool = False,
    shuffle: bool = True,
    epochs: bool = True,
    pad: bool = False,
) -> HostBatches:
    """Return mini-batches of data that stay on the host, such as a file of numpy's `memmap`.

    They are those of `mini`: the same key and step give the same rows, so that a run that goes on
    sees what it would have seen. `gdjax.run`, `init` and `step` read each batch between compiled
    steps, outside `jit`, `vmap` and sweeps.

    Args:
      data: pytree of arrays [examples, ...], or of any objects with `len` and `[rows]` for an
        increasing array of row numbers. Only the rows of a batch are read.
      size: examples of a batch, from 1 to all.
      replace: as in `mini`.
      shuffle: as in `mini`.
      epochs: as in `mini`.
      pad: as in `mini`.

    Returns:
      The batches, for `gdjax.Descent(batches=...)`.

    Raises:
      TypeError: a leaf has no length or rows, or no numbers, or the size is no whole number.
      ValueError: there is no example, the leaves have different numbers of them; the size is 0 or
        above their number; replacement or no epochs without shuffle or with pad. The data are not
        read for it: a row that is NaN is named when its batch is read.

    >>> import gdjax, numpy as np, optax
    >>> batches = gdjax.batches.host(np.arange(10.0), 5, shuffle=False)
    >>> d = gdjax.Descent(lambda w, x: ((w - x) ** 2).mean(), 0.0, optax.sgd(0.5),
    ...                   batches=batches, stop=None, max_steps=1)
    >>> float(gdjax.run(d).params)
    2.0
    """
    order, named = order_of(replace, shuffle, epochs, pad), named_leaves("data", data)
    for name, leaf in named:
        if not checks.is_concrete(leaf):
            raise TypeError(f"{name}: expected data on the host, got a traced value")
        if hasattr(leaf, "iloc") or not (hasattr(leaf, "__len__") and hasattr(leaf, "__getitem__")):
            raise TypeError(
                f"{name}: expected an array or an object with len and rows, got {leaf!r}"
            )
        if isinstance(leaf, (str, bytes)) or getattr(leaf, "shape", None) == ():
            raise TypeError(f"{name}: expected an array with a leading example axis, got {leaf!r}")
        if hasattr(leaf, "dtype"):
            check_numbers(name, leaf.dtype)
    check_lengths(named)
    return _Indexed(data, plan(len(named[0][1]), size, order, pad, None))


def stream(make: Callable[[], Iterable[PyTree]]) -> HostBatches:
    """Return the batches that an iterator gives, such as that of a data loader.

    `gdjax.run`, `init` and `step` take each one between compiled steps, outside `jit`, `vmap` and
    sweeps. When the iterator ends, another one is made: a new epoch. A run that goes on passes over
    the batches that it has seen, so that where each iterator gives the same ones it sees what it
    would have seen.

    Args:
      make: function without arguments that returns a new iterable of batches at each call: pytrees
        of arrays [size, ...], all of the same shapes and dtypes.

    Returns:
      The batches, for `gdjax.Descent(batches=...)`.

    Raises:
      TypeError: `make` is no function. A batch that is not of numbers, has no examples or not as
        many of each array, is NaN or has other shapes is named when it is read.

    >>> import gdjax, numpy as np, optax
    >>> batches = gdjax.batches.stream(lambda: (np.full(5, x) for x in (1.0, 2.0)))
    >>> d = gdjax.Descent(lambda w, x: ((w - x) ** 2).mean(), 0.0, optax.sgd(0.5),
    ...                   batches=batches, stop=None, max_steps=4)
    >>> float(gdjax.run(d).params)
    2.0
    """
    return _Streamed(checks.function("make", make))


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Read:
    """The batches of two steps: what a compiled step takes in the place of all."""

    step: Any  # int32 [] of the first
    now: PyTree
    later: PyTree

    whole = HostBatches.whole

    def at(self, key: jax.Array | None, step: Any) -> PyTree:
        """Return the batch of one of the two steps."""
        return jax.tree.map(
            lambda now, later: jnp.where(step == self.step, now, later), self.now, self.later
        )


def read(batches: HostBatches, key: jax.Array | None, step: Any) -> Iterator[Read]:
    """Return the batches of each step with those of the one after it, from a step on.

    Raises:
      TypeError: this is inside a compiled program, or a batch has other shapes than the one before.
    """
    if not (checks.is_concrete(step) and checks.is_concrete(key)) or not is_outside_programs():
        raise TypeError(READ_OUTSIDE)
    first = int(step)
    following = map(jax.device_put, batches.following(key, first))
    now = next(following)
    for number, later in zip(count(first), following):
        _check_alike(number, now, later)
        yield Read(np.int32(number), now, later)
        now = later


def is_outside_programs() -> bool:
    """Return whether nothing is being traced."""
    return checks.is_concrete(jnp.zeros(()))


def _check_alike(step: int, now: PyTree, later: PyTree) -> None:
    kinds = [jax.tree.map(lambda x: f"{x.dtype}{x.shape}", batch) for batch in (now, later)]
    if kinds[0] != kinds[1]:
        raise TypeError(
            f"batch {step + 1}: expected the shapes and dtypes of the one before, {kinds[0]}, "
            f"got {kinds[1]}; leave a short last batch out"
        )
