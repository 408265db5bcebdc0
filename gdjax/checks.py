"""Checks of scalar arguments at the door; a traced value passes, since it has no value yet."""

import operator
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from gdjax.trees import is_typed_key

NUMBERS = ("numeric", "bool")


def is_concrete(value: Any) -> bool:
    """Return whether the value is known now, outside of any trace."""
    return not isinstance(value, jax.core.Tracer)


def dtype(value: Any) -> Any:
    """Return the dtype of an array, a tracer, a random key or a scalar; object if it is neither."""
    return value.dtype if hasattr(value, "dtype") else np.asarray(value).dtype


def described(value: Any) -> str:
    """Return what was given, for an error: the type of a traced value, as it has no other."""
    return repr(value) if is_concrete(value) else f"a traced {dtype(value)}{np.shape(value)}"


def finite_scalar(name: str, value: Any) -> Any:
    """Return `value` if it is a finite real scalar, else raise naming the argument."""
    real = jnp.issubdtype(dtype(value), jnp.integer) or jnp.issubdtype(dtype(value), jnp.floating)
    if np.shape(value) != () or not real:
        raise TypeError(f"{name}: expected a real scalar, got {value!r}")
    if is_concrete(value) and not np.isfinite(value):
        raise ValueError(f"{name}: expected a finite number, got {value!r}")
    return float(value) if isinstance(value, (int, float)) else value  # one type, one program


def arrays(name: str, tree: Any) -> None:
    """Raise unless every leaf is an array or a number that JAX has a dtype for, naming the leaf."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        kind = dtype(leaf)
        if not (jnp.issubdtype(kind, jax.dtypes.extended) or jnp.isdtype(kind, NUMBERS)):
            place = jax.tree_util.keystr(path)
            raise TypeError(f"{name}{place}: expected an array or a number, got {leaf!r}")


def real_array(name: str, value: Any, least: float = -np.inf) -> jax.Array:
    """Return `value` as an array of real numbers not below `least`, else raise naming it."""
    kind = dtype(value)
    if not (jnp.issubdtype(kind, jnp.integer) or jnp.issubdtype(kind, jnp.floating)):
        raise TypeError(f"{name}: expected real numbers, got {value!r}")
    if is_concrete(value) and np.any(np.asarray(value) < least):
        raise ValueError(f"{name}: expected at least {least}, got {value!r}")
    return jnp.asarray(value)


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


def tolerance(name: str, value: Any) -> Any:
    """Return `value` if it is None or a finite scalar of at least 0, else raise naming it."""
    return None if value is None else at_least_zero(name, value)


def at_least_zero(name: str, value: Any) -> Any:
    """Return `value` if it is a finite scalar of at least 0, else raise naming the argument."""
    value = finite_scalar(name, value)
    if is_concrete(value) and value < 0:
        raise ValueError(f"{name}: expected a number of at least 0, got {value!r}")
    return value


def positive_scalar(name: str, value: Any) -> Any:
    """Return `value` if it is a finite scalar above 0, else raise naming the argument."""
    value = finite_scalar(name, value)
    if is_concrete(value) and value <= 0:
        raise ValueError(f"{name}: expected a number above 0, got {value!r}")
    return value


def momentum(name: str, value: Any) -> Any:
    """Return `value` if it is a scalar from 0 to below 1, else raise naming the argument."""
    value = finite_scalar(name, value)
    if is_concrete(value) and not 0 <= value < 1:
        raise ValueError(f"{name}: expected a number from 0 to below 1, got {value!r}")
    return value


def flag(name: str, value: Any) -> bool:
    """Return `value` if it is True or False, else raise naming the argument."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected a bool, got {value!r}")
    return bool(value)


def whole_number(name: str, value: Any, least: int) -> int:
    """Return `value` as an int of at least `least`, else raise naming the argument."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected a whole number, got {value!r}") from None
    if isinstance(value, (bool, np.bool_)) or number < least:
        raise ValueError(f"{name}: expected a whole number of at least {least}, got {value!r}")
    return number


def function(name: str, value: Any) -> Any:
    """Return `value` if it can be called and hashed, as a static argument must, else raise."""
    if not callable(value):
        raise TypeError(f"{name}: expected a function, got {value!r}")
    return hashable(name, value)


def hashable(name: str, value: Any) -> Any:
    """Return `value` if it can be hashed, as a static argument must, else raise naming it."""
    try:
        hash(value)
    except TypeError:
        raise TypeError(
            f"{name}: {type(value).__name__} cannot be hashed, so its compiled program could not "
            "be found again; give the class a hash, or pass a function"
        ) from None
    return value


def typed_key(name: str, key: Any) -> jax.Array:
    """Return one random key as a typed key, else raise naming the argument."""
    if is_typed_key(key):
        if key.shape == ():
            return key
        raise TypeError(f"{name}: expected one random key, got an array of keys {key.shape}")
    if getattr(key, "dtype", None) == jnp.uint32 and key.shape == jax.random.PRNGKey(0).shape:
        return jax.random.wrap_key_data(jnp.asarray(key))
    raise TypeError(f"{name}: expected a random key such as jax.random.key(0), got {key!r}")
