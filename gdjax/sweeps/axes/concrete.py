"""What an axis is made of: values known now, in the dtypes of JAX."""

import jax
import numpy as np

from gdjax import checks
from gdjax.trees import PyTree


def check_concrete(what: str, tree: PyTree) -> None:
    """Raise if a leaf is traced, saying what is."""
    if not all(map(checks.is_concrete, jax.tree.leaves(tree))):
        raise TypeError(
            f"{what}; sweep runs blocks of lanes from Python. "
            "Inside jit, use jax.vmap over gdjax.run instead"
        )


def default_float() -> np.dtype:
    """Return the dtype that jax gives a Python float: float64 only where x64 is on."""
    return np.dtype(jax.dtypes.canonicalize_dtype(float))
