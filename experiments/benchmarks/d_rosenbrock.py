"""D. Rosenbrock's valley in 100 dimensions, with Adam and with L-BFGS."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

import gdjax
from experiments.benchmarks.agreement import same_on_average, swept
from experiments.benchmarks.comparison import Comparison, Plan, Report, Target, compare
from experiments.benchmarks.harness import Side
from experiments.benchmarks.plain import NAME as PLAIN
from experiments.benchmarks.plain import Descend, plain_descent, plain_side

LOSS = gdjax.landscapes.rosenbrock.in_dimension(100)
# With a constant rate in float32 Adam's steps keep the gradient above 1e-2 in nearly every lane.
ADAM, ADAM_TOL = optax.adam(0.01), 1e-1
LBFGS, LBFGS_TOL = optax.lbfgs(), 1e-3


def measure(plan: Plan) -> list[Report]:
    lanes, adam_steps = (64, 2_000) if plan.quick else (4_096, 20_000)
    low, high = np.transpose(LOSS.domain)
    starts = np.random.default_rng(0).uniform(low, high, (lanes, len(low))).astype(np.float32)
    return [
        _compare("Adam", ADAM, ADAM_TOL, adam_steps, starts, plan),
        _compare("L-BFGS", LBFGS, LBFGS_TOL, 1_000, starts, plan),
    ]


def _compare(
    name: str, optimizer: Any, tol: float, max_steps: int, starts: np.ndarray, plan: Plan
) -> Report:
    def lane(start: jax.Array) -> gdjax.Descent:
        stop = gdjax.stop.gradient_below(tol)
        return gdjax.Descent(LOSS, start, optimizer, stop=stop, max_steps=max_steps)

    plain = _plain_lbfgs if optimizer is LBFGS else plain_descent
    comparison = Comparison(
        f"D. Rosenbrock in 100 dimensions, {name}, {len(starts)} starts",
        Side("gdjax.sweep", lambda: gdjax.sweep(lane, start=starts, progress=False), swept),
        [plain_side(plain(LOSS, optimizer, tol, max_steps), starts)],
        {PLAIN: Target(3, 10)},
        partial(same_on_average, loss=LOSS, within=2e-2, share=0.99, steps_within=0.02),
    )
    return compare(comparison, plan)


def _plain_lbfgs(loss: Any, optimizer: Any, tol: float, max_steps: int) -> Descend:
    """Return the descent as optax documents it: the line search's last value and gradient."""
    value_and_grad = optax.value_and_grad_from_state(loss)

    def unfinished(carry: tuple) -> jax.Array:
        _, opt_state, step = carry
        size = jnp.max(jnp.abs(optax.tree.get(opt_state, "grad")))
        return (step == 0) | ((size > tol) & (step < max_steps))

    def body(carry: tuple) -> tuple:
        params, opt_state, step = carry
        value, grad = value_and_grad(params, state=opt_state)
        updates, opt_state = optimizer.update(
            grad, opt_state, params, value=value, grad=grad, value_fn=loss
        )
        return optax.apply_updates(params, updates), opt_state, step + 1

    def descend(start: jax.Array) -> tuple[jax.Array, jax.Array]:
        carry = start, optimizer.init(start), jnp.int32(0)
        params, _, steps = lax.while_loop(unfinished, body, carry)
        return params, steps

    return descend
