"""C. The boundary of trainability over two learning rates, in float64 (Sohl-Dickstein 2024)."""

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gdjax
from experiments.benchmarks.agreement import lane_steps
from experiments.benchmarks.comparison import Agreement, Comparison, Plan, Report, Target, compare
from experiments.benchmarks.harness import Answer, Side

WIDTH, CAP, LAST = 16, 1e6, 20  # the capped loss decides in its last steps
PEER = "Python loop over a jitted, vmapped step"
Start = tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]


def measure(plan: Plan) -> list[Report]:
    pairs, steps = (12, 100) if plan.quick else (64, 500)
    with _float64():
        comparison = Comparison(
            f"C. Trainability {pairs}² pairs, {steps} steps, float64",
            _ours(pairs, steps, _start()),
            [_notebook(pairs, steps, _start())],
            {PEER: Target(12, 30)},
            partial(_agree, _nudged_shade(pairs, steps)),
        )
        return [compare(comparison, plan)]


@contextmanager
def _float64() -> Iterator[None]:
    # Not jax.enable_x64, which other threads than this one would not see.
    before = jax.config.read("jax_enable_x64")
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


def loss(params: dict[str, Any], x: jax.Array, y: jax.Array) -> jax.Array:
    hidden = jnp.tanh(2**0.5 * (x @ params["first"] / WIDTH**0.5))
    out = hidden @ params["last"] / WIDTH**0.5 / WIDTH**0.5
    return jnp.mean((out - y) ** 2)


def _start() -> Start:
    rng = np.random.default_rng(0)
    points = WIDTH * WIDTH + WIDTH  # as many as parameters
    params = {"first": rng.normal(size=(WIDTH, WIDTH)), "last": rng.normal(size=(WIDTH, 1))}
    return params, rng.normal(size=(points, WIDTH)), rng.normal(size=(points, 1))


def _rates(pairs: int) -> np.ndarray:
    return 10.0 ** (-3 + 9 * (np.arange(pairs) + 0.5) / pairs)


def _shade(total: np.ndarray, inverse: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Return the published shade: below 0 where training converges, above where it does not."""
    return np.where(last / LAST < 1, -total, inverse)


def _ours(pairs: int, steps: int, start: Start) -> Side:
    params, x, y = start
    rates = _rates(pairs)

    def sums(memory: dict[str, jax.Array], state: gdjax.State) -> dict[str, jax.Array]:
        capped = jnp.minimum(state.loss / memory["loss0"], CAP)
        seen = state.step < steps  # the loss after the last update is not looked at
        late = seen & (state.step >= steps - LAST)
        return {
            "loss0": memory["loss0"],
            "total": memory["total"] + jnp.where(seen, capped, 0.0),
            "inverse": memory["inverse"] + jnp.where(seen, 1 / capped, 0.0),
            "last": memory["last"] + jnp.where(late, capped, 0.0),
        }

    def first_sums(state: gdjax.State) -> dict[str, jax.Array]:
        zero = jnp.zeros_like(state.loss)
        return sums({"loss0": state.loss, "total": zero, "inverse": zero, "last": zero}, state)

    record = gdjax.record.fold(first_sums, sums)

    def lane(first: jax.Array, last: jax.Array) -> gdjax.Descent:
        by_layer: dict[Hashable, Any] = {"first": optax.sgd(first), "last": optax.sgd(last)}
        optimizer = optax.multi_transform(by_layer, {"first": "first", "last": "last"})
        return gdjax.Descent(
            loss, params, optimizer, args=(x, y), stop=None, max_steps=steps, record=record
        )

    def run() -> tuple[gdjax.Runs, np.ndarray]:
        runs = gdjax.sweep(lane, first=rates, last=rates, progress=False)
        # A diverged lane is not run to the end: what it did not see counts as the cap.
        missing = np.where(runs.status == gdjax.Status.DIVERGED, steps - 1 - runs.steps, 0)
        total = runs.record["total"] + CAP * missing
        inverse = runs.record["inverse"] + missing / CAP
        return runs, _shade(total, inverse, runs.record["last"] + CAP * np.minimum(missing, LAST))

    def answer(raw: tuple[gdjax.Runs, np.ndarray]) -> Answer:
        runs, shade = raw
        return Answer(shade.reshape(-1, 1), **lane_steps(runs))

    return Side("gdjax.sweep", run, answer)


def _notebook(pairs: int, steps: int, start: Start) -> Side:
    """Return the published way: all pairs at once, step by step, the losses in a list."""
    params, x, y = start
    rates = _rates(pairs)
    first, last = (grid.ravel() for grid in np.meshgrid(rates, rates, indexing="ij"))
    lane_rates = jax.device_put({"first": first, "last": last})

    @jax.jit
    @jax.vmap
    def step(params: dict, rates: dict) -> tuple[dict, jax.Array]:
        value, grad = jax.value_and_grad(loss)(params, x, y)
        return jax.tree.map(lambda p, rate, g: p - rate * g, params, rates, grad), value

    def starts() -> dict[str, jax.Array]:
        return jax.tree.map(lambda p: jnp.broadcast_to(p, (pairs**2, *p.shape)), params)

    def run() -> tuple[np.ndarray, np.ndarray]:
        params, losses = starts(), []
        for _ in range(steps):
            params, value = step(params, lane_rates)
            losses.append(value)
        losses = np.asarray(jnp.stack(losses))
        jax.block_until_ready(params)
        with np.errstate(all="ignore"):
            capped = losses / losses[0]
            capped = np.where(np.isfinite(capped), np.minimum(capped, CAP), CAP)
        return losses, _shade(capped.sum(0), (1 / capped).sum(0), capped[-LAST:].sum(0))

    def answer(raw: tuple[np.ndarray, np.ndarray]) -> Answer:
        losses, shade = raw
        useful = int(np.isfinite(losses).sum())
        return Answer(shade.reshape(-1, 1), useful=useful, executed=losses.size)

    return Side(
        PEER, run, answer, compile=lambda: jax.block_until_ready(step(starts(), lane_rates))
    )


def _nudged_shade(pairs: int, steps: int) -> np.ndarray:
    """Return the shade from a start that differs in the last bits, [lanes]."""
    params, x, y = _start()
    params = {name: leaf * (1 + 4 * np.finfo(float).eps) for name, leaf in params.items()}
    side = _ours(pairs, steps, (params, x, y))
    return side.answer(side.run()).params.ravel()


def _agree(nudged_shade: np.ndarray, ours: Answer, theirs: Answer) -> Agreement:
    """Ask for the same shade, but in the lanes where it moves when the last bits of the start do.

    At the largest rates training is chaotic before it converges, and no two programs that round
    differently agree.
    """
    shade, other = ours.params.ravel(), theirs.params.ravel()
    chaotic = ~np.isclose(shade, nudged_shade, rtol=1e-11, atol=0)
    same = (shade < 0) == (other < 0)
    verdict, verdict_all = float(np.mean(same[~chaotic])), float(np.mean(same))
    compared = (other < 0) & same & ~chaotic
    near = float(np.mean(np.abs(shade[compared] / other[compared] - 1) <= 1e-9))
    text = (
        f"where it converges and is not chaotic ({compared.mean():.2%} of the lanes) the shade is "
        f"within 1e-9 in {near:.3%}; the verdict is the same in {verdict:.3%} of the lanes that "
        f"are not chaotic, in {verdict_all:.3%} of all; {chaotic.mean():.2%} are chaotic"
    )
    return Agreement(near >= 0.999 and verdict >= 0.999, text)
