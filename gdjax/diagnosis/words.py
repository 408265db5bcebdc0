"""A diagnosis in words."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def paragraph(verdict: Any, found: Any) -> str:
    """Return a short paragraph on one run."""
    said = _SENTENCES[verdict.name](found)
    flags = [sentence(found) for name, sentence in _FLAGS.items() if getattr(found, name)]
    return " ".join([f"{verdict.name}: {said}", *flags])


def table(verdicts: Any, flags: Sequence[str], found: Any) -> str:
    """Return how many runs ended in each way, a line for each verdict that occurs."""
    verdict = np.ravel(found.verdict)
    gradient = np.broadcast_to(found.grad_norm, np.shape(found.verdict)).ravel()
    rows = [("verdict", "runs", "share", "median gradient", "flags")]
    for kind in verdicts:
        own = verdict == kind
        if count := int(own.sum()):
            seen = {
                name: int(
                    np.broadcast_to(getattr(found, name), np.shape(found.verdict))
                    .ravel()[own]
                    .sum()
                )
                for name in flags
            }
            beside = ", ".join(f"{name} ({n:,})" for name, n in seen.items() if n)
            share = f"{count / verdict.size:.2%}"
            rows.append((kind.name, f"{count:,}", share, f"{np.median(gradient[own]):.1e}", beside))
    widths = [max(map(len, column)) for column in zip(*rows)]
    aligned = [
        [
            row[0].ljust(widths[0]),
            *(cell.rjust(w) for cell, w in zip(row[1:4], widths[1:4])),
            row[4],
        ]
        for row in rows
    ]
    return "\n".join("  ".join(row).rstrip() for row in aligned)


def _minimum(found: Any) -> str:
    return (
        f"a minimum, with curvatures from {_number(found.curvature_min)} to "
        f"{_number(found.curvature_max)}; the largest entry of the gradient is "
        f"{_number(found.grad_norm)}."
    )


def _saddle(found: Any) -> str:
    if not int(found.index):
        return (
            f"a degenerate saddle: {_flat(found)} there, and the loss falls nearby. "
            "Any noise lets a run leave it."
        )
    return (
        f"a saddle of index {_least(found)}{int(found.index)}: the loss falls from here along "
        f"{_least(found)}{_count(found.index, 'axis', 'axes')}, with curvatures down to "
        f"{_number(found.curvature_min)}. Any noise lets a run leave it."
    )


def _maximum(found: Any) -> str:
    return (
        "a maximum: the loss falls from here in all directions, with curvatures up to "
        f"{_number(found.curvature_max)}. Start elsewhere."
    )


def _valley(found: Any) -> str:
    return (
        f"a degenerate minimum: {_flat(found)} to rounding (the largest is "
        f"{_number(found.curvature_max)}), and the loss falls nowhere nearby."
    )


def _plateau(found: Any) -> str:
    return (
        f"a plateau: the gradient is tiny ({_number(found.grad_norm)}), but this is no critical "
        f"point{_slope(found)}. A larger learning rate or another start may leave it."
    )


def _slow(found: Any) -> str:
    steps = float(found.steps_to_tolerance)
    when = f"it needs about {_steps(steps)} more to reach its tolerance"
    if np.isinf(steps):
        when = "it will not reach its tolerance"
    elif np.isnan(steps):
        when = "when it reaches its tolerance cannot be told yet"
    return f"the run was still descending{_slope(found)}; {when}."


def _oscillating(found: Any) -> str:
    return (
        f"the run goes round a cycle of {_count(found.period, 'step')} for ever. "
        "A smaller learning rate ends that."
    )


def _bounded(found: Any) -> str:
    exponent = float(found.lyapunov)
    chaos = f"; nearby runs part as exp({exponent:.3g} t): chaos" if exponent > 0 else ""
    return f"the run stays bounded, but neither converges nor repeats itself{chaos}."


def _diverged(found: Any) -> str:
    return "the loss, its gradient or the parameters grow without bound, or are no numbers."


_SENTENCES = {
    "MINIMUM": _minimum,
    "SADDLE": _saddle,
    "MAXIMUM": _maximum,
    "VALLEY": _valley,
    "PLATEAU": _plateau,
    "SLOW": _slow,
    "OSCILLATING": _oscillating,
    "BOUNDED": _bounded,
    "DIVERGED": _diverged,
}
_FLAGS = {
    "ill_conditioned": lambda found: (
        f"It is ill-conditioned: the curvatures are {_number(found.condition)} to 1 apart"
        + (
            f", and consecutive steps point against each other (cosine {found.alignment:.2f})."
            if float(found.alignment) < 0
            else "."
        )
    ),
    "unstable": lambda found: (
        "The learning rate is beyond the limit of stability for the curvature: a deviation grows "
        f"{_number(found.spectral_radius)} times in a step."
    ),
    "spiked": lambda found: "On its way the loss rose above that of the start before it fell.",
    "noise_floor": lambda found: (
        "The noise of the mini-batches is larger than the gradient: decay the learning rate, or "
        "take larger batches."
    ),
    "precision_floor": lambda found: (
        "No more progress is possible in this dtype: the rest is rounding."
    ),
}


def _number(x: Any) -> str:
    return f"{float(x):.3g}"


def _least(found: Any) -> str:
    return "" if found.counted else "at least "


def _flat(found: Any) -> str:
    vanish = "vanishes" if int(found.flat_dimension) == 1 else "vanish"
    return f"{_least(found)}{_count(found.flat_dimension, 'curvature')} of the Hessian {vanish}"


def _count(x: Any, one: str, many: str | None = None) -> str:
    return f"{int(x)} {one if int(x) == 1 else many or one + 's'}"


def _steps(steps: float) -> str:
    return f"{steps:,.0f} steps" if steps < 1e7 else f"{steps:.1e} steps"


def _slope(found: Any) -> str:
    slope = float(found.loss_slope)
    return "" if np.isnan(slope) else f" (the loss changes by {slope:.2g} a step)"
