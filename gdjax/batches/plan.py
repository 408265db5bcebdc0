"""Which rows of the data a step sees: a pure function of key and step."""

from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gdjax import checks
from gdjax.permutation import permuted
from gdjax.trees import PyTree

# A descent's key also serves its recorders, and what a lane draws from it.
OWN_STREAM = 0x62617463


class Order(Enum):
    """How the examples of a batch are drawn."""

    GIVEN = "as they come"
    SHUFFLED = "each at most once an epoch"
    SUBSETS = "each at most once a batch"
    REPLACED = "each time from all"


class Weighted(NamedTuple):
    """A batch whose last rows may not count: the mean over it is `jnp.average(…, weights=…)`."""

    examples: PyTree  # leaves [size, ...]
    weights: jax.Array  # float32 [size]: 1 for an example of the batch, 0 for what fills it up


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["count"],
    meta_fields=["examples", "size", "order", "pad"],
)
@dataclass(frozen=True, eq=False)
class Plan:
    """How batches are drawn from so many examples."""

    examples: int
    size: int  # rows of a batch
    order: Order
    pad: bool = False  # whether a short last batch is filled up, and not left out
    count: Any = None  # int32 []: how many of the rows count; all where None

    @property
    def weighted(self) -> bool:
        """Whether some rows of a batch may not count."""
        return self.pad or self.count is not None

    @property
    def per_epoch(self) -> Any:
        """The batches of an epoch."""
        count = self.size if self.count is None else _within(self.count, self.size)
        return -(-self.examples // count) if self.pad else self.examples // count

    @property
    def examples_each(self) -> Any:
        """The examples of a batch, on average over an epoch; of a known size."""
        return self.examples / np.asarray(self.per_epoch) if self.pad else self._known_count

    def seen(self, batches: np.ndarray) -> np.ndarray:
        """Return the examples of so many batches [...], from the first one on; of a known size."""
        if not self.pad:
            return batches * self._known_count
        epochs, rest = np.divmod(batches, np.asarray(self.per_epoch))
        return epochs * self.examples + np.minimum(rest * self._known_count, self.examples)

    @property
    def _known_count(self) -> Any:
        return self.size if self.count is None else np.asarray(self.count)

    def first(self, step: Any) -> jax.Array:
        """Return the place within the epoch at which the batch of a step begins, int32."""
        count = np.int32(self.size) if self.count is None else _within(self.count, self.size)
        return lax.rem(jnp.asarray(step, jnp.int32), self._per_epoch()) * count

    def rows(self, key: jax.Array | None, step: Any) -> jax.Array:
        """Return the rows of the batch of a step, uint32 [size], those that count first.

        Raises:
          ValueError: there is no key, and the examples are drawn at random.
        """
        places = self.first(step).astype(jnp.uint32) + jnp.arange(self.size, dtype=jnp.uint32)
        if self.weighted:
            # What fills a batch up are examples too, so that no loss of it can be NaN.
            places %= np.uint32(self.examples)
        if self.order is Order.GIVEN:
            return places
        if key is None:
            raise ValueError(
                "key: these batches are drawn at random; give the descent a key, such as "
                "jax.random.key(0), or the sweep"
            )
        key = jax.random.fold_in(_alike_in_lanes(checks.typed_key("key", key)), OWN_STREAM)
        step = jnp.asarray(step, jnp.int32)
        if self.order is Order.REPLACED:
            shape, key = (self.size,), jax.random.fold_in(key, step)
            return jax.random.randint(key, shape, 0, self.examples, jnp.uint32)
        if self.order is Order.SUBSETS:
            key = jax.random.fold_in(key, step)
            return permuted(key, jnp.arange(self.size, dtype=jnp.uint32), self.examples)
        key = jax.random.fold_in(key, lax.div(step, self._per_epoch()))
        return permuted(key, places, self.examples)

    def weights(self, step: Any) -> jax.Array:
        """Return what each row of the batch of a step counts: float32 [size].

        A traced count that no batch can have makes NaN of them.
        """
        row = jnp.arange(self.size, dtype=jnp.int32)
        counts = row < (self.size if self.count is None else self.count)
        if self.pad:
            counts &= row < self.examples - self.first(step)
        weights = counts.astype(jnp.float32)
        if self.count is None:
            return weights
        possible = (self.count >= 1) & (self.count <= self.size)
        return jnp.where(possible, weights, jnp.nan)

    def _per_epoch(self) -> jax.Array:
        return jnp.asarray(self.per_epoch, jnp.int32)


def _alike_in_lanes(key: jax.Array) -> jax.Array:
    """Return a key of the kind that draws the same numbers alone and under `vmap`.

    Keys of XLA's own generators, "rbg" and "unsafe_rbg", do not.
    """
    words = jax.random.key_data(key)
    if words.shape == (2,):
        return key
    alike = jax.random.wrap_key_data(words[:2], impl="threefry2x32")
    for word in words[2:]:
        alike = jax.random.fold_in(alike, word)
    return alike


def _within(count: Any, size: int) -> Any:
    return jnp.clip(jnp.asarray(count, jnp.int32), 1, size)


def order_of(replace: bool, shuffle: bool, epochs: bool, pad: bool) -> Order:
    """Return how examples are drawn, or raise naming the argument."""
    replace, shuffle = checks.flag("replace", replace), checks.flag("shuffle", shuffle)
    epochs, pad = checks.flag("epochs", epochs), checks.flag("pad", pad)
    if epochs and not replace:
        return Order.SHUFFLED if shuffle else Order.GIVEN
    how = "with replacement" if replace else "without epochs"
    if not shuffle:
        raise ValueError(f"shuffle: examples drawn {how} have no order to keep")
    if pad:
        raise ValueError(f"pad: examples drawn {how} have no last batch to fill up")
    return Order.REPLACED if replace else Order.SUBSETS


def plan(examples: int, size: Any, order: Order, pad: bool, most: int | None) -> Plan:
    """Return the plan of mini-batches, or raise naming the argument."""
    if most is None:
        return Plan(examples, _checked_size("size", size, examples), order, pad)
    most = _checked_size("most", most, examples)
    integer = np.shape(size) == () and jnp.issubdtype(checks.dtype(size), jnp.integer)
    if not integer:
        raise TypeError(f"size: expected a whole number, got {checks.described(size)}")
    if checks.is_concrete(size) and not 1 <= int(size) <= most:
        raise ValueError(f"size: expected from 1 to the {most} of most, got {size}")
    count = size if not checks.is_concrete(size) else np.asarray(size, np.int32)
    return Plan(examples, most, order, pad, count)


def _checked_size(name: str, size: Any, examples: int) -> int:
    if not checks.is_concrete(size):
        raise TypeError(
            f"{name}: a batch has the shape that this says, and so it cannot be traced or swept; "
            "for a swept size give its maximum too: mini(data, size, most=64)"
        )
    size = checks.whole_number(name, size, least=1)
    if size > examples:
        raise ValueError(
            f"{name}: expected at most the {examples} examples of the data, got {size}"
        )
    return size
