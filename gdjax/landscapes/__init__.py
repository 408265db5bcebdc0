"""Test losses with their domain, their known stationary points and their source.

Each loss is a ``Landscape`` under its own name, but ``quadratic``, which is a function that makes
one; ``get`` finds a landscape by name and ``names`` lists them all.
"""

import difflib

from gdjax.landscapes._ackley import ackley
from gdjax.landscapes._beale import beale
from gdjax.landscapes._booth import booth
from gdjax.landscapes._double_well import double_well
from gdjax.landscapes._griewank import griewank
from gdjax.landscapes._himmelblau import himmelblau
from gdjax.landscapes._monkey_saddle import monkey_saddle
from gdjax.landscapes._muller_brown import muller_brown
from gdjax.landscapes._quadratic import quadratic
from gdjax.landscapes._rastrigin import rastrigin
from gdjax.landscapes._rosenbrock import rosenbrock
from gdjax.landscapes._six_hump_camel import six_hump_camel
from gdjax.landscapes._styblinski_tang import styblinski_tang
from gdjax.landscapes.landscape import Landscape

__all__ = [
    "Landscape",
    "ackley",
    "beale",
    "booth",
    "double_well",
    "get",
    "griewank",
    "himmelblau",
    "monkey_saddle",
    "muller_brown",
    "names",
    "quadratic",
    "rastrigin",
    "rosenbrock",
    "six_hump_camel",
    "styblinski_tang",
]

_BY_NAME = {
    landscape.name: landscape
    for landscape in (
        ackley,
        beale,
        booth,
        double_well,
        griewank,
        himmelblau,
        monkey_saddle,
        muller_brown,
        quadratic(),
        rastrigin,
        rosenbrock,
        six_hump_camel,
        styblinski_tang,
    )
}


def names() -> tuple[str, ...]:
    """Return the names of all landscapes, sorted.

    Returns:
        The names that ``get`` knows.

    Example:
        >>> names()[:3]
        ('ackley', 'beale', 'booth')
    """
    return tuple(sorted(_BY_NAME))


def get(name: str) -> Landscape:
    """Find a landscape by name.

    Args:
        name: One of ``names()``, with hyphens or underscores.

    Returns:
        The landscape; for ``"quadratic"`` the one of condition number 100.

    Raises:
        ValueError: No landscape has this name; the message gives the nearest names.

    Example:
        >>> get("six-hump-camel").dimension
        2
    """
    known = name.replace("-", "_")
    if known not in _BY_NAME:
        nearest = difflib.get_close_matches(known, names())
        hint = (
            f"did you mean {' or '.join(nearest)}?" if nearest else f"known: {', '.join(names())}"
        )
        raise ValueError(f"no landscape is named {name!r}; {hint}")
    return _BY_NAME[known]
