"""What threads of their own need."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import jax

# Those of jax that a thread has for itself, and that decide what is traced or drawn.
SETTINGS = (
    "enable_x64",
    "default_matmul_precision",
    "default_prng_impl",
    "threefry_partitionable",
    "numpy_dtype_promotion",
    "numpy_rank_promotion",
    "debug_nans",
    "debug_infs",
)


def with_settings(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return the function for other threads, where it works with the settings of this one.

    Threads have settings of their own: numpy arrays become jax arrays by them, and keys numbers.
    """
    own = {name: getattr(jax.config, f"jax_{name}") for name in SETTINGS}

    def apart(argument: Any) -> Any:
        with ExitStack() as settings:
            for name, value in own.items():
                if getattr(jax.config, f"jax_{name}") != value:
                    settings.enter_context(getattr(jax, name)(value))
            return function(argument)

    return apart


def in_threads(part: Callable[[int], None], firsts: range, workers: int) -> None:
    """Call a function of each of these, so many at a time."""
    workers = min(workers, len(firsts))
    if workers == 1:
        for first in firsts:
            part(first)
        return
    with ThreadPoolExecutor(workers) as threads:
        list(threads.map(with_settings(part), firsts))
