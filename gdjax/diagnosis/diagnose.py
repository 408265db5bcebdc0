"""The diagnosis of a run."""

from dataclasses import replace

import jax
from jax import lax

from gdjax import record
from gdjax.descent import Descent, Result
from gdjax.descent.description import canonical, with_traced_budget
from gdjax.descent.programs import compiled
from gdjax.descent.running import execute
from gdjax.diagnosis.decide import decided, is_settled, look_ahead, tolerance
from gdjax.diagnosis.end import End
from gdjax.diagnosis.glance import from_glance, glance
from gdjax.diagnosis.point import point
from gdjax.diagnosis.start import start_of
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
    start = start_of(d, end)
    seen = glance(d, end, start.loss)

    def look_closer() -> Diagnosis:
        tol = tolerance(d, start)
        at, x = surface(d, end.params)
        found = point(at, x, start.loss, start.scale)
        return lax.cond(
            is_settled(d, end, found, seen.holds, tol),
            lambda: decided(d, end, start, found, seen, tol, None),
            lambda: decided(d, end, start, found, seen, tol, look_ahead(d, end, start, found, tol)),
        )

    return lax.cond(seen.is_minimum, lambda: from_glance(seen, end, start), look_closer)


def _peak(d: Descent, result: Result) -> jax.Array:
    """Return the largest loss on the way, which is gone once more."""
    again = replace(d, stop=None, record=record.maximum(), max_steps=result.steps)
    return execute(again, None).record
