"""Numbers and points as text."""

from enum import Enum
from typing import Any

import numpy as np

NOTHING = 1e-5  # of the scale of a coordinate: what is left of 0 after rounding in float32


def member_text(member: Enum) -> str:
    """Return the name of an enumeration's member in plain words.

    >>> import gdjax
    >>> member_text(gdjax.Status.STEP_LIMIT)
    'step limit'
    """
    return member.name.lower().replace("_", " ")


def number_text(number: Any) -> str:
    """Return a number with 3 significant digits, as matplotlib writes it.

    >>> number_text(-1.03163), number_text(2186.4), number_text(2.27374e-13)
    ('−1.03', '2190', '2.27e−13')
    """
    return f"{float(f'{float(number):.3g}'):g}".replace("-", "−")


def point_text(numbers: np.ndarray, scale: np.ndarray) -> str:
    """Return a point as text; rounding errors at its scale [count] are written 0.

    >>> point_text(np.array([-2.80512, 1e-9]), np.array([10.0, 10.0]))
    '(−2.81, 0)'
    """
    rounded = np.where(np.abs(numbers) < scale * NOTHING, 0.0, numbers)
    text = ", ".join(map(number_text, rounded))
    return f"({text})" if len(rounded) > 1 else text
