"""Critical points found at ends, and the attractors that they are members of."""

from typing import NamedTuple

import jax
import numpy as np

from gdjax.basins.cells import MOST_RAW, features, gathered
from gdjax.basins.critical import CriticalPoint, is_bottom
from gdjax.basins.ends import parts
from gdjax.basins.looks import Looks
from gdjax.basins.merging import groups
from gdjax.diagnosis.point import NONE
from gdjax.diagnosis.verdict import Verdict

MOST_NEIGHBOURS = 64  # among which one of another attractor is looked for
MOST_NUMBERS = 2**24  # of these, in many dimensions


class Members(NamedTuple):
    """Points [points], each a member of an attractor or of none."""

    lanes: np.ndarray  # int [points] of whose losses they are critical points
    found: CriticalPoint
    scaled: np.ndarray  # [points, dim] in units of the spread
    label: np.ndarray  # int [points], -1 where it is no critical point
    chosen: np.ndarray  # int [attractors] the point that stands for each
    bottoms: int  # how many attractors are minima or valleys; the others are saddles and maxima
    chained: np.ndarray  # bool [points] farther from a minimum than the tolerance, but merged


def members_of(looks: Looks, lanes: np.ndarray, found: CriticalPoint) -> Members:
    """Return which attractor each of the points found is a member of."""
    scaled = np.asarray(found.vector, float) / looks.spread
    label = np.full(len(lanes), -1)
    chained, chosen, bottoms = np.zeros(len(lanes), bool), np.zeros(0, int), 0
    for bottom in (True, False):
        own = np.flatnonzero((found.kind != NONE) & (is_bottom(found.kind) == bottom))
        some = jax.tree.map(lambda x, own=own: x[own], found)
        degenerate = some.flat_dimension > 0
        group = groups(
            scaled[own],
            degenerate,
            np.asarray(some.loss, float),
            looks.tol,
            lambda pairs, own=own, some=some: looks.joined(lanes[own], some, pairs),
        )
        best = _best(scaled[own], np.asarray(some.loss, float), degenerate, group)
        loss, error = (np.asarray(x, float)[best] for x in (some.loss, some.loss_error))
        order = in_order(loss, error, scaled[own][best], looks.tol)
        away = np.max(np.abs(scaled[own] - scaled[own][best[group]]), axis=1, initial=0.0)
        is_point = ~np.isin(group, group[degenerate])
        chained[own] = is_point & (away > looks.tol)
        label[own] = len(chosen) + np.argsort(order)[group]
        chosen = np.concatenate([chosen, own[best[order]]])
        bottoms = len(chosen) if bottom else bottoms
    return Members(lanes, found, scaled, label, chosen, bottoms, chained)


def _best(
    points: np.ndarray, loss: np.ndarray, degenerate: np.ndarray, group: np.ndarray
) -> np.ndarray:
    """Return of each group a regular point rather than others, then of least loss."""
    if not len(group):
        return np.zeros(0, int)
    by_group = np.lexsort((*features(points).T[::-1], loss, degenerate, group))
    return by_group[np.unique(group[by_group], return_index=True)[1]]


def in_order(loss: np.ndarray, error: np.ndarray, points: np.ndarray, tol: float) -> np.ndarray:
    """Return points [n, dim] sorted by loss, then coordinates; what differs by rounding is a tie.

    `error` is that of the loss, `tol` that of the coordinates.
    """
    rank = ranks(loss, error)
    for column in points.T:
        if len(np.unique(rank)) == len(rank):
            break
        rank = rank * len(rank) + ranks(column, np.full(len(rank), tol))
        rank = np.unique(rank, return_inverse=True)[1]
    return np.argsort(rank, kind="stable")


def ranks(values: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Return ranks in which values share one where their neighbours overlap within the error."""
    order = np.argsort(values, kind="stable")
    apart = np.diff(values[order]) > np.maximum(error[order][1:], error[order][:-1])
    found = np.zeros(len(values), int)
    found[order[1:]] = np.cumsum(apart)
    return found


def verdicts(looks: Looks, members: Members) -> tuple[np.ndarray, np.ndarray]:
    """Return the verdict [attractors], and the dimension where that is VALLEY."""
    found = jax.tree.map(lambda x: x[members.chosen], members.found)
    verdict, dimension = found.kind.astype(np.int8), np.zeros(len(found.kind), np.int32)
    flat = np.flatnonzero(is_bottom(found.kind) & (found.flat_dimension > 0))
    if len(flat):
        some = jax.tree.map(lambda x: x[flat], found)
        dimension[flat] = looks.dimension(members.lanes[members.chosen][flat], some)
        verdict[flat] = np.where(dimension[flat] > 0, Verdict.VALLEY, Verdict.MINIMUM)
    return verdict, dimension


def gaps(members: Members, tol: float) -> tuple[np.ndarray, float]:
    """Return how far each point is at least from another attractor, and the smallest such gap."""
    from scipy.spatial import KDTree  # scipy is slow to import, and few programs map basins

    gap = np.full(len(members.lanes), np.inf)
    own = np.flatnonzero(members.label >= 0)
    if len(members.chosen) < 2:
        return gap, np.inf
    points, label = members.scaled[own], members.label[own]
    near, nothing = features(points), np.zeros(len(own))
    # One point stands for all that lie together, or else these were all of the nearest.
    cells = gathered(near.T, tol, [nothing, *near.T], label)
    points, near, label = points[cells.first], near[cells.first], label[cells.first]
    count, dim = points.shape
    most = MOST_NEIGHBOURS if dim <= MOST_RAW else max(2, min(64, MOST_NUMBERS // (count * dim)))
    nearest = np.asarray(KDTree(near).query(near, k=min(most, count), p=np.inf)[1])
    own_gap, smallest = np.empty(count), np.inf
    for part in parts(count, dim * nearest.shape[1]):
        away = np.max(np.abs(points[nearest[part]] - points[part, None]), axis=2)
        other = label[nearest[part]] != label[part, None]
        found = np.min(np.where(other, away, np.inf), axis=1)
        smallest = min(smallest, float(np.min(found)))
        beyond = np.max(away, axis=1) if nearest.shape[1] < count else np.inf
        own_gap[part] = np.minimum(found, np.where(np.any(other, axis=1), found, beyond))
    gap[own] = own_gap[cells.of]
    return gap, smallest


def labels_of(
    looks: Looks, members: Members, lanes: np.ndarray, found: CriticalPoint
) -> np.ndarray:
    """Return the labels of other critical points, -1 where they are of no minimum or valley."""
    from scipy.spatial import KDTree

    label = np.full(len(lanes), -1, np.int32)
    bottom = np.flatnonzero((members.label >= 0) & (members.label < members.bottoms))
    own = np.flatnonzero((found.kind != NONE) & is_bottom(found.kind))
    if not len(bottom) or not len(own):
        return label
    scaled = np.asarray(found.vector, float)[own] / looks.spread
    tree = KDTree(features(members.scaled[bottom]))
    nearest = bottom[np.asarray(tree.query(features(scaled), p=np.inf)[1])]
    close = np.max(np.abs(members.scaled[nearest] - scaled), axis=1) <= looks.tol
    flat = (members.found.flat_dimension[nearest] > 0) & (found.flat_dimension[own] > 0) & ~close
    all_lanes = np.concatenate([members.lanes, lanes])
    both = jax.tree.map(lambda a, b: np.concatenate([a, b]), members.found, found)
    pairs = np.stack([nearest, len(members.lanes) + own], axis=1)[flat]
    close[flat] = looks.joined(all_lanes, both, pairs)
    label[own] = np.where(close, members.label[nearest], -1)
    return label
