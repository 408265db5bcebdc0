"""A. Himmelblau's function from every point of a grid, against three libraries and C."""

from dataclasses import replace

import jax
import numpy as np
import optax

import gdjax
from experiments.benchmarks.agreement import same_ends, swept
from experiments.benchmarks.c_program import NAME as C
from experiments.benchmarks.c_program import c_side
from experiments.benchmarks.comparison import Comparison, Plan, Report, Target, compare
from experiments.benchmarks.harness import Answer, Missing, Program, Side
from experiments.benchmarks.optional import imported
from experiments.benchmarks.plain import NAME as PLAIN
from experiments.benchmarks.plain import Descend, ends, grid_starts, plain_descent, plain_side

LOSS = gdjax.landscapes.himmelblau
RATE, TOL, MAX_STEPS = 0.01, 1e-3, 10_000
JAXOPT, OPTIMISTIX = "jaxopt.GradientDescent", "optimistix.GradientDescent"
TARGETS = {
    PLAIN: Target(40 if jax.__version_info__ >= (0, 12) else 20, 80),
    JAXOPT: Target(30, 100),
    OPTIMISTIX: Target(30, 100),
    C: Target(1 / 6, 1 / 2),
}


def lane(start: jax.Array) -> gdjax.Descent:
    stop = gdjax.stop.gradient_below(TOL)
    return gdjax.Descent(LOSS, start, optax.sgd(RATE), stop=stop, max_steps=MAX_STEPS)


def measure(plan: Plan) -> list[Report]:
    n = 64 if plan.quick else 512
    starts = grid_starts(-6, 6, n)
    grid = gdjax.grid((-6, 6, n), (-6, 6, n))
    comparison = Comparison(
        f"A. Himmelblau {n}²",
        Side("gdjax.sweep", lambda: gdjax.sweep(lane, start=grid, progress=False), swept),
        [
            plain_side(plain_descent(LOSS, optax.sgd(RATE), TOL, MAX_STEPS), starts),
            _jaxopt_side(starts),
            _optimistix_side(starts),
            c_side(starts, n, RATE, TOL, MAX_STEPS),
        ],
        TARGETS,
        same_ends,
    )
    return [compare(comparison, plan)]


def _jaxopt_side(starts: np.ndarray) -> Side | Missing:
    jaxopt = imported("jaxopt")
    if isinstance(jaxopt, Missing):
        return Missing(JAXOPT, jaxopt.reason)
    # It looks at the Euclidean norm of the gradient, one step late; wherever no entry is above
    # TOL, that norm is not above this.
    solver = jaxopt.GradientDescent(
        LOSS, stepsize=RATE, acceleration=False, tol=2**0.5 * TOL, maxiter=MAX_STEPS
    )

    def descend(start: jax.Array) -> tuple[jax.Array, jax.Array]:
        params, state = solver.run(start)
        return params, state.iter_num

    return _library_side(JAXOPT, descend, starts)


def _optimistix_side(starts: np.ndarray) -> Side | Missing:
    optimistix = imported("optimistix")
    if isinstance(optimistix, Missing):
        return Missing(OPTIMISTIX, optimistix.reason)
    # It stops where the last step moved no entry by RATE * TOL, which is where no entry of the
    # gradient was above TOL, and the loss by no more, which it then never does.
    solver = optimistix.GradientDescent(RATE, rtol=0.0, atol=RATE * TOL)

    def descend(start: jax.Array) -> tuple[jax.Array, jax.Array]:
        solution = optimistix.minimise(
            lambda params, _: LOSS(params), solver, start, max_steps=MAX_STEPS, throw=False
        )
        return solution.value, solution.stats["num_steps"]

    return _library_side(OPTIMISTIX, descend, starts)


def _library_side(name: str, descend: Descend, starts: np.ndarray) -> Side:
    program = Program(jax.vmap(descend), starts)

    def answer(raw: tuple) -> Answer:
        return replace(ends(raw), steps=None)  # it stops by a rule of its own

    return Side(name, program, answer, compile=program.compile)
