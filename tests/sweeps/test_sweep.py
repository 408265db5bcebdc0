import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax
from gdjax import Descent, Status

himmelblau = gdjax.landscapes.himmelblau


def lane(start, learning_rate):
    return Descent(himmelblau, start, optax.sgd(learning_rate))


AXES = {
    "start": gdjax.grid(x=(-6, 6, 7), y=(-6, 6, 5)),
    "learning_rate": jnp.geomspace(1e-3, 1e-1, 3),
}


@pytest.fixture(scope="module")
def runs():
    return gdjax.sweep(lane, **AXES)


def test_results_are_shaped_and_named_by_the_axes(runs):
    assert runs.dims == ("x", "y", "learning_rate")
    assert runs.shape == runs.loss.shape == runs.params["x"].shape == (7, 5, 3)
    np.testing.assert_array_equal(runs.coords["learning_rate"], AXES["learning_rate"])


def test_every_lane_equals_its_descent_run_alone(runs):
    assert len(np.unique(runs.steps)) > 20  # they stop apart
    alone = jax.jit(lambda x, y, rate: gdjax.run(lane({"x": x, "y": y}, rate)))
    for index in np.ndindex(runs.shape):
        d = runs.descent(*index)
        single = alone(d.params["x"], d.params["y"], runs.coords["learning_rate"][index[2]])
        assert (single.status, single.steps) == (runs.status[index], runs.steps[index])
        np.testing.assert_allclose(single.params["x"], runs.params["x"][index], rtol=1e-4)


def test_descent_of_a_lane_is_run_by_itself(runs):
    result = gdjax.run(runs.descent(6, 0, 1))
    assert (result.status, result.steps) == (runs.status[6, 0, 1], runs.steps[6, 0, 1])


def test_diverged_lanes_leave_their_neighbours_alone(runs):
    assert Status.DIVERGED in runs.status
    assert Status.CONVERGED in runs.status
    assert np.isfinite(runs.loss).all()


@pytest.mark.parametrize("tile", [1, 3, 1000])
@pytest.mark.parametrize("block_size", [1, 40])
def test_tiles_and_blocks_change_nothing(runs, tile, block_size):
    other = gdjax.sweep(lane, **AXES, tile=tile, block_size=block_size)
    np.testing.assert_array_equal(other.status, runs.status)
    np.testing.assert_array_equal(other.steps, runs.steps)
    np.testing.assert_allclose(other.params["x"], runs.params["x"], rtol=1e-4)


def test_one_trace_serves_a_thousand_learning_rates_and_a_second_sweep():
    chex.clear_trace_counter()
    loss = chex.assert_max_traces(lambda w: jnp.sum(w**2), n=1)

    def lane(learning_rate):
        return Descent(loss, jnp.ones(2), optax.sgd(learning_rate))

    first = gdjax.sweep(lane, learning_rate=jnp.linspace(0.01, 0.9, 1000))
    second = gdjax.sweep(lane, learning_rate=jnp.linspace(0.02, 0.8, 1000))
    assert first.shape == second.shape == (1000,)


def test_lane_function_is_traced_once():
    calls = []

    def lane(learning_rate):
        calls.append(learning_rate)
        return Descent(lambda w: w**2, 1.0, optax.sgd(learning_rate))

    gdjax.sweep(lane, learning_rate=[0.1, 0.2])
    gdjax.sweep(lane, learning_rate=[0.3, 0.4])
    assert len(calls) == 1


def test_second_sweep_compiles_nothing(no_compilation):
    gdjax.sweep(lane, start=gdjax.grid(x=(-1, 1, 3), y=(-1, 1, 3)), learning_rate=[0.01, 0.02])
    with no_compilation():
        gdjax.sweep(lane, start=gdjax.grid(x=(-2, 3, 3), y=(0, 1, 3)), learning_rate=[0.03, 0.001])


@pytest.mark.parametrize("lanes", [8, 3000])
def test_second_sweep_compiles_nothing_though_only_its_lanes_diverge(lanes, no_compilation):
    rates = np.linspace(0.1, 0.9, lanes, dtype=np.float32)
    lane = lambda learning_rate: Descent(  # noqa: E731
        lambda w: w**2, 1.0, optax.sgd(learning_rate), max_steps=500
    )
    gdjax.sweep(lane, learning_rate=rates, tile=32)
    with no_compilation():
        runs = gdjax.sweep(lane, learning_rate=2 * rates, tile=32)
    assert (runs.status[2 * rates > 1.2] == Status.DIVERGED).all()


def test_any_hyperparameter_may_be_swept():
    def lane(momentum, tol, budget):
        optimizer = optax.sgd(0.1, momentum=momentum)
        stop = gdjax.stop.gradient_below(tol)
        return Descent(lambda w: w**2, 1.0, optimizer, stop=stop, max_steps=budget)

    runs = gdjax.sweep(lane, momentum=[0.0, 0.5], tol=[1e-1, 1e-3], budget=[3, 1000])
    assert (runs.steps[..., 0] == 3).all()
    assert (runs.grad_norm[:, 0, 1] <= 1e-1).all()
    assert (runs.grad_norm[:, 1, 1] <= 1e-3).all()


def test_data_may_be_swept():
    def lane(target):
        return Descent(lambda w, t: jnp.sum((w - t) ** 2), jnp.zeros(2), optax.sgd(0.25), (target,))

    targets = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.testing.assert_allclose(gdjax.sweep(lane, target=targets).params, targets, atol=1e-3)


@pytest.mark.long
def test_network_starts_may_be_swept():
    def init(key):
        w, b = jax.random.normal(key, (3, 4)), jnp.zeros(4)
        return {"w": w, "b": b}

    def loss(params, x, y):
        return jnp.mean((x @ params["w"] + params["b"][None, :] - y) ** 2)

    x, y = jnp.eye(3), jnp.ones((3, 4))
    starts = jax.vmap(init)(jax.random.split(jax.random.key(0), 5))
    runs = gdjax.sweep(lambda start: Descent(loss, start, optax.adam(0.1), (x, y)), start=starts)
    assert runs.dims == ("start",)
    assert runs.params["w"].shape == (5, 3, 4)
    assert (runs.status == Status.CONVERGED).all()


def noisy(key):
    return Descent(lambda w: w**2, jax.random.normal(key), optax.sgd(0.1), max_steps=0)


def test_lane_gets_the_key_folded_with_its_number():
    key = jax.random.key(3)
    runs = gdjax.sweep(lambda key, seed: noisy(key), seed=jnp.arange(6), key=key)
    expected = [jax.random.normal(jax.random.fold_in(key, i)) for i in range(6)]
    np.testing.assert_array_equal(runs.params, expected)


def test_keys_do_not_depend_on_tiles_and_blocks():
    axes = {"seed": jnp.arange(11), "key": jax.random.key(3)}
    whole = gdjax.sweep(lambda key, seed: noisy(key), **axes)
    cut = gdjax.sweep(lambda key, seed: noisy(key), **axes, tile=2, block_size=4)
    np.testing.assert_array_equal(whole.params, cut.params)


def test_descent_without_a_key_gets_that_of_its_lane():
    draw = gdjax.record.every(10, lambda state: jax.random.uniform(state.key))

    def lane(start):
        return Descent(lambda w: w**2, start, optax.sgd(0.1), record=draw, max_steps=10)

    runs = gdjax.sweep(lane, start=[1.0, 2.0], key=jax.random.key(0))
    expected = [jax.random.uniform(jax.random.fold_in(jax.random.key(0), i)) for i in range(2)]
    np.testing.assert_array_equal(runs.record.values[:, 0], expected)


def with_noise(start, rate):
    optimizer = optax.noisy_sgd(rate, eta=0.02, key=jax.random.key(7))
    return Descent(lambda w: jnp.sum(w**2 + jnp.sin(3 * w)), start, optimizer, max_steps=100)


@pytest.mark.long
def test_lanes_of_an_optimizer_with_a_typed_key_equal_the_runs_alone():
    starts, rates = jnp.array([[-2.0, 1.0], [0.5, 3.0]]), jnp.array([0.05, 3.0])
    runs = gdjax.sweep(with_noise, start=starts, rate=rates)
    alone = jax.vmap(lambda s: jax.vmap(lambda r: gdjax.run(with_noise(s, r)))(rates))(starts)
    np.testing.assert_array_equal(runs.steps, alone.steps)
    np.testing.assert_allclose(runs.params, alone.params, rtol=1e-5)


@pytest.mark.long
def test_lanes_of_an_optimizer_with_a_typed_key_are_diagnosed():
    starts, rates = jnp.array([[-2.0, 1.0], [0.5, 3.0]]), jnp.array([0.05, 3.0])
    runs = gdjax.sweep(with_noise, start=starts, rate=rates, diagnose=True)
    alone = [[with_noise(start, rate) for rate in rates] for start in starts]
    verdicts = [[int(gdjax.diagnose(d, gdjax.run(d)).verdict) for d in row] for row in alone]
    assert runs.diagnosis.verdict.tolist() == verdicts


def test_records_have_the_shape_of_the_sweep_in_front():
    def lane(start):
        record = {"way": gdjax.record.every(5), "mean": gdjax.record.mean()}
        return Descent(himmelblau, start, optax.sgd(0.01), record=record, max_steps=20)

    runs = gdjax.sweep(lane, start=gdjax.grid((-6, 6, 3), (-6, 6, 2)))
    assert runs.record["way"].values.shape == (3, 2, 5)
    assert runs.record["mean"].shape == (3, 2)


def test_xarray_has_dims_coordinates_and_variables(runs):
    data = runs.to_xarray()
    assert dict(data.sizes) == {"x": 7, "y": 5, "learning_rate": 3}
    assert {"params_x", "params_y", "loss", "grad_norm", "steps", "status"} == set(data)
    x, y, rate = (runs.coords[dim][i] for dim, i in zip(runs.dims, (2, 1, 0)))
    assert float(data.sel(x=x, y=y, learning_rate=rate).loss) == runs.loss[2, 1, 0]


def test_xarray_names_the_axes_within_a_leaf():
    runs = gdjax.sweep(
        lambda start: Descent(himmelblau, start, optax.sgd(0.01)),
        start=gdjax.sobol([(-6, 6), (-6, 6)], 4),
    )
    data = runs.to_xarray()
    assert data.params.dims == ("start", "params_dim_0")
    assert data.coords["start_1"].dims == ("start",)


def test_progress_bar_counts_all_lanes(capsys):
    gdjax.sweep(lane, **AXES, progress=True)
    assert "105" in capsys.readouterr().err


def test_no_bar_is_shown_off_a_terminal(capsys):
    gdjax.sweep(lane, **AXES)
    assert capsys.readouterr().err == ""


def test_index_of_a_lane_is_checked(runs):
    with pytest.raises(IndexError, match=r"^index: expected y within 5, got 5"):
        runs.descent(0, 5, 0)
    with pytest.raises(TypeError, match=r"^index: expected an integer for each of"):
        runs.descent(0)
    with pytest.raises(TypeError, match=r"^index: .* got \(0, 0.5, 0\)"):
        runs.descent(0, 0.5, 0)


def start_of(start):
    return Descent(lambda w: w**2, start, optax.sgd(0.1), max_steps=3)


def close_over(x):
    def lane(start):
        return Descent(lambda w: (w - x) ** 2, start, optax.sgd(0.1), max_steps=3)

    return gdjax.sweep(lane, start=[1.0, 2.0]).loss.sum()


def with_key(key):
    return gdjax.sweep(lambda start, key: start_of(start), start=[1.0, 2.0], key=key).loss


def scattered(key):
    return gdjax.sweep(start_of, start=gdjax.uniform(key, [(0, 1)], 4)).loss


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: jax.jit(close_over)(1.0), "lane"),
        (lambda: jax.vmap(close_over)(jnp.ones(2)), "lane"),
        (lambda: jax.grad(close_over)(1.0), "lane"),
        (lambda: jax.jit(with_key)(jax.random.key(0)), "key"),
        (lambda: jax.jit(with_key)(jax.random.PRNGKey(0)), "key"),
        (lambda: jax.vmap(with_key)(jax.random.split(jax.random.key(0), 2)), "key"),
        (lambda: jax.jit(scattered)(jax.random.key(0)), "key"),
        (lambda: jax.jit(lambda x: gdjax.sweep(start_of, start=[1.0, 2.0]).loss)(1.0), "lane"),
    ],
)
def test_a_sweep_of_what_is_traced_is_refused_with_the_way_out(call, name):
    with pytest.raises(TypeError, match=rf"^{name}: .*jax\.vmap over gdjax\.run"):
        call()


def test_a_sweep_goes_on_after_one_that_was_traced():
    with pytest.raises(TypeError, match="lane: "):
        jax.jit(lambda x: gdjax.sweep(start_of, start=[1.0, 2.0]).loss)(1.0)
    assert (gdjax.sweep(start_of, start=[1.0, 2.0]).steps == 3).all()


def by_position(start, /):
    return start_of(start)


def by_position_and_any(start, /, **others):
    return start_of(start)


def by_position_with_default(start=1.0, /):
    return start_of(start)


@pytest.mark.parametrize("lane", [by_position, by_position_and_any, by_position_with_default])
def test_an_argument_by_position_only_is_refused_as_such(lane):
    with pytest.raises(TypeError, match=r"^start: .*by position only.* leave out the /"):
        gdjax.sweep(lane, start=[1.0])


def test_a_function_that_does_not_say_its_arguments_is_refused():
    with pytest.raises(TypeError, match=r"^lane: <class 'dict'> does not say which arguments"):
        gdjax.sweep(dict, start=[1.0])


def adam(start):
    return Descent(himmelblau, start, optax.adam(0.1), max_steps=500)


@pytest.mark.parametrize("count", [1, 7])
def test_a_tile_of_one_lane_ends_as_wider_ones_to_rounding(count):
    starts = np.stack(gdjax.sobol([(-6, 6), (-6, 6)], 7).columns, axis=1)[:count]
    narrow, wide = (gdjax.sweep(adam, start=starts, tile=tile) for tile in (1, 16))
    np.testing.assert_array_equal(narrow.status, wide.status)
    np.testing.assert_allclose(narrow.params, wide.params, rtol=1e-5)


def leaf_named(params):
    def lane(start):
        return Descent(
            lambda p: sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(p)),
            jax.tree.map(lambda leaf: leaf * start, params),
            optax.sgd(0.1),
        )

    return lane


@pytest.mark.parametrize(
    ("params", "clash"),
    [
        (
            {"a_b": jnp.ones(()), "a": {"b": jnp.ones(())}},
            r"'params_a_b' .* params\['a'\]\['b'\] and of params\['a_b'\]",
        ),
        (
            {"a": jnp.ones(2), "a_dim_0": jnp.ones(())},
            r"'params_a_dim_0' .* dimension 0 of params\['a'\] and of params\['a_dim_0'\]",
        ),
    ],
)
def test_xarray_refuses_leaves_of_one_name(params, clash):
    runs = gdjax.sweep(leaf_named(params), start=[1.0, 2.0])
    with pytest.raises(ValueError, match=f"^to_xarray: {clash}; rename"):
        runs.to_xarray()


@pytest.mark.parametrize("name", ["loss", "params", "steps", "status", "grad_norm"])
def test_xarray_refuses_an_axis_with_the_name_of_a_variable(name):
    runs = gdjax.sweep(lambda **axis: start_of(axis[name]), **{name: [1.0, 2.0]})
    with pytest.raises(ValueError, match=f"^to_xarray: '{name}' .* a coordinate .* and of {name};"):
        runs.to_xarray()


def test_sweep_without_jit_is_refused():
    with jax.disable_jit(), pytest.raises(ValueError, match=r"^lane: .*disable_jit"):
        gdjax.sweep(lambda a: Descent(lambda w: w**2, a, optax.sgd(0.1)), a=[1.0])


def test_a_swept_budget_does_not_wrap_around():
    def lane(budget):
        return Descent(lambda w: w**2, 1.0, optax.sgd(0.01), max_steps=budget)

    runs = gdjax.sweep(lane, budget=np.array([2**32 - 1, 5], np.uint32))
    assert runs.status.tolist() == [gdjax.Status.CONVERGED, gdjax.Status.STEP_LIMIT]


def test_lanes_that_momentum_makes_chaotic_are_the_same_where_they_are_diagnosed():
    def rosenbrock(w):
        return (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2

    def lane(x, y):
        return gdjax.Descent(rosenbrock, jnp.stack([x, y]), optax.sgd(0.002, 0.9), max_steps=400)

    axis = jnp.linspace(-1.7, 1.6, 16)
    plain, diagnosed = (gdjax.sweep(lane, x=axis, y=axis, diagnose=on) for on in (False, True))
    np.testing.assert_array_equal(diagnosed.params, plain.params)
