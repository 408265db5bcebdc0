"""When to stop: small conditions, combined with `&` and `|`.

A condition is a pytree: its tolerance may be traced and swept. What it has to remember from step
to step (its memory) is carried by the run, and never by the condition.
"""

from typing import TYPE_CHECKING, Any

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


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'gdjax.stop' has no attribute {name!r}")
    from gdjax.stop import noisy  # what few runs need would make the import of gdjax longer

    return getattr(noisy, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
