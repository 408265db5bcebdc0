"""The descent as everyone writes it: `jit(vmap(while_loop))` around an optax optimizer."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from experiments.benchmarks.agreement import waiting_lane_steps
from experiments.benchmarks.harness import Answer, Program, Side

NAME = "jit(vmap(while_loop))"
Descend = Callable[[jax.Array], tuple[jax.Array, jax.Array]]  # from a start to params and steps


def plain_descent(
    loss: Callable[..., jax.Array], optimizer: Any, tol: float, max_steps: int
) -> Descend:
    """Return the descent of one start, which stops where max |gradient| <= tol."""

    def unfinished(carry: tuple) -> jax.Array:
        _, _, grad, step = carry
        return (jnp.max(jnp.abs(grad)) > tol) & (step < max_steps)

    def body(carry: tuple) -> tuple:
        params, opt_state, grad, step = carry
        updates, opt_state = optimizer.update(grad, opt_state, params)
        params = optax.apply_updates(params, updates)
        return params, opt_state, jax.grad(loss)(params), step + 1

    def descend(start: jax.Array) -> tuple[jax.Array, jax.Array]:
        carry = start, optimizer.init(start), jax.grad(loss)(start), jnp.int32(0)
        params, _, _, steps = lax.while_loop(unfinished, body, carry)
        return params, steps

    return descend


def plain_side(descend: Descend, starts: np.ndarray) -> Side:
    """Return the side that descends from all starts [lanes, parameters] at once."""
    program = Program(jax.vmap(descend), starts)
    return Side(NAME, program, ends, compile=program.compile)


def ends(raw: tuple[np.ndarray, np.ndarray]) -> Answer:
    """Return the answer of parameters [lanes, ...] and steps [lanes] of lanes that wait."""
    params, steps = raw
    return Answer(params.reshape(len(steps), -1), steps, **waiting_lane_steps(steps))


def grid_starts(low: float, high: float, n: int) -> np.ndarray:
    """Return what `gdjax.grid((low, high, n), (low, high, n))` gives, float32 [n * n, 2]."""
    centres = (low + (np.arange(n) + 0.5) * ((high - low) / n)).astype(np.float32)
    return np.stack(np.meshgrid(centres, centres, indexing="ij"), axis=-1).reshape(-1, 2)
