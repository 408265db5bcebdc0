"""A closer look at end points: polished by Newton's method, and what kind of point each is.

All of it is done in coordinates in units of their spread, so that scales do not matter, and in
double precision where the loss can be computed in it.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gdjax.curvature.extremes import LARGEST_HESSIAN, MOST_STEPS, both_ends, steps_for
from gdjax.curvature.lanczos import Product
from gdjax.curvature.products import columns, widened
from gdjax.curvature.small import eigh
from gdjax.descent.description import whole_arguments
from gdjax.diagnosis.large import large_point
from gdjax.diagnosis.point import (
    NONE,
    Approach,
    approached,
    beside,
    described,
    is_degenerate,
    kind_there,
    probed_there,
)
from gdjax.diagnosis.probes import nothing_seen
from gdjax.diagnosis.surface import Surface, model, noise
from gdjax.diagnosis.verdict import Verdict
from gdjax.losses import value
from gdjax.sweeps.constants_apart import ConstantsApart
from gdjax.sweeps.lanes import Lane
from gdjax.trees import PyTree, coarsest_eps, in_double, real_vector, strongly_typed

FARTHEST_POLISH = 0.05  # of the spread: what Newton's method moves farther was no rounding error
ABREAST = 64  # points that are looked at together
MOST_NUMBERS = 2**23  # of the Krylov spaces of those


class Precision(NamedTuple):
    """In which arithmetic a lane is looked at."""

    double: bool  # whether in double precision, other than that of the runs
    x64: bool  # whether the runs were traced with `jax_enable_x64`, which random numbers depend on


class CriticalPoint(NamedTuple):
    """An end point after the closer look; under `vmap` with a leading axis."""

    vector: jax.Array  # [dim] as `real_vector` makes it of the parameters
    loss: jax.Array
    loss_error: jax.Array  # how far the rounding of the runs may have left it
    curvature_min: jax.Array  # least and greatest eigenvalue of the Hessian
    curvature_max: jax.Array
    kind: jax.Array  # int32 [] a Verdict, NONE where there is no critical point nearby
    # Negative curvatures, int32 []; beyond 256 parameters at most 1 is seen.
    index: jax.Array  # pyright: ignore[reportIncompatibleMethodOverride]
    flat_dimension: jax.Array  # int32 [] vanishing curvatures, likewise
    end_loss: jax.Array  # at the end, before it is polished
    end_error: jax.Array  # how the rounding of the runs moves that


class Doubt(NamedTuple):
    """What to look at once more where the curvatures do not tell the kind of a point."""

    is_degenerate: jax.Array  # bool []
    approach: Approach | None  # None where there are too many parameters for the Hessian
    near: jax.Array  # bool [] whether the end is
    no_higher: jax.Array  # bool [] than the end

    def refused(self, kind: jax.Array) -> jax.Array:
        """Return the kind, NONE if it is that of a point that the end was not rounded off."""
        taken = self.near & (~is_bottom(kind) | self.no_higher)
        return jnp.where(taken, kind, NONE)


@lru_cache(maxsize=32)
def critical_points_program(
    lane: Lane, precision: Precision
) -> Callable[..., tuple[CriticalPoint, Doubt]]:
    """Return a function of `(values, numbers, key, params, spread)` to `CriticalPoint`s.

    `values`, `numbers` and `params` have a leading axis of points; `spread` is [dim]. The kind of a
    degenerate point is left open: few losses have one, and what finds it takes long to compile.
    """

    @ConstantsApart
    def critical_points(values: PyTree, numbers: Any, key: Any, params: PyTree, spread: jax.Array):
        def look(end: tuple) -> tuple[CriticalPoint, Doubt]:
            values, number, params = end
            at = scaled_surface(lane, precision, values, number, key, spread)
            x = real_vector(params)[0].astype(spread.dtype) / spread
            return _look_closer(at, x, spread, coarsest_eps(params))

        return lax.map(look, (values, numbers, params), batch_size=abreast(spread.size))

    return critical_points


@lru_cache(maxsize=32)
def degenerate_kinds_program(lane: Lane, precision: Precision) -> Callable[..., jax.Array]:
    """Return a function of `(values, numbers, key, doubts, spread)` to the kinds of points."""

    @ConstantsApart
    def kinds(values: PyTree, numbers: Any, key: Any, doubts: Doubt, spread: jax.Array):
        def look(one: tuple) -> jax.Array:
            values, number, doubt = one
            at = scaled_surface(lane, precision, values, number, key, spread)
            a = doubt.approach
            m = beside(at, model(at, a.x), a.largest)
            probes = probed_there(at, a, m, jnp.ones((), a.x.dtype))
            return doubt.refused(kind_there(a, m, probes))

        return lax.map(look, (values, numbers, doubts), batch_size=abreast(spread.size))

    return kinds


def abreast(dim: int) -> int:
    """Return how many points of so many numbers are looked at together."""
    few = dim <= LARGEST_HESSIAN
    return ABREAST if few else max(1, min(ABREAST, MOST_NUMBERS // (MOST_STEPS * dim)))


def scaled_surface(
    lane: Lane,
    precision: Precision,
    values: PyTree,
    number: Any,
    key: Any,
    spread: jax.Array,
) -> Surface:
    """Return the loss of a lane as a function of a vector in units of the spread."""
    with jax.enable_x64(precision.x64):
        d = lane.descent(values, number, key)
        args = whole_arguments(d)
    params = strongly_typed(d.params)
    if precision.double:
        wide, eps = in_double(params), float(jnp.finfo(jnp.float64).eps)
    else:
        wide, eps = widened(params), coarsest_eps(params)
    _, unravel = real_vector(wide)
    return Surface(lambda x: value(d.loss, unravel(x * spread), args), eps)


def _look_closer(
    at: Surface, x: jax.Array, spread: jax.Array, eps: float
) -> tuple[CriticalPoint, Doubt]:
    approach, doubtful = None, jnp.zeros((), bool)
    anything = jnp.full((), jnp.inf, x.dtype)
    if x.size > LARGEST_HESSIAN:
        p, *_ = large_point(at, x, anything, jnp.ones((), x.dtype))
    else:
        first = model(at, x)
        approach, m = approached(at, x, first, jnp.ones((), x.dtype))
        doubtful = is_degenerate(approach, m)
        p = described(first, anything, jnp.ones((), bool), approach, m, nothing_seen())
    found = jnp.where(jnp.isfinite(p.x), p.x, x)
    error, end_error = noise(at._replace(eps=eps), jnp.stack([found, x])).loss
    loss = at.loss(found)
    near = jnp.max(jnp.abs(found - x)) <= FARTHEST_POLISH
    doubt = Doubt(doubtful, approach, near, loss <= p.loss + error + end_error)
    _, product = jax.linearize(jax.grad(at.loss), found)
    least, largest = _range(lambda v: product(v / spread) / spread, x)
    point = CriticalPoint(
        vector=found * spread,
        loss=loss,
        loss_error=error,
        curvature_min=least,
        curvature_max=largest,
        kind=doubt.refused(p.kind),
        index=p.negative,
        flat_dimension=p.flat_dimension,
        end_loss=p.loss,
        end_error=end_error,
    )
    return point, doubt


def is_bottom(kind: Any) -> Any:
    """Return whether a kind of point is one that runs stay at."""
    return (kind == int(Verdict.MINIMUM)) | (kind == int(Verdict.VALLEY))


def _range(product: Product, like: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the least and the largest eigenvalue of a symmetric matrix."""
    if like.size <= LARGEST_HESSIAN:
        matrix = columns(product, like.size, like.dtype)
        values, _ = eigh((matrix + matrix.T) / 2)
        return values[0], values[-1]
    high, low = both_ends(product, like, jax.random.key(0), 1, steps_for(like.size, None))
    return -low.values[0], high.values[0]
