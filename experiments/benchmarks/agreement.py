"""Whether two sides computed the same answer, lane by lane."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import gdjax
from experiments.benchmarks.comparison import Agreement
from experiments.benchmarks.harness import Answer


def same_ends(
    ours: Answer, theirs: Answer, *, within: float = 1e-3, share: float = 0.9999
) -> Agreement:
    """Ask for the same parameters, and the same steps where both count them, lane by lane."""
    near, text = _near(ours, theirs, within)
    holds = near >= share
    if ours.steps is not None and theirs.steps is not None:
        same = float(np.mean(ours.steps[theirs.lanes] == theirs.steps))
        text += f", the same steps in {same:.4%}"
        holds &= same >= share
    return Agreement(holds, text)


def same_on_average(
    ours: Answer,
    theirs: Answer,
    *,
    loss: Callable[[Any], Any],
    within: float,
    share: float,
    steps_within: float,
) -> Agreement:
    """Ask for ends of the same loss, and for the same mean of the steps to a fraction of it.

    For runs so long that the rounding, which differs from program to program, moves where on a
    gentle slope they stop: the parameters there need not be near.
    """
    assert ours.steps is not None
    assert theirs.steps is not None
    losses = jax.jit(jax.vmap(loss))
    apart = np.abs(losses(ours.params[theirs.lanes]) - losses(theirs.params))
    near = float(np.mean(apart <= within))
    mean, other = float(ours.steps[theirs.lanes].mean()), float(theirs.steps.mean())
    text = (
        f"the loss at the end within {within:g} in {near:.4%} of the lanes (median of the "
        f"difference {np.median(apart):.2g}), steps on average {mean:.6g} and {other:.6g}"
    )
    return Agreement(near >= share and abs(mean / other - 1) <= steps_within, text)


def _near(ours: Answer, theirs: Answer, within: float) -> tuple[float, str]:
    apart = np.abs(ours.params[theirs.lanes] - theirs.params).max(axis=1)
    near = float(np.mean(apart <= within))
    return near, f"parameters within {within:g} in {near:.4%} of the lanes"


def swept(runs: gdjax.Runs) -> Answer:
    """Return the answer of a sweep whose parameters are one vector."""
    params = runs.params.reshape(runs.steps.size, -1)
    return Answer(params, runs.steps.ravel(), **lane_steps(runs))


def lane_steps(runs: Any) -> dict[str, Any]:
    """Return the useful and the executed lane-steps of a sweep, as far as it counts them."""
    work = getattr(runs, "work", None)
    if work is None:
        return {"useful": int(runs.steps.sum(dtype=np.int64))}
    return {"useful": int(work.useful), "executed": int(work.executed)}


def waiting_lane_steps(steps: np.ndarray) -> dict[str, Any]:
    """Return the same of a loop whose lanes all wait for the slowest."""
    useful, slowest = int(steps.sum(dtype=np.int64)), int(steps.max())
    return {"useful": useful, "executed": slowest * steps.size}
