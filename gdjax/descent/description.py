"""What to run: a `Descent` describes it, nothing is computed yet."""

from dataclasses import KW_ONLY, dataclass
from operator import attrgetter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gdjax import checks
from gdjax.batches import Batches, HostBatches
from gdjax.losses import Loss, check_params
from gdjax.record import Every, Fold
from gdjax.stop import Condition, gradient_below
from gdjax.trees import PyTree, strongly_typed

DEFAULT_STOP = gradient_below()
INT32_MAX = np.iinfo(np.int32).max


@dataclass(frozen=True, eq=False)
class Descent:
    """A descent: the loss, where it starts, which optimizer, when to stop, what to record.

    It is a pytree. Its structure (loss, optimizer, which conditions and recorders) is static; its
    values (params, args, data, tolerances, key, an array for max_steps) are traced, and a descent
    may be built inside `jit`, `vmap` or a lane of `gdjax.sweep` from traced values, the optimizer's
    hyperparameters included.

    Args:
      loss: function of `(params, *args)`, or with `batches` of `(params, *args, batch)`, that
        returns a real floating scalar.
      params: the start, any pytree of floating or complex arrays and scalars.
      optimizer: any `optax.GradientTransformation` or `GradientTransformationExtraArgs`. It is
        always given `value`, `grad`, `value_fn` (and `obj_fn` and `grad_fn`, the names that some
        of `optax.contrib` have for them) at the current parameters.
      args: tuple of what else the loss takes, any pytrees.
      batches: batches of `gdjax.batches`, one for each step: the state after `t` updates has the
        loss and the gradient of batch `t`, and so a condition or a recorder sees those of a batch.
      stop: a condition of `gdjax.stop`; None runs all `max_steps`, which, given as a Python int,
        makes the run differentiable in reverse mode.
      max_steps: whole number >= 0, the budget of steps of one call of `run`. A Python int or an
        integer scalar array; an array or a tracer may be swept.
      key: a random key, `jax.random.key(0)` or `jax.random.PRNGKey(0)`, that batches are drawn
        with; the state carries it, so that recorders can use it.
      record: a recorder of `gdjax.record`, or a pytree of them.

    Raises:
      TypeError: an argument is of the wrong kind: a parameter that is not floating or complex, a
        loss that cannot be called or hashed, an optimizer without `init` and `update`, ….
      ValueError: there are no parameters, or `max_steps` is negative or beyond int32.

    >>> import gdjax, optax
    >>> d = gdjax.Descent(lambda w, target: (w - target) ** 2, 0.0, optax.sgd(0.1), args=(3.0,))
    >>> result = gdjax.run(d)
    >>> print(f"{result.params:.3f} after {result.steps} steps")
    3.000 after 44 steps
    """

    loss: Loss
    params: PyTree
    optimizer: Any
    args: tuple = ()
    _: KW_ONLY
    batches: Batches | HostBatches | None = None
    stop: Condition | None = DEFAULT_STOP
    max_steps: int | jax.Array = 10_000
    key: jax.Array | None = None
    record: PyTree = None

    def __post_init__(self) -> None:
        checks.function("loss", self.loss)
        check_params("params", self.params)
        is_optimizer = hasattr(self.optimizer, "init") and hasattr(self.optimizer, "update")
        if isinstance(self.optimizer, type) or not is_optimizer:
            raise TypeError(
                "optimizer: expected an optax.GradientTransformation, such as optax.sgd(0.1), "
                f"got {self.optimizer!r}"
            )
        checks.hashable("optimizer", self.optimizer)
        if not isinstance(self.args, tuple):
            raise TypeError(f"args: expected a tuple, got {type(self.args).__name__}")
        checks.arrays("args", self.args)
        if self.batches is not None and not isinstance(self.batches, (Batches, HostBatches)):
            raise TypeError(
                "batches: expected batches of gdjax.batches, such as gdjax.batches.full(data), "
                f"got {self.batches!r}"
            )
        if self.stop is not None and not isinstance(self.stop, Condition):
            raise TypeError(f"stop: expected a condition of gdjax.stop or None, got {self.stop!r}")
        object.__setattr__(self, "max_steps", _steps(self.max_steps))
        if self.key is not None:
            object.__setattr__(self, "key", checks.typed_key("key", self.key))
        for recorder in recorders(self.record):
            if not isinstance(recorder, (Every, Fold)):
                raise TypeError(f"record: expected recorders of gdjax.record, got {recorder!r}")
            if isinstance(recorder, Every) and not isinstance(self.max_steps, int):
                raise TypeError(
                    "max_steps: expected a Python int, since record.every makes an array of a "
                    f"length that depends on it, got {self.max_steps!r}"
                )


def _is_recorder(node: Any) -> bool:
    return isinstance(node, (Every, Fold))


def recorders(record: PyTree) -> list[Any]:
    """Return the recorders of a pytree, in tree order."""
    return jax.tree.leaves(record, is_leaf=_is_recorder)


def whole_arguments(d: Descent) -> tuple:
    """Return what the loss takes besides the parameters where it is that of all examples."""
    return d.args if d.batches is None else (*d.args, d.batches.whole)


def with_recorded(record: PyTree, recorded: list[PyTree]) -> PyTree:
    """Return the pytree with each recorder replaced by what it recorded."""
    return jax.tree.unflatten(jax.tree.structure(record, is_leaf=_is_recorder), recorded)


def _steps(max_steps: Any) -> int | jax.Array:
    if isinstance(max_steps, jax.Array):
        if max_steps.shape != () or not jnp.issubdtype(max_steps.dtype, jnp.integer):
            raise TypeError(
                f"max_steps: expected an integer scalar, got {max_steps.dtype}{max_steps.shape}"
            )
        if not checks.is_concrete(max_steps):
            return max_steps
    number = checks.whole_number("max_steps", max_steps, least=0)
    if number > INT32_MAX:
        raise ValueError(f"max_steps: expected at most {INT32_MAX}, got {number}")
    return max_steps if isinstance(max_steps, jax.Array) else number


TRACED = ("params", "args", "batches", "stop", "key", "record")
_traced = attrgetter(*TRACED)


def _flatten(d: Descent):
    counted = isinstance(d.max_steps, int)
    children = (*_traced(d), None if counted else d.max_steps)
    return children, (d.loss, d.optimizer, d.max_steps if counted else None)


def _flatten_with_keys(d: Descent):
    children, aux = _flatten(d)
    keys = map(jax.tree_util.GetAttrKey, (*TRACED, "max_steps"))
    return tuple(zip(keys, children)), aux


def _unflatten(aux, children) -> Descent:
    loss, optimizer, static_steps = aux
    *values, traced_steps = children
    max_steps = traced_steps if static_steps is None else static_steps
    fields: dict[str, Any] = dict(zip(TRACED, values))
    return _unchecked(fields, loss=loss, optimizer=optimizer, max_steps=max_steps)


def _unchecked(fields: dict[str, Any], **others: Any) -> Descent:
    d = object.__new__(Descent)  # JAX puts placeholders into pytrees, which no check would pass
    vars(d).update(fields, **others)
    return d


jax.tree_util.register_pytree_with_keys(Descent, _flatten_with_keys, _unflatten, _flatten)


def canonical(d: Any) -> Descent:
    """Return the descent as the compiled functions take it: equal types for equal meanings.

    Raises:
      TypeError: `d` is no Descent.
    """
    params, stop = strongly_typed((checked(d).params, d.stop))
    return _unchecked(vars(d), params=params, stop=stop)


def checked(d: Any) -> Descent:
    """Return the descent, or raise where it is none."""
    if not isinstance(d, Descent):
        raise TypeError(f"d: expected a gdjax.Descent, got {d!r}")
    return d


def with_traced_budget(d: Descent) -> Descent:
    """Return the descent with its budget as an array, so that another one compiles nothing."""
    counted = isinstance(d.max_steps, int)
    budget = np.asarray(d.max_steps, np.int32) if counted else strongly_typed(d.max_steps)
    return _unchecked(vars(d), max_steps=budget)


def with_batches(d: Descent, batches: Any) -> Descent:
    """Return the descent with what stands for its batches in a compiled step."""
    return _unchecked(vars(d), batches=batches)


def parted(d: Descent) -> tuple[PyTree, list, tuple]:
    """Return the parameters of a descent, its other values, and its structure."""
    (params, *others), fixed = _flatten(d)
    return params, others, fixed


def joined(params: PyTree, others: list, fixed: tuple) -> Descent:
    """Return the descent of these parts."""
    return _unflatten(fixed, (params, *others))
