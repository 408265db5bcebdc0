import os
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax
from gdjax import Descent, Status
from gdjax.sweeps import patience
from gdjax.sweeps.collect import Arrays, whole_outcome
from gdjax.sweeps.lane_program import lane_program
from gdjax.sweeps.lanes import checked_lanes
from gdjax.sweeps.patience import Patience
from gdjax.sweeps.pool import Pool

himmelblau, ackley = gdjax.landscapes.himmelblau, gdjax.landscapes.ackley
BOX = gdjax.grid(x=(-5, 5, 24), y=(-5, 5, 24))


def slow_here_and_there(start):
    """Return a descent that takes from a few steps to all 2,000, next to each other."""
    return Descent(ackley, start, optax.sgd(0.01), max_steps=2000)


def alone(lane, runs):
    """Return the results of all lanes, each run by itself in one compiled loop."""
    numbers = np.arange(runs.lanes.count)
    run = jax.jit(lambda start: gdjax.run(lane(start)))
    results = [
        run(jax.tree.map(lambda leaf, i=i: leaf[i], runs.lanes.values(numbers)["start"]))
        for i in numbers
    ]
    return jax.tree.map(lambda *x: np.stack(x).reshape(*runs.shape, *np.shape(x[0])), *results)


@pytest.fixture(autouse=True, scope="module")
def impatient():
    """Leave tiles as soon as lanes of them have ended: so few lanes would not be worth it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patience, "CALLING", 0.0)
        patch.setattr(patience, "REPACKING", 0.0)
        yield


@pytest.fixture
def waited(monkeypatch):
    """Return a list of how many lanes had to wait, call by call."""
    lanes, take = [], Pool.taken

    def counted(pool, *args):
        waiting = take(pool, *args)
        lanes.append(int(waiting.count))
        return waiting

    monkeypatch.setattr(Pool, "taken", counted)
    return lanes


@pytest.fixture(scope="module")
def packed():
    return gdjax.sweep(slow_here_and_there, start=BOX, tile=32, block_size=64)


def test_lanes_wait_and_go_on_several_times(packed, waited):
    again = gdjax.sweep(slow_here_and_there, start=BOX, tile=32, block_size=64, workers=1)
    assert len(waited) > 3
    np.testing.assert_array_equal(again.steps, packed.steps)


def test_packed_lanes_end_as_they_do_alone(packed):
    expected = alone(slow_here_and_there, packed)
    np.testing.assert_array_equal(packed.status, expected.status)
    assert np.mean(packed.steps == expected.steps) > 0.99
    ended = packed.status == Status.CONVERGED
    for name in ("x", "y"):
        found, wanted = packed.params[name][ended], expected.params[name][ended]
        np.testing.assert_allclose(found, wanted, atol=2e-3)


@pytest.mark.long
def test_packing_spares_most_of_the_turns_of_the_dead(packed):
    whole = gdjax.sweep(slow_here_and_there, start=BOX, tile=24 * 24, block_size=24 * 24)
    assert packed.work.useful == packed.steps.sum()
    assert packed.work.executed < 0.5 * packed.steps.max() * packed.steps.size
    assert packed.work.useful <= packed.work.executed
    assert whole.work.useful == whole.steps.sum()


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_change_nothing(packed, workers):
    other = gdjax.sweep(slow_here_and_there, start=BOX, tile=32, block_size=64, workers=workers)
    np.testing.assert_array_equal(other.steps, packed.steps)
    np.testing.assert_array_equal(other.params["x"], packed.params["x"])


def test_blocks_change_nothing(packed):
    other = gdjax.sweep(slow_here_and_there, start=BOX, tile=32, block_size=10_000)
    np.testing.assert_array_equal(other.steps, packed.steps)
    np.testing.assert_array_equal(other.params["x"], packed.params["x"])


def test_a_tile_is_no_wider_than_there_are_lanes():
    runs = gdjax.sweep(slow_here_and_there, start=gdjax.grid((-3, 3, 4), (-3, 3, 4)), tile=10**6)
    narrow = gdjax.sweep(slow_here_and_there, start=gdjax.grid((-3, 3, 4), (-3, 3, 4)), tile=16)
    assert runs.work == narrow.work


def test_a_sweep_leaves_nothing_behind_for_the_next(packed):
    steps, smaller = packed.steps.copy(), gdjax.grid(x=(-5, 5, 24), y=(-5, 5, 5))
    found = gdjax.sweep(slow_here_and_there, start=smaller, tile=32, block_size=64)
    lane_program.cache_clear()
    wanted = gdjax.sweep(slow_here_and_there, start=smaller, tile=32, block_size=64)
    np.testing.assert_array_equal(found.steps, wanted.steps)
    assert found.work.useful == wanted.work.useful
    np.testing.assert_array_equal(packed.steps, steps)


def test_folds_of_packed_lanes_are_those_of_the_lanes_alone():
    record = {"mean": gdjax.record.mean(), "last": gdjax.record.minimum(lambda s: s.grad["x"])}

    def lane(start):
        return Descent(himmelblau, start, optax.sgd(0.01), record=record, max_steps=300)

    runs = gdjax.sweep(lane, start=BOX, tile=16, block_size=48)
    expected = alone(lane, runs)
    np.testing.assert_allclose(runs.record["mean"], expected.record["mean"], rtol=1e-4)
    np.testing.assert_allclose(runs.record["last"], expected.record["last"], rtol=1e-3, atol=1e-4)


def test_diverged_lanes_keep_their_last_finite_point():
    def lane(start):
        return Descent(lambda w: jnp.sum(w**4), start, optax.sgd(0.01), max_steps=200)

    starts = np.random.default_rng(0).uniform(1, 40, (300, 2)).astype(np.float32)
    runs = gdjax.sweep(lane, start=starts)
    expected = alone(lane, runs)
    assert (runs.status == Status.DIVERGED).sum() > 100
    np.testing.assert_array_equal(runs.status, expected.status)
    np.testing.assert_array_equal(runs.steps, expected.steps)
    assert np.isfinite(runs.loss).all()
    np.testing.assert_allclose(runs.params, expected.params, rtol=1e-3, atol=1e-3)


def test_lanes_that_begin_anew_count_once_as_useful():
    def lane(start):
        return Descent(lambda w: jnp.sum(w**4), start, optax.sgd(0.01), max_steps=200)

    starts = np.random.default_rng(0).uniform(1, 40, (300, 2)).astype(np.float32)
    runs = gdjax.sweep(lane, start=starts, tile=16, block_size=64)
    assert runs.work.useful == runs.steps.sum()


def test_diverging_lanes_with_a_memory_of_their_own_end_as_they_do_alone():
    record = {"most": gdjax.record.maximum(), "mean": gdjax.record.mean(lambda s: s.params[0])}

    def lane(start):
        optimizer = optax.sgd(0.003, momentum=0.5)
        return Descent(lambda w: jnp.sum(w**4), start, optimizer, record=record, max_steps=200)

    starts = np.random.default_rng(1).uniform(0.5, 22, (100, 2)).astype(np.float32)
    runs = gdjax.sweep(lane, start=starts)
    expected = alone(lane, runs)
    assert 10 < (runs.status == Status.DIVERGED).sum() < 100
    np.testing.assert_array_equal(runs.status, expected.status)
    np.testing.assert_array_equal(runs.steps, expected.steps)
    np.testing.assert_allclose(runs.record["most"], expected.record["most"], rtol=1e-3)
    np.testing.assert_allclose(runs.record["mean"], expected.record["mean"], rtol=1e-3)


@pytest.mark.long
def test_lanes_whose_turns_take_long_do_not_begin_anew_when_they_diverge(monkeypatch):
    x = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)
    bases, take = [], Pool.taken

    def seen(pool, *args):
        waiting = take(pool, *args)
        bases.extend(waiting.base[: int(waiting.count)].tolist())
        return waiting

    def loss(w, x):
        return jnp.mean((x @ w @ w.T) ** 4)

    def lane(start):
        return Descent(loss, jnp.eye(8), optax.sgd(start), args=(x,), stop=None, max_steps=40)

    monkeypatch.setattr(Pool, "taken", seen)
    runs = gdjax.sweep(lane, start=np.geomspace(1e-6, 1e2, 64))
    assert 0 < np.mean(runs.status == Status.DIVERGED) < 1
    assert 0 not in bases
    expected = alone(lane, runs)
    np.testing.assert_array_equal(runs.steps, expected.steps)
    np.testing.assert_array_equal(runs.status, expected.status)


def test_a_gradient_that_is_not_finite_ends_a_lane_that_its_optimizer_would_go_on_with():
    def loss(w):  # its slope at 0 is infinite, and the loss is not
        return jnp.sqrt(jnp.abs(w)) + w

    optimizer = optax.chain(optax.zero_nans(), optax.clip(1.0), optax.sgd(0.5))

    def lane(start):
        return Descent(loss, start, optimizer, stop=None, max_steps=5)

    runs = gdjax.sweep(lane, start=np.float32([0.5, 3.3, 0.0]))
    expected = alone(lane, runs)
    np.testing.assert_array_equal(runs.status, expected.status)
    np.testing.assert_array_equal(runs.steps, expected.steps)
    assert runs.status[0] == Status.DIVERGED


def test_parameters_that_the_loss_does_not_see_diverge_at_the_step_at_which_they_do_alone():
    def loss(params):  # the hidden one has a slope, and leaves the loss finite at infinity
        return params["seen"] ** 2 + jnp.tanh(jnp.abs(params["hidden"]) * 1e-30)

    def lane(start):
        optimizer = optax.chain(optax.scale(-1.0), optax.stateless(grow))
        params = {"seen": start, "hidden": start}
        return Descent(loss, params, optimizer, stop=None, max_steps=60)

    def grow(updates, params):
        return {"seen": 0.1 * updates["seen"], "hidden": 10 * params["hidden"]}

    runs = gdjax.sweep(lane, start=np.float32([1.0, 1e10, 1e-30, 0.0]))
    expected = alone(lane, runs)
    np.testing.assert_array_equal(runs.status, expected.status)
    np.testing.assert_array_equal(runs.steps, expected.steps)
    assert runs.status.tolist() == [Status.DIVERGED] * 2 + [Status.STEP_LIMIT] * 2
    assert np.isfinite(runs.params["hidden"]).all()


def test_what_all_lanes_share_of_an_optimizer_is_one_number_a_tile():
    def lane(start):
        return Descent(himmelblau, start, optax.adam(0.1), max_steps=500)

    lanes = checked_lanes(lane, {"start": BOX}, None)
    traced, _ = lane_program(lanes.lane, whole_outcome).traced(lanes.sources, None)
    assert sum(traced.fresh.common) == 1  # Adam's count
    assert not any(traced.waiting.common)
    runs = gdjax.sweep(lane, start=BOX, tile=16, block_size=64)
    expected = alone(lane, runs)
    np.testing.assert_array_equal(runs.status, expected.status)
    assert np.mean(runs.steps == expected.steps) > 0.95


@pytest.mark.long
@pytest.mark.parametrize("size", [3, 40])
def test_arrays_that_all_lanes_share_go_on_with_those_that_wait(size, waited):
    scales = 1 + jnp.arange(size) / size

    def later(updates, state, params=None):  # ever smaller steps, of each parameter its own
        return jax.tree.map(lambda u: -0.1 * u / state, updates), state + scales

    optimizer = optax.GradientTransformation(lambda params: scales, later)

    def lane(start):
        stop = gdjax.stop.gradient_below(0.05)
        return Descent(lambda w: jnp.sum(w**2), start, optimizer, stop=stop, max_steps=3000)

    far = np.random.default_rng(0).permutation(np.geomspace(0.03, 3, 48))
    starts = np.outer(far, np.ones(size)).astype(np.float32)
    runs = gdjax.sweep(lane, start=starts, tile=4, block_size=8)
    assert waited
    np.testing.assert_allclose(runs.steps, alone(lane, runs).steps, atol=1)


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_in_one_worker_ends_the_sweep(workers, monkeypatch):
    def fail(*_):
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(Arrays, "take_boxes", fail)
    with pytest.raises(RuntimeError, match="the disk is full"):
        gdjax.sweep(slow_here_and_there, start=BOX, tile=16, block_size=32, workers=workers)


def test_tiles_bear_their_dead_longer_where_a_call_more_would_be_due(monkeypatch):
    monkeypatch.setattr(patience, "CALLING", 1e-3)
    rounds = Patience(tile=128, turn=1e-9).rounds
    due, not_due = (rounds(one_more, endless=False) for one_more in (False, True))
    assert due.grace == 0
    assert not_due.grace > 0
    assert due.patience == not_due.patience


def test_patience_keeps_the_shortest_turn_it_saw():
    learning = Patience(tile=128, turn=1e-9)
    for seconds in (0.2, 0.1, 0.4):
        learning.learn(seconds, executed=10**6)
    assert learning.turn == pytest.approx(1e-7)


def test_a_start_that_is_not_finite_is_where_the_lane_ends():
    starts = np.float32([np.nan, np.inf, 1.0])
    runs = gdjax.sweep(lambda start: Descent(lambda w: w**2, start, optax.sgd(0.1)), start=starts)
    assert runs.status.tolist() == [Status.DIVERGED, Status.DIVERGED, Status.CONVERGED]
    assert runs.steps.tolist()[:2] == [0, 0]
    np.testing.assert_array_equal(runs.params[:2], starts[:2])


def test_conditions_that_look_back_do_so_in_a_sweep():
    stop = gdjax.stop.step_below(0.03) | gdjax.stop.loss_stalled(window=50, tol=1e-3)

    def lane(start):
        return Descent(himmelblau, start, optax.sgd(0.01), stop=stop, max_steps=300)

    runs = gdjax.sweep(lane, start=BOX, tile=16, block_size=64)
    np.testing.assert_array_equal(runs.steps, alone(lane, runs).steps)


def test_threads_keep_double_precision(x64):
    few = gdjax.grid(x=(-5, 5, 8), y=(-5, 5, 8))
    runs = gdjax.sweep(slow_here_and_there, start=few, tile=16, block_size=32)
    assert runs.loss.dtype == runs.params["x"].dtype == np.float64
    expected = alone(slow_here_and_there, runs)
    np.testing.assert_array_equal(runs.status, expected.status)


@pytest.mark.long
def test_larger_arrays_beside_small_ones_are_run_too():
    x = np.linspace(-1, 1, 40, dtype=np.float32)

    def loss(params, x):
        hidden = jnp.tanh(x[:, None] * params["w"][None, :] + params["b"])
        return jnp.mean((hidden @ params["out"] - x**2) ** 2)

    def init(seed):
        keys = jax.random.split(jax.random.key(seed), 2)
        w, out = (jax.random.normal(key, (20,)) for key in keys)
        return {"w": w, "b": jnp.zeros(()), "out": out}

    def lane(seed, rate):
        optimizer = optax.adam(rate)
        return Descent(loss, init(seed), optimizer, (x,), stop=None, max_steps=20)

    runs = gdjax.sweep(lane, seed=np.arange(5), rate=[0.01, 0.1])
    single = gdjax.run(runs.descent(3, 1))
    assert runs.params["w"].shape == (5, 2, 20)
    np.testing.assert_allclose(runs.params["w"][3, 1], single.params["w"], rtol=1e-4)
    np.testing.assert_allclose(runs.loss[3, 1], single.loss, rtol=1e-4)


@pytest.mark.long
def test_packed_lanes_of_larger_arrays_end_as_they_do_alone():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(30, 6)), jnp.float32)

    def loss(w, x):
        return jnp.mean((x @ w - x[:, :4]) ** 2)

    def lane(start, rate):
        stop = gdjax.stop.gradient_below(1e-3)
        return Descent(loss, start, optax.sgd(rate), (x,), stop=stop, max_steps=2000)

    starts = rng.normal(size=(20, 6, 4)).astype(np.float32)
    runs = gdjax.sweep(lane, start=starts, rate=[0.5, 0.05, 0.01, 1e30])
    assert np.ptp(runs.steps) > 500
    for place in np.ndindex(20, 4):
        single = gdjax.run(runs.descent(*place))
        assert runs.status[place] == single.status
        np.testing.assert_allclose(runs.steps[place], single.steps, atol=2)
        np.testing.assert_allclose(runs.params[place], single.params, atol=1e-4)


def test_pad_of_a_fold_stands_for_the_steps_that_were_not_run():
    count = gdjax.record.fold(
        lambda state: jnp.ones(()),
        lambda memory, state: memory + 1,
        pad=lambda memory, state, steps: memory + jnp.where(state.status == 2, steps, 0),
    )

    def lane(rate):
        return Descent(lambda w: w**4, 2.0, optax.sgd(rate), record=count, max_steps=50, stop=None)

    runs = gdjax.sweep(lane, rate=[1e-3, 10.0])
    assert runs.status.tolist() == [Status.STEP_LIMIT, Status.DIVERGED]
    assert runs.record.tolist() == [51, 51]
    assert gdjax.run(lane(10.0)).record == 51


def test_pad_that_is_no_function_is_refused():
    with pytest.raises(TypeError, match=r"^pad: "):
        gdjax.record.fold(lambda s: s.loss, lambda m, s: m, pad=3)


@pytest.mark.parametrize(("size", "most"), [(1, 16), (2000, 4)])
def test_three_lanes_are_not_computed_as_a_tile_of_many(size, most):
    lane = lambda start: Descent(  # noqa: E731
        lambda w: jnp.sum(w**2), start * jnp.ones(size), optax.sgd(0.1), stop=None, max_steps=100
    )
    work = gdjax.sweep(lane, start=[1.0, 2.0, 3.0]).work
    assert work.useful == 300
    assert work.executed <= 104 * most  # whole looks


@pytest.mark.parametrize("tile", [16, 32, 64])
def test_a_narrow_tile_is_left_when_its_lanes_have_ended(tile):
    def lane(start):
        return Descent(lambda w: w**2, start, optax.sgd(0.1))

    runs = gdjax.sweep(lane, start=np.linspace(0.1, 0.9, 128, dtype=np.float32), tile=tile)
    assert (runs.status == Status.CONVERGED).all()
    assert runs.work.executed < 2 * runs.work.useful


def test_a_sweep_compiles_a_few_programs():
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        listen := lambda event, *_, **__: (
            compiled.append(event) if event.endswith("backend_compile_duration") else None
        )
    )
    try:
        loss = lambda p: himmelblau(p)  # noqa: E731
        lane = lambda start: Descent(loss, start, optax.sgd(0.02))  # noqa: E731
        gdjax.sweep(lane, start=BOX, tile=16, block_size=32)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert len(compiled) <= 12, compiled  # one large one, and the pieces that make its arguments


def test_second_sweep_of_any_size_that_fits_compiles_nothing(no_compilation):
    starts = np.random.default_rng(0).uniform(-5, 5, (300, 2)).astype(np.float32)
    lane = lambda start: Descent(himmelblau, start, optax.sgd(0.01))  # noqa: E731
    gdjax.sweep(lane, start=starts)
    with no_compilation():
        gdjax.sweep(lane, start=starts + 0.1)


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        ("workers", 0, ValueError),
        ("workers", 1.5, TypeError),
        ("devices", [], ValueError),
        ("devices", "cpu", TypeError),
        ("devices", [1], TypeError),
        ("reduce", 3, TypeError),
        ("reduce", {"a": None}, TypeError),
        ("tile", 0, ValueError),
        ("block_size", 0, ValueError),
    ],
)
def test_what_sweep_cannot_do_is_refused_by_name(argument, value, error):
    with pytest.raises(error, match=f"^{argument}: "):
        gdjax.sweep(slow_here_and_there, start=BOX, **{argument: value})


@pytest.mark.long
def test_devices_share_the_blocks():
    script = textwrap.dedent(
        """
        import jax, numpy as np, optax, gdjax
        assert len(jax.local_devices()) == 3
        lane = lambda start: gdjax.Descent(gdjax.landscapes.himmelblau, start, optax.sgd(0.01))
        start = gdjax.grid(x=(-5, 5, 24), y=(-5, 5, 24))
        one = gdjax.sweep(lane, start=start, block_size=64)
        three = gdjax.sweep(lane, start=start, block_size=64, devices=jax.local_devices())
        np.testing.assert_array_equal(one.steps, three.steps)
        np.testing.assert_array_equal(one.params["x"], three.params["x"])
        """
    )
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=3", "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", script], env=os.environ | flags, check=True)


@pytest.mark.long
@pytest.mark.parametrize("how", ["reduce", "store"])
def test_memory_does_not_grow_with_the_lanes(how, tmp_path):
    script = textwrap.dedent(
        """
        import resource, sys, jax.numpy as jnp, optax, gdjax
        how, n, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
        lane = lambda start: gdjax.Descent(gdjax.landscapes.himmelblau, start, optax.sgd(0.01))
        more = {"reduce": gdjax.reduce.mean(lambda o: o.steps)} if how == "reduce" else {}
        for side, name in ((300, "warm"), (n, "measured")):
            if how == "store":
                more = {"store": f"{path}/{name}{n}"}
            start = gdjax.grid(x=(-6, 6, side), y=(-6, 6, side))
            gdjax.sweep(lane, start=start, **more)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        """
    )
    small, large = (
        int(subprocess.check_output([sys.executable, "-c", script, how, str(n), str(tmp_path)]))
        for n in (2000, 5000)
    )
    assert large - small < 120_000  # kB; the results alone would take 441,000 more
