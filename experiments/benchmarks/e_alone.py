"""E. One run alone, of 2 and of 10,000,000 parameters, against a hand-written loop."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

import gdjax
from experiments.benchmarks.agreement import same_ends
from experiments.benchmarks.comparison import Agreement, Comparison, Plan, Report, Target, compare
from experiments.benchmarks.harness import Answer, Side

PEER = "hand-written lax.while_loop, donated"
TOL = 1e-30  # never reached


def quartic(params: jax.Array) -> jax.Array:
    return jnp.sum((params**2 - 1) ** 2)


def measure(plan: Plan) -> list[Report]:
    few_steps, many, many_steps = (2_000, 10**5, 20) if plan.quick else (10**5, 10**7, 50)
    few_start = np.array([-3.0, -3.0], np.float32)
    many_start = np.linspace(0.5, 1.5, many, dtype=np.float32)
    himmelblau = gdjax.landscapes.himmelblau
    return [
        # At a larger rate it would arrive, where the gradient is exactly 0.
        _compare("2 parameters", himmelblau, few_start, optax.sgd(1e-6), few_steps, plan),
        _compare(f"{many:,} parameters", quartic, many_start, optax.adam(1e-3), many_steps, plan),
    ]


class End(NamedTuple):
    """What a run returns."""

    params: jax.Array
    opt_state: Any
    loss: jax.Array
    grad: jax.Array
    grad_norm: jax.Array
    steps: jax.Array


def _compare(
    name: str,
    loss: Callable[[jax.Array], jax.Array],
    start: np.ndarray,
    optimizer: Any,
    max_steps: int,
    plan: Plan,
) -> Report:
    stop = gdjax.stop.gradient_below(TOL)
    d = gdjax.Descent(loss, jnp.asarray(start), optimizer, stop=stop, max_steps=max_steps)
    by_hand = jax.jit(partial(_by_hand, loss, optimizer, max_steps), donate_argnums=0)

    def fresh() -> tuple[jax.Array]:
        return (jax.block_until_ready(jnp.array(start)),)

    comparison = Comparison(
        f"E. One run alone, {name}, {max_steps:,} steps",
        Side("gdjax.run", lambda: jax.block_until_ready(gdjax.run(d)), _answer),
        [Side(PEER, lambda params: jax.block_until_ready(by_hand(params)), _answer, inputs=fresh)],
        {PEER: Target(1.05, 1.0, of="time")},
        partial(_agree, max_steps),
    )
    return compare(comparison, plan)


def _by_hand(loss: Any, optimizer: Any, max_steps: int, params: jax.Array) -> End:
    def unfinished(carry: tuple) -> jax.Array:
        _, _, _, grad, step = carry
        return (jnp.max(jnp.abs(grad)) > TOL) & (step < max_steps)

    def body(carry: tuple) -> tuple:
        params, opt_state, _, grad, step = carry
        updates, opt_state = optimizer.update(grad, opt_state, params)
        params = optax.apply_updates(params, updates)
        return params, opt_state, *jax.value_and_grad(loss)(params), step + 1

    carry = params, optimizer.init(params), *jax.value_and_grad(loss)(params), jnp.int32(0)
    params, opt_state, value, grad, step = lax.while_loop(unfinished, body, carry)
    return End(params, opt_state, value, grad, jnp.max(jnp.abs(grad)), step)


def _agree(max_steps: int, ours: Answer, theirs: Answer) -> Agreement:
    same = same_ends(ours, theirs, within=1e-5)
    return replace(same, holds=same.holds and ours.useful == max_steps)


def _answer(result: gdjax.Result | End) -> Answer:
    steps = int(result.steps)
    params = np.asarray(result.params).reshape(1, -1)
    return Answer(params, np.array([steps]), useful=steps, executed=steps)
