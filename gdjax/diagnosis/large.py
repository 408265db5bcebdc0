"""The end of a run in so many parameters that only the ends of the spectrum are looked at."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.sparse.linalg import cg

from gdjax.curvature.extremes import both_ends, steps_for
from gdjax.curvature.lanczos import Product
from gdjax.diagnosis.point import EVEN, NOISY, NONE, REMAINING, Point, kind_of
from gdjax.diagnosis.probes import NOTHING_SEEN, Probes, probed
from gdjax.diagnosis.surface import Surface, flatness, noise, norm

REDUCED = 0.1  # of the gradient, what a step of Newton's method leaves of it at most
MOST_PRODUCTS = 100  # with the Hessian, for that step


def large_point(
    at: Surface, x: jax.Array, first_loss: jax.Array, scale: jax.Array
) -> tuple[Point, jax.Array]:
    """Return the same as `point`, and what may remain there; indices are lower bounds."""
    loss, gradient = jax.value_and_grad(at.loss)(x)
    _, product = jax.linearize(jax.grad(at.loss), x)
    here = _ends(at, x)
    step = lax.cond(
        here.down & here.up,
        lambda: _of_squares(product, gradient),
        lambda: _of_hessian(product, gradient),
    )
    step = jnp.where(jnp.all(jnp.isfinite(step)), step, 0)
    roundings = noise(at, jnp.stack([x, x + step]))
    rounding = jax.tree.map(lambda leaf: leaf[0], roundings)
    there, left = jax.value_and_grad(at.loss)(x + step)
    at_noise = norm(gradient) <= NOISY * rounding.gradient
    reached = norm(left) <= jnp.maximum(REDUCED * norm(gradient), NOISY * roundings.gradient[1])
    arrived = at_noise | reached
    # Off a valley's floor, its curvature along the valley does not vanish.
    least, largest, vector, flat, up, down = jax.tree.map(
        lambda a, b: jnp.where(reached, a, b), _ends(at, x + step), here
    )
    widest = jnp.maximum(jnp.abs(least), jnp.abs(largest))
    probes = lax.cond(
        flat & arrived,
        lambda: probed(at, x + step, vector[None], rounding.loss, scale),
        lambda: Probes(*(jnp.bool_(x) for x in NOTHING_SEEN)),
    )
    even = jnp.where(widest > 0, norm(gradient) ** 2 / (2 * widest), 0)
    limit = jnp.maximum(REMAINING * jnp.abs(first_loss - loss), EVEN * even)
    condition = jnp.where(flat, jnp.nan, widest / jnp.abs(least))
    found = Point(
        kind=jnp.where(arrived & ~probes.slides, kind_of(up, down, flat, probes), NONE),
        loss=loss,
        grad_norm=jnp.max(jnp.abs(gradient)),
        curvature_min=least,
        curvature_max=largest,
        negative=down.astype(jnp.int32),
        flat_dimension=flat.astype(jnp.int32),
        condition=condition,
        remaining=jnp.where(arrived, loss - there, jnp.nan),
        close=jnp.abs(loss - there) <= limit + rounding.loss,
        at_noise=at_noise,
        noise=rounding,
    )
    return found, limit


class _Ends(NamedTuple):
    """The ends of the spectrum of the Hessian."""

    least: jax.Array
    largest: jax.Array
    vector: jax.Array  # [dim] of the least
    flat: jax.Array  # whether the least is 0, to its error
    up: jax.Array  # whether the largest is above 0
    down: jax.Array  # whether the least is below 0


def _ends(at: Surface, x: jax.Array) -> _Ends:
    _, product = jax.linearize(jax.grad(at.loss), x)
    high, low = both_ends(product, x, jax.random.key(0), 1, steps_for(x.size, None))
    least, largest = -low.values[0], high.values[0]
    rounded = flatness(at.eps) * jnp.maximum(jnp.abs(least), jnp.abs(largest))
    below, above = (jnp.maximum(rounded, end.errors[0]) for end in (low, high))
    flat = jnp.abs(least) <= below
    return _Ends(least, largest, low.vectors[0], flat, largest > above, least < -below)


def _of_hessian(product: Product, gradient: jax.Array) -> jax.Array:
    return cg(product, -gradient, tol=REDUCED**2, maxiter=MOST_PRODUCTS)[0]


def _of_squares(product: Product, gradient: jax.Array) -> jax.Array:
    """Return Newton's step where the Hessian is indefinite: conjugate gradients need its square."""
    return cg(
        lambda v: product(product(v)), -product(gradient), tol=REDUCED**2, maxiter=MOST_PRODUCTS
    )[0]
