"""Typed random keys, which numpy has no dtype for, as the numbers that they are made of."""

from typing import Any

import jax

from gdjax.trees import PyTree, is_typed_key


def without_keys(tree: PyTree) -> PyTree:
    """Return a tree with numbers in the place of its typed keys."""
    return jax.tree.map(
        lambda leaf: jax.random.key_data(leaf) if is_typed_key(leaf) else leaf, tree
    )


def with_keys(tree: PyTree, like: PyTree) -> PyTree:
    """Return a tree with typed keys again where another one has such."""

    def key(leaf: Any, own: Any) -> Any:
        if not is_typed_key(own):
            return leaf
        return jax.random.wrap_key_data(leaf, impl=jax.random.key_impl(own))

    return jax.tree.map(key, tree, like)
