"""The diagnosis of a run."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gdjax import checks, record
from gdjax.batches import HostBatches
from gdjax.batches.outside import AT_ONCE
from gdjax.descent import Descent, Result, Status
from gdjax.descent.description import canonical, with_traced_budget
from gdjax.descent.programs import compiled
from gdjax.descent.running import execute
from gdjax.descent.stepping import require_same_types
from gdjax.diagnosis.ahead import Ahead
from gdjax.diagnosis.decide import (
    Found,
    ahead_of,
    decided,
    is_settled,
    look_ahead,
    tolerance,
    went_on,
)
from gdjax.diagnosis.end import End
from gdjax.diagnosis.glance import Glance, Minimum, glance, of_minimum
from gdjax.diagnosis.hold import hold
from gdjax.diagnosis.large import large_point
from gdjax.diagnosis.point import point
from gdjax.diagnosis.start import Start, start_of
from gdjax.diagnosis.surface import is_large, largest_entry, surface
from gdjax.diagnosis.verdict import Array, Diagnosis
from gdjax.trees import computed_where, strongly_typed


def diagnose(d: Descent, result: Result) -> Diagnosis:
    """Say why a run ended where it did, with the evidence.

    The end is looked at, with all examples where there are batches: its quadratic model, whether
    Newton's method finds a critical point from there, and, where the Hessian is singular, what
    the loss does along its kernel. If that does not settle it, the run goes on from its end, for
    up to 4,096 steps with the same optimizer and a deviation carried along; of what descends that
    is no more than 512, and what is left of the 4,096 only tells when it arrives. What is compared
    are quantities without units, so that the scales of loss and parameters do not matter.

    A minimum with a singular Hessian is a VALLEY, even where it is a point, as that of x⁴, or all
    there is, as with a constant. A kink from which the loss rises at once in all directions is a
    MINIMUM. A run that stopped by its tolerance where nothing holds it is on a PLATEAU: as it is
    where it is out of budget, but its gradient would grow again. A run whose noise or rate holds
    it up is BOUNDED or OSCILLATING, and no MINIMUM, however small its orbit.

    Beyond 256 parameters only the ends of the spectrum are looked at, by Lanczos' method: `index`
    and `flat_dimension` are then the least that they can be, the latter at most 1; `counted` says
    so, and `str` says "at least".

    Compiled as `gdjax.run` is, and as pure: it may be called inside `jit` and `vmap`. For the
    largest loss on the way it repeats the run, unless the sweep has kept that.

    Args:
      d: the descent.
      result: what `gdjax.run(d)` returned.

    Returns:
      The diagnosis; `str` of it is a short paragraph.

    Raises:
      TypeError: `d` is no descent, or `result` not one of it; its batches stay on the host. Of such
        a run, `dataclasses.replace(d, batches=gdjax.batches.full(some))` can be diagnosed.

    References:
      Benettin et al., Lyapunov characteristic exponents for smooth dynamical systems, Meccanica
      15, 1980. Lee et al., Gradient descent only converges to minimizers, COLT 2016.

    >>> import gdjax, optax
    >>> d = gdjax.Descent(lambda w: w[0] ** 2 - w[1] ** 2, jnp.array([1.0, 0.0]), optax.sgd(0.1))
    >>> diagnosis = gdjax.diagnose(d, gdjax.run(d))
    >>> diagnosis.verdict == gdjax.Verdict.SADDLE, int(diagnosis.index)
    (Array(True, dtype=bool), 1)
    """
    d = canonical(d)
    if isinstance(d.batches, HostBatches):
        raise TypeError(AT_ONCE)
    if not isinstance(result, Result):
        raise TypeError(f"result: expected what gdjax.run returns, got {result!r}")
    require_same_types("result.params", result.params, d.params)
    opt_state = jax.eval_shape(lambda: strongly_typed(d.optimizer.init(d.params)))
    require_same_types("result.state.opt_state", result.state.opt_state, opt_state)
    d = with_traced_budget(d)
    ends = compiled(_ends, d, result)

    def closer(ends: _Ends) -> Diagnosis:
        settled, found, diagnosis = compiled(_closer, d, *ends)
        return _either(
            settled, lambda: diagnosis, partial(compiled, _going_on, d), *ends[:2], found
        )

    seen = ends.seen
    if seen is None:
        return closer(ends)
    return _either(seen.is_minimum, lambda: _minimum(seen), closer, ends)


class _Ends(NamedTuple):
    """Both ends of a run, and a glance at the last."""

    end: End
    start: Start
    seen: Glance | None  # None where there are too many parameters for one


def _either(which: jax.Array, yes: Callable[[], Any], no: Callable[..., Any], *args: Any) -> Any:
    """Return `yes()` or `no(*args)`: known now, the other one is not even compiled."""
    if checks.is_concrete(which):
        return yes() if which else no(*args)
    return computed_where(~which, no, args, yes())


def _minimum(seen: Glance) -> Diagnosis:
    return jax.tree.map(jnp.asarray, of_minimum(seen.minimum))


def _ends(d: Descent, result: Result) -> _Ends:
    end = End(result.params, result.state.opt_state, result.steps, result.status, _peak(d, result))
    start = start_of(d, end)
    return _Ends(end, start, None if is_large(d) else glance(d, end, start))


def _closer(
    d: Descent, end: End, start: Start, seen: Glance | None
) -> tuple[jax.Array, Found, Diagnosis]:
    found = _look(d, end, start, seen)
    return is_settled(d, end, start, found), found, decided(d, end, start, found, None)


def _going_on(d: Descent, end: End, start: Start, found: Found) -> Diagnosis:
    ahead = went_on(d, end, found.tol, ahead_of(d, end))
    return decided(d, end, start, found, look_ahead(d, end, start, found, ahead))


class Look(NamedTuple):
    """A diagnosis, and whether nothing more needs to be looked at; else it means nothing."""

    settled: jax.Array
    diagnosis: Diagnosis


def at_a_glance(d: Descent, end: End) -> tuple[Array, Minimum]:
    """Return whether the end is a minimum beyond doubt, and what there is to say of it then.

    Of many parameters, nothing is.
    """
    if is_large(d):
        _, x = surface(d, end.params)
        no, zero = np.zeros((), bool), np.zeros((), x.dtype)
        return no, Minimum(*[zero] * 6, ill_conditioned=no, spiked=no)
    seen = glance(d, end, start_of(d, end))
    return seen.is_minimum, seen.minimum


def looked_closer(d: Descent, end: End) -> tuple[Look, Found]:
    """Return what the point where a run ended settles, and what there is to see there."""
    settled, found, diagnosis = _closer(d, end, start_of(d, end), None)
    return Look(settled, diagnosis), found


def on_the_way(d: Descent, end: End, found: Found, ahead: Ahead) -> Diagnosis:
    """Return what going on settles, of a run that did so ahead of its end."""
    start = start_of(d, end)
    return decided(d, end, start, found, look_ahead(d, end, start, found, ahead))


def _look(d: Descent, end: End, start: Start, seen: Glance | None) -> Found:
    """Return what there is to see at the end, some of it perhaps at a glance already."""
    at, x = surface(d, end.params)
    tol = tolerance(d, start)
    wanted = end.status != Status.DIVERGED
    if not is_large(d):
        seen = glance(d, end, start) if seen is None else seen
        m = seen.model
        found = point(at, x, m, start.loss, start.scale, wanted)
        grad_norm, alignment = map(jnp.asarray, (seen.minimum.grad_norm, seen.minimum.alignment))
        return Found(found, m.gradient, grad_norm, seen.holds, alignment, tol)
    found, gradient, few = large_point(at, x, start.loss, start.scale, wanted)
    _, product = jax.linearize(jax.grad(at.loss), x)
    held = hold(d, end, at, x, found.loss, gradient, product, found.curvature_max, few)
    return Found(found, gradient, largest_entry(d.params, gradient), *held, tol)


def _peak(d: Descent, result: Result) -> jax.Array:
    """Return the largest loss on the way, which is gone once more."""
    again = replace(d, stop=None, record=record.maximum(), max_steps=result.steps)
    return execute(again, None).record
