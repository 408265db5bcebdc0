"""The diagnosis of a run."""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gdjax import record
from gdjax.descent import Descent, Result
from gdjax.descent.description import canonical, with_traced_budget
from gdjax.descent.programs import compiled
from gdjax.descent.running import execute
from gdjax.diagnosis.decide import decided, is_settled, look_ahead, tolerance
from gdjax.diagnosis.end import End
from gdjax.diagnosis.glance import Glance, from_glance, glance
from gdjax.diagnosis.point import Point, point
from gdjax.diagnosis.start import Start, start_of
from gdjax.diagnosis.surface import surface
from gdjax.diagnosis.verdict import Diagnosis


def diagnose(d: Descent, result: Result) -> Diagnosis:
    """Say why a run ended where it did, with the evidence.

    Compiled as `gdjax.run` is, and as pure: it may be called inside `jit` and `vmap`.
    """
    d = canonical(d)
    if not isinstance(result, Result):
        raise TypeError(f"result: expected what gdjax.run returns, got {result!r}")
    return compiled(_diagnosis, with_traced_budget(d), result)


def _diagnosis(d: Descent, result: Result) -> Diagnosis:
    end = End(result.params, result.state.opt_state, result.steps, result.status, _peak(d, result))
    return diagnosis_at(d, end)


def diagnosis_at(d: Descent, end: End) -> Diagnosis:
    """Return the diagnosis of a canonical descent that ended so."""
    first = at_a_glance(d, end)

    def look_closer() -> Diagnosis:
        second = looked_closer(d, end)
        return lax.cond(
            second.settled, lambda: second.diagnosis, lambda: on_the_way(d, end).diagnosis
        )

    return lax.cond(first.settled, lambda: first.diagnosis, look_closer)


class Look(NamedTuple):
    """A diagnosis, and whether nothing more needs to be looked at; else it means nothing."""

    settled: jax.Array
    diagnosis: Diagnosis


def at_a_glance(d: Descent, end: End) -> Look:
    """Return what is a minimum beyond doubt."""
    start = start_of(d, end)
    seen = glance(d, end, start.loss)
    return Look(seen.is_minimum, from_glance(seen, end, start))


def looked_closer(d: Descent, end: End) -> Look:
    """Return what the point where a run ended settles."""
    start = start_of(d, end)
    seen, found, tol = _seen(d, end, start)
    settled = is_settled(d, end, found, seen.holds, tol)
    return Look(settled, decided(d, end, start, found, seen, tol, None))


def on_the_way(d: Descent, end: End) -> Look:
    """Return what going on settles."""
    start = start_of(d, end)
    seen, found, tol = _seen(d, end, start)
    dynamics = look_ahead(d, end, start, found, tol)
    return Look(jnp.ones((), bool), decided(d, end, start, found, seen, tol, dynamics))


def _seen(d: Descent, end: End, start: Start) -> tuple[Glance, Point, jax.Array]:
    at, x = surface(d, end.params)
    found = point(at, x, start.loss, start.scale)
    return glance(d, end, start.loss), found, tolerance(d, start)


def _peak(d: Descent, result: Result) -> jax.Array:
    """Return the largest loss on the way, which is gone once more."""
    again = replace(d, stop=None, record=record.maximum(), max_steps=result.steps)
    return execute(again, None).record
