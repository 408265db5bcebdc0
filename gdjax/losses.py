"""What every use of a loss shares: its checks at the door, its value and its gradient."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gdjax import checks
from gdjax.batches.outside import AT_ONCE, HostBatches
from gdjax.trees import PyTree, strongly_typed

Loss = Callable[..., Any]


def value(loss: Loss, params: PyTree, args: tuple) -> jax.Array:
    """Return the loss; to be called while tracing.

    All uses share one trace of the loss: `jit` finds it again by the function.

    Raises:
      TypeError: the loss does not return one real floating scalar, or is to look at batches that
        are not in memory.
    """
    if any(isinstance(arg, HostBatches) for arg in args):
        raise TypeError(AT_ONCE)
    out = jax.jit(loss)(params, *args)
    if not isinstance(out, jax.Array):
        raise TypeError(f"loss: expected it to return one scalar, it returns {out!r}")
    if out.shape != ():
        raise TypeError(
            f"loss: expected it to return a scalar, it returns shape {out.shape}; "
            "take the mean or the sum"
        )
    if not jnp.issubdtype(out.dtype, jnp.floating):
        raise TypeError(f"loss: expected it to return a floating scalar, it returns {out.dtype}")
    return strongly_typed(out)


def value_and_ascent(loss: Loss, params: PyTree, args: tuple) -> tuple[jax.Array, PyTree]:
    """Return the loss and the direction of its steepest ascent.

    That is the gradient where the parameters are real, and its conjugate where they are complex,
    since `jax.grad` returns the derivative and not the direction.
    """
    loss_value, derivative = jax.value_and_grad(lambda p: value(loss, p, args))(params)
    return loss_value, jax.tree.map(jnp.conj, derivative)


def ascent_direction(loss: Loss, params: PyTree, args: tuple) -> PyTree:
    """Return the direction of steepest ascent alone: see `value_and_ascent`."""
    return value_and_ascent(loss, params, args)[1]


def hessian_product(loss: Loss, params: PyTree, vector: PyTree, args: tuple) -> PyTree:
    """Return the Hessian times a vector; of complex parameters, that of pairs of real ones."""
    return jax.jvp(lambda p: ascent_direction(loss, p, args), (params,), (vector,))[1]


def check_params(name: str, params: PyTree) -> PyTree:
    """Return the parameters as strongly typed jax arrays.

    Raises:
      ValueError: there is no parameter at all.
      TypeError: a leaf is not an array of floating or complex numbers.
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    for path, leaf in leaves:
        dtype = checks.dtype(leaf)
        if not jnp.issubdtype(dtype, jnp.inexact):
            raise TypeError(
                f"{name}{jax.tree_util.keystr(path)}: expected floating or complex numbers, "
                f"got {dtype}; gradient descent needs parameters that can change by a fraction"
            )
    if not any(jnp.size(leaf) for _, leaf in leaves):
        raise ValueError(f"{name}: there are no parameters to descend in, got {params!r}")
    return strongly_typed(params)
