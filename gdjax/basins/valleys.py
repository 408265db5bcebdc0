"""Valleys and plateaus: degenerate minima joined by a path that never rises are one attractor."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gdjax.basins.critical import CriticalPoint, Precision, abreast, is_bottom, scaled_surface
from gdjax.curvature.extremes import LARGEST_HESSIAN, both_ends, steps_for
from gdjax.diagnosis.large import newton_step
from gdjax.diagnosis.probes import MOST_AXES
from gdjax.diagnosis.surface import Surface, flatness, model
from gdjax.sweeps.constants_apart import ConstantsApart
from gdjax.sweeps.lanes import Lane
from gdjax.trees import PyTree

NEIGHBOURS = 12
BRIDGES = 4  # gaps that are tried for each part of a valley
ON_THE_WAY = np.arange(1, 8) / 8
RELAXING_STEPS = 8  # of Newton's method, from the chord to the valley's floor
SETTLING_STEPS = 40  # of the same, back from where a degenerate minimum rises by a power
ASIDE = 10.0  # tolerances that one goes along a flat axis
STAYED = 0.3  # of them, that are left where the floor goes on


def neighbouring_pairs(points: np.ndarray) -> np.ndarray:
    """Return pairs [pairs, 2] of the indices of points [n, dim] and their nearest neighbours."""
    from scipy.spatial import KDTree  # scipy is slow to import, and few programs map basins

    if len(points) < 2:
        return np.zeros((0, 2), int)
    count = min(NEIGHBOURS + 1, len(points))
    neighbours = np.asarray(KDTree(points).query(points, k=count)[1])
    pairs = np.stack([np.repeat(np.arange(len(points)), count), neighbours.ravel()])
    pairs = np.unique(np.sort(pairs, axis=0), axis=1).T
    return pairs[pairs[:, 0] < pairs[:, 1]]


def bridging_pairs(points: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return pairs [pairs, 2] of the indices of points [n, dim] at the narrowest gaps of groups."""
    from scipy.spatial import KDTree

    pairs = []
    for one in np.unique(group):
        inside, outside = np.flatnonzero(group == one), np.flatnonzero(group != one)
        if len(outside):
            gaps, nearest = map(np.asarray, KDTree(points[outside]).query(points[inside]))
            closest = np.argsort(gaps, kind="stable")[:BRIDGES]
            pairs.append(np.stack([inside[closest], outside[nearest[closest]]], axis=1))
    return np.concatenate(pairs) if pairs else np.zeros((0, 2), int)


@lru_cache(maxsize=32)
def joined_program(lane: Lane, precision: Precision) -> Callable[..., jax.Array]:
    """Return a function of `(values, numbers, key, one, other, spread, eps)` to booleans.

    `one` and `other` are `CriticalPoint`s with a leading axis of pairs, as are `values` and
    `numbers`, the lanes of `one`. `eps` is that of the runs.
    """

    @ConstantsApart
    def joined(values: PyTree, numbers: Any, key: Any, one, other, spread, eps) -> jax.Array:
        def look(pair: tuple) -> jax.Array:
            values, number, one, other = pair
            at = scaled_surface(lane, precision, values, number, key, spread)
            return _joined(at, one, other, spread, eps)

        return lax.map(look, (values, numbers, one, other), batch_size=abreast(spread.size))

    return joined


def _joined(
    at: Surface, one: CriticalPoint, other: CriticalPoint, spread: jax.Array, eps: jax.Array
) -> jax.Array:
    """Return whether a path along the floor, near the chord, never rises above its ends.

    From a saddle or a maximum it must not fall below them either. A long step of the path may pass
    over a wall: where the loss leaves the floor most between two points of the path, one looks as
    closely once more, and there it must come nearer to it.
    """
    start, end = one.vector / spread, other.vector / spread
    error = one.loss_error + other.loss_error
    top, bottom = jnp.maximum(one.loss, other.loss), jnp.minimum(one.loss, other.loss)
    is_low = is_bottom(one.kind)

    def is_joined(path: _Path) -> jax.Array:
        before, after = path.chord, path.floor
        rises = jnp.max(after) - top > error + eps * jnp.maximum(jnp.max(before) - top, 0)
        falls = bottom - jnp.min(after) > error + eps * jnp.maximum(bottom - jnp.min(before), 0)
        return path.unbroken & ~rises & (is_low | ~falls)

    def off_floor(path: _Path) -> jax.Array:
        """Return how far the loss is off the ends' between each two points of a path."""
        between = _chords(path.points[:-1], path.points[1:])
        losses = jax.vmap(jax.vmap(at.loss))(between)
        rise, fall = jnp.max(losses, axis=1) - top, bottom - jnp.min(losses, axis=1)
        return jnp.where(is_low, rise, jnp.maximum(rise, fall))

    path = _path(at, start, end)
    off = off_floor(path)
    most = jnp.argmax(off)
    closer = _path(at, path.points[most], path.points[most + 1])
    nearer = jnp.max(off_floor(closer)) <= off[most] / 2 + error
    return is_joined(path) & ((off[most] <= error) | (is_joined(closer) & nearer))


class _Path(NamedTuple):
    """A path along a floor, near the chord of its ends."""

    points: jax.Array  # [n + 2, dim] with the ends
    chord: jax.Array  # [n] the losses on the chord
    floor: jax.Array  # [n] and of the points found from there
    unbroken: jax.Array  # bool [] whether no two points are far apart


def _path(at: Surface, start: jax.Array, end: jax.Array) -> _Path:
    (chord,) = _chords(start[None, :], end[None, :])
    found = jax.vmap(lambda point: _relaxed(at, point, RELAXING_STEPS))(chord)
    points = jnp.concatenate([start[None, :], found, end[None, :]])
    length = jnp.max(jnp.abs(end - start))
    unbroken = jnp.max(jnp.abs(jnp.diff(points, axis=0))) <= length / 2
    return _Path(points, jax.vmap(at.loss)(chord), jax.vmap(at.loss)(found), unbroken)


def _chords(starts: jax.Array, ends: jax.Array) -> jax.Array:
    """Return points [n, on the way, dim] on the chords of pairs [n, dim]."""
    shares = jnp.asarray(ON_THE_WAY, starts.dtype)[None, :, None]
    return starts[:, None, :] * (1 - shares) + ends[:, None, :] * shares


def _relaxed(at: Surface, point: jax.Array, steps: int) -> jax.Array:
    """Return where Newton's method leads across the floor, but not along it."""

    def relax(_: Any, x: jax.Array) -> jax.Array:
        if x.size <= LARGEST_HESSIAN:
            return x + model(at, x).step()
        gradient, product = jax.linearize(jax.grad(at.loss), x)
        return x + newton_step(product, gradient)

    return lax.fori_loop(0, steps, relax, point)


@lru_cache(maxsize=32)
def dimension_program(lane: Lane, precision: Precision) -> Callable[..., jax.Array]:
    """Return a function of `(values, numbers, key, found, spread, tol, eps)` to dimensions.

    `found` are degenerate `CriticalPoint`s, with a leading axis as `values` and `numbers`.
    """

    @ConstantsApart
    def dimensions(values: PyTree, numbers: Any, key: Any, found, spread, tol, eps) -> jax.Array:
        def look(one: tuple) -> jax.Array:
            values, number, found = one
            at = scaled_surface(lane, precision, values, number, key, spread)
            return _dimension(at, found, spread, tol, eps)

        return lax.map(look, (values, numbers, found), batch_size=1)

    return dimensions


def _dimension(
    at: Surface, found: CriticalPoint, spread: jax.Array, tol: jax.Array, eps: jax.Array
) -> jax.Array:
    """Return in how many directions the floor goes on from a degenerate minimum.

    Along an axis whose curvature vanishes the loss may still rise, as x⁴ does: so one goes along
    it, across to the floor, and looks where that leads.
    """
    x, reach = found.vector / spread, ASIDE * tol
    if x.size <= LARGEST_HESSIAN:
        m = model(at, x)
        flattest = jnp.argsort(jnp.abs(m.curvatures))[: min(x.size, MOST_AXES)]
        flat = jnp.arange(len(flattest)) < found.flat_dimension
        axes = jnp.where(flat[:, None], m.axes.T[flattest], 0)
    else:
        _, product = jax.linearize(jax.grad(at.loss), x)
        high, low = both_ends(product, x, jax.random.key(0), MOST_AXES, steps_for(x.size, None))
        rounding = jnp.maximum(low.errors, flatness(at.eps) * jnp.abs(high.values[0]))
        # The least is flat, as Newton's method saw, though it may not vanish at once.
        flat = (jnp.abs(low.values) <= rounding) | (jnp.arange(MOST_AXES) == 0)
        axes = jnp.where(flat[:, None], low.vectors, 0)
    moves = reach * jnp.concatenate([axes, -axes])

    def stays(move: jax.Array) -> jax.Array:
        there = _relaxed(at, x + move, SETTLING_STEPS)
        before, after = at.loss(x + move) - found.loss, at.loss(there) - found.loss
        level = after <= 2 * found.loss_error + eps * jnp.maximum(before, 0)
        return jnp.where(level, (there - x) / reach, 0)

    def if_any(move: jax.Array) -> jax.Array:
        return lax.cond(jnp.any(move != 0), stays, jnp.zeros_like, move)

    lengths = jnp.linalg.svd(lax.map(if_any, moves), compute_uv=False)
    return jnp.sum(lengths >= STAYED, dtype=jnp.int32)
