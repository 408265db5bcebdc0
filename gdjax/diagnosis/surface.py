"""The loss of all examples around a point: its quadratic model, and how it is rounded."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gdjax.curvature.extremes import LARGEST_HESSIAN, real_size
from gdjax.curvature.lanczos import times
from gdjax.curvature.products import columns, widened
from gdjax.curvature.small import eigh
from gdjax.descent import Descent
from gdjax.descent.description import whole_arguments
from gdjax.losses import value
from gdjax.trees import PyTree, coarsest_eps, max_abs, real_vector

FLATNESS = 64  # in machine epsilons of the greatest curvature
ULPS = 4  # how far the loss is sampled to see how it is rounded
LEAST_NOISE = 1e6  # in units of the least normal number, below which powers of it vanish


class Surface(NamedTuple):
    """A loss as a function of a real vector [dim], at least in float32."""

    loss: Callable[[jax.Array], jax.Array]
    eps: float  # of the parameters' coarsest dtype


class Model(NamedTuple):
    """The quadratic model of a loss at a point."""

    loss: jax.Array
    gradient: jax.Array  # [dim]
    slopes: jax.Array  # [dim] along each axis
    curvatures: jax.Array  # [dim] in ascending order
    axes: jax.Array  # [dim, dim] in columns
    flat: jax.Array  # [dim] whether the curvature is rounding

    def step(self, least: Any = 0.0, damping: Any = 0.0) -> jax.Array:
        """Return Newton's step to the critical point, none along flat axes.

        Nor is there any along those with a curvature below `least` times the largest. `damping` is
        added to the size of each curvature.
        """
        sizes = jnp.abs(self.curvatures)
        still = self.flat | (sizes < least * jnp.max(sizes))
        damped = self.curvatures + jnp.sign(self.curvatures) * damping
        along = jnp.where(still, 0, self.slopes / jnp.where(still, 1, damped))
        return -times(self.axes, along)

    def times(self, vector: jax.Array) -> jax.Array:
        """Return the Hessian times a vector."""
        return times(self.axes, self.curvatures * times(vector, self.axes))


class Noise(NamedTuple):
    """How far rounding of the parameters, and in the loss, moves it and its gradient."""

    loss: jax.Array
    gradient: jax.Array  # Euclidean norm


def surface(d: Descent, params: PyTree) -> tuple[Surface, jax.Array]:
    """Return the loss of all examples as a function of a vector, and the vector of `params`."""
    vector, unravel = real_vector(widened(params))
    args = whole_arguments(d)
    # What rounds, if the parameters do, is the run and not the surface that it runs on.
    return Surface(lambda x: value(d.loss, unravel(x), args), coarsest_eps(d.params)), vector


def largest_entry(params: PyTree, vector: jax.Array) -> jax.Array:
    """Return the largest absolute entry of parameters given as a vector, complex ones whole."""
    if any(map(jnp.iscomplexobj, jax.tree.leaves(params))):
        own, unravel = real_vector(params)
        return max_abs(unravel(vector.astype(own.dtype))).astype(vector.dtype)
    return jnp.max(jnp.abs(vector))


def is_large(d: Descent) -> bool:
    """Return whether there are too many parameters for the whole Hessian."""
    return real_size(d.params) > LARGEST_HESSIAN


def gradient_and_product(
    at: Surface, x: jax.Array, vector: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return the gradient, and the Hessian times a vector."""
    return jax.jvp(jax.grad(at.loss), (x,), (vector,))


def model(at: Surface, x: jax.Array) -> Model:
    """Return the quadratic model of a loss at a point."""
    (loss, gradient), linear = jax.linearize(jax.value_and_grad(at.loss), x)
    hessian = columns(lambda v: linear(v)[1], x.size, x.dtype)
    curvatures, axes = eigh((hessian + hessian.T) / 2)
    flat = is_flat(at, curvatures, jnp.max(jnp.abs(curvatures)))
    slopes = times(gradient, axes)
    return Model(loss, gradient, slopes, curvatures, axes, flat)


def is_flat(at: Surface, curvatures: jax.Array, largest: jax.Array) -> jax.Array:
    """Return whether curvatures are rounding beside the largest."""
    return jnp.abs(curvatures) <= flatness(at.eps) * largest


def flatness(eps: float) -> float:
    """Return the share of the largest curvature below which others are rounding."""
    return min(FLATNESS * eps, eps**0.5)  # the latter where even the former is far from small


def noise(at: Surface, points: jax.Array) -> Noise:
    """Return how rounding moves the loss and its gradient at each of some points [n, dim]."""
    return lax.map(lambda x: _noise(at, x), points)


def _noise(at: Surface, x: jax.Array) -> Noise:
    """Return how loss and gradient scatter among the nearest numbers of the parameters' dtype."""
    # Two signs for each coordinate, in patterns that keep the moves of two coordinates apart.
    number = np.arange(x.size)
    signs = np.stack([1 - 2 * ((number >> bit) & 1) for bit in range(4)])
    moves = np.concatenate([signs[:1] * 0, signs, -signs]) * (ULPS * at.eps)
    losses, gradients = lax.map(
        lambda move: jax.value_and_grad(at.loss)(x * (1 + move)), jnp.asarray(moves, x.dtype)
    )
    own = jnp.finfo(x.dtype)
    loss = jnp.max(jnp.abs(losses - losses[0])) + own.eps * jnp.abs(losses[0])
    gradient = jnp.max(norm(gradients - gradients[:1], axis=1))
    return Noise(jnp.maximum(loss, LEAST_NOISE * own.tiny), gradient)


def norm(x: jax.Array, axis: Any = None) -> jax.Array:
    """Return the Euclidean norm, where squares would not fit the dtype as well."""
    largest = jnp.max(jnp.abs(x), axis=axis, keepdims=True)
    scale = jnp.where(largest > 0, largest, 1)
    found = scale * jnp.sqrt(jnp.sum((x / scale) ** 2, axis=axis, keepdims=True))
    return jnp.squeeze(found, axis=axis)
