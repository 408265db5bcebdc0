"""The saddle on the border between two starts of different fate."""

from dataclasses import replace
from enum import IntEnum
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gdjax.basins.bracket import Tracked, are_same, same
from gdjax.basins.stationary import Stationary
from gdjax.basins.tracking import tracked
from gdjax.batches import HostBatches
from gdjax.descent import Descent
from gdjax.descent.description import canonical, whole_arguments
from gdjax.descent.programs import compiled
from gdjax.descent.stepping import require_same_types
from gdjax.trees import PyTree, real_vector, strongly_typed


class EdgeStatus(IntEnum):
    """What is at the end of a border: small integers, which compare with the arrays in `jit`."""

    SADDLE = 0  # of index 1, and it falls to the minima that the two starts end in
    OTHER_MINIMA = 1  # of index 1, but it falls elsewhere: a third basin lies between, say
    HIGHER_INDEX = 2  # a critical point with more than one negative eigenvalue
    DEGENERATE = 3  # a critical point with an eigenvalue that may be 0: it has no certain index
    NOT_ARRIVED = 4  # no critical point was found within the budget
    EQUAL_FATE = 5  # both starts end in one minimum
    NO_MINIMUM = 6  # a start does not end in a minimum: it diverges, is slow, or ends at a saddle
    NO_BORDER = 7  # the ends move along with the starts, as along a valley


POINTS = (
    EdgeStatus.SADDLE,
    EdgeStatus.OTHER_MINIMA,
    EdgeStatus.HIGHER_INDEX,
    EdgeStatus.DEGENERATE,
)


class Edge(NamedTuple):
    """A critical point on a border; NaN, and an index of -1, where the status says there is none.

    Losses, gradients and curvatures are those of all examples, at least in float32.
    """

    params: PyTree
    loss: jax.Array
    loss_error: jax.Array
    error: jax.Array  # bound on the distance of the parameters from the critical point
    grad_norm: jax.Array  # largest absolute entry of the gradient there
    index: jax.Array  # int32 [] eigenvalues of the Hessian below 0  # pyright: ignore[reportIncompatibleMethodOverride]
    # These eigenvalues in ascending order: all [dim], or beyond 256 parameters [3] the two least
    # and the largest, so that an index of 2 or more is a lower bound.
    curvatures: jax.Array
    curvature_error: jax.Array  # bound on the error of each
    minima: PyTree  # leaves [2, ...], where it falls to, that of the first start first
    minima_loss: jax.Array  # [2]
    barriers: jax.Array  # [2] loss less that of each minimum
    status: jax.Array  # int32 [] an EdgeStatus
    rounds: jax.Array  # int32 [] times that the border was followed on and bisected again


def edge(d: Descent, one: PyTree, other: PyTree) -> Edge:
    """Follow the border between two starts of different fate down to the saddle on it.

    The segment between the starts is bisected by where descents end, and then the two sides
    descend along the border and are bisected again, until Newton's method finds a critical point
    nearby from which descents fall to the minima of both sides. The border is that of the
    descent, and of its optimizer with what that remembers: gradient descent in small steps follows
    that of the gradient flow, and a smooth border is followed best. The minimum and the saddle
    are polished by Newton's method in the dtype of the parameters, with the full Hessian, or beyond
    256 parameters with products with it, of which a step takes up to 128.

    Compiled as `gdjax.run` is, and as pure: for many pairs,
    `jax.vmap(lambda a, b: gdjax.basins.edge(d, a, b))(ones, others)`.

    Args:
      d: how to descend: its loss, optimizer, stop and budget. Its own start does not matter, and
        with batches the gradient is that of all examples.
      one: the first start, a pytree of the structure, shapes and dtypes of `d.params`.
      other: the second.

    Returns:
      The critical point with its loss, index, the two minima and the barriers, and as `status` an
      `EdgeStatus`. One border may have several saddles: this is the one that the segment leads to.

    Raises:
      TypeError: `d` is no descent, reads its batches from the host, or a start does not fit it.

    References:
      Skufca, Yorke and Eckhardt, Edge of chaos in a parallel shear flow, Physical Review Letters
      96, 2006. Wales, Energy Landscapes, Cambridge, 2003.

    >>> import gdjax, optax
    >>> d = gdjax.Descent(gdjax.landscapes.muller_brown, jnp.zeros(2), optax.sgd(2e-4))
    >>> found = gdjax.basins.edge(d, jnp.array([-0.6, 1.4]), jnp.array([0.0, 0.4]))
    >>> found.params.round(3).tolist(), round(float(found.loss), 2), int(found.index)
    ([-0.8220000267028809, 0.6240000128746033], -40.66, 1)
    """
    d = canonical(d)
    if isinstance(d.batches, HostBatches):
        raise TypeError("d: expected batches in the device's memory, got batches on the host")
    one, other = (_like(name, start, d.params) for name, start in (("one", one), ("other", other)))
    return compiled(tracked_edge, d, one, other)


def _like(name: str, start: PyTree, params: PyTree) -> PyTree:
    start = strongly_typed(start)
    require_same_types(name, start, params)
    return start


def tracked_edge(d: Descent, one: PyTree, other: PyTree) -> Edge:
    """Do the same while tracing."""
    d = replace(canonical(d), args=whole_arguments(d), batches=None, record=None, key=None)
    found = tracked(d, one, other)
    status = _status(found)
    own, unravel = real_vector(d.params)

    def params(vector: jax.Array) -> PyTree:
        return unravel(vector.astype(own.dtype))

    falls = _in_order(found)
    is_point = jnp.any(status == jnp.array(POINTS))
    is_saddle = (status == EdgeStatus.SADDLE) | (status == EdgeStatus.OTHER_MINIMA)
    reached = is_saddle & falls.is_minimum
    point = jax.tree.map(lambda leaf: _where(is_point, leaf), found.point)
    minima_loss = jnp.where(reached, falls.loss, jnp.nan)
    return Edge(
        params=params(point.vector),
        loss=point.loss,
        loss_error=point.loss_error,
        error=point.error,
        grad_norm=point.grad_norm,
        index=jnp.where(is_point, found.point.negative, -1),
        curvatures=point.curvatures,
        curvature_error=point.curvature_error,
        minima=jax.vmap(params)(jnp.where(reached[:, None], falls.vector, jnp.nan)),
        minima_loss=minima_loss,
        barriers=point.loss - minima_loss,
        status=status,
        rounds=found.rounds,
    )


def _where(known: jax.Array, leaf: jax.Array) -> jax.Array:
    return jnp.where(known, leaf, jnp.nan) if jnp.issubdtype(leaf.dtype, jnp.inexact) else leaf


def _in_order(found: Tracked) -> Stationary:
    """Return where the saddle falls to, that of the first start first."""
    is_same = are_same(found.falls, found.starts, found.scale)
    swapped = is_same[1, 0] | (is_same[0, 1] & ~is_same[0, 0])
    return jax.tree.map(lambda leaf: jnp.where(swapped, leaf[::-1], leaf), found.falls)


def _status(found: Tracked) -> jax.Array:
    point, falls = found.point, _in_order(found)
    is_same = are_same(falls, found.starts, found.scale)
    matched = jnp.all(falls.is_minimum) & is_same[0, 0] & is_same[1, 1]
    cases = [
        (~jnp.all(found.starts.is_minimum), EdgeStatus.NO_MINIMUM),
        (same(found.starts, found.scale), EdgeStatus.EQUAL_FATE),
        (~found.has_border, EdgeStatus.NO_BORDER),
        (~point.arrived, EdgeStatus.NOT_ARRIVED),
        (~point.is_certain, EdgeStatus.DEGENERATE),
        (point.negative == 0, EdgeStatus.NOT_ARRIVED),
        (point.negative > 1, EdgeStatus.HIGHER_INDEX),
        (matched, EdgeStatus.SADDLE),
    ]
    conditions = [condition for condition, _ in cases]
    statuses = [jnp.asarray(status, jnp.int32) for _, status in cases]
    return jnp.select(conditions, statuses, jnp.asarray(EdgeStatus.OTHER_MINIMA, jnp.int32))
