"""The end of a run in so many parameters that only the ends of the spectrum are looked at."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.sparse.linalg import cg

from gdjax.curvature.extremes import End, both_ends, steps_for
from gdjax.curvature.lanczos import Product, solved, times
from gdjax.diagnosis.point import (
    ARRIVED,
    EVEN,
    FARTHEST,
    MOST_STEPS,
    NEAR,
    NOISY,
    NONE,
    REMAINING,
    Point,
    kind_of,
)
from gdjax.diagnosis.probes import nothing_seen, probed, turned_down, unit_rows
from gdjax.diagnosis.surface import Model, Surface, flatness, noise, norm
from gdjax.trees import computed_where

REDUCED = 0.1  # of the gradient, what a step of Newton's method leaves of it at most
BESIDE = 0.1  # of the curvature along a step, what that along a valley's side may be
LINEAR = 0.4  # of a step, what the next one is at a degenerate point: half of it, or more
MOST_PRODUCTS = 100  # with the Hessian, for such a step
REFINED = 4  # times an eigenvector, at most
RANDOM = 4  # directions of the kernel
TURNS = 8  # of each towards where the loss is least


def large_point(
    at: Surface, x: jax.Array, first_loss: jax.Array, scale: jax.Array, wanted: Any = True
) -> tuple[Point, jax.Array, jax.Array]:
    """Return the same as `point`, the gradient, and what may remain; indices are lower bounds."""
    loss, gradient = jax.value_and_grad(at.loss)(x)
    here = _ends(at, x)
    path = _newton(at, x, here, wanted)
    roundings = noise(at, jnp.stack([x, path.x]))
    rounding = jax.tree.map(lambda leaf: leaf[0], roundings)
    at_noise = norm(gradient) <= NOISY * rounding.gradient
    reached = path.arrived | (norm(path.gradient) <= NOISY * roundings.gradient[1])
    arrived = wanted & (at_noise | reached)
    # Off a valley's floor, its curvature along the valley does not vanish.
    ends = jax.tree.map(lambda a, b: jnp.where(reached, a, b), _ends(at, path.x), here)
    flat = ends.flat | path.degenerate
    widest = jnp.maximum(jnp.abs(ends.least), jnp.abs(ends.largest))
    vector = jnp.where(path.degenerate, path.direction, ends.vector)
    probes = computed_where(
        flat & arrived,
        lambda x, vector: probed(
            at,
            x,
            path.loss,
            _flat_directions(at, x, vector, scale),
            jnp.maximum(rounding.loss, path.fall),
            scale,
            ends.error,
        ),
        (path.x, vector),
        nothing_seen(),
    )
    tells = ~flat & (widest > 0) & (norm(path.x - x) <= NEAR * scale)
    even = jnp.where(tells, norm(gradient) ** 2 / (2 * widest), 0)
    limit = jnp.maximum(REMAINING * jnp.abs(first_loss - loss), EVEN * even)
    condition = jnp.where(flat, jnp.nan, widest / jnp.abs(ends.least))
    kind = kind_of(ends.up, ends.down, flat, probes)
    found = Point(
        kind=jnp.where(arrived & ~probes.slides, kind, NONE),
        x=path.x,
        model=_along(vector, ends.least, flat, path),
        loss=loss,
        curvature_min=ends.least,
        curvature_max=ends.largest,
        negative=ends.negative,
        flat_dimension=flat.astype(jnp.int32),
        condition=condition,
        remaining=jnp.where(arrived, loss - path.loss, jnp.nan),
        close=jnp.abs(loss - path.loss) <= limit + rounding.loss,
        at_noise=at_noise,
        noise=rounding,
    )
    return found, gradient, limit


def _along(vector: jax.Array, curvature: jax.Array, flat: jax.Array, path: "_Path") -> Model:
    """Return the quadratic model along one axis [dim]."""
    axes = vector[:, None]
    slopes = times(path.gradient, axes)
    return Model(path.loss, path.gradient, slopes, curvature[None], axes, flat[None])


class _Ends(NamedTuple):
    """The ends of the spectrum of the Hessian."""

    least: jax.Array
    largest: jax.Array
    vector: jax.Array  # [dim] of the least
    flat: jax.Array  # whether the least is 0, to its residual
    up: jax.Array  # whether the largest is above 0
    down: jax.Array  # whether the least is below 0
    negative: jax.Array  # int32 [] how many are so, or more
    error: jax.Array  # of the least


def _ends(at: Surface, x: jax.Array) -> _Ends:
    _, product = jax.linearize(jax.grad(at.loss), x)
    high, low = both_ends(product, x, jax.random.key(0), 1, steps_for(x.size, None))
    largest = high.values[0]
    rounded = flatness(at.eps) * jnp.maximum(jnp.abs(low.values[0]), jnp.abs(largest))
    error, above = (jnp.maximum(rounded, end.errors[0]) for end in (low, high))
    vector, least, residual = _least(product, low, rounded)
    # The error bounds where the least eigenvalue is. As near as the residual there is one.
    below = jnp.maximum(rounded, residual)
    return _Ends(
        least=least,
        largest=largest,
        vector=vector,
        flat=jnp.abs(least) <= below,
        up=largest > above,
        down=least < -below,
        # Each value of Ritz is above as many eigenvalues: Cauchy's interlacing.
        negative=jnp.sum(low.ritz > below, dtype=jnp.int32),
        error=error,
    )


def _least(
    product: Product, low: End, rounded: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return an eigenvector [dim] of the least eigenvalue, its Rayleigh quotient and residual.

    Where those leave open whether it is 0, it is looked for once more, by inverse iteration:
    Golub and Van Loan, Matrix Computations, 4th edition, 2013, section 8.2.
    """
    shift = 2 * (low.errors[0] + jnp.maximum(low.values[0], 0))  # that makes all of them positive

    def measured(vector: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        image = product(vector)
        least = jnp.sum(vector * image)
        return vector, least, norm(image - least * vector)

    def again(carry: tuple) -> tuple:
        turns, vector, *_ = carry
        step = newton_step(lambda v: product(v) + shift * v, vector)
        return turns + 1, *measured(unit_rows(step[None])[0])

    def is_open(carry: tuple) -> jax.Array:
        turns, _, least, residual = carry
        return (turns < REFINED) & (jnp.abs(least) > rounded) & (jnp.abs(least) <= residual)

    first = jnp.zeros((), jnp.int32), *measured(low.vectors[0])
    return lax.while_loop(is_open, again, first)[1:]


def _flat_directions(at: Surface, x: jax.Array, flattest: jax.Array, scale: jax.Array) -> jax.Array:
    """Return directions [n, dim]: the flattest, and some of the kernel that lead down."""
    _, product = jax.linearize(jax.grad(at.loss), x)

    def within(vector: jax.Array) -> jax.Array:
        return vector + newton_step(product, product(vector))

    def again(_: int, starts: jax.Array) -> jax.Array:
        return unit_rows(lax.map(within, starts))

    random = jax.random.normal(jax.random.key(1), (RANDOM, x.size), x.dtype)
    starts = lax.fori_loop(0, 2, again, random)  # once does not suffice beside stiff axes
    down = turned_down(at, x, starts, scale, within, turns=TURNS)
    return jnp.concatenate([flattest[None], lax.fori_loop(0, 2, again, down)])


class _Path(NamedTuple):
    """Where Newton's method leads."""

    steps: jax.Array  # int32 []
    x: jax.Array  # [dim]
    loss: jax.Array  # there
    gradient: jax.Array  # [dim]
    direction: jax.Array  # [dim] of the last step
    first: jax.Array  # length of the first step
    last: jax.Array  # of the last
    travelled: jax.Array  # of all
    fall: jax.Array  # of the loss in the last
    quick: jax.Array  # bool [] whether the first step suffices, or they shrink ever faster
    degenerate: jax.Array  # bool [] whether they shrink as at a singular Hessian
    done: jax.Array  # bool []

    @property
    def arrived(self) -> jax.Array:
        """Whether it leads to a critical point."""
        return self.quick | self.degenerate


def _newton(at: Surface, x: jax.Array, here: _Ends, wanted: Any) -> _Path:
    """Return where Newton's method leads; see `point` on why its steps must shrink.

    Beside a valley, the curvature along it is as small as the gradient is. So where the least one
    may be that, the gradient is brought down to rounding.
    """
    loss, gradient = jax.value_and_grad(at.loss)(x)
    widest = jnp.maximum(jnp.abs(here.least), jnp.abs(here.largest))
    floor = at.eps * widest * norm(x)

    def polish(p: _Path) -> _Path:
        _, product = jax.linearize(jax.grad(at.loss), p.x)
        # Conjugate gradients are not made for indefinite matrices.
        step = computed_where(
            ~(here.down & here.up), partial(newton_step, product), (p.gradient,), jnp.zeros_like(x)
        )
        step = computed_where(
            norm(product(step) + p.gradient) > REDUCED * norm(p.gradient),
            lambda g: solved(product, -g, steps_for(x.size, None), flatness(at.eps)),
            (p.gradient,),
            step,
        )
        step = jnp.where(jnp.all(jnp.isfinite(step)), step, 0)
        length = norm(step)
        loss, gradient = jax.value_and_grad(at.loss)(p.x + step)
        steepness = norm(p.gradient)
        left = norm(gradient) / jnp.where(steepness > 0, steepness, 1)
        is_first = p.steps == 0
        first = jnp.where(is_first, length, p.first)
        # Along a bent valley's floor the loss falls, but the stiff axes' part may grow on the way.
        better = (left < 1) | (~here.down & (loss < p.loss))
        better &= p.travelled + length <= FARTHEST * first
        shrunk = ~is_first & ~p.quick & (length <= ARRIVED * first)
        linear = shrunk & (length > LINEAR * p.last)
        quick = p.quick | (is_first & (left <= REDUCED)) | (shrunk & ~linear)
        curvature = jnp.abs(jnp.sum(step * p.gradient)) / jnp.where(length > 0, length, 1) ** 2
        gone = curvature <= flatness(at.eps) * widest
        beside_valley = jnp.abs(here.least) <= BESIDE * curvature
        improves = beside_valley & (left <= REDUCED) & (norm(gradient) > floor)
        new = _Path(
            steps=p.steps + 1,
            x=p.x + step,
            loss=loss,
            gradient=gradient,
            direction=step / jnp.where(length > 0, length, 1),
            first=first,
            last=length,
            travelled=p.travelled + length,
            fall=jnp.abs(p.loss - loss),
            quick=quick,
            degenerate=linear,
            done=(quick & ~improves) | (linear & gone),
        )
        kept = jax.tree.map(lambda a, b: jnp.where(better | is_first, a, b), new, p)
        return kept._replace(done=new.done | ~better)

    def unfinished(p: _Path) -> jax.Array:
        return (p.steps < MOST_STEPS) & ~p.done

    zero, no = jnp.zeros((), x.dtype), jnp.zeros((), bool)
    start = _Path(
        steps=jnp.zeros((), jnp.int32),
        x=x,
        loss=loss,
        gradient=gradient,
        direction=jnp.zeros_like(x),
        first=zero,
        last=zero,
        travelled=zero,
        fall=zero,
        quick=no,
        degenerate=no,
        done=~jnp.asarray(wanted),
    )
    return lax.while_loop(unfinished, polish, start)


def newton_step(product: Product, gradient: jax.Array) -> jax.Array:
    """Return Newton's step by conjugate gradients, none in the kernel of the Hessian."""
    return cg(product, -gradient, tol=REDUCED**2, maxiter=MOST_PRODUCTS)[0]
