"""When to stop: small conditions, combined with `&` and `|`.

A condition is a pytree: its tolerance may be traced and swept. What it has to remember from step
to step (its memory) is carried by the run, and never by the condition.
"""

from typing import TYPE_CHECKING

from gdjax.lazily import lazily
from gdjax.stop.conditions import (
    Condition,
    gradient_below,
    loss_below,
    loss_stalled,
    step_below,
)

if TYPE_CHECKING:
    from gdjax.stop.noisy import averaged, validation

__all__ = [
    "Condition",
    "averaged",
    "gradient_below",
    "loss_below",
    "loss_stalled",
    "step_below",
    "validation",
]

__getattr__, __dir__ = lazily(__name__, dict.fromkeys(("averaged", "validation"), "noisy"), __all__)
