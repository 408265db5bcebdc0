"""What lanes record at every n-th step: the same as alone, however often they wait for others."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax
from gdjax import Descent
from gdjax.sweeps import patience
from gdjax.sweeps.pool import Pool

STARTS = np.random.default_rng(0).uniform(0.2, 30, (40, 3)).astype(np.float32)
RECORDS = {
    "loss at each step": lambda: gdjax.record.every(1),
    "two periods and a fold": lambda: {
        "loss": gdjax.record.every(6),
        "mean": gdjax.record.mean(),
        "point": gdjax.record.every(4, lambda state: {"w": state.params, "step": state.step}),
    },
    "state of the optimizer": lambda: gdjax.record.every(
        3, lambda state: (state.opt_state, state.status, state.step)
    ),
    "memory of the condition": lambda: gdjax.record.every(
        5, lambda state: (state.stop_memory, jnp.sum(state.params) > 1)
    ),
    "curvature": lambda: gdjax.record.every(
        10, gdjax.record.of_loss(lambda loss, w: jax.jvp(jax.grad(loss), (w,), (w,))[1])
    ),
    "beyond the budget": lambda: gdjax.record.every(1_000),
}


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Leave tiles as soon as lanes of them have ended: so few lanes would not be worth it."""
    monkeypatch.setattr(patience, "CALLING", 0.0)
    monkeypatch.setattr(patience, "LEAST", 0.0)
    monkeypatch.setattr(patience, "REPACKING", 0.0)


@pytest.fixture
def bases(monkeypatch):
    """Return a list of the updates that lanes had made when they were packed with others."""
    seen, take = [], Pool.taken

    def taken(pool, *args):
        waiting = take(pool, *args)
        seen.extend(waiting.base[: int(waiting.count)].tolist())
        return waiting

    monkeypatch.setattr(Pool, "taken", taken)
    return seen


def quartic(w):
    return jnp.sum(w**4)


def lane_with(record):
    def lane(start):
        stop = gdjax.stop.gradient_below(0.5) | gdjax.stop.loss_stalled(window=20, tol=1e-3)
        optimizer = optax.sgd(0.003, momentum=0.5)
        return Descent(quartic, start, optimizer, stop=stop, max_steps=152, record=record())

    return lane


def assert_as_alone(runs, lane, starts):
    run = jax.jit(lambda start: gdjax.run(lane(start)))
    alone = [jax.device_get(run(start)) for start in starts]
    alone = jax.tree.map(lambda *leaves: np.stack(leaves), *alone)
    np.testing.assert_array_equal(runs.steps, alone.steps)
    np.testing.assert_array_equal(runs.status, alone.status)
    assert runs.work.useful == runs.steps.sum()
    assert len(set(runs.status.tolist())) > 1
    for own, expected in zip(*map(jax.tree.leaves, (runs.record, alone.record)), strict=True):
        assert own.dtype == expected.dtype
        np.testing.assert_allclose(own, expected, rtol=1e-3, atol=1e-4)


SHORT = ("two periods and a fold",)
MARKED = [
    pytest.param(record, marks=[] if name in SHORT else pytest.mark.long, id=name)
    for name, record in RECORDS.items()
]


@pytest.mark.parametrize("record", MARKED)
def test_a_lane_that_waits_records_what_it_does_alone(record, bases):
    lane = lane_with(record)
    runs = gdjax.sweep(lane, start=STARTS, tile=16, block_size=16)
    assert_as_alone(runs, lane, STARTS)
    waited = [base for base in bases if base]
    assert waited or record is RECORDS["beyond the budget"]


def test_lanes_wait_only_where_all_their_entries_are_due(bases):
    gdjax.sweep(lane_with(RECORDS["two periods and a fold"]), start=STARTS, tile=16, block_size=16)
    assert any(bases)
    assert all(base % 12 == 0 for base in bases)


@pytest.mark.long
@pytest.mark.parametrize("size", [40, 2_000])
def test_larger_lanes_that_wait_record_what_they_do_alone(size, bases):
    def lane(start):
        record = {"loss": gdjax.record.every(2), "last": gdjax.record.every(5, lambda s: s.params)}
        stop = gdjax.stop.gradient_below(0.05)
        optimizer = optax.adam(0.1)
        w = start * jnp.linspace(0.9, 1.1, size)
        return Descent(quartic, w, optimizer, stop=stop, max_steps=60, record=record)

    starts = np.geomspace(0.01, 10, 24, dtype=np.float32)
    runs = gdjax.sweep(lane, start=starts, tile=4, block_size=8)
    assert_as_alone(runs, lane, starts)
    assert any(bases)


@pytest.mark.long
def test_keys_are_recorded_as_their_numbers():
    def lane(start):
        record = gdjax.record.every(2, lambda state: state.key)
        return Descent(quartic, start, optax.sgd(1e-4), max_steps=4, record=record)

    key = jax.random.key(7)
    keys = gdjax.sweep(lane, start=STARTS[:2], key=key).record.values
    own = jax.random.key_data(jax.random.fold_in(key, 1))
    np.testing.assert_array_equal(keys[1], [own] * 3)


@pytest.mark.long
def test_updates_beyond_int32_are_counted():
    def lane(start):
        record = gdjax.record.every(2**24)
        sgd = optax.sgd(1e-9)
        return Descent(lambda w: w**2, start, sgd, stop=None, max_steps=2**24, record=record)

    starts = np.linspace(1, 2, 256, dtype=np.float32)
    assert gdjax.sweep(lane, start=starts).work.useful == 2**32


def test_more_steps_than_a_round_counts_are_refused():
    def lane(start):
        record = [gdjax.record.every(period) for period in (20_001, 20_002)]
        return Descent(quartic, start, optax.sgd(1e-3), max_steps=2**28 + 1, record=record)

    with pytest.raises(ValueError, match=r"^max_steps: .* 400060002 is the least common"):
        gdjax.sweep(lane, start=STARTS[:2])


def test_lanes_that_start_where_nothing_is_finite_make_no_updates():
    def lane(start):
        return Descent(lambda w: w**2, start, optax.sgd(0.1), max_steps=5)

    runs = gdjax.sweep(lane, start=np.float32([np.inf] * 40 + [1.0]))
    assert runs.work.useful == runs.steps.sum() == 5


@pytest.mark.long
def test_reducers_see_whole_histories(bases):
    def lane(start):
        stop = gdjax.stop.gradient_below(0.5)
        record = gdjax.record.every(2)
        return Descent(quartic, start, optax.sgd(0.001), stop=stop, max_steps=40, record=record)

    mean = gdjax.reduce.mean(lambda result: result.record.values)
    reduced = gdjax.sweep(lane, start=STARTS, tile=16, block_size=16, reduce=mean)
    whole = gdjax.sweep(lane, start=STARTS, tile=16, block_size=16).record.values
    assert any(bases)
    np.testing.assert_allclose(reduced, whole.mean(axis=0), rtol=1e-4)


@pytest.mark.long
def test_a_lane_that_records_is_packed_as_one_that_does_not():
    starts = np.full(256, 1.0, np.float32)
    starts[::16] = 30.0  # one of each tile goes on for far longer

    def lane_of(record):
        def lane(start):
            stop = gdjax.stop.gradient_below(1e-3)
            sgd = optax.sgd(jnp.where(start > 1, 0.001, 0.5))
            return Descent(lambda w: w**2, start, sgd, stop=stop, max_steps=9_000, record=record)

        return lane

    plain, recorded = (
        gdjax.sweep(lane_of(record), start=starts, tile=16, block_size=64).work
        for record in (None, gdjax.record.every(10))
    )
    assert recorded.useful == plain.useful
    assert recorded.executed < 1.1 * plain.executed
