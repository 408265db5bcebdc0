"""What Adam and RMSProp divide the gradient by, and the loss in coordinates where they divide by 1.

Along z = P^½ w the Hessian of a loss is P^−½ H P^−½, which decides what is stable.
"""

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp

from gdjax.losses import Loss, ascent_direction
from gdjax.trees import PyTree

EPS = 1e-8  # as in optax
ADAM_DECAY, RMSPROP_DECAY = 0.999, 0.9


def preconditioned(
    loss: Loss, params: PyTree, args: tuple, opt_state: Any, is_adam: bool
) -> tuple[Loss, PyTree, tuple]:
    """Return a loss, parameters and arguments with the preconditioned Hessian for their own."""
    if opt_state is None:
        gradient = ascent_direction(loss, params, args)
        scale = jax.tree.map(_first_adam if is_adam else _first_rmsprop, gradient)
    else:
        scale = _of_state(opt_state, params, is_adam)
    origin = jax.tree.map(jnp.zeros_like, params)
    return _in_its_coordinates(loss), origin, (params, jax.tree.map(jnp.sqrt, scale), *args)


@lru_cache(maxsize=64)
def _in_its_coordinates(loss: Loss) -> Loss:
    def moved(move: PyTree, params: PyTree, root: PyTree, *args: Any) -> jax.Array:
        return loss(jax.tree.map(lambda p, m, r: p + m / r, params, move, root), *args)

    return moved


def _first_adam(gradient: jax.Array) -> jax.Array:
    return jnp.abs(gradient) + EPS


def _first_rmsprop(gradient: jax.Array) -> jax.Array:
    return jnp.sqrt((1 - RMSPROP_DECAY) * jnp.abs(gradient) ** 2 + EPS)


def _of_state(opt_state: Any, params: PyTree, is_adam: bool) -> PyTree:
    def has_moments(node: Any) -> bool:
        return hasattr(node, "nu")

    found = [n for n in jax.tree.leaves(opt_state, is_leaf=has_moments) if has_moments(n)]
    if len(found) != 1 or jax.tree.structure(found[0].nu) != jax.tree.structure(params):
        raise TypeError(
            "opt_state: expected the state of optax.adam or optax.rmsprop, which holds the second "
            f"moments of the gradient, got {type(opt_state).__name__}"
        )
    (state,) = found
    if not is_adam:
        return jax.tree.map(lambda nu: jnp.sqrt(nu + EPS), state.nu)
    seen = 1 - ADAM_DECAY ** jnp.maximum(state.count, 1)
    return jax.tree.map(lambda nu: jnp.sqrt(nu / seen) + EPS, state.nu)
