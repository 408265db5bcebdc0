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


def canonical_array(name: str, array: np.ndarray) -> np.ndarray:
    """Return the array in the dtype that jax gives it.

    Raises:
      ValueError: a value is out of the range of this dtype.
    """
    dtype = np.dtype(jax.dtypes.canonicalize_dtype(array.dtype))
    with np.errstate(over="ignore"):
        cast = array.astype(dtype)
    if dtype == array.dtype:
        return cast
    whole = np.issubdtype(dtype, np.integer)
    kept = cast == array if whole else np.isfinite(cast) == np.isfinite(array)
    if not np.all(kept):
        raise ValueError(
            f"{name}: expected values within {dtype}, got {array[~kept].flat[0]!r}; "
            "jax.config.update('jax_enable_x64', True) makes room for more"
        )
    return cast
