"""Valleys and plateaus: degenerate minima joined by a path that never rises are one attractor."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gdjax.basins.critical import CriticalPoint, quadratic_model, scaled_loss
from gdjax.sweeps.lanes import Lane
from gdjax.trees import PyTree, real_vector

NEIGHBOURS = 12
BRIDGES = 4  # gaps that are tried for each part of a valley
ON_THE_WAY = np.arange(1, 8) / 8
RELAXING_STEPS = 3  # of Newton's method, from the chord to the valley's floor


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
def joined_program(lane: Lane) -> Callable[..., jax.Array]:
    """Return a function of `(values, numbers, key, one, other, spread)` to booleans.

    `one` and `other` are `CriticalPoint`s with a leading axis of pairs, as are `values` and
    `numbers`, the lanes of `one`.
    """

    @jax.jit
    def joined(values: PyTree, numbers: Any, key: Any, one, other, spread) -> jax.Array:
        def look(pair: tuple) -> jax.Array:
            values, number, one, other = pair
            unravel = real_vector(one.params)[1]
            loss = scaled_loss(lane, values, number, key, unravel, spread)
            return _joined(loss, one, other, spread)

        return lax.map(look, (values, numbers, one, other), batch_size=64)

    return joined


def _joined(
    loss: Callable, one: CriticalPoint, other: CriticalPoint, spread: jax.Array
) -> jax.Array:
    """Return whether a path along the floor, near the chord, never rises above its ends."""
    start, end = one.vector / spread, other.vector / spread
    shares = jnp.asarray(ON_THE_WAY, start.dtype)[:, None]
    chord = start[None, :] * (1 - shares) + end[None, :] * shares

    def relax(_: Any, point: jax.Array) -> jax.Array:
        return (point + quadratic_model(loss, point).step()).astype(point.dtype)

    path = jax.vmap(lambda point: lax.fori_loop(0, RELAXING_STEPS, relax, point))(chord)
    whole = jnp.concatenate([start[None, :], path, end[None, :]])
    length = jnp.max(jnp.abs(end - start))
    unbroken = jnp.max(jnp.abs(jnp.diff(whole, axis=0))) <= length / 2
    highest = jnp.max(jax.vmap(loss)(path))
    return unbroken & (
        highest <= jnp.maximum(one.loss, other.loss) + one.loss_error + other.loss_error
    )
