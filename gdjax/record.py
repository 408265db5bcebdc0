"""What to record of a run: histories at every n-th step, and folds over the whole trajectory.

`Descent(record=...)` takes a recorder, or any pytree of them: a dict gives each its name. The data
that a recorder's function needs, such as held-out examples, are compiled in if it closes over them;
as `jax.tree_util.Partial(function, data)`, of a function of `(data, state)`, they are an argument.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from gdjax import checks
from gdjax.trees import PyTree, summable

__all__ = [
    "Every",
    "Fold",
    "OfLoss",
    "Series",
    "every",
    "fold",
    "maximum",
    "mean",
    "minimum",
    "of_loss",
    "variance",
]

INT32_MAX = jnp.iinfo(jnp.int32).max

# A recorder's functions see a `gdjax.State`, which lives a floor above.
Of = Callable[[Any], PyTree]


def _loss(state: Any) -> PyTree:
    return state.loss


class Series(NamedTuple):
    """A history: what was recorded, and at which steps.

    A run that ends early fills the rest with its end: same step, same values.
    """

    steps: jax.Array  # int32 [records]
    values: PyTree  # leaves [records, ...]


@jax.tree_util.register_static
@dataclass(frozen=True)
class OfLoss:
    """What to record of a loss: made by `of_loss`."""

    function: Callable[..., PyTree]
    fields: tuple[str, ...]


def _traced(function: Any) -> Any:
    """Return a function as a pytree, whose leaves are the data that it was given."""
    return (
        Partial(function) if callable(function) and not isinstance(function, Partial) else function
    )


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Every:
    """A recorder made by `every`."""

    of: Of | OfLoss
    period: int = field(metadata={"static": True})

    def entry(self, state: Any, loss: Callable[..., Any], args: tuple) -> PyTree:
        """Return what to record of a state, of the run of a loss with these arguments."""
        if not isinstance(self.of, OfLoss):
            return self.of(state)
        return self.of.function(loss, *(getattr(state, name) for name in self.of.fields), *args)


class Fold:
    """A running statistic: made by `fold`, `mean`, `variance`, `minimum` or `maximum`.

    Folds of equal functions are equal, so building one again compiles nothing again.
    """

    def init(self, state: Any) -> PyTree:
        """Return the memory after the first state."""
        raise NotImplementedError

    def update(self, memory: PyTree, state: Any) -> PyTree:
        """Return the memory after one more state."""
        raise NotImplementedError

    def pad(self, memory: PyTree, state: Any, steps: jax.Array) -> PyTree:
        """Return the memory after `steps` more states that were never run: the unused budget."""
        return memory

    def finish(self, memory: PyTree) -> PyTree:
        """Return what the result holds."""
        return memory


def every(period: int, of: Of | OfLoss = _loss) -> Every:
    """Record a function of the state at the start, at every `period`-th step and at the end.

    Args:
      period: whole number of steps, at least 1.
      of: function of the `gdjax.State` that returns any pytree of arrays, or what `of_loss` returns
        of a function that needs the loss itself; the loss at that state if left out.

    Returns:
      A recorder; the result holds a `Series` with leaves of shape
      `[ceil(max_steps / period) + 1, ...]`, so `max_steps` must be a Python int.

    Raises:
      TypeError: `period` is not a whole number, or `of` not a function.
      ValueError: `period` is below 1, or beyond int32.

    >>> import gdjax, optax
    >>> d = gdjax.Descent(lambda w: w**2, 1.0, optax.sgd(0.25), max_steps=4, stop=None,
    ...                   record=gdjax.record.every(2, lambda state: state.params))
    >>> series = gdjax.run(d).record
    >>> series.steps.tolist(), series.values.tolist()
    ([0, 2, 4], [1.0, 0.25, 0.0625])
    """
    of = of if isinstance(of, OfLoss) else checks.function("of", of)
    period = checks.whole_number("period", period, least=1)
    if period > INT32_MAX:
        raise ValueError(f"period: expected at most {INT32_MAX} steps, got {period}")
    return Every(_traced(of), period)


def of_loss(function: Callable[..., PyTree], *fields: str) -> OfLoss:
    """Return what `every` takes to record a function of the loss along the run, its curvature say.

    Args:
      function: function of `(loss, params, *args)`, such as those of `gdjax.curvature`, that
        returns any pytree of arrays. It gets the loss and the arguments of the descent, and where
        that has batches, all of its data in the place of a batch.
      *fields: fields of the `gdjax.State` that it takes in the place of `params`.

    Returns:
      The argument `of` of `every`.

    Raises:
      TypeError: `function` is not a function, or a field not a string.

    >>> import gdjax, optax
    >>> sharpness = gdjax.record.of_loss(gdjax.curvature.sharpness)
    >>> d = gdjax.Descent(lambda w, a: a * w**4, 1.0, optax.sgd(0.125), (0.5,), max_steps=2,
    ...                   record=gdjax.record.every(1, sharpness))
    >>> gdjax.run(d).record.values.value[:2].tolist()
    [6.0, 3.375]
    """
    for name in fields:
        if not isinstance(name, str):
            raise TypeError(f"fields: expected names of fields of the state, got {name!r}")
    return OfLoss(checks.function("function", function), fields or ("params",))


def fold(
    init: Of,
    update: Callable[[PyTree, Any], PyTree],
    finish: Callable[[PyTree], PyTree] | None = None,
    pad: Callable[[PyTree, Any, jax.Array], PyTree] | None = None,
) -> Fold:
    """Record a running statistic of every state of the run, in constant memory.

    Args:
      init: function of the first state that returns the memory, any pytree of arrays.
      update: function of `(memory, state)` that returns the memory after one more state: the same
        tree, shapes and dtypes.
      finish: function of the memory that returns what the result holds; the memory if left out.
      pad: function of `(memory, state, steps)` that returns the memory as if the run had gone on
        for `steps` more states, the int32 number that its budget had left when it ended at
        `state`; it is called once, at the end, and nothing is run. Without it a run that ends
        early counts as it is.

    Returns:
      A recorder.

    Raises:
      TypeError: an argument is not a function.

    >>> import gdjax, jax.numpy as jnp, optax
    >>> longest = gdjax.record.fold(lambda state: abs(state.grad),
    ...                             lambda memory, state: jnp.maximum(memory, abs(state.grad)))
    >>> d = gdjax.Descent(lambda w: w**2, 3.0, optax.sgd(0.25), record={"longest": longest})
    >>> float(gdjax.run(d).record["longest"])
    6.0
    """
    checks.function("init", init)
    checks.function("update", update)
    for name, function in {"finish": finish, "pad": pad}.items():
        if function is not None:
            checks.function(name, function)
    return _Custom(*map(_traced, (init, update, finish, pad)))


def mean(of: Of = _loss) -> Fold:
    """Record the mean of a function of the state over the whole run, the start included.

    Args:
      of: function of the `gdjax.State` that returns arrays of numbers; the loss if left out.

    Returns:
      A recorder; the result holds the mean, shaped as what `of` returns, in float32 or wider.

    >>> import gdjax, optax
    >>> d = gdjax.Descent(lambda w: w**2, 1.0, optax.sgd(0.25), max_steps=2, stop=None,
    ...                   record=gdjax.record.mean(lambda state: state.params))
    >>> print(f"{gdjax.run(d).record:.4f}")
    0.5833
    """
    return _Mean(_traced(checks.function("of", of)))


def variance(of: Of = _loss) -> Fold:
    """Record the population variance of a function of the state, by Welford's update.

    Args:
      of: function of the `gdjax.State` that returns real arrays; the loss if left out.

    Returns:
      A recorder; the result holds the variance, shaped as what `of` returns, in float32 or wider.

    References:
      Welford, Note on a method for calculating corrected sums of squares and products, 1962.

    >>> import gdjax, optax
    >>> d = gdjax.Descent(lambda w: w**2, 1.0, optax.sgd(0.25), max_steps=1, stop=None,
    ...                   record=gdjax.record.variance(lambda state: state.params))
    >>> float(gdjax.run(d).record)
    0.0625
    """
    return _Variance(_traced(checks.function("of", of)))


def minimum(of: Of = _loss) -> Fold:
    """Record the least value, entry by entry, of a function of the state over the whole run.

    Args:
      of: function of the `gdjax.State` that returns real arrays; the loss if left out.

    Returns:
      A recorder; the result holds the minimum, shaped as what `of` returns.

    >>> import gdjax, optax
    >>> d = gdjax.Descent(lambda w: w**2, 1.0, optax.sgd(0.75), max_steps=3, stop=None,
    ...                   record=gdjax.record.minimum(lambda state: state.params))
    >>> float(gdjax.run(d).record)
    -0.5
    """
    return _Extreme(_traced(checks.function("of", of)), jnp.minimum)


def maximum(of: Of = _loss) -> Fold:
    """Record the greatest value, entry by entry, of a function of the state over the whole run.

    Args:
      of: function of the `gdjax.State` that returns real arrays; the loss if left out.

    Returns:
      A recorder; the result holds the maximum, shaped as what `of` returns.

    >>> import gdjax, optax
    >>> d = gdjax.Descent(lambda w: w**2, 1.0, optax.sgd(0.75), max_steps=3, stop=None,
    ...                   record=gdjax.record.maximum())
    >>> float(gdjax.run(d).record)
    1.0
    """
    return _Extreme(_traced(checks.function("of", of)), jnp.maximum)


def _real(values: PyTree) -> PyTree:
    for leaf in jax.tree.leaves(values):
        if jnp.iscomplexobj(leaf):
            raise TypeError(
                f"of: expected it to return real arrays, it returns {checks.dtype(leaf)}"
            )
    return values


class _Moments(NamedTuple):
    seen: jax.Array  # int32 []
    mean: PyTree
    squares: PyTree  # sum of squared deviations from the mean

    @classmethod
    def of_one(cls, sample: PyTree) -> "_Moments":
        sample = summable(sample)
        return cls(jnp.ones((), jnp.int32), sample, jax.tree.map(jnp.zeros_like, sample))

    def with_one_more(self, sample: PyTree) -> "_Moments":
        sample = summable(sample)
        seen = self.seen + 1
        mean = jax.tree.map(lambda m, x: m + (x - m) / seen.astype(m.dtype), self.mean, sample)
        squares = jax.tree.map(
            lambda s, x, old, new: s + (x - old) * (x - new), self.squares, sample, self.mean, mean
        )
        return _Moments(seen, mean, squares)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class _Custom(Fold):
    first: Of
    next: Callable[[PyTree, Any], PyTree]
    last: Callable[[PyTree], PyTree] | None
    rest: Callable[[PyTree, Any, jax.Array], PyTree] | None

    def init(self, state: Any) -> PyTree:
        return self.first(state)

    def update(self, memory: PyTree, state: Any) -> PyTree:
        return self.next(memory, state)

    def pad(self, memory: PyTree, state: Any, steps: jax.Array) -> PyTree:
        return memory if self.rest is None else self.rest(memory, state, steps)

    def finish(self, memory: PyTree) -> PyTree:
        return memory if self.last is None else self.last(memory)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class _Extreme(Fold):
    of: Of
    choose: Callable[[jax.Array, jax.Array], jax.Array] = field(metadata={"static": True})

    def init(self, state: Any) -> PyTree:
        return _real(self.of(state))

    def update(self, memory: PyTree, state: Any) -> PyTree:
        return jax.tree.map(self.choose, memory, self.of(state))


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class _Mean(Fold):
    of: Of

    def init(self, state: Any) -> PyTree:
        return _Moments.of_one(self.of(state))

    def update(self, memory: PyTree, state: Any) -> PyTree:
        return memory.with_one_more(self.of(state))

    def finish(self, memory: PyTree) -> PyTree:
        return memory.mean


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class _Variance(_Mean):
    def init(self, state: Any) -> PyTree:
        return _Moments.of_one(_real(self.of(state)))

    def finish(self, memory: PyTree) -> PyTree:
        return jax.tree.map(lambda s: s / memory.seen.astype(s.dtype), memory.squares)
