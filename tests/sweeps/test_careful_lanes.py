"""Lanes whose turns take so long that they remember, from their beginning, the point before."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax
from gdjax import Descent, Status
from gdjax.sweeps import patience
from gdjax.sweeps.collect import whole_outcome
from gdjax.sweeps.lane_program import lane_program
from gdjax.sweeps.lanes import checked_lanes
from gdjax.sweeps.pool import Pool

X = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)
Y = np.tanh(X @ np.linspace(-1, 1, 8, dtype=np.float32))
RATES = np.geomspace(1e-3, 30, 40).astype(np.float32)


def loss(params, x, y):
    hidden = jnp.tanh(x @ params["w"])
    return jnp.mean((hidden @ params["v"] - y) ** 2) + 1e-3 * jnp.sum(params["v"] ** 4)


START = {"w": np.eye(8, 4, dtype=np.float32), "v": np.ones(4, np.float32)}


def lane(learning_rate):
    stop = gdjax.stop.gradient_below(1e-2)
    return Descent(loss, START, optax.sgd(learning_rate), (X, Y), stop=stop, max_steps=300)


def alone(lane, rates):
    run = jax.jit(lambda rate: gdjax.run(lane(rate)))
    return jax.tree.map(lambda *x: np.stack(x), *map(run, rates))


@pytest.fixture(scope="module")
def packed():
    """Lanes of all kinds of ends, of which those that go on were packed several times."""
    times, take = [], Pool.taken

    def counted(pool, *args):
        times.append(pool.count)
        return take(pool, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patience, "CALLING", 0.0)
        patch.setattr(patience, "REPACKING", 0.0)
        patch.setattr(Pool, "taken", counted)
        runs = gdjax.sweep(lane, learning_rate=RATES, tile=4, block_size=4, workers=1)
    assert len(times) > 3
    return runs


@pytest.fixture(scope="module")
def expected():
    return alone(lane, RATES)


def test_they_end_at_the_same_steps_as_alone(packed, expected):
    assert set(packed.status.tolist()) == {1, 2, 3}
    np.testing.assert_array_equal(packed.status, expected.status)
    np.testing.assert_array_equal(packed.steps, expected.steps)


def test_the_loss_that_they_remember_is_that_at_their_end(packed):
    wanted = jax.vmap(lambda params: loss(params, X, Y))(packed.params)
    np.testing.assert_allclose(packed.loss, wanted, rtol=1e-4)


def test_the_gradient_norm_that_they_remember_is_that_at_their_end(packed):
    grads = jax.vmap(jax.grad(lambda params: loss(params, X, Y)))(packed.params)
    wanted = np.maximum(*(np.abs(g).reshape(len(RATES), -1).max(axis=1) for g in grads.values()))
    np.testing.assert_allclose(packed.grad_norm, wanted, rtol=1e-3)


def test_in_one_call_they_end_as_in_many(packed):
    runs = gdjax.sweep(lane, learning_rate=RATES)
    np.testing.assert_array_equal(runs.steps, packed.steps)
    np.testing.assert_array_equal(runs.status, packed.status)


def test_a_start_that_is_not_finite_has_its_own_loss():
    def from_scale(scale):
        start = jax.tree.map(lambda leaf: scale * leaf, START)
        return Descent(loss, start, optax.sgd(0.1), (X, Y), max_steps=5)

    runs = gdjax.sweep(from_scale, scale=np.float32([1.0, np.inf, 1e30]))
    expected = alone(from_scale, runs.coords["scale"])
    np.testing.assert_array_equal(runs.status, expected.status)
    np.testing.assert_array_equal(runs.steps, expected.steps)
    np.testing.assert_allclose(runs.loss, expected.loss, rtol=1e-5)
    assert runs.status.tolist()[1:] == [Status.DIVERGED] * 2


@pytest.mark.long
def test_folds_see_the_points_that_they_see_alone():
    record = {"most": gdjax.record.maximum(), "last": gdjax.record.fold(_step, lambda _, s: s.step)}

    def recorded(learning_rate):
        stop = gdjax.stop.gradient_below(1e-2)
        optimizer = optax.adam(learning_rate)
        return Descent(loss, START, optimizer, (X, Y), stop=stop, max_steps=60, record=record)

    runs = gdjax.sweep(recorded, learning_rate=RATES[::4], tile=2, block_size=4)
    expected = alone(recorded, RATES[::4])
    np.testing.assert_array_equal(runs.record["last"], expected.record["last"])
    np.testing.assert_allclose(runs.record["most"], expected.record["most"], rtol=1e-4)


def _step(state):
    return state.step


def test_one_program_is_all_that_is_compiled():
    def own(learning_rate):  # known to no other test
        return lane(learning_rate)

    lanes = checked_lanes(own, {"learning_rate": RATES}, None)
    program = lane_program(lanes.lane, whole_outcome)
    gdjax.sweep(own, learning_rate=RATES, tile=4, block_size=8)
    assert program.traced(lanes.sources, None)[0].careful
    assert len(program._compiled) == 1


def test_what_all_lanes_draw_at_once_asks_for_a_program_of_those_that_begin():
    batches = gdjax.batches.mini((X, Y), 64)

    def drawn(learning_rate):
        return Descent(
            lambda params, batch: loss(params, *batch),
            START,
            optax.sgd(learning_rate),
            batches=batches,
            key=jax.random.key(0),
            max_steps=20,
        )

    lanes = checked_lanes(drawn, {"learning_rate": RATES}, None)
    traced, _ = lane_program(lanes.lane, whole_outcome).traced(lanes.sources, None)
    assert traced.careful
    assert not traced.alike
