"""How far from a minimum a start may be and still return to it."""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gdjax import checks
from gdjax.basins.bracket import same
from gdjax.basins.descents import FARTHEST
from gdjax.basins.stationary import Stationary, stationary_near
from gdjax.batches import HostBatches
from gdjax.descent import Descent, Status
from gdjax.descent.description import canonical, whole_arguments
from gdjax.descent.programs import compiled
from gdjax.descent.stepping import require_same_types
from gdjax.diagnosis.surface import surface
from gdjax.sweeps import sweep
from gdjax.trees import PyTree, coarsest_eps, real_vector, strongly_typed

HALVINGS = 20
ABREAST = 256  # ends that are looked at together


class EscapeRadius(NamedTuple):
    """How far along rays [minima, rays] starts return to a minimum.

    The escape is between `low` and `high`. Where all starts return, `low` is the farthest that was
    looked at, and `high` is infinite.
    """

    low: np.ndarray  # [minima, rays] distance, in the units of the parameters
    high: np.ndarray  # [minima, rays]
    directions: np.ndarray  # [rays, dim] unit vectors, in the order of `ravel_pytree`

    @property
    def radius(self) -> np.ndarray:
        """The middle of the bracket along each ray, [minima, rays]."""
        return (self.low + self.high) / 2

    @property
    def least(self) -> np.ndarray:
        """The least radius of each minimum, [minima]; an upper bound on the one over all rays."""
        return self.radius.min(axis=1)

    @property
    def median(self) -> np.ndarray:
        """The median radius of each minimum, [minima]."""
        return np.median(self.radius, axis=1)


def escape_radius(
    d: Descent,
    minima: PyTree,
    farthest: float,
    *,
    key: jax.Array | None = None,
    rays: int = 64,
    directions: Any = None,
    samples: int = 32,
) -> EscapeRadius:
    """Find how far from each minimum starts still return to it, along rays.

    Each ray is sampled outward in equal steps up to the first start that does not return: it ends
    elsewhere, diverges or does not arrive. The distance is then bisected. All rays of all minima
    are one sweep, compiled once.

    What this can miss: the least over finitely many rays is an upper bound on the distance to the
    border, as a border that comes near between two rays is not seen, and ever less so in many
    dimensions; and of a basin, what is thinner along a ray than `farthest / samples` may be
    stepped over. In a valley, a start that ends elsewhere along it has not returned; nor has one at
    which `d.stop` holds at once, so that the bracket may end before a saddle by as much as the
    tolerance of its gradient allows.

    Args:
      d: how to descend; its own start does not matter.
      minima: pytree with leaves [minima, ...], otherwise as `d.params`; such as
        `basins.attractors.params` of `gdjax.map_basins`.
      farthest: distance > 0 up to which to look, in the units of the parameters.
      key: random key of the directions, uniform on the sphere; not with `directions`.
      rays: whole number of at least 1, how many random directions.
      directions: real [rays, dim], given instead, of any length but 0; in the order of
        `jax.flatten_util.ravel_pytree`, where a complex array counts as its real part followed by
        its imaginary part.
      samples: whole number of at least 1, starts along a ray before it is bisected.

    Returns:
      A bracket for each ray, narrower by 2^20 than the distance between two samples, or as the
      dtype allows.

    Raises:
      TypeError: an argument is of the wrong kind, or the minima do not fit `d.params`.
      ValueError: neither or both of `key` and `directions` are given, a number is out of range, a
        direction is 0, or a point is not a minimum.

    References:
      Menck, Heitzig, Marwan and Kurths, How basin stability complements the linear-stability
      paradigm, Nature Physics 9, 2013, on what distances and volumes say.

    >>> import gdjax, optax
    >>> fine = gdjax.stop.gradient_below(1e-6)
    >>> d = gdjax.Descent(lambda x: x**4 / 4 - x**2 / 2, 1.0, optax.sgd(0.1), stop=fine)
    >>> wells, both_ways = jnp.array([-1.0, 1.0]), [[1.0], [-1.0]]
    >>> found = gdjax.basins.escape_radius(d, wells, 2.0, directions=both_ways)
    >>> found.radius.round(4).tolist(), found.least.round(4).tolist()
    ([[1.0, inf], [inf, 1.0]], [1.0, 1.0])
    """
    d = canonical(d)
    if isinstance(d.batches, HostBatches):
        raise TypeError("d: expected batches in the device's memory, got batches on the host")
    d = replace(d, args=whole_arguments(d), batches=None, record=None, key=None)
    farthest = float(checks.positive_scalar("farthest", farthest))
    samples = checks.whole_number("samples", samples, least=1)
    unit = _unit_vectors(d, key, rays, directions)
    found = _checked_minima(d, minima, farthest)
    count = len(found.vector)
    number = np.repeat(np.arange(count), len(unit))
    centres, along = np.asarray(found.vector, float)[number], np.tile(unit, (count, 1))
    own = jax.tree.map(lambda leaf: leaf[number], found)

    def lane(start: PyTree) -> Descent:
        return replace(d, params=start)

    def returns(distance: np.ndarray) -> np.ndarray:
        runs = sweep(lane, start=_starts(d, centres + distance[:, None] * along), progress=False)
        back = compiled(_came_back, d, runs.params, own, farthest)
        return np.asarray(back) & (runs.status != Status.DIVERGED)

    low, high = np.zeros(len(along)), np.full(len(along), np.inf)
    for step in range(1, samples + 1):
        inside = np.isinf(high)
        if not inside.any():
            break
        there = np.where(inside, step * farthest / samples, low)
        back = returns(there)
        low, high = np.where(inside & back, there, low), np.where(inside & ~back, there, high)
    escapes = np.isfinite(high)
    finest = coarsest_eps(d.params) * (farthest + np.abs(centres).max())
    halvings = min(HALVINGS, int(np.log2(max(farthest / samples / finest, 1.0))))
    for _ in range(halvings if escapes.any() else 0):
        middle = np.where(escapes, (low + high) / 2, low)
        back = returns(middle)
        low, high = np.where(escapes & back, middle, low), np.where(escapes & ~back, middle, high)
    shape = count, len(unit)
    return EscapeRadius(low.reshape(shape), high.reshape(shape), unit)


def _unit_vectors(d: Descent, key: Any, rays: int, directions: Any) -> np.ndarray:
    dim = real_vector(d.params)[0].size
    if (key is None) == (directions is None):
        raise ValueError("key: expected either a random key or directions, got both or neither")
    if directions is None:
        key = checks.typed_key("key", key)
        rays = checks.whole_number("rays", rays, least=1)
        vectors = np.asarray(jax.random.normal(key, (rays, dim)), float)
    else:
        checks.real_array("directions", np.asarray(directions))
        vectors = np.asarray(directions, float)
        if vectors.ndim != 2 or vectors.shape[1] != dim or not len(vectors):
            raise ValueError(f"directions: expected shape [rays, {dim}], got {vectors.shape}")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise ValueError("directions: expected vectors of finite length above 0")
    return vectors / lengths


def _checked_minima(d: Descent, minima: PyTree, farthest: float) -> Stationary:
    """Return the minima polished [minima, ...], or raise."""
    minima = strongly_typed(minima)
    lengths = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(minima)}
    if len(lengths) != 1 or () in lengths or (0,) in lengths:
        raise ValueError(
            "minima: expected leaves with one leading axis over at least one minimum, got shapes "
            f"{[np.shape(leaf) for leaf in jax.tree.leaves(minima)]}"
        )
    require_same_types("minima[0]", jax.tree.map(lambda leaf: leaf[0], minima), d.params)
    found = compiled(_polished, d, minima, farthest)
    for number, is_minimum in enumerate(np.asarray(found.is_minimum)):
        if not is_minimum:
            point = jax.tree.map(lambda leaf, i=number: np.asarray(leaf[i]), minima)
            raise ValueError(f"minima[{number}]: expected a minimum of the loss, got {point}")
    return found


def _polished(d: Descent, points: PyTree, farthest: Any) -> Stationary:
    def polish(params: PyTree) -> Stationary:
        at, x = surface(d, params)
        scale = jnp.asarray(farthest, x.dtype)
        return stationary_near(at, x, FARTHEST * scale, scale)

    return lax.map(polish, points, batch_size=ABREAST)


def _came_back(d: Descent, ends: PyTree, own: Stationary, farthest: Any) -> jax.Array:
    """Return whether ends [rays, ...] are those minima."""
    found = _polished(d, ends, farthest)
    pair = jax.tree.map(lambda a, b: jnp.stack([a, b], axis=1), own, found)
    scale = jnp.asarray(farthest, found.vector.dtype)
    return found.is_minimum & jax.vmap(lambda both: same(both, scale))(pair)


def _starts(d: Descent, points: np.ndarray) -> PyTree:
    """Return starts with leaves [rays, ...] in the dtypes of the parameters."""
    own, unravel = real_vector(d.params)
    return jax.vmap(unravel)(jnp.asarray(points, own.dtype))
