"""What an estimate is: a value and its error."""

from typing import NamedTuple

import jax


class Estimate(NamedTuple):
    """A number that is not known exactly."""

    value: jax.Array
    error: jax.Array  # >= 0; NaN where the value is
