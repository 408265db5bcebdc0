"""What an update costs: examples, gradients, arithmetic and memory traffic."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from gdjax.batches import Batches, HostBatches
from gdjax.descent.description import Descent, canonical, with_traced_budget
from gdjax.descent.programs import lowered
from gdjax.descent.stepping import first_state, updated


@dataclass(frozen=True)
class Cost:
    """What an update costs, or with counts for fields what many do."""

    examples: Any  # seen; NaN without batches, as then the data are not known as such
    gradients: Any  # evaluations of loss and gradient
    flops: Any  # floating-point operations of the compiled program; NaN where it does not say
    bytes: Any  # it reads and writes, in caches as well; NaN where it does not say

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
        return Cost(*(times * x for x in (self.examples, self.gradients, self.flops, self.bytes)))


def cost(d: Descent) -> Cost:
    """Return what one update of a descent costs; nothing is run.

    It compiles the update alone, for XLA's own analysis of it. That counts the body of a loop
    once: of an optimizer that searches along a line, as `optax.lbfgs` does, the operations are
    those of one trial, and neither `gradients` nor `examples` counts its further evaluations.

    Args:
      d: the descent.

    Returns:
      The cost of an update; `cost(d).of(result.steps)` is that of a run.

    Raises:
      TypeError: `d` is no Descent, its batches are on the host, or the loss does not return a real
        floating scalar.

    >>> import gdjax, jax.numpy as jnp, optax
    >>> d = gdjax.Descent(lambda w, batch: jnp.mean((w - batch) ** 2), 0.0, optax.sgd(0.1),
    ...                   batches=gdjax.batches.full(jnp.ones(100)))
    >>> update = gdjax.cost(d)
    >>> update.examples, update.gradients, update.flops > 100
    (100, 1, True)
    """
    d = with_traced_budget(canonical(d))
    examples = np.asarray(examples_of(d.batches)).item()
    found = lowered(updated, d, jax.eval_shape(first_state, d)).compile().cost_analysis()
    parts = found if isinstance(found, list) else [found]  # one for each module, in some versions
    known = parts[0] if parts and parts[0] else {}
    flops, moved = (float(known.get(name, np.nan)) for name in ("flops", "bytes accessed"))
    return Cost(examples, 1, flops, moved)


def examples_of(batches: Batches | HostBatches | None) -> Any:
    """Return the examples of an update, on average over an epoch; traced if the batch size is."""
    if batches is None:
        return np.nan
    if not isinstance(batches, Batches):
        raise TypeError(
            "batches: expected data in memory, as the cost is that of one program; give one batch "
            "of those on the host as gdjax.batches.full"
        )
    plan = batches.plan
    if plan.pad:
        return plan.examples / plan.per_epoch
    return plan.size if plan.count is None else plan.count
