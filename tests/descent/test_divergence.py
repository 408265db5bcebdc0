"""A run that diverges ends at its last finite state, which is that of a shorter run."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax
from gdjax import Descent, Status, record

MANY = 20  # entries: more than are kept one by one


@jax.custom_jvp
def with_a_spike(w):
    """Return the sum of squares, whose gradient has a NaN where the first entry is in (4, 5)."""
    return jnp.sum(w**2)


@with_a_spike.defjvp
def _(primals, tangents):
    (w,), (dw,) = primals, tangents
    first = jnp.ravel(w)[0]
    spike = jnp.where((first > 4) & (first < 5), jnp.nan, 0.0)
    slope = (2 * w).at[(-1,) * w.ndim].add(spike)
    return with_a_spike(w), jnp.sum(slope * dw)


def last_finite(described, steps):
    """Return the state of a diverged run, and that of a run of as many steps as it took."""
    diverged = gdjax.run(described(max_steps=1000))
    assert (diverged.status, diverged.steps) == (Status.DIVERGED, steps)
    shorter = gdjax.run(described(max_steps=steps))
    assert shorter.status == Status.STEP_LIMIT
    return diverged, shorter


def assert_same_end(diverged, shorter):
    chex.assert_trees_all_equal(
        diverged.state._replace(status=0, limit=0), shorter.state._replace(status=0, limit=0)
    )
    chex.assert_trees_all_equal(diverged.record, shorter.record)


RECORD = {"mean": record.mean(lambda s: s.params), "least": record.minimum()}


@pytest.mark.parametrize(
    "shape",
    [(), (MANY,), *(pytest.param(shape, marks=pytest.mark.long) for shape in [(1,), (4, MANY)])],
)
@pytest.mark.parametrize(
    "optimizer", [optax.sgd(1.5, momentum=0.5), optax.adam(0.1)], ids=["momentum", "adam"]
)
def test_last_finite_state_is_that_of_a_shorter_run(shape, optimizer):
    def described(**changes):
        stop = gdjax.stop.gradient_below(1e-9) | gdjax.stop.loss_stalled(500)
        loss = lambda w: jnp.sum(jnp.where(w < 1.5, -(w**3), jnp.inf))  # noqa: E731
        return Descent(loss, jnp.ones(shape), optimizer, stop=stop, record=RECORD, **changes)

    steps = int(gdjax.run(described(max_steps=1000)).steps)
    assert_same_end(*last_finite(described, steps))


@pytest.mark.parametrize("shape", [(1,), (MANY,)])
def test_gradient_that_is_not_finite_once_is_seen_behind_an_optimizer_that_swallows_it(shape):
    optimizer = optax.chain(optax.zero_nans(), optax.sgd(0.05))

    def described(**changes):
        start = jnp.full(shape, 8.0)
        return Descent(with_a_spike, start, optimizer, record=RECORD, **changes)

    # 8 * 0.9^k is below 5 from k = 5 on, where the gradient is not finite.
    assert_same_end(*last_finite(described, 4))


@pytest.mark.parametrize("shape", [(1,), (MANY,)])
def test_loss_that_is_not_finite_once_is_seen(shape):
    def loss(w):
        hole = jax.lax.stop_gradient((w[0] > 4) & (w[0] < 5))
        return jnp.sum(w**2) + jnp.where(hole, jnp.inf, 0.0)

    def described(**changes):
        return Descent(loss, jnp.full(shape, 8.0), optax.sgd(0.05), record=RECORD, **changes)

    assert_same_end(*last_finite(described, 4))


def jumping(at):
    """Return an optimizer that makes one parameter infinite at one step."""

    def update(updates, state, params=None):
        jump = jnp.where(state == at, jnp.inf, 0.0)
        return jax.tree.map(lambda g: (-0.01 * g).at[-1].add(jump), updates), state + 1

    return optax.GradientTransformation(lambda params: jnp.int32(0), update)


@pytest.mark.parametrize("shape", [(1,), (MANY,)])
def test_parameters_are_seen_where_loss_and_gradient_stay_finite(shape):
    def described(**changes):
        loss = lambda w: jnp.sum(jnp.arctan(w))  # noqa: E731
        return Descent(loss, jnp.ones(shape), jumping(at=7), record=RECORD, **changes)

    assert_same_end(*last_finite(described, 7))


@pytest.mark.parametrize("size", [2, MANY])
def test_gradient_whose_squares_overflow_is_finite(size):
    d = Descent(lambda w: jnp.sum(w) * 1e25, jnp.zeros(size), optax.sgd(1e-25), max_steps=3)
    result = gdjax.run(d)
    assert (result.status, result.steps) == (Status.STEP_LIMIT, 3)


@pytest.mark.parametrize("shape", [(2,), pytest.param((MANY,), marks=pytest.mark.long)])
def test_lanes_that_diverge_end_as_they_do_alone(shape):
    def lane(rate):
        d = Descent(
            lambda w: jnp.sum(w**2),
            jnp.ones(shape),
            optax.sgd(rate, momentum=0.3),
            record=RECORD,
            max_steps=300,
        )
        return gdjax.run(d)

    rates = jnp.array([0.01, 0.3, 1.5, 2.5, 4.0])
    lanes = jax.vmap(lane)(rates)
    assert lanes.status.tolist() == [1, 1, 2, 2, 2]
    assert len(set(lanes.steps.tolist())) == 5
    for i, rate in enumerate(rates):
        alone = jax.jit(lane)(rate)
        of_lane = jax.tree.map(lambda leaf, i=i: leaf[i], lanes)
        assert (of_lane.status, of_lane.steps) == (alone.status, alone.steps)
        chex.assert_trees_all_close(of_lane, alone, rtol=1e-4)


def test_run_that_goes_on_and_diverges_keeps_its_last_finite_state():
    def described(max_steps):
        return Descent(lambda w: jnp.sum(w**2), jnp.ones(MANY), optax.sgd(1.5), max_steps=max_steps)

    whole = gdjax.run(described(1000))
    half = gdjax.run(described(30))
    again = gdjax.run(described(1000), state=half.state)
    assert (whole.status, again.status) == (Status.DIVERGED, Status.DIVERGED)
    chex.assert_trees_all_equal(again.params, whole.params)
    assert again.steps == whole.steps


def test_diverged_run_with_a_history_has_its_last_finite_state():
    d = Descent(
        lambda w: jnp.sum(w**2),
        jnp.ones(MANY),
        optax.sgd(1.5),
        max_steps=100,
        record=record.every(7, lambda state: state.params[0]),
    )
    result = gdjax.run(d)
    assert result.status == Status.DIVERGED
    assert result.record.steps[-1] == result.steps == 61
    np.testing.assert_array_equal(result.record.values[-1], result.params[0])


@pytest.mark.parametrize("norm", ["max", "l2"])
@pytest.mark.parametrize("tol", [1e-3, 1e-22, 1e-30])
def test_large_gradient_stops_at_the_first_step_where_its_norm_is_small_enough(norm, tol):
    d = Descent(
        lambda w: 0.5 * jnp.sum(w**2),
        jnp.linspace(-1, 1, 1001),
        optax.sgd(0.5),
        stop=gdjax.stop.gradient_below(tol, norm),
    )
    result = gdjax.run(d)
    height = np.sqrt(np.sum(np.linspace(-1, 1, 1001) ** 2)) if norm == "l2" else 1.0
    assert result.steps == int(np.ceil(np.log2(height / tol)))
