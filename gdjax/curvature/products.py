"""Products with the Hessian, and the whole of it: forward over reverse differentiation.

Pearlmutter, Fast exact multiplication by the Hessian, Neural Computation 6, 1994.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from gdjax import checks
from gdjax.losses import Loss, check_params, hessian_product
from gdjax.trees import PyTree, real_dtype, real_vector

ABREAST = 64  # columns of a Hessian computed at once: more would need the memory of as many losses


def hvp(loss: Loss, params: PyTree, vector: PyTree, *args: Any) -> PyTree:
    """Return the Hessian of a loss times a vector, for about twice the cost of a gradient.

    Args:
      loss: function of `(params, *args)` to a real scalar.
      params: pytree of floating or complex arrays, where the Hessian is taken.
      vector: pytree of the same structure and shapes.
      *args: further arguments of the loss.

    Returns:
      Pytree of the same structure and shapes, in the widest dtype among the parameters and at
      least in float32.

    Raises:
      TypeError: the loss is no function to a scalar, a parameter is not floating, or the vector
        does not fit the parameters.
      ValueError: there are no parameters.

    >>> loss = lambda w: w["a"] ** 2 * w["b"]
    >>> product = hvp(loss, {"a": 1.0, "b": 2.0}, {"a": 1.0, "b": 0.0})
    >>> print(product["a"], product["b"])
    4.0 2.0
    """
    checks.function("loss", loss)
    params = widened(params)
    return _hvp(loss, params, _fitting(vector, params), args)


def hessian(loss: Loss, params: PyTree, *args: Any) -> jax.Array:
    """Return the full Hessian of a loss, for few parameters.

    Args:
      loss: function of `(params, *args)` to a real scalar.
      params: pytree of floating or complex arrays with `dim` numbers in all.
      *args: further arguments of the loss.

    Returns:
      Array [dim, dim] in the order of `jax.flatten_util.ravel_pytree`, where a complex array
      counts as its real part followed by its imaginary part. It is symmetric up to rounding.

    Raises:
      TypeError: the loss is no function to a scalar, or a parameter is not floating.
      ValueError: there are no parameters.

    >>> hessian(lambda w: w[0] ** 2 * w[1], jnp.array([1.0, 2.0])).tolist()
    [[4.0, 2.0], [2.0, 0.0]]
    """
    checks.function("loss", loss)
    return _hessian(loss, widened(params), args)


def widened(params: PyTree) -> PyTree:
    """Return the parameters in the widest dtype among them, and at least in float32.

    >>> widened({"w": jnp.float16(1), "z": jnp.complex64(1)})["w"].dtype
    dtype('float32')
    """
    params = check_params("params", params)
    real = real_dtype(params)
    wide = {False: real, True: jnp.result_type(real, jnp.complex64)}
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, wide[jnp.iscomplexobj(leaf)]), params)


def product_with(loss: Loss, params: PyTree, args: tuple) -> Callable[[jax.Array], jax.Array]:
    """Return the Hessian at wide parameters as a function of real vectors [dim]."""
    _, unravel = real_vector(params)
    return lambda vector: real_vector(_hvp(loss, params, unravel(vector), args))[0]


def columns(product: Callable[[jax.Array], jax.Array], dim: int, dtype: Any) -> jax.Array:
    """Return the matrix [dim, dim] whose products with vectors are given, one column a row."""
    if dim <= ABREAST:
        return jax.vmap(product)(jnp.eye(dim, dtype=dtype))
    # A batch of what is left would be compiled once more.
    unit = jnp.eye(-(-dim // ABREAST) * ABREAST, dim, dtype=dtype)
    return lax.map(product, unit, batch_size=ABREAST)[:dim]


@partial(jax.jit, static_argnums=0)
def _hvp(loss: Loss, params: PyTree, vector: PyTree, args: tuple) -> PyTree:
    return hessian_product(loss, params, vector, args)


@partial(jax.jit, static_argnums=0)
def _hessian(loss: Loss, params: PyTree, args: tuple) -> jax.Array:
    flat, _ = real_vector(params)
    return columns(product_with(loss, params, args), flat.size, flat.dtype)


def _fitting(vector: PyTree, params: PyTree) -> PyTree:
    """Return the vector in the dtypes of the parameters, or raise."""
    if jax.tree.structure(vector) != jax.tree.structure(params):
        raise TypeError(
            f"vector: expected the structure of the parameters, {jax.tree.structure(params)}, "
            f"got {jax.tree.structure(vector)}"
        )

    def fit(path: Any, entry: Any, leaf: jax.Array) -> jax.Array:
        name = f"vector{jax.tree_util.keystr(path)}"
        if jnp.shape(entry) != leaf.shape:
            raise TypeError(f"{name}: expected shape {leaf.shape}, got {jnp.shape(entry)}")
        if jnp.iscomplexobj(entry) and not jnp.iscomplexobj(leaf):
            raise TypeError(f"{name}: expected real numbers, as the parameters are")
        return jnp.asarray(entry, leaf.dtype)

    return jax.tree_util.tree_map_with_path(fit, vector, params)
