"""One more step of a run, and what becomes of a deviation from it.

Benettin et al., Lyapunov characteristic exponents for smooth dynamical systems, Meccanica 15, 1980.
"""

from typing import Any

import jax
import jax.numpy as jnp

from gdjax.descent import Descent, State
from gdjax.descent.stepping import arguments, updated
from gdjax.losses import value_and_ascent
from gdjax.trees import PyTree, euclidean, inner

Tangent = list[Any]  # for each floating leaf of a state


def first_tangent(state: State) -> Tangent:
    """Return a random unit deviation of the parameters, from which a step makes the others."""
    leaves, structure = jax.tree.flatten(state.params)
    keys = jax.random.split(jax.random.key(0), len(leaves))
    random = [jax.random.normal(k, leaf.shape, leaf.dtype) for k, leaf in zip(keys, leaves)]
    still = _floating(jax.tree.map(jnp.zeros_like, state))
    moved = _as_state(state, still)._replace(params=jax.tree.unflatten(structure, random))
    return _scaled(_floating(moved), state)[0]


def lifted(d: Descent, state: State, tangent: Tangent) -> Tangent:
    """Return the deviation with those of loss and gradient that belong to it at this state."""
    moved, args = _as_state(state, tangent), arguments(d, state.step)
    loss, grad = jax.jvp(
        lambda p: value_and_ascent(d.loss, p, args), (state.params,), (moved.params,)
    )[1]
    return _floating(moved._replace(loss=loss, grad=grad))


def next_with_tangent(
    d: Descent, state: State, tangent: Tangent
) -> tuple[State, Tangent, jax.Array]:
    """Return the next state, the deviation then at unit length, and the logarithm of its growth."""
    leaves, structure = jax.tree.flatten(state)
    floating = _floating(state)

    def step(floating: list) -> tuple[list, State]:
        given = iter(floating)
        merged = [next(given) if _is_floating(leaf) else leaf for leaf in leaves]
        after = updated(d, jax.tree.unflatten(structure, merged))
        return _floating(after), after

    _, tangent, after = jax.jvp(step, (floating,), (tangent,), has_aux=True)
    return after, *_scaled(tangent, state)


def curvature_along(state: State, tangent: Tangent) -> jax.Array:
    """Return the curvature of the loss along a deviation, times a positive number."""
    moved = _as_state(state, tangent)
    return inner(moved.params, moved.grad)


def _scaled(tangent: Tangent, state: State) -> tuple[Tangent, jax.Array]:
    moved = _as_state(state, tangent)
    of_run = [leaf for leaf in jax.tree.leaves((moved.params, moved.opt_state)) if leaf is not None]
    length = euclidean([leaf for leaf in of_run if _is_floating(leaf)])
    safe = jnp.where(length > 0, length, 1)
    scaled = [leaf / safe.astype(leaf.real.dtype) for leaf in tangent]
    growth = jnp.where(length > 0, jnp.log(safe), -jnp.inf)
    return scaled, growth.astype(jnp.result_type(growth, jnp.float32))


def _as_state(state: State, tangent: Tangent) -> State:
    leaves, structure = jax.tree.flatten(state)
    given = iter(tangent)
    moved = [next(given) if _is_floating(leaf) else jnp.zeros_like(leaf) for leaf in leaves]
    return jax.tree.unflatten(structure, moved)


def _floating(tree: PyTree) -> list:
    return [leaf for leaf in jax.tree.leaves(tree) if _is_floating(leaf)]


def _is_floating(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.inexact)
