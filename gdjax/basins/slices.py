"""Random lines and planes through a point in many dimensions, to map basins on."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from gdjax import checks
from gdjax.sweeps.axes.concrete import check_concrete, default_float
from gdjax.sweeps.axes.slice import Slice
from gdjax.trees import PyTree, real_dtype, real_vector, strongly_typed

Scale = Literal["unit", "filter"]


def slice_line(
    key: jax.Array, centre: PyTree, half_width: Any, n: int, scale: Scale = "unit"
) -> Slice:
    """Return an axis of starts on a random line: `slice_plane` with one direction.

    Args:
      key: a random key.
      centre: pytree of floating or complex arrays.
      half_width: number > 0: how far the line reaches to either side of the centre.
      n: number of starts, at least 1.
      scale: as in `slice_plane`.

    Returns:
      An axis for `gdjax.sweep`, one dimension `start_u` after the keyword `start`.

    Raises:
      TypeError, ValueError: as `slice_plane`.

    >>> import gdjax, optax
    >>> line = gdjax.basins.slice_line(jax.random.key(0), jnp.zeros(100), 2.0, 8)
    >>> runs = gdjax.sweep(
    ...     lambda start: gdjax.Descent(lambda w: (w**2).sum(), start, optax.sgd(0.1)), start=line)
    >>> runs.dims, runs.params.shape, runs.coords["start_u"].tolist()
    (('start_u',), (8, 100), [-1.75, -1.25, -0.75, -0.25, 0.25, 0.75, 1.25, 1.75])
    """
    return _slice(key, centre, half_width, n, scale, 1)


def slice_plane(
    key: jax.Array, centre: PyTree, half_width: Any, n: int, scale: Scale = "unit"
) -> Slice:
    """Return an axis of n × n starts on a random plane: what basins look like in many dimensions.

    The starts are `centre + u d + v e`, with u and v at the centres of n cells from `-half_width`
    to `half_width`. With `scale="unit"` the directions d and e are orthonormal and uniformly
    random, and u and v are distances. With `scale="filter"` each filter of a Gaussian direction has
    the norm that it has in the centre (Li et al.), so that u and v are relative to the parameters,
    and networks that differ by a rescaling of their layers have one picture; a filter is what a
    leaf has at one index of its last axis, the weights into one unit, and a vector is one filter.

    Args:
      key: a random key; the same gives the same directions.
      centre: pytree of floating or complex arrays, such as the parameters at a minimum.
      half_width: number > 0, in units of the parameters, or with "filter" of their norms.
      n: number of starts along each direction, at least 1.
      scale: "unit" or "filter".

    Returns:
      An axis for `gdjax.sweep`, with two dimensions `start_u` and `start_v` after the keyword
      `start`; its `centre` and `directions` are what a point on the plane is made of.

    Raises:
      TypeError: an argument is not of this form, or traced.
      ValueError: the centre has fewer numbers than there are directions, or one that is not
        finite; `half_width` or `n` is too low, or the scale is another.

    References:
      Goodfellow, Vinyals, Saxe, Qualitatively characterizing neural network optimization problems,
      2015. Li, Xu, Taylor, Studer, Goldstein, Visualizing the loss landscape of neural nets, 2018.

    >>> import gdjax, optax
    >>> wells = gdjax.landscapes.double_well.in_dimension(10)
    >>> plane = gdjax.basins.slice_plane(jax.random.key(0), jnp.zeros(10), 2.0, 16)
    >>> problem = lambda start: gdjax.Descent(wells, start, optax.sgd(0.1))
    >>> basins = gdjax.map_basins(gdjax.sweep(problem, start=plane))
    >>> basins.dims, basins.labels.shape
    (('start_u', 'start_v'), (16, 16))
    """
    return _slice(key, centre, half_width, n, scale, 2)


def _slice(key: Any, centre: Any, half_width: Any, n: Any, scale: Any, count: int) -> Slice:
    key = checks.typed_key("key", key)
    check_concrete("centre: got a traced value", (key, centre))
    centre = jax.tree.map(np.asarray, strongly_typed(_checked_centre(centre, count)))
    half_width = float(checks.positive_scalar("half_width", half_width))
    n = checks.whole_number("n", n, least=1)
    if scale not in ("unit", "filter"):
        raise ValueError(f"scale: expected 'unit' or 'filter', got {scale!r}")
    vector, back = real_vector(centre)
    normal = jax.random.normal(key, (vector.size, count), real_dtype(centre))
    columns = _orthonormal(normal) if scale == "unit" else normal
    ways = [back(column.astype(vector.dtype)) for column in columns.T]
    if scale == "filter":
        ways = [jax.tree.map(_as_long, way, centre) for way in ways]
    steps = (half_width * ((2 * np.arange(n) + 1) / n - 1)).astype(default_float())
    directions = tuple(jax.tree.map(np.asarray, way) for way in ways)
    return Slice(centre, directions, (steps,) * count)


def _checked_centre(centre: Any, count: int) -> PyTree:
    for path, leaf in jax.tree_util.tree_leaves_with_path(centre):
        name = f"centre{jax.tree_util.keystr(path)}"
        if not jnp.issubdtype(checks.dtype(leaf), jnp.inexact):
            raise TypeError(f"{name}: expected floating or complex numbers, got {leaf!r}")
        if not np.isfinite(np.asarray(leaf).astype(complex)).all():
            raise ValueError(f"{name}: expected finite numbers, got {leaf!r}")
    numbers = sum(np.size(leaf) * (1 + np.iscomplexobj(leaf)) for leaf in jax.tree.leaves(centre))
    if numbers < count:
        raise ValueError(f"centre: expected at least {count} numbers, got {centre!r}")
    return centre


def _orthonormal(normal: jax.Array) -> jax.Array:
    """Return orthonormal columns, uniformly random where the entries given are normal."""
    columns, upper = jnp.linalg.qr(normal)
    return columns * jnp.sign(jnp.diagonal(upper))[None]  # which LAPACK chooses by the entries


def _as_long(way: jax.Array, filters: np.ndarray) -> jax.Array:
    """Return a direction whose filters have the norms of those given."""
    axes = tuple(range(max(filters.ndim - 1, 1))) if filters.ndim else ()
    wide = jnp.abs(way).astype(jnp.promote_types(way.real.dtype, jnp.float32))

    def norm(x):
        return jnp.sqrt(jnp.sum(jnp.abs(x) ** 2, axis=axes, keepdims=True))

    own = norm(jnp.asarray(filters).astype(jnp.promote_types(filters.dtype, jnp.float32)))
    return (way * (own / norm(wide))).astype(way.dtype)
