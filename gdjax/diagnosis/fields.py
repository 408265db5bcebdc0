"""What the states of optax hold, as the names of their fields tell."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

COUNT = "count"
FADING, LARGEST = "nu", "nu_max"  # second moments of Adam and its like, and of AMSGrad
SECOND_MOMENTS = {FADING, LARGEST, "sum_of_squares"}


def counts(opt_state: Any) -> bool:
    """Return whether an optimizer counts its steps, and so may have a schedule."""
    found, _ = jax.tree_util.tree_flatten_with_path(opt_state)
    return any(is_count(path) for path, _ in found)


def is_count(path: tuple) -> bool:
    """Return whether the leaf at this path counts the steps."""
    return bool(path) and _name(path[-1]) == COUNT


def is_second_moment(path: tuple) -> bool:
    """Return whether the leaf at this path is, or is part of, a second moment."""
    return any(_name(key) in SECOND_MOMENTS for key in path)


def second_moments(opt_state: Any) -> jax.Array:
    """Return those of Adam and its like [n]: steps grow as the root of these fades."""
    found = optax.tree.get_all_with_path(opt_state, LARGEST)  # which fade never
    found = found or optax.tree.get_all_with_path(opt_state, FADING)
    leaves = jax.tree.leaves([nu for _, nu in found])
    return jnp.concatenate([jnp.zeros(0), *(jnp.ravel(leaf) for leaf in leaves)])


def _name(key: Any) -> str | None:
    return getattr(key, "name", None)
