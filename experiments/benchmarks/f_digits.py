"""F. A small network on the digits, at 64 learning rates from 4 seeds: mini-batches and Adam."""

from functools import partial
from typing import Any

import jax
import numpy as np
import optax

import gdjax
from experiments.benchmarks.agreement import lane_steps
from experiments.benchmarks.comparison import Agreement, Comparison, Plan, Report, Target, compare
from experiments.benchmarks.digits import (
    BATCH,
    Data,
    Params,
    accuracy,
    batches,
    digits,
    flat,
    loss,
    networks,
)
from experiments.benchmarks.harness import Answer, Missing, Side
from experiments.benchmarks.torch_side import NAME as TORCH
from experiments.benchmarks.torch_side import torch_side

OURS = "gdjax.sweep"
LOOP = "Python loop of jitted steps a run"
TARGETS = {LOOP: Target(5, 15), TORCH: Target(5, 15)}
SEEDS = 4
LOOPED = 16  # runs that the loop is timed on; each takes as long as any other


def measure(plan: Plan) -> list[Report]:
    rates, steps = (8, 60) if plan.quick else (64, 1_000)
    title = f"F. Digits, {rates} learning rates × {SEEDS} seeds, {steps:,} steps"
    data = digits()
    if isinstance(data, Missing):
        return [compare(Comparison(title, data, [], TARGETS), plan)]
    starts, learning_rates = networks(SEEDS), np.geomspace(1e-4, 1e-1, rates, dtype=np.float32)
    comparison = Comparison(
        title,
        _ours(starts, learning_rates, steps, data),
        [
            _loop(starts, learning_rates, steps, data),
            torch_side(starts, learning_rates, steps, data),
        ],
        TARGETS,
        partial(_agree, learning_rates),
    )
    return [compare(comparison, plan)]


def _ours(starts: Params, learning_rates: np.ndarray, steps: int, data: Data) -> Side:
    in_order = gdjax.batches.mini(data, BATCH, shuffle=False)

    def lane(learning_rate: jax.Array, start: Params) -> gdjax.Descent:
        optimizer = optax.adam(learning_rate)
        return gdjax.Descent(loss, start, optimizer, batches=in_order, stop=None, max_steps=steps)

    def run() -> gdjax.Runs:
        return gdjax.sweep(lane, learning_rate=learning_rates, start=starts, progress=False)

    def answer(runs: gdjax.Runs) -> Answer:
        params = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), runs.params)
        return Answer(flat(params), scores={"accuracy": accuracy(params, data)}, **lane_steps(runs))

    return Side(OURS, run, answer)


def _loop(starts: Params, learning_rates: np.ndarray, steps: int, data: Data) -> Side:
    """Return the usual script: run after run, step after step."""
    runs = len(learning_rates) * SEEDS
    lanes = np.linspace(0, runs - 1, LOOPED).astype(int)
    in_order = jax.device_put(batches(data))

    @jax.jit
    def step(params: Params, opt_state: Any, learning_rate: Any, batch: Any) -> tuple[Params, Any]:
        grad = jax.grad(loss)(params, batch)
        updates, opt_state = optax.adam(learning_rate).update(grad, opt_state, params)
        return optax.apply_updates(params, updates), opt_state  # pyright: ignore[reportReturnType]

    def run() -> list[Params]:
        ends = []
        for lane in lanes:
            rate, seed = divmod(int(lane), SEEDS)
            params = jax.device_put({name: leaf[seed] for name, leaf in starts.items()})
            opt_state = optax.adam(0.0).init(params)
            for i in range(steps):
                batch = in_order[i % len(in_order)]
                params, opt_state = step(params, opt_state, learning_rates[rate], batch)
            ends.append(jax.device_get(params))
        return ends

    def answer(ends: list[Params]) -> Answer:
        params = {name: np.stack([end[name] for end in ends]) for name in starts}
        count = len(lanes) * steps
        scores = {"accuracy": accuracy(params, data)}
        return Answer(flat(params), lanes=lanes, useful=count, executed=count, scores=scores)

    return Side(LOOP, run, answer, part=LOOPED / runs)


def _agree(learning_rates: np.ndarray, ours: Answer, theirs: Answer) -> Agreement:
    """Ask for the same parameters where the rate is not so large that the last bits decide."""
    calm = (np.repeat(learning_rates, SEEDS) <= 0.01)[theirs.lanes].ravel()
    apart = np.abs(ours.params[theirs.lanes] - theirs.params).max(axis=1)
    near = float(np.mean(apart[calm] <= 1e-3))
    scores = ours.scores["accuracy"][theirs.lanes], theirs.scores["accuracy"]
    known = [float(score.mean()) for score in scores]
    text = (
        f"at rates up to 0.01 parameters within 1e-3 in {near:.2%} of the runs, "
        f"at all rates the mean accuracy is {known[0]:.3%} and {known[1]:.3%}"
    )
    return Agreement(near >= 0.99 and abs(known[0] - known[1]) <= 0.01, text)
