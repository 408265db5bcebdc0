"""The closer looks at the ends of one sweep, and in which precision they are."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod
from typing import Any

import jax
import numpy as np
from jax import lax

from gdjax.basins.critical import (
    CriticalPoint,
    Precision,
    critical_points_program,
    degenerate_kinds_program,
    scaled_surface,
)
from gdjax.basins.ends import Ends
from gdjax.basins.valleys import dimension_program, joined_program
from gdjax.sweeps.constants_apart import ConstantsApart
from gdjax.sweeps.lanes import Lane, Lanes
from gdjax.trees import PyTree, coarsest_eps, real_dtype, real_vector, strongly_typed

TOGETHER = 2**12  # points of a call
MOST_NUMBERS = 2**22  # of them
FEWEST = 16  # points of a call, for one program of those that have a handful
FEW_NUMBERS = 2**10  # of the Hessians of so many
SAMPLE = 64  # losses that are compared


@dataclass(frozen=True)
class Looks:
    """The looks at the ends of the lanes of one sweep; points come with the lanes they are of."""

    lanes: Lanes
    spread: np.ndarray  # [dim]
    tol: float  # in its units
    grain: float  # likewise, how far rounding may move a critical point
    precision: Precision
    eps: float  # of the runs
    descent: float  # how far the loss typically fell

    def called(
        self,
        program: Callable[[Lane, Precision], Callable[..., Any]],
        numbers: np.ndarray,
        rows: tuple,
        *settings: float,
    ) -> Any:
        """Call the program for these lanes with rows [n, ...], the spread and other numbers."""
        own = program(self.lanes.lane, self.precision)
        real = self.spread.astype(self._dtype)
        others = (real, *(np.asarray(x, self._dtype) for x in settings))
        with_values = self._values
        return _in_calls(
            lambda some, *rows: own(with_values(some), some, self.lanes.key, *rows, *others),
            numbers,
            rows,
            self.precision,
        )

    def as_run(
        self, program: Callable[[Lane], Callable[..., Any]], numbers: np.ndarray, rows: tuple
    ) -> Any:
        """Call a program in the arithmetic of the runs with rows [n, ...]."""
        own = program(self.lanes.lane)
        return _in_calls(
            lambda some, *rows: own(self._values(some), some, self.lanes.key, *rows),
            numbers,
            rows,
            Precision(False, self.precision.x64),
        )

    def critical(self, numbers: np.ndarray, params: PyTree) -> CriticalPoint:
        """Return the critical points near some params [n, ...]."""
        found, doubts = self.called(critical_points_program, numbers, (params,))
        rows = np.flatnonzero(doubts.is_degenerate)
        if not len(rows):
            return found
        own = jax.tree.map(lambda x: x[rows], doubts)
        kind = found.kind.copy()
        kind[rows] = self.called(degenerate_kinds_program, numbers[rows], (own,))
        return found._replace(kind=kind)

    def losses(self, numbers: np.ndarray, params: PyTree) -> np.ndarray:
        """Return the losses at some params [n, ...]."""
        return self.called(_losses_program, numbers, (params,))[1]

    def joined(self, numbers: np.ndarray, found: CriticalPoint, pairs: np.ndarray) -> np.ndarray:
        """Return for each pair [pairs, 2] of degenerate points whether they are one valley."""
        if not len(pairs):
            return np.zeros(0, bool)
        both = tuple(jax.tree.map(lambda x, i=i: x[pairs[:, i]], found) for i in (0, 1))
        return self.called(joined_program, numbers[pairs[:, 0]], both, self.eps)

    def dimension(self, numbers: np.ndarray, found: CriticalPoint) -> np.ndarray:
        """Return the dimension of the manifold of minima around each degenerate one."""
        return self.called(dimension_program, numbers, (found,), self.tol, self.eps)

    def _values(self, numbers: np.ndarray) -> PyTree:
        with jax.enable_x64(self.precision.x64):
            return self.lanes.values(numbers)

    @property
    def _dtype(self) -> Any:
        if self.precision.double:
            return np.float64
        return real_dtype(jax.eval_shape(lambda: strongly_typed(self.lanes.descent(0).params)))


def _in_calls(
    program: Callable[..., Any], numbers: np.ndarray, rows: tuple, precision: Precision
) -> Any:
    """Call a program with rows [n, ...], a power of two at a time, to compile only a few."""
    found, dim = [], sum(prod(leaf.shape[1:]) for leaf in jax.tree.leaves(rows))
    each = min(TOGETHER, 1 << max(MOST_NUMBERS // dim, 1).bit_length() - 1)
    least = max(1, min(FEWEST, FEW_NUMBERS // dim**2))
    for first in range(0, max(len(numbers), 1), each):
        some = slice(first, first + each)
        own, *others = (padded(x, least) for x in (numbers[some], *_cut(rows, some)))
        with jax.enable_x64(True) if precision.double else nullcontext():
            out = program(own.astype(np.int32), *others)
            count = len(numbers[some])
            found.append(jax.tree.map(lambda x, n=count: np.asarray(x)[:n], out))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *found)


def looks_at(
    lanes: Lanes,
    ends: Ends,
    numbers: np.ndarray,
    spread: np.ndarray,
    tol: float,
    resolution: float,
) -> Looks:
    """Return the looks in double precision, if the loss of these lanes can be computed in it.

    `resolution` is how far apart, in units of the spread, the runs' dtype sets equal points.

    It can where it is traced with parameters in double precision, and has the value that it has in
    that of the runs: not one that draws random numbers, which are others then.
    """
    x64 = bool(jax.config.jax_enable_x64)
    params = jax.eval_shape(lambda: strongly_typed(lanes.descent(0).params))
    some = numbers[:SAMPLE]
    eps, precise = coarsest_eps(params), float(np.finfo(np.float64).eps)
    plain = Looks(lanes, spread, max(tol, resolution), resolution, Precision(False, x64), eps, 1.0)
    if not len(some):
        return plain
    first, last = plain.called(_losses_program, some, (ends.of(some),))
    fell = float(np.median(np.abs(first - last)))
    plain = replace(plain, descent=fell if 0 < fell < np.inf else 1.0)
    if eps <= precise:
        return plain
    wide = replace(plain, precision=Precision(True, x64), grain=resolution * precise / eps)
    try:
        _, end = wide.called(_losses_program, some, (ends.of(some),))
    except (TypeError, ValueError):  # what it is made of, such as the carry of a loop, has one type
        return plain
    if end.dtype != np.float64:
        return plain
    close = np.abs(end - last) <= eps**0.5 * np.maximum(np.abs(last), np.abs(first - last))
    return wide if np.mean(close) > 0.5 else plain


@lru_cache(maxsize=32)
def _losses_program(lane: Lane, precision: Precision) -> Callable[..., tuple]:
    @ConstantsApart
    def losses(values: PyTree, numbers: Any, key: Any, params: PyTree, spread: jax.Array) -> tuple:
        def look(one: tuple) -> tuple:
            values, number, params = one
            with jax.enable_x64(precision.x64):
                start = real_vector(lane.descent(values, number, key).params)[0]
            at = scaled_surface(lane, precision, values, number, key, spread)
            end = real_vector(params)[0]
            return tuple(at.loss(x.astype(spread.dtype) / spread) for x in (start, end))

        return lax.map(look, (values, numbers, params))

    return losses


def _cut(rows: tuple, some: slice) -> tuple:
    return tuple(jax.tree.map(lambda x: x[some], tree) for tree in rows)


def padded(rows: PyTree, least: int = 1) -> PyTree:
    """Return rows up to a power of 2, so that their number compiles only a few programs."""

    def pad(x: np.ndarray) -> np.ndarray:
        if not len(x):
            return np.zeros((least, *x.shape[1:]), x.dtype)
        missing = (1 << (max(least, len(x)) - 1).bit_length()) - len(x)
        return np.pad(x, [(0, missing)] + [(0, 0)] * (x.ndim - 1), mode="edge")

    return jax.tree.map(pad, rows)
