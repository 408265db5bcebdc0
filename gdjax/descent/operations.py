"""How much a program computes: XLA's own count, with each loop of known length as often as it runs.

XLA's analysis has the body of a loop once. So that of a body is added as often as it is left out.
"""

from collections.abc import Iterator
from functools import reduce
from typing import Any, NamedTuple

import jax
import numpy as np


class Operations(NamedTuple):
    """What a program does; NaN where XLA does not say."""

    flops: float
    bytes: float  # read and written, in caches as well

    def plus(self, other: "Operations", times: float) -> "Operations":
        """Return these and so many times others."""
        return Operations(*(x + times * y for x, y in zip(self, other)))


NONE = Operations(0.0, 0.0)


def operations(traced: Any) -> Operations:
    """Return what a `jax.stages.Traced` does, compiled; nothing is run.

    A loop whose length depends on values, as of `jax.lax.while_loop`, counts once; of branches,
    those that do most.
    """
    return _once(traced).plus(_again(traced.jaxpr), 1)


def _once(traced: Any) -> Operations:
    found = traced.lower().compile().cost_analysis()
    parts = found if isinstance(found, list) else [found]  # one for each module, in some versions
    known = parts[0] if parts and parts[0] else {}
    return Operations(*(float(known.get(name, np.nan)) for name in ("flops", "bytes accessed")))


def _again(jaxpr: Any) -> Operations:
    """Return what is done in the turns of loops that XLA's analysis leaves out."""
    total = NONE
    for eqn in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        if eqn.primitive.name == "scan":
            total = total.plus(_again_in_loop(**eqn.params), 1)
        elif eqn.primitive.name == "cond":
            branches = map(_again, _jaxprs(eqn))
            total = total.plus(reduce(lambda x, y: Operations(*map(max, x, y)), branches), 1)
        else:
            for inner in _jaxprs(eqn):
                total = total.plus(_again(inner), 1)
    return total


def _again_in_loop(*, jaxpr: Any, length: int, unroll: int, **_: Any) -> Operations:
    from jax.extend.core import jaxpr_as_fun  # slow to import

    if length == 0:
        return NONE
    shapes = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in jaxpr.in_avals]
    body = jax.jit(jaxpr_as_fun(jaxpr)).trace(*shapes)
    once, again = _once(body), _again(body.jaxpr)
    in_program = unroll + length % unroll if length > unroll else length
    return NONE.plus(once, length - in_program).plus(again, length)


def _jaxprs(eqn: Any) -> Iterator[Any]:
    for param in eqn.params.values():
        for value in param if isinstance(param, (tuple, list)) else (param,):
            if hasattr(getattr(value, "jaxpr", value), "eqns"):
                yield value
