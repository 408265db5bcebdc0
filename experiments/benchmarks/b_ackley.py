"""B. Ackley's function, where a few lanes hop about the origin until their budget is used up."""

from dataclasses import replace
from itertools import product

import jax
import numpy as np
import optax

import gdjax
from experiments.benchmarks.agreement import same_ends, swept
from experiments.benchmarks.comparison import Agreement, Comparison, Plan, Report, Target, compare
from experiments.benchmarks.harness import Answer, Side
from experiments.benchmarks.plain import NAME as PLAIN
from experiments.benchmarks.plain import Descend, grid_starts, plain_descent, plain_side

LOSS = gdjax.landscapes.ackley
RATE, TOL = 0.01, 1e-3


def measure(plan: Plan) -> list[Report]:
    n, max_steps = (32, 1_000) if plan.quick else (256, 20_000)

    def lane(start: jax.Array) -> gdjax.Descent:
        stop = gdjax.stop.gradient_below(TOL)
        return gdjax.Descent(LOSS, start, optax.sgd(RATE), stop=stop, max_steps=max_steps)

    grid = gdjax.grid((-5, 5, n), (-5, 5, n))
    plain = plain_descent(LOSS, optax.sgd(RATE), TOL, max_steps)
    starts = grid_starts(-5, 5, n)

    def agree(ours: Answer, theirs: Answer) -> Agreement:
        agreement = same_ends(ours, _at_most_an_ulp_away(ours, theirs, plain, starts))
        text = f"from starts at most an ulp away {agreement.text}"
        return replace(agreement, text=text)

    comparison = Comparison(
        f"B. Ackley {n}²",
        Side("gdjax.sweep", lambda: gdjax.sweep(lane, start=grid, progress=False), swept),
        [plain_side(plain, starts)],
        {PLAIN: Target(60, 200)},
        agree,
    )
    return [compare(comparison, plan)]


def _at_most_an_ulp_away(
    ours: Answer, theirs: Answer, descend: Descend, starts: np.ndarray
) -> Answer:
    """Return their answer, from a start an ulp away where only that takes as many steps as ours.

    Where a gradient comes as near to the tolerance, rounding decides whether one more step follows;
    and a start on this grid has seven others that mirror it.
    """
    assert ours.steps is not None
    assert theirs.steps is not None
    params, steps = theirs.params.copy(), theirs.steps.copy()
    differs = np.flatnonzero(ours.steps != steps)
    around = jax.jit(jax.vmap(descend))
    for towards in product((-np.inf, 0, np.inf), repeat=2):
        own = starts[differs]
        ends, taken = map(np.asarray, around(np.where(towards, np.nextafter(own, towards), own)))
        same = taken == ours.steps[differs]
        params[differs[same]], steps[differs[same]] = ends[same], taken[same]
    return replace(theirs, params=params, steps=steps)
