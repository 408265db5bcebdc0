"""The update of gradient descent itself: w <- w - learning_rate * dL/dw."""

from functools import partial

import jax

from gdjax import checks
from gdjax.losses import Loss, ascent_direction, check_params
from gdjax.trees import PyTree, strongly_typed


def gradient_step(loss: Loss, params: PyTree, learning_rate: PyTree, *args: PyTree) -> PyTree:
    """Take one step of gradient descent, compiled: `params - learning_rate * gradient`.

    A new learning rate compiles nothing, whether it is a Python number or an array. The step is
    computed in the dtype of each parameter.

    Args:
      loss: function of `(params, *args)` that returns a real floating scalar.
      params: any pytree of floating or complex arrays and scalars, of any shapes. Where a leaf is
        complex, the step goes along the conjugate of `jax.grad`, which is the steepest descent.
      learning_rate: a real scalar, or a pytree prefix of `params` with a scalar for each branch
        (one rate a layer, say).
      *args: what else the loss takes, any pytrees.

    Returns:
      The new parameters: the same tree, shapes and dtypes.

    Raises:
      TypeError: the loss does not return a real floating scalar, a parameter is not floating or
        complex, or a learning rate is not a real scalar.
      ValueError: there are no parameters, a learning rate is not finite, or `learning_rate` is no
        pytree prefix of `params`.

    References:
      Cauchy, Méthode générale pour la résolution des systèmes d'équations simultanées, 1847.

    >>> import gdjax
    >>> loss = lambda params, x, y: (params["w"] * x + params["b"] - y) ** 2
    >>> params = {"w": 1.0, "b": 0.0}
    >>> new = gdjax.gradient_step(loss, params, 0.1, 2.0, 1.0)
    >>> print(f"{new['w']:.3f} {new['b']:.3f}")
    0.600 -0.200
    """
    checks.function("loss", loss)
    params = check_params("params", params)
    learning_rate = strongly_typed(
        jax.tree_util.tree_map_with_path(
            lambda path, rate: checks.finite_scalar(
                "learning_rate" + jax.tree_util.keystr(path), rate
            ),
            learning_rate,
        )
    )
    try:
        jax.tree.broadcast(learning_rate, params)
    except ValueError as error:
        raise ValueError(
            "learning_rate: expected a scalar or a pytree prefix of params, "
            f"{jax.tree.structure(params)}, got {jax.tree.structure(learning_rate)}"
        ) from error
    return _gradient_step(loss, params, learning_rate, args)


@partial(jax.jit, static_argnums=0)
def _gradient_step(loss, params, learning_rate, args):
    gradient = ascent_direction(loss, params, args)
    return jax.tree.map(
        lambda p, rate, g: p - rate.astype(p.real.dtype) * g,
        params,
        jax.tree.broadcast(learning_rate, params),
        gradient,
    )
