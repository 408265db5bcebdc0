"""The compiled programs of a loss with an optimizer, found again by these two."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax

from gdjax.descent.description import Descent, completed, stripped


def compiled(function: Callable[..., Any], d: Descent, *args: Any) -> Any:
    """Return `function(d, *args)`, compiled once for each loss, optimizer and types of the rest."""
    return _program(function, d.loss, d.optimizer)(stripped(d), *args)


def lowered(function: Callable[..., Any], d: Descent, *args: Any) -> Any:
    """Return the same program as a `jax.stages.Lowered`; nothing is run."""
    return _program(function, d.loss, d.optimizer).lower(stripped(d), *args)


# As the key of `jax.jit` itself, a loss would be kept with all it closes over, without bound.
@lru_cache(maxsize=64)
def _program(function: Callable[..., Any], loss: Any, optimizer: Any) -> Any:
    return jax.jit(lambda d, *args: function(completed(d, loss, optimizer), *args))
