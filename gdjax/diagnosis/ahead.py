"""Going on from the end of a run with the same optimizer, to see what it does in the long run."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from gdjax.descent import Descent, State
from gdjax.descent.stepping import finite_state
from gdjax.diagnosis.orbit import LONGEST_PERIOD, WINDOW, Orbit, closure, orbit
from gdjax.diagnosis.tangent import Tangent, first_tangent, next_with_tangent
from gdjax.lanewise import scan
from gdjax.trees import (
    PyTree,
    coarsest_eps,
    euclidean,
    inner,
    inverse_length,
    max_abs,
    real_dtype,
    size,
)

MOST_WINDOWS = 64
ENOUGH = 8  # windows in which the loss only falls, to call it a descent
RESTING = 4.0  # roundings of the parameters within which nothing moves
ULPS = 8  # of the loss, by which a step may raise it
IN_VAIN = 1e3  # times that, what the slope promises of a step that must lower the loss


class Window(NamedTuple):
    """What is seen over a window of steps."""

    loss: jax.Array  # mean
    least: jax.Array  # loss
    largest: jax.Array  # loss
    rises: jax.Array  # whether any step raises the loss, or is in vain
    grad_norm: jax.Array  # at its end
    stride: jax.Array  # longest step
    growth: jax.Array  # of a deviation, its logarithm
    alignment: jax.Array  # mean cosine of the angle between consecutive steps


class Ahead(NamedTuple):
    """What a run does after its end."""

    windows: jax.Array  # int32 [] how many were run
    seen: Window  # [MOST_WINDOWS]
    orbit: Orbit  # the last
    state: State  # in the end
    centre: PyTree  # as params: the mean over the last window
    tangent: Tangent
    held: jax.Array  # int32 [] steps in a row, to the last, in which the tolerance held
    first: jax.Array  # int32 [] step after which it did first, 0 where it never did
    finite: jax.Array  # bool []
    closed: jax.Array  # bool [] whether the orbit is periodic
    resting: jax.Array  # bool [] whether it does not move any more
    falls: jax.Array  # bool [] whether no step raised the loss

    @property
    def stays(self) -> jax.Array:
        """Whether it does not move from the end on."""
        return self.resting & (self.windows == 1)

    @property
    def is_open(self) -> jax.Array:
        """Whether to look further."""
        decided = ~self.finite | self.closed | self.resting | self.arrives
        return ~(decided | self.falls & (self.windows >= ENOUGH)) & (self.windows < MOST_WINDOWS)

    @property
    def arrives(self) -> jax.Array:
        """Whether the tolerance holds for good."""
        return self.held >= WINDOW


def go_on(
    d: Descent, so_far: Ahead, tol: jax.Array, wanted: jax.Array, most: Any = MOST_WINDOWS
) -> Ahead:
    """Return what a plain descent does further on, not at all unless it is `wanted`.

    `tol` is of the largest absolute entry of the gradient, `most` how many windows there are by
    then at most.
    """
    eps = coarsest_eps(so_far.state.params)
    line = _random_line(so_far.state.params)
    real = real_dtype(so_far.state.params)

    def window(a: Ahead) -> Ahead:
        rounding = (eps * euclidean(a.state.params)).astype(real)
        numbers = jnp.arange(WINDOW, dtype=jnp.int32)
        unit = 1 / jnp.maximum(rounding, jnp.finfo(real).tiny)
        walk, (places, growth) = scan(
            lambda w, i: w.step(d, tol, line, unit, i), _Walk.start_at(a), numbers
        )
        seen = walk.seen()
        now_seen = jnp.arange(MOST_WINDOWS) == a.windows  # of many lanes, a scatter takes longer
        now = orbit(places, growth, seen.stride, rounding, walk.sensitivity)
        late = (a.windows == MOST_WINDOWS - 1) & (jnp.sum(a.seen.growth[MOST_WINDOWS // 2 :]) < 0)
        found = closure(a.orbit, now, late)
        return Ahead(
            windows=a.windows + 1,
            seen=jax.tree.map(lambda rows, x: jnp.where(now_seen, x, rows), a.seen, seen),
            orbit=now._replace(period=jnp.where(found.closed, found.period, now.period)),
            state=walk.state,
            centre=walk.centre,
            tangent=walk.tangent,
            held=walk.held,
            first=walk.first,
            finite=finite_state(walk.state),
            closed=found.closed,
            resting=walk.farthest <= RESTING**2,
            falls=a.falls & ~seen.rises,
        )

    return lax.while_loop(lambda a: wanted & (a.windows < most) & a.is_open, window, so_far)


def nothing_yet(state: State) -> Ahead:
    """Return what a run does after its end in no windows at all."""
    real = jnp.zeros((), real_dtype(state.params))
    no, yes, zero = jnp.zeros((), bool), jnp.ones((), bool), jnp.zeros((), jnp.int32)
    rows = Window(*[jnp.zeros(MOST_WINDOWS, real.dtype)] * len(Window._fields))
    return Ahead(
        windows=zero,
        seen=rows._replace(rises=jnp.zeros(MOST_WINDOWS, bool)),
        orbit=Orbit(jnp.zeros(LONGEST_PERIOD, real.dtype), zero, *[real] * 4),
        state=state,
        centre=state.params,
        tangent=first_tangent(state),
        held=zero,
        first=zero,
        finite=yes,
        closed=no,
        resting=no,
        falls=yes,
    )


class _Walk(NamedTuple):
    """A window on the way."""

    state: State
    tangent: Tangent
    start: PyTree  # params where the window begins
    centre: PyTree
    direction: PyTree  # of the last step
    moved: jax.Array  # bool [] whether it has one
    sums: Window  # over the steps so far
    angles: jax.Array  # how many are in the sum
    farthest: jax.Array  # [] from the start, in squares of roundings of the params
    errors: jax.Array  # [] what an error of 1 in each step has added up to
    sensitivity: jax.Array  # [] the largest of these
    so_far: jax.Array  # int32 [] steps before the window
    held: jax.Array
    first: jax.Array

    @classmethod
    def start_at(cls, a: Ahead) -> "_Walk":
        state = a.state
        real = jnp.zeros((), real_dtype(state.params))
        still = jax.tree.map(jnp.zeros_like, state.params)
        loss = state.loss.astype(real.dtype)
        no = jnp.zeros((), bool)
        sums = Window(real, loss, loss, no, real, real, real, real)
        start = state, a.tangent, state.params, still, still, no
        return cls(*start, sums, real, real, real, real, a.windows * WINDOW, a.held, a.first)

    def step(
        self, d: Descent, tol: jax.Array, line: PyTree, unit: jax.Array, number: jax.Array
    ) -> tuple["_Walk", tuple[jax.Array, jax.Array]]:
        """Return the walk after one more step of the window, and its place along a line.

        And the growth of the deviation until then. `unit` is one by the rounding of the params.
        """
        after, tangent, stretch = next_with_tangent(d, self.state, self.tangent)
        update = jax.tree.map(jnp.subtract, after.params, self.state.params)
        away = jax.tree.map(jnp.subtract, after.params, self.start)
        in_roundings = jax.tree.map(lambda leaf: leaf * unit, away)
        distance = inner(in_roundings, in_roundings)
        inverse, stride = inverse_length(update)
        direction = jax.tree.map(lambda leaf: leaf * inverse.astype(leaf.dtype), update)
        cosine = inner(self.direction, direction)
        turns = self.moved & (stride > 0) & jnp.isfinite(cosine)
        sums, real = self.sums, self.sums.loss.dtype
        loss = after.loss.astype(real)
        rounding = ULPS * jnp.finfo(after.loss.dtype).eps * jnp.abs(loss)
        # Across a kink, or on a cycle, a step may lead to the other side at the same height.
        promised = jnp.abs(inner(self.state.grad, update))
        allowed = jnp.where(promised > IN_VAIN * rounding, -rounding, rounding)
        sums = Window(
            loss=sums.loss + loss / WINDOW,
            least=jnp.minimum(sums.least, loss),
            largest=jnp.maximum(sums.largest, loss),
            rises=sums.rises | (loss > self.state.loss + allowed),
            grad_norm=max_abs(after.grad).astype(real),
            stride=jnp.maximum(sums.stride, stride.astype(real)),
            growth=sums.growth + jnp.log(stretch).astype(real),
            alignment=sums.alignment + jnp.where(turns, cosine, 0).astype(real),
        )
        errors = 1 + stretch.astype(real) * self.errors
        holds = max_abs(after.grad) <= tol
        walk = _Walk(
            state=after,
            tangent=tangent,
            start=self.start,
            centre=jax.tree.map(lambda c, x: c + x / WINDOW, self.centre, after.params),
            direction=direction,
            moved=stride > 0,
            sums=sums,
            angles=self.angles + turns,
            farthest=jnp.maximum(self.farthest, distance),
            errors=errors,
            sensitivity=jnp.maximum(self.sensitivity, errors),
            so_far=self.so_far,
            held=jnp.where(holds, self.held + 1, 0),
            first=jnp.where(holds & (self.first == 0), self.so_far + number + 1, self.first),
        )
        return walk, (inner(line, away), sums.growth)

    def seen(self) -> Window:
        """Return what is seen over the whole window."""
        return self.sums._replace(alignment=self.sums.alignment / self.angles)


def _random_line(params: PyTree) -> PyTree:
    """Return a direction as long as one in which each parameter is 1."""
    line = optax.tree.random_like(jax.random.key(0), params)
    inverse = inverse_length(line)[0] * size(params) ** 0.5
    return jax.tree.map(lambda leaf: leaf * inverse.astype(leaf.dtype), line)
