"""The map of basins, computed along its borders only."""

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from gdjax import checks
from gdjax.basins.map_basins import Attractors, map_basins
from gdjax.basins.refinement.audit import missed, skipped_sample
from gdjax.basins.refinement.lattice import MOST_STARTS, Lattice
from gdjax.basins.refinement.naming import AttractorNames
from gdjax.basins.refinement.result import Leaves, Refinement
from gdjax.basins.refinement.starts import Starts
from gdjax.basins.refinement.tree import NOTHING, Points, Tree, is_in
from gdjax.descent import Descent
from gdjax.sweeps import Runs
from gdjax.sweeps.axes.box import checked_box

COARSE = {1: 64, 2: 64, 3: 32, 4: 16}  # cells along a side, by the dimensions
AUDIT = 1000  # starts


def refine(
    problem: Callable[..., Descent],
    box: Any,
    levels: int,
    *,
    coarse: int | None = None,
    label: Callable[[Runs], Any] | None = None,
    audit: int = AUDIT,
    seed: int = 0,
) -> Refinement:
    """Map the basins over a box in 1 to 4 dimensions, running only starts along their borders.

    A coarse map is refined where it is needed: a cell whose corners have different labels is cut
    into halves along each side, `levels` times (a quadtree in 2 dimensions), and so is a cell that
    a border enters from beside it. The starts are those of the grid with `coarse * 2**levels`
    cells a side, and have the labels that a map of all of them gives. A border that was met
    anywhere is followed to its end, so what can be missed are islands that no corner of a cell
    lies on: a random sample of the starts that were not run says how much of the map they can be.

    In d dimensions the runs grow as the border does, by a factor of 2^(d - 1) a level. Where basins
    are valleys of one loss, their numbers follow the point that stands for each, which depends on
    the starts that were run.

    Args:
      problem: function of one argument, the start, to a `gdjax.Descent`, as `gdjax.sweep` takes;
        what its argument is called names the dimensions.
      box: `{name: (low, high), ...}`, and `problem` gets a dict of scalars, or
        `[(low, high), ...]`, and it gets an array `[len(box)]`. What is called the start may be
        anything: two learning rates, say.
      levels: how often the sides of the coarse cells are halved, at least 0.
      coarse: cells along each side of the coarse map; 64, or in 3 dimensions 32 and in 4 16, if
        left out. Islands larger than such a cell are not missed.
      label: function of `gdjax.Runs` along one dimension to an integer for each run, such as
        `lambda runs: runs.status`; it must look at each run alone. `gdjax.map_basins` if left out.
      audit: how many of the starts that were not run are run to see what was missed.
      seed: of their choice.

    Returns:
      The refined map: its cells, `labels()` of all starts of the finest map, which `share` of
      them was `evaluated`, and what was `missed`.

    Raises:
      TypeError: `problem` does not take one argument, the box is not of this form, `label` does not
        return integers, or a number is not whole.
      ValueError: the box has more than 4 sides or bounds that are not in order, a number is too
        low, or the finest map has more than 2^62 starts.

    References:
      Finkel, Bentley, Quad trees, 1974. Hanley, Lippman-Hand, If nothing goes wrong, is everything
      all right?, 1983.

    >>> import gdjax, optax
    >>> himmelblau = gdjax.landscapes.himmelblau
    >>> problem = lambda start: gdjax.Descent(himmelblau, start, optax.sgd(0.01))
    >>> refined = gdjax.basins.refine(problem, {"x": (-6, 6), "y": (-6, 6)}, levels=3)
    >>> refined.shape, refined.share < 0.1, refined.missed.high <= 0.003
    ((512, 512), True, True)
    """
    checked = checked_box(box)
    dims = len(checked.bounds)
    if dims not in COARSE:
        raise ValueError(
            f"box: expected 1 to 4 sides, got {dims}; in more dimensions, see "
            "gdjax.basins.slice_plane, or gdjax.basins.fractions of random starts"
        )
    levels = checks.whole_number("levels", levels, least=0)
    coarse = COARSE[dims] if coarse is None else checks.whole_number("coarse", coarse, least=1)
    audit = checks.whole_number("audit", audit, least=0)
    seed = checks.whole_number("seed", seed, least=0)
    if label is not None:
        checks.function("label", label)
    total = (coarse << levels) ** dims
    if total > MOST_STARTS:
        raise ValueError(f"levels: expected at most 2^62 starts of the finest map, got {total}")
    lattice = Lattice(dims, coarse, levels)
    starts = Starts(problem, checked, coarse << levels)
    by_function = None if label is None else checked_label(label)
    tree, audited, truth, attractors = _grown(lattice, starts, by_function, (audit, seed))
    fresh = ~is_in(audited, tree.points.codes)
    audited, truth = audited[fresh], truth[fresh]
    wrong = audited[tree.labels_at(audited) != truth]
    evaluated = len(tree.points.codes)
    return Refinement(
        leaves=_leaves(tree),
        shape=starts.shape,
        levels=levels,
        dims=starts.dims,
        coords=starts.coords,
        evaluated=evaluated,
        missed=missed(lattice.places(levels, wrong), len(audited), total - evaluated),
        attractors=attractors,
    )


def _grown(
    lattice: Lattice,
    starts: Starts,
    by_function: Callable[[Runs], np.ndarray] | None,
    audit: tuple[int, int],
) -> tuple[Tree, np.ndarray, np.ndarray, Attractors | None]:
    """Return the tree, the starts that were audited, their labels, and the attractors."""
    total = prod(lattice.shape(lattice.levels))
    if by_function is not None:

        def of_starts(codes):
            return by_function(starts.runs(codes))

        tree = Tree(lattice, Points(of_starts))
        audited = skipped_sample(tree.points.codes, total, *audit)
        return tree, audited, of_starts(audited) if len(audited) else NOTHING, None

    names = AttractorNames(starts)
    batches: list[tuple[np.ndarray, Runs]] = []

    def labelled(codes: np.ndarray) -> np.ndarray:
        runs = starts.runs(codes)
        batches.append((codes, runs))
        return names(runs)

    tree = Tree(lattice, Points(labelled))
    audited = skipped_sample(tree.points.codes, total, *audit)
    own = [starts.runs(audited)] if len(audited) else []
    while True:
        # What was labelled a batch at a time is labelled at once, as the whole map would be. If
        # that changes where the borders are, the tree grows there.
        codes = np.concatenate([codes for codes, _ in batches])
        together = starts.joined([*(runs for _, runs in batches), *own])
        basins = map_basins(together)
        labels, order = basins.labels[: len(codes)], np.argsort(codes)
        names.remember(together, basins.labels)
        known = len(batches)
        tree = Tree(lattice, Points(labelled, codes[order], labels[order]))
        if len(batches) == known:
            return tree, audited, basins.labels[len(codes) :], basins.attractors


def checked_label(label: Callable[[Runs], Any]) -> Callable[[Runs], np.ndarray]:
    """Return the function, which raises where it does not return an integer for each run."""

    def checked(runs: Runs) -> np.ndarray:
        labels = np.asarray(label(runs))
        if labels.dtype.kind not in "iub" or labels.shape != runs.shape:
            raise TypeError(
                f"label: expected integers of shape {runs.shape}, one for each run, got "
                f"{labels.dtype} of shape {labels.shape}"
            )
        return labels.astype(np.int64)

    return checked


def _leaves(tree: Tree) -> Leaves:
    """Return the leaves of a tree that has grown."""
    lattice, levels = tree.lattice, range(tree.lattice.levels + 1)
    cells = [tree.leaves(level) for level in levels]
    corners = np.concatenate([lattice.first_corners(k, of) for k, of in zip(levels, cells)])
    level = np.repeat(levels, [len(of) for of in cells])
    return Leaves(
        first=lattice.places(lattice.levels, corners),
        level=level.astype(np.int8),
        label=tree.points.labels_at(corners),
        size=1 << (lattice.dims * (lattice.levels - level)),
    )
