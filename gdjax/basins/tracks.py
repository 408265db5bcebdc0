"""Attractors along an axis of a sweep: where each is born, and where it dies."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from gdjax import checks
from gdjax.advice.dynamics import Dynamics
from gdjax.basins.attractors import Basins
from gdjax.basins.critical import is_bottom
from gdjax.trees import real_columns


class Tracks(NamedTuple):
    """The attractors along an axis, in the order of their first labels; arrays [tracks, ...]."""

    values: np.ndarray  # [n] of the axis
    label: np.ndarray  # int32 [tracks, n] of the attractor there, -1 where no start leads to it
    share: np.ndarray  # [tracks, n] of the starts at each value that lead there
    first: np.ndarray  # [tracks] the first value at which any does: its birth
    last: np.ndarray  # [tracks] and the last: its death
    limit: np.ndarray  # [tracks, n] the learning rate at which gradient descent loses it


def tracks(basins: Basins, along: str, *, momentum: float = 0.0, nesterov: bool = False) -> Tracks:
    """Follow the attractors of a map along one of its dimensions.

    An attractor that stays where it is, as minima do along a learning rate, is one track by its
    label. Of those that move, one that is there at a value and one that is there at the next are
    one track if they are of the same kind, each is the nearest to the other, and they are nearer
    than half of the way to any attractor beside them.

    Args:
      basins: from `gdjax.map_basins`.
      along: the name of the dimension.
      momentum: β of `optax.sgd`, from 0 to below 1, that `limit` is for.
      nesterov: whether that is Nesterov's.

    Returns:
      The tracks. `limit` is that of gradient descent with a constant rate and this momentum,
      2 (1 + β) / λ_max, or Nesterov's (2 + 2β) / (1 + 2β) / λ_max; NaN where there is no minimum.
      Past it no start leads there but those on its stable manifold, and runs that come within their
      tolerance of it by chance and stop, as chaotic ones do. Adam and its like have another limit:
      that of `gdjax.advise` with the state of the optimizer, which a map does not know.

    Raises:
      TypeError: `basins` is not from `gdjax.map_basins`, or `momentum` is no number or
        `nesterov` no bool.
      ValueError: the map has no such dimension, or `momentum` is out of its range.

    References:
      Polyak, Some methods of speeding up the convergence of iteration methods, 1964. Cohen et al.,
      Gradient descent on neural networks typically occurs at the edge of stability, ICLR 2021.

    >>> import gdjax, optax
    >>> def lane(start, learning_rate):
    ...     return gdjax.Descent(lambda w: w**2, start, optax.sgd(learning_rate))
    >>> runs = gdjax.sweep(lane, start=[-1.0, 1.0], learning_rate=[0.1, 0.9, 1.1])
    >>> found = gdjax.basins.tracks(gdjax.map_basins(runs), along="learning_rate")
    >>> found.share.tolist(), found.last.astype(float).round(2).tolist(), found.limit[:, 0].tolist()
    ([[1.0, 1.0, 0.0]], [0.9], [1.0])
    """
    if not isinstance(basins, Basins):
        raise TypeError(f"basins: expected what gdjax.map_basins returns, got {basins!r}")
    if along not in basins.dims:
        raise ValueError(f"along: expected one of {basins.dims}, got {along!r}")
    momentum = float(checks.momentum("momentum", momentum))
    nesterov = checks.flag("nesterov", nesterov)
    axis, count = basins.dims.index(along), len(basins.attractors.loss)
    labels = np.moveaxis(basins.labels, axis, 0).reshape(basins.labels.shape[axis], -1)
    share = np.stack([np.bincount(row[row >= 0], minlength=count) for row in labels], axis=1)
    share = share / max(labels.shape[1], 1)
    track, label = _followed(basins, share > 0)
    shares = np.where(label >= 0, np.take_along_axis(share, np.maximum(label, 0), axis=0), 0.0)
    there = shares > 0
    values = np.asarray(basins.coords.get(along, np.arange(len(labels))))
    bottom = is_bottom(basins.attractors.verdict)
    curvature = np.where(bottom, basins.attractors.curvature_max, np.nan)
    dynamics = Dynamics(jnp.asarray(momentum), jnp.asarray(nesterov), jnp.zeros((), bool))
    limit = float(dynamics.largest_reach()) / np.where(curvature > 0, curvature, np.nan)
    shown = np.where(label >= 0, label, np.broadcast_to(track[:, None], label.shape))
    return Tracks(
        values=values,
        label=label.astype(np.int32),
        share=shares,
        first=values[np.argmax(there, axis=1)],
        last=values[there.shape[1] - 1 - np.argmax(there[:, ::-1], axis=1)],
        limit=limit[shown] if count else np.zeros(label.shape),
    )


def _followed(basins: Basins, there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first label of each track, and its labels at each value [tracks, n]."""
    count, length = there.shape
    points = real_columns(basins.attractors.params) if count else np.zeros((0, 1))
    spread = np.ptp(points, axis=0) if count else np.ones(1)
    points = points / np.where(spread > 0, spread, 1.0)
    kinds = np.stack([basins.attractors.verdict, basins.attractors.period], axis=1)
    owner = np.arange(count)  # the track that an attractor belongs to
    for i in range(length - 1):
        gone = np.flatnonzero(there[:, i] & ~there[:, i + 1])
        new = np.flatnonzero(~there[:, i] & there[:, i + 1] & ~np.any(there[:, : i + 1], axis=1))
        if not len(gone) or not len(new):
            continue
        away = np.max(np.abs(points[gone][:, None] - points[new]), axis=2)
        away = np.where((kinds[gone][:, None] == kinds[new]).all(axis=2), away, np.inf)
        one, other = np.argmin(away, axis=1), np.argmin(away, axis=0)
        for a in np.flatnonzero(other[one] == np.arange(len(gone))):
            before, after = int(gone[a]), int(new[one[a]])
            beside = min(
                _nearest(points, before, there[:, i]), _nearest(points, after, there[:, i + 1])
            )
            if away[a, one[a]] < beside / 2:
                owner[after] = owner[before]
    track = np.unique(owner[np.any(there, axis=1)])
    label = np.full((len(track), length), -1)
    for attractor in np.flatnonzero(np.any(there, axis=1)):
        row = np.searchsorted(track, owner[attractor])
        label[row, there[attractor]] = attractor
    return track, label


def _nearest(points: np.ndarray, one: int, others: np.ndarray) -> float:
    """Return how far the nearest of the others is."""
    others = np.flatnonzero(others & (np.arange(len(points)) != one))
    return float(np.min(np.max(np.abs(points[others] - points[one]), axis=1), initial=np.inf))
