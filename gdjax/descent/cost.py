"""What an update costs: examples, gradients, arithmetic and memory traffic."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gdjax import checks
from gdjax.batches import HostBatches
from gdjax.batches.plan import Plan
from gdjax.descent.description import Descent, canonical, with_traced_budget
from gdjax.descent.operations import operations
from gdjax.descent.programs import compiled, traced
from gdjax.descent.running import execute, run
from gdjax.descent.state import Result
from gdjax.descent.stepping import first_state, updated, with_batch
from gdjax.record import fold

Zoom, Backtracking = optax.ScaleByZoomLinesearchState, optax.ScaleByBacktrackingLinesearchState


@dataclass(frozen=True)
class Cost:
    """What an update costs, or with counts for fields what many do."""

    examples: Any  # seen; NaN without batches, as then the data are not known as such
    gradients: Any  # evaluations of loss and gradient
    flops: Any  # floating-point operations of the compiled program; NaN where it does not say
    bytes: Any  # it reads and writes, in caches as well; NaN where it does not say
    updates: Any = None  # of how many it is the cost, with that of a start; None of one, without

    def of(self, steps: Any) -> "Cost":
        """Return what a run of so many steps costs: an evaluation more, that at its start.

        Its operations and bytes are counted as those of an update.

        Args:
          steps: whole numbers [...], such as the `steps` of a result or of runs.

        Returns:
          The cost, in float64 [...].

        >>> print(Cost(32, 1, 1e6, 2e5).of(9).examples)
        320.0
        """
        times = np.asarray(steps, float) + 1
        parts = (times * x for x in (self.examples, self.gradients, self.flops, self.bytes))
        return Cost(*parts, updates=steps)


def cost(d: Descent) -> Cost:
    """Return what one update of a descent costs; nothing is run.

    It compiles the update alone, for XLA's own analysis of it. The body of a loop of known length,
    such as a scan over micro-batches, counts as often as it runs, that of another loop once: of an
    optimizer that searches along a line, as `optax.lbfgs` does, the operations are those of one
    trial, and neither `gradients` nor `examples` counts its trials, whose number is known of a run
    only: see `Result.cost`. What else an optimizer evaluates, as `optax.contrib.sam` does, is among
    the operations only. The last batch of an epoch, where it is padded, makes `examples` an
    average. Of batches on the host, the first one is read.

    Args:
      d: the descent.

    Returns:
      The cost of an update; `cost(d).of(result.steps)` is that of a run.

    Raises:
      TypeError: `d` is no Descent, or the loss does not return a real floating scalar.

    >>> import gdjax, jax.numpy as jnp, optax
    >>> d = gdjax.Descent(lambda w, batch: jnp.mean((w - batch) ** 2), 0.0, optax.sgd(0.1),
    ...                   batches=gdjax.batches.full(jnp.ones(100)))
    >>> update = gdjax.cost(d)
    >>> update.examples, update.gradients, update.flops > 100
    (100, 1, True)
    """
    d = with_traced_budget(canonical(d))
    on_device = with_batch(d, 0)
    seen = d.batches if hasattr(d.batches, "plan") else on_device.batches
    examples = np.asarray(examples_of(seen)).item()
    state = jax.eval_shape(first_state, on_device)
    return Cost(examples, 1, *operations(traced(updated, on_device, state)))


class Trials(NamedTuple):
    """What searches along lines evaluated."""

    losses: Any  # without or with a gradient
    gradients: Any


NO_TRIALS = Trials(0, 0)


def cost_of_run(d: Descent, result: Result) -> Cost:
    """Return what a run cost that ended so."""
    steps, trials = checks.whole_number("steps", result.steps, 0), NO_TRIALS
    if searches_along_lines(d):
        trials = jax.tree.map(int, _trials(repeated(d, steps)))
    return with_trials(cost(d), getattr(d.batches, "plan", None), steps, trials)


def _trials(d: Descent) -> Trials:
    if isinstance(d.batches, HostBatches):
        return run(d).record
    return compiled(trials_of, with_traced_budget(d))


def with_trials(update: Cost, plan: Plan | None, steps: Any, trials: Trials) -> Cost:
    """Return what runs of so many steps cost, with what their searches evaluated."""
    whole = update.of(steps)
    examples = whole.examples if plan is None else plan.seen(np.asarray(steps, float) + 1)
    return replace(
        whole,
        examples=examples + trials.losses * update.examples,
        gradients=whole.gradients + trials.gradients,
    )


def searches_along_lines(d: Descent) -> bool:
    """Return whether the optimizer tells of trials along a line."""
    return bool(_searches(jax.eval_shape(d.optimizer.init, d.params)))


def repeated(d: Descent, steps: Any) -> Descent:
    """Return the descent of a run that took so many steps, to count the trials of its searches."""
    return replace(d, stop=None, record=fold(_none, _and_those_of_last), max_steps=steps)


def trials_of(d: Descent) -> Trials:
    """Return the trials of the searches of a canonical repeated descent."""
    return execute(d, None).record


def _none(state: Any) -> Trials:
    return Trials(jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))


def _and_those_of_last(total: Trials, state: Any) -> Trials:
    for search in _searches(state.opt_state):
        losses = search.info.num_linesearch_steps
        zooms = isinstance(search, Zoom)
        # Backtracking, where it keeps a gradient, took it at its end.
        gradients = losses if zooms else jnp.int32(search.grad is not None)
        total = Trials(total.losses + losses, total.gradients + gradients)
    return total


def _searches(opt_state: Any) -> list[Any]:
    """Return the states of the searches in a state; they tell of their last trials."""

    def is_search(node: Any) -> bool:
        return isinstance(node, (Zoom, Backtracking))

    return [x for x in jax.tree.leaves(opt_state, is_leaf=is_search) if is_search(x)]


def examples_of(batches: Any) -> Any:
    """Return the examples of an update, on average over an epoch."""
    if batches is None:
        return np.nan
    plan: Plan | None = getattr(batches, "plan", None)
    if plan is None:  # of a stream there is but the first batch to be seen
        return len(jax.tree.leaves(batches.now)[0])
    return plan.examples_each
