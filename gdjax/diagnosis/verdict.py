"""What a diagnosis says: the verdict, the flags beside it, and the evidence."""

from enum import IntEnum
from typing import NamedTuple

import jax
import numpy as np

from gdjax.diagnosis import words

Array = jax.Array | np.ndarray


class Verdict(IntEnum):
    """How a run ended, and why: small integers, which compare with the arrays inside `jit`."""

    MINIMUM = 0  # a critical point that holds: the loss rises in all directions
    SADDLE = 1  # a critical point from which the loss falls in some directions and rises in others
    MAXIMUM = 2  # a critical point from which the loss falls in all directions
    VALLEY = 3  # a degenerate minimum: the Hessian is singular, and the loss falls nowhere nearby
    PLATEAU = 4  # a tiny gradient, but no critical point: the loss still falls, there or beyond
    SLOW = 5  # descending steadily; the budget was used up, or it was stopped on its way
    OSCILLATING = 6  # a periodic orbit
    BOUNDED = 7  # neither converging nor periodic: chaos, or noise
    DIVERGED = 8  # loss, gradient or parameters are not finite, or grow without bound


FLAGS = ("ill_conditioned", "unstable", "spiked", "noise_floor", "precision_floor")


class Diagnosis(NamedTuple):
    """Why a run ended where it did: arrays, which for many runs have their leading shape.

    What was not looked at, since the verdict did not need it, is NaN. Losses, gradients and
    curvatures are those of all examples, not of a batch.
    """

    verdict: Array  # int8 [] a Verdict
    grad_norm: Array  # [] largest absolute entry of the gradient, in loss / parameter
    curvature_min: Array  # [] least eigenvalue of the Hessian, in loss / parameter²
    curvature_max: Array  # [] largest
    index: Array  # int32 [] how many are negative  # pyright: ignore[reportIncompatibleMethodOverride]
    flat_dimension: Array  # int32 [] how many are zero, to rounding
    counted: Array  # bool [] whether these are all, or else the fewest that there can be
    condition: Array  # [] largest by least size of those eigenvalues that are not zero
    remaining: Array  # [] loss less that of the critical point nearby
    period: Array  # int32 [] steps, 1 to 32 where the orbit is periodic, else 0
    alignment: Array  # [] mean cosine of the angle between consecutive steps
    loss_slope: Array  # [] change of the loss in a step, over the next stretch
    steps_to_tolerance: Array  # [] predicted; 0 where it holds, infinite where it never will
    lyapunov: Array  # [] exponent of the update map, in 1 / step
    spectral_radius: Array  # [] growth in a step of a deviation, linearised at fixed second moments
    ill_conditioned: Array  # bool [] steps zigzag, or the curvatures are far apart
    unstable: Array  # bool [] rate × curvature is beyond the optimizer's limit
    spiked: Array  # bool [] the loss rose above that of the start before it fell below
    noise_floor: Array  # bool [] the noise of mini-batches holds it up
    precision_floor: Array  # bool [] no progress is possible in this dtype

    def __str__(self) -> str:
        """Return a short paragraph on one run, or the table of `summary` for many."""
        if np.ndim(self.verdict):
            return self.summary()
        return words.paragraph(Verdict(int(self.verdict)), self)

    def summary(self) -> str:
        """Return a table: how many runs ended in each way, with their typical evidence.

        >>> import gdjax, optax
        >>> runs = gdjax.sweep(lambda rate: gdjax.Descent(lambda w: w**2, 1.0, optax.sgd(rate)),
        ...                    rate=[0.1, 0.2], diagnose=True)
        >>> print(runs.diagnosis.summary())
        verdict  runs    share  median gradient  flags
        MINIMUM     2  100.00%          3.4e-04
        """
        return words.table(Verdict, FLAGS, self)
