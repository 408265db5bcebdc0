"""One more step of a run, and what becomes of a deviation from it.

Benettin et al., Lyapunov characteristic exponents for smooth dynamical systems, Meccanica 15, 1980.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from gdjax.descent import Descent, State
from gdjax.descent.stepping import arguments, updated
from gdjax.diagnosis.fields import is_second_moment
from gdjax.losses import value_and_ascent
from gdjax.trees import PyTree, inner, inverse_length, is_floating

Tangent = list[Any]  # for each floating leaf of a state


def first_tangent(state: State) -> Tangent:
    """Return a random unit deviation of the parameters, from which a step makes the others."""
    still = _floating(jax.tree.map(jnp.zeros_like, state))
    random = optax.tree.random_like(jax.random.key(0), state.params)
    moved = _as_state(state, still)._replace(params=random)
    return _scaled(_floating(moved), state)[0]


def next_with_tangent(
    d: Descent, state: State, tangent: Tangent
) -> tuple[State, Tangent, jax.Array]:
    """Return the next state, the deviation then at unit length, and its length before that."""

    def step(floating: list) -> tuple[list, State]:
        after = updated(d, _with(floating, state))
        return _floating(after), after

    _, tangent, after = jax.jvp(step, (_floating(state),), (tangent,), has_aux=True)
    tangent, length = _scaled(tangent, state)
    return after, tangent, length


def linearised(
    d: Descent, state: State
) -> Callable[[Tangent], tuple[Tangent, jax.Array, jax.Array]]:
    """Return what a step makes of deviations from a state, wherever it is taken from there again.

    Second moments do not deviate: they scale what comes next, as the state's own do.

    It takes a deviation of parameters and optimizer, and returns the next one at unit length, the
    logarithm of its growth, and the curvature of the loss along the first, times a positive number.
    """

    def step(floating: list) -> tuple[list, PyTree]:
        here = _with(floating, state)
        loss, grad = value_and_ascent(d.loss, here.params, arguments(d, state.step))
        return _floating(updated(d, here._replace(loss=loss, grad=grad))), grad

    _, linear = jax.linearize(step, _floating(state))
    free = _are_free(state)

    def step_of(tangent: Tangent) -> tuple[Tangent, jax.Array, jax.Array]:
        after, grad = linear(tangent)
        after = [x if is_free else jnp.zeros_like(x) for x, is_free in zip(after, free)]
        scaled, length = _scaled(after, state)
        return scaled, jnp.log(length), inner(_as_state(state, tangent).params, grad)

    return step_of


def _scaled(tangent: Tangent, state: State) -> tuple[Tangent, jax.Array]:
    moved = _as_state(state, tangent)
    of_run = [leaf for leaf in jax.tree.leaves((moved.params, moved.opt_state)) if leaf is not None]
    inverse, length = inverse_length([leaf for leaf in of_run if is_floating(leaf)])
    scaled = [leaf * inverse.astype(leaf.dtype) for leaf in tangent]
    return scaled, length.astype(jnp.result_type(length, jnp.float32))


def _as_state(state: State, tangent: Tangent) -> State:
    return _with(tangent, jax.tree.map(jnp.zeros_like, state))


def _with(floating: list, state: State) -> State:
    """Return the state with these floating leaves."""
    leaves, structure = jax.tree.flatten(state)
    given = iter(floating)
    merged = [next(given) if is_floating(leaf) else leaf for leaf in leaves]
    return jax.tree.unflatten(structure, merged)


def _floating(tree: PyTree) -> list:
    return [leaf for leaf in jax.tree.leaves(tree) if is_floating(leaf)]


def _are_free(state: State) -> list[bool]:
    """Return of each floating leaf whether it is no second moment."""
    found, _ = jax.tree_util.tree_flatten_with_path(state)
    return [not is_second_moment(path) for path, leaf in found if is_floating(leaf)]
