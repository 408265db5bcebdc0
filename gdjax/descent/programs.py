"""The compiled programs of a descent, found again by its loss, optimizer and structure."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax

from gdjax.descent.description import Descent, canonical, joined, parted
from gdjax.trees import strongly_typed_leaf


def compiled(function: Callable[..., Any], d: Descent, *args: Any) -> Any:
    """Return `function(d, *args)` of the canonical descent.

    It is compiled once for each loss, optimizer, and structure and types of the rest.
    """
    program, *leaves = _found(function, d, args)
    return program(*leaves)


def traced(function: Callable[..., Any], d: Descent, *args: Any) -> Any:
    """Return the same program as a `jax.stages.Traced`; nothing is compiled or run."""
    program, *leaves = _found(function, d, args)
    return program.trace(*leaves)


def _found(function: Callable[..., Any], d: Descent, args: tuple) -> tuple[Any, list, list]:
    # In leaves, since to look into a Descent itself `jax.jit` would have to call Python back.
    params, others, fixed = parted(d)
    params, of_params = jax.tree.flatten(params)
    others, of_others = jax.tree.flatten((others, args))
    program = _program(function, fixed, of_params, of_others)
    return program, list(map(strongly_typed_leaf, params)), others


# As the key of `jax.jit` itself, a loss would be kept with all it closes over, without bound.
@lru_cache(maxsize=64)
def _program(function: Callable[..., Any], fixed: tuple, of_params: Any, of_others: Any) -> Any:
    def program(params: list, others: list) -> Any:
        others, args = of_others.unflatten(others)
        return function(canonical(joined(of_params.unflatten(params), others, fixed)), *args)

    return jax.jit(program)
