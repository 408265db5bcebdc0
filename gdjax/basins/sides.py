"""Where runs fall to from a saddle: those pushed off it, and those that stopped on their way past.

A run stops beside a saddle where its gradient is small enough. It ends there only if it is on the
saddle's stable manifold, as from a line of symmetry: if it is off it by more than rounding, it
would leave along the axes of negative curvature, and is followed there.
"""

from typing import NamedTuple

import jax
import numpy as np

from gdjax.basins.critical import CriticalPoint, is_bottom
from gdjax.basins.ends import Ends, Symmetry, parts
from gdjax.basins.falling import axes_program, fallen
from gdjax.basins.gathering import Gathered, by_dynamics
from gdjax.basins.looks import Looks
from gdjax.basins.members import Members, labels_of
from gdjax.curvature.extremes import LARGEST_HESSIAN
from gdjax.diagnosis.point import NONE

ROUNDED = 8.0  # units in the last place: off the stable manifold by less is by rounding
WAYS = 64  # to either side of 0: how finely directions off a saddle are told apart
MOST_DYNAMICS = 16  # of those that led to a saddle, that are followed off it


class Onward(NamedTuple):
    """Ends in cells, after those that stopped on their way past a saddle went on."""

    cells: Gathered
    found: CriticalPoint  # of each cell
    went_on: np.ndarray  # bool [n] which of the runs did


def sides(
    looks: Looks,
    members: Members,
    ends: Ends,
    lanes: np.ndarray,
    cells: Gathered,
    symmetry: Symmetry | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices [attractors], and the labels [attractors, 2] that saddles fall to.

    These are what runs reach that are pushed along the axis of least curvature, forward and
    backward, with the updates of those that ended there: where these differ, as their learning
    rates do, what most of them reach that reach any. It is -1 where none reaches an attractor of
    the table, and for all that is no saddle or maximum.
    """
    index = np.array(members.found.index)[members.chosen]
    found = np.full((len(members.chosen), 2), -1, np.int32)
    saddles = members.chosen[members.bottoms :]
    if not len(saddles):
        return index, found
    vectors = np.asarray(members.found.vector)[saddles]
    axes, falling = looks.called(axes_program, members.lanes[saddles], (vectors,))
    if ends.dim > LARGEST_HESSIAN:  # of which only one negative curvature was looked for
        index[members.bottoms :] = falling.sum(axis=1)
    which, own = _one_of_each_dynamics(looks, members, lanes, cells)
    for side, sign in enumerate((1.0, -1.0)):
        ways = sign * axes[which, 0] / looks.spread
        label = labels_of(
            looks, members, own, fallen(looks, ends, symmetry, own, vectors[which], ways)
        )
        known = np.stack([which, label], axis=1)[label >= 0]
        (saddle, reached), runs = _counted(known)
        # Of each saddle the last one is kept: what most reached, of several the first label.
        order = np.lexsort((-reached, runs, saddle))
        found[members.bottoms + saddle[order], side] = reached[order]
    return index, found


def _counted(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the columns of the distinct rows, and how often there is each."""
    kinds, runs = np.unique(rows, axis=0, return_counts=True)
    return kinds.T, runs


def _one_of_each_dynamics(
    looks: Looks, members: Members, lanes: np.ndarray, cells: Gathered
) -> tuple[np.ndarray, np.ndarray]:
    """Return runs of saddles that differ in their updates: which saddle, and the lane of each."""
    label = np.where(cells.of >= 0, members.label[cells.of], -1)
    rows = np.flatnonzero(label >= members.bottoms)
    saddle, dynamics = label[rows] - members.bottoms, by_dynamics(looks.lanes, lanes[rows])
    kinds, first = np.unique(np.stack([saddle, dynamics], axis=1), axis=0, return_index=True)
    chosen = []
    for one in np.unique(kinds[:, 0]):
        own = first[kinds[:, 0] == one]
        some = np.linspace(0, len(own) - 1, min(len(own), MOST_DYNAMICS))
        chosen.append(rows[own[np.rint(some).astype(int)]])
    runs = np.concatenate(chosen)
    return label[runs] - members.bottoms, lanes[runs]


def led_on(
    looks: Looks,
    ends: Ends,
    lanes: np.ndarray,
    cells: Gathered,
    found: CriticalPoint,
    symmetry: Symmetry | None,
) -> Onward:
    """Follow runs that stopped beside a saddle, but off its stable manifold, to where they fall.

    Args:
      looks: those at the ends.
      ends: those of all lanes.
      lanes: int [n], numbers of the runs.
      cells: those of their ends.
      found: the critical point of each cell.
      symmetry: as in `map_basins`.
    """
    went_on = np.zeros(len(lanes), bool)
    rows, way = _off_manifold(looks, ends, lanes, cells, found)
    if not len(rows):
        return Onward(cells, found, went_on)
    went_on[rows] = True
    # Runs that leave one saddle in one direction by the same updates are one run.
    way = np.rint(WAYS * way / np.max(np.abs(way), axis=1, keepdims=True))
    dynamics = by_dynamics(looks.lanes, lanes[rows])
    kinds, first, which = np.unique(
        np.column_stack([cells.of[rows], dynamics, way]),
        axis=0,
        return_index=True,
        return_inverse=True,
    )
    own, vectors = lanes[rows[first]], np.asarray(found.vector)[cells.of[rows[first]]]
    ended = fallen(looks, ends, symmetry, own, vectors, kinds[:, 2:])
    of = cells.of.copy()
    of[rows] = len(cells.lanes) + which.ravel()
    # A saddle that all went on from is none that any leads to.
    used = np.unique(of[of >= 0])
    name = np.full(len(cells.lanes) + len(own) + 1, -1, np.int32)  # the last is that of -1
    name[used] = np.arange(len(used))
    all_lanes = np.concatenate([cells.lanes, own])
    both = jax.tree.map(lambda a, b: np.concatenate([a, b])[used], found, ended)
    return Onward(Gathered(name[of], all_lanes[used]), both, went_on)


def _off_manifold(
    looks: Looks, ends: Ends, lanes: np.ndarray, cells: Gathered, found: CriticalPoint
) -> tuple[np.ndarray, np.ndarray]:
    """Return which of the runs [m] are off a saddle's stable manifold, and which way.

    The ways [m, dim] are in units of the spread.
    """
    is_saddle = (found.kind != NONE) & ~is_bottom(found.kind)
    rows = np.flatnonzero((cells.of >= 0) & is_saddle[cells.of])
    if not len(rows):
        return rows, np.zeros((0, ends.dim))
    beside, cell = np.unique(cells.of[rows], return_inverse=True)
    vectors = np.asarray(found.vector)[beside]
    axes, falling = looks.called(axes_program, cells.lanes[beside], (vectors,))
    axes = np.where(falling[..., None], axes, 0)
    off, way = np.empty(len(rows), bool), []
    for part in parts(len(rows), axes[0].size):
        near, end = axes[cell[part]], ends.rows(lanes[rows[part]])
        away = np.einsum("nkd,nd->nk", near, end - vectors[cell[part]])
        unit = np.maximum(ROUNDED * looks.eps * np.abs(end), looks.grain * looks.spread)
        is_off = np.abs(away) > np.einsum("nkd,nd->nk", np.abs(near), unit)
        off[part] = is_off.any(axis=1)
        way.append(np.einsum("nk,nkd->nd", np.where(is_off, away, 0), near)[off[part]])
    return rows[off], np.concatenate(way) / looks.spread
