"""Advice as a paragraph."""

from typing import Any

import jax
import numpy as np

from gdjax import checks

NAMES = ("Gradient descent", "Polyak's momentum", "Nesterov's momentum", "Adam", "RMSProp")
ADAPTIVE = 3  # the first of those whose curvature is that of the preconditioned Hessian
WORTH_SAYING = 1e-3  # relative error


def paragraph(advice: Any) -> str:
    """Return what a `gdjax.Advice` says; its `repr` where it is of many points or traced."""
    if np.ndim(advice.curvature_max) or not all(map(checks.is_concrete, jax.tree.leaves(advice))):
        return repr(advice)
    family, momentum = int(advice.family), float(advice.momentum)
    name = f"{NAMES[family]}, β = {momentum:.3g}" if momentum else NAMES[family]
    kind = "preconditioned curvature" if family >= ADAPTIVE else "curvature"
    low, high = _said(advice, "curvature_min"), _said(advice, "curvature_max")
    if np.isnan(advice.curvature_max):
        return f"{name}. The {kind} is not finite here, and says nothing about the learning rate."
    span = f"{name}. The {kind} lies between {low} and {high}"
    if advice.curvature_max <= 0:
        return f"{span}: it is positive along no axis, so no learning rate is too large by it."
    limit = f"Stable below a learning rate of {_said(advice, 'largest_rate')}"
    if np.isinf(advice.condition):
        is_negative = advice.curvature_min < -advice.error.curvature_min
        shape = (
            "negative along some axis" if is_negative else "0 along some axis, but for its error"
        )
        return (
            f"{span}: it is {shape}, so how fast the error shrinks cannot be told. {limit}; half "
            f"of that, {advice.best_rate:.3g}, is a safe one."
        )
    rate = float(advice.best_rate)
    text = (
        f"{span}: condition number {_said(advice, 'condition')}. {limit}; the best constant one "
        f"is {_said(advice, 'best_rate')}, which multiplies the error by "
        f"{_said(advice, 'best_contraction')} a step: tenfold less in {advice.steps(rate):.0f}."
    )
    if abs(advice.best_momentum - momentum) < WORTH_SAYING:
        return text
    return (
        f"{text} With β = {_said(advice, 'best_momentum')} and a learning rate of "
        f"{_said(advice, 'best_momentum_rate')} it would be "
        f"{_said(advice, 'best_momentum_contraction')} a step."
    )


def _said(advice: Any, name: str) -> str:
    value, error = float(getattr(advice, name)), float(getattr(advice.error, name))
    text = f"{value:.3g}"
    return f"{text} ± {error:.1g}" if error > WORTH_SAYING * abs(value) else text
