"""B. Ackley's function, where a few lanes hop about the origin until their budget is used up."""

import jax
import optax

import gdjax
from experiments.benchmarks.agreement import same_ends, swept
from experiments.benchmarks.comparison import Comparison, Plan, Report, Target, compare
from experiments.benchmarks.harness import Side
from experiments.benchmarks.plain import NAME as PLAIN
from experiments.benchmarks.plain import grid_starts, plain_descent, plain_side

LOSS = gdjax.landscapes.ackley
RATE, TOL = 0.01, 1e-3


def measure(plan: Plan) -> list[Report]:
    n, max_steps = (32, 1_000) if plan.quick else (256, 20_000)

    def lane(start: jax.Array) -> gdjax.Descent:
        stop = gdjax.stop.gradient_below(TOL)
        return gdjax.Descent(LOSS, start, optax.sgd(RATE), stop=stop, max_steps=max_steps)

    grid = gdjax.grid((-5, 5, n), (-5, 5, n))
    plain = plain_descent(LOSS, optax.sgd(RATE), TOL, max_steps)
    comparison = Comparison(
        f"B. Ackley {n}²",
        Side("gdjax.sweep", lambda: gdjax.sweep(lane, start=grid, progress=False), swept),
        [plain_side(plain, grid_starts(-5, 5, n))],
        {PLAIN: Target(60, 200)},
        same_ends,
    )
    return [compare(comparison, plan)]
