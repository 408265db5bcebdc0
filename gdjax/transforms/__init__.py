"""Remedies that optax lacks: each an optax transformation, for any chain, under jit and vmap.

`perturb` escapes saddles, `adaptive_restart` stops momentum from overshooting, `barzilai_borwein`
and `malitsky_mishchenko` find their step sizes themselves, `scale_by_stable_learning_rate` holds
back a learning rate that is too large for the curvature, and `exact_line_search` steps to the
minimum of the quadratic model along a line. Complex parameters count as pairs of real ones.

`gdjax.run` and `gdjax.sweep` pass the extra arguments that some of them take. In a loop of your
own: `optimizer.update(grad, state, params, value=value, grad=grad, value_fn=loss)`, where for
complex parameters `grad` is the conjugate of what `jax.grad` returns.
"""

from gdjax.transforms.adaptive_restart import AdaptiveRestartState, adaptive_restart
from gdjax.transforms.barzilai_borwein import BarzilaiBorweinState, barzilai_borwein
from gdjax.transforms.exact_line_search import exact_line_search
from gdjax.transforms.malitsky_mishchenko import MalitskyMishchenkoState, malitsky_mishchenko
from gdjax.transforms.perturb import PerturbState, perturb
from gdjax.transforms.stable_learning_rate import (
    StableLearningRateState,
    scale_by_stable_learning_rate,
)

__all__ = [
    "AdaptiveRestartState",
    "BarzilaiBorweinState",
    "MalitskyMishchenkoState",
    "PerturbState",
    "StableLearningRateState",
    "adaptive_restart",
    "barzilai_borwein",
    "exact_line_search",
    "malitsky_mishchenko",
    "perturb",
    "scale_by_stable_learning_rate",
]
