"""What threads of their own need."""

from collections.abc import Callable
from typing import Any

import jax


def with_settings(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return the function for other threads, where it works in the precision of this one.

    Threads have settings of their own, and numpy arrays become jax arrays by them.
    """
    x64 = jax.config.jax_enable_x64

    def apart(argument: Any) -> Any:
        with jax.enable_x64(x64):
            return function(argument)

    return apart
