"""A glance at each of many ends, in as few arrays as tell it: to write one costs more than to look.

What follows from others is left out, and what only one of two verdicts needs shares an array.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gdjax.descent import Descent
from gdjax.diagnosis.glance import Minimum
from gdjax.diagnosis.verdict import Array

SETTLED, ILL_CONDITIONED, SPIKED = 1, 2, 4  # bits of a code


class Brief(NamedTuple):
    """What is kept of a glance."""

    code: Array  # int8 []
    curvature_min: Array  # []
    curvature_max: Array  # []
    alignment: Array  # []
    rest: Array  # [] what remains of the descent, or what else is asked for where it is unsettled
    grad_norm: Array | None  # []; None where the run has it already


def brief(d: Descent, settled: Array, m: Minimum, otherwise: Array | None = None) -> Brief:
    """Return what tells of a glance whether it settles, and what there is to say then."""
    code = SETTLED * settled + ILL_CONDITIONED * m.ill_conditioned + SPIKED * m.spiked
    rest = m.remaining if otherwise is None else jnp.where(settled, m.remaining, otherwise)
    # Of all examples and in this dtype, it is that of the run.
    is_known = d.batches is None and all(
        leaf.dtype == m.grad_norm.dtype for leaf in jax.tree.leaves(d.params)
    )
    return Brief(
        code=code.astype(np.int8),
        curvature_min=m.curvature_min,
        curvature_max=m.curvature_max,
        alignment=m.alignment,
        rest=rest,
        grad_norm=None if is_known else m.grad_norm,
    )


def opened(b: Brief, grad_norm: Array) -> tuple[np.ndarray, Minimum]:
    """Return which lanes are settled, and of those what there is to say; numpy arrays [lanes].

    `grad_norm` is that of their runs.
    """
    with np.errstate(all="ignore"):
        condition = b.curvature_max / b.curvature_min
    minimum = Minimum(
        grad_norm=np.array(grad_norm) if b.grad_norm is None else b.grad_norm,
        curvature_min=b.curvature_min,
        curvature_max=b.curvature_max,
        condition=condition,
        remaining=b.rest,
        alignment=b.alignment,
        ill_conditioned=np.not_equal(b.code & ILL_CONDITIONED, 0),
        spiked=np.not_equal(b.code & SPIKED, 0),
    )
    return np.not_equal(b.code & SETTLED, 0), minimum
