import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.extend.core import jaxprs_in_params

import gdjax
from gdjax import Descent, record

HALVING = {"loss": lambda w: w**2, "params": 1.0, "optimizer": optax.sgd(0.25)}


def halving(**changes):
    """Return the descent w -> w / 2 from 1."""
    return Descent(**(HALVING | {"stop": None, "max_steps": 10} | changes))


def params(state):
    return state.params


def recorded(recorder, **changes):
    return gdjax.run(halving(record=recorder, **changes)).record


def test_every_step_has_the_start_and_the_end():
    series = recorded(record.every(1, params))
    assert series.steps.tolist() == list(range(11))
    np.testing.assert_array_equal(series.values, 0.5 ** np.arange(11))


def test_every_nth_step_has_the_end_too():
    series = recorded(record.every(4, params))
    assert series.steps.tolist() == [0, 4, 8, 10]
    np.testing.assert_array_equal(series.values, 0.5 ** np.array([0.0, 4, 8, 10]))


def test_end_is_recorded_apart_from_the_last_full_period_where_a_condition_stops():
    series = recorded(record.every(4, params), stop=gdjax.stop.gradient_below(0.0))
    assert series.steps.tolist() == [0, 4, 8, 10]
    np.testing.assert_array_equal(series.values, 0.5 ** np.array([0.0, 4, 8, 10]))


def test_no_step_is_computed_beyond_the_budget():
    # beyond 3 steps the loss overflows: a derivative through that would be NaN
    def end(rate):
        optimizer, many = optax.sgd(rate), record.every(10)
        d = halving(loss=lambda w: w**4, optimizer=optimizer, max_steps=3, record=many)
        return gdjax.run(d).loss

    assert np.isfinite(jax.grad(end)(1.0))


def test_default_is_the_loss():
    np.testing.assert_array_equal(recorded(record.every(5)).values, 0.25 ** np.array([0.0, 5, 10]))


def test_early_end_fills_the_rest_with_itself():
    series = recorded(record.every(2, params), stop=gdjax.stop.gradient_below(2 * 0.5**5))
    assert series.steps.tolist() == [0, 2, 4, 5, 5, 5]
    np.testing.assert_array_equal(series.values, 0.5 ** np.array([0.0, 2, 4, 5, 5, 5]))


def test_run_that_takes_no_step_is_filled_with_its_start():
    series = recorded(record.every(2, params), stop=gdjax.stop.loss_below(2.0))
    assert series.steps.tolist() == [0] * 6
    np.testing.assert_array_equal(series.values, np.ones(6))


def test_periods_may_differ():
    series = recorded({"loss": record.every(2), "params": record.every(3, params)})
    assert series["loss"].steps.tolist() == [0, 2, 4, 6, 8, 10]
    assert series["params"].steps.tolist() == [0, 3, 6, 9, 10]
    np.testing.assert_array_equal(series["params"].values, 0.5 ** np.array([0.0, 3, 6, 9, 10]))


def test_periods_may_differ_where_the_run_ends_early():
    stop = gdjax.stop.gradient_below(2 * 0.5**5)
    series = recorded({"a": record.every(2, params), "b": record.every(3, params)}, stop=stop)
    assert series["a"].steps.tolist() == [0, 2, 4, 5, 5, 5]
    assert series["b"].steps.tolist() == [0, 3, 5, 5, 5]
    np.testing.assert_array_equal(series["b"].values, 0.5 ** np.array([0.0, 3, 5, 5, 5]))


def test_any_pytree_may_be_recorded():
    series = recorded(record.every(5, lambda s: {"w": s.params, "both": (s.loss, s.grad)}))
    assert series.values["both"][1].tolist() == [2.0, 2 * 0.5**5, 2 * 0.5**10]


def test_period_beyond_the_budget_has_start_and_end():
    assert recorded(record.every(100)).steps.tolist() == [0, 10]


def test_budget_of_none_has_the_start():
    assert recorded(record.every(3), max_steps=0).steps.tolist() == [0]


def test_diverged_run_repeats_its_last_finite_state():
    series = recorded(record.every(50, params), optimizer=optax.sgd(1.5), max_steps=100)
    assert series.steps.tolist() == [0, 50, 63]
    assert np.isfinite(series.values).all()


def test_mean_is_over_all_states():
    expected = np.mean(0.5 ** np.arange(11))
    assert float(recorded(record.mean(params))) == pytest.approx(expected)


def test_variance_is_that_of_the_population():
    expected = np.var(0.5 ** np.arange(11))
    assert float(recorded(record.variance(params))) == pytest.approx(expected)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_moments_of_half_precision_add_up_over_thousands_of_steps(dtype):
    moments = {
        "mean": record.mean(lambda s: s.step.astype(dtype) / 4096),
        "variance": record.variance(lambda s: (s.step % 2).astype(dtype)),
    }
    start = jnp.zeros((), dtype)
    got = recorded(moments, params=start, max_steps=4096)
    assert float(got["mean"]) == pytest.approx(0.5, abs=2e-3)
    assert float(got["variance"]) == pytest.approx(0.25, abs=1e-3)


def test_mean_of_whole_numbers_and_booleans_is_taken():
    got = recorded(
        {"step": record.mean(lambda s: s.step), "late": record.mean(lambda s: s.step > 4)}
    )
    assert float(got["step"]) == pytest.approx(5.0)
    assert float(got["late"]) == pytest.approx(6 / 11)


def test_fold_that_changes_its_type_is_named():
    changing = record.fold(lambda s: 0, lambda memory, s: memory + s.loss)
    with pytest.raises(TypeError, match=r"^record: the memory of the folds"):
        recorded(changing)


def test_minimum_and_maximum_are_over_all_states():
    jumping = {"optimizer": optax.sgd(0.75)}  # 1, -1/2, 1/4, …
    extremes = recorded({"low": record.minimum(params), "high": record.maximum(params)}, **jumping)
    assert (extremes["low"], extremes["high"]) == (-0.5, 1.0)


def test_fold_sees_every_state_in_order():
    last_two = record.fold(
        lambda state: (state.step, state.step), lambda memory, state: (memory[1], state.step)
    )
    assert [int(step) for step in recorded(last_two)] == [9, 10]


def test_fold_is_finished_at_the_end():
    doubled = record.fold(lambda s: s.loss, lambda memory, s: s.loss, lambda memory: 2 * memory)
    assert recorded(doubled) == 2 * 0.25**10


def test_fold_goes_on_when_the_run_does():
    d = halving(record=record.mean(params), max_steps=5)
    first = gdjax.run(d)
    expected = np.mean(0.5 ** np.arange(11))
    assert float(gdjax.run(d, state=first.state).record) == pytest.approx(expected)


def test_fold_of_a_finished_run_is_left_as_it_is():
    stopped = recorded(record.mean(params), stop=gdjax.stop.gradient_below(2 * 0.5**5))
    assert float(stopped) == pytest.approx(np.mean(0.5 ** np.arange(6)))


RECORD = {"every": record.every(3, params), "mean": record.mean(params)}


def test_lanes_of_a_vmap_record_as_they_do_alone():
    def lane(rate):
        stop = gdjax.stop.gradient_below(0.05)
        return gdjax.run(halving(optimizer=optax.sgd(rate), stop=stop, record=RECORD)).record

    rates = jnp.array([0.1, 0.25, 0.4, 2.0])
    alone = [jax.jit(lane)(rate) for rate in rates]
    chex.assert_trees_all_close(
        jax.vmap(lane)(rates), jax.tree.map(lambda *x: jnp.stack(x), *alone), rtol=1e-5
    )


def selected_in_loops(jaxpr, within_loop=False):
    """Yield the shapes of all selects inside the loops of a jaxpr."""
    for equation in jaxpr.eqns:
        if within_loop and equation.primitive.name == "select_n":
            yield equation.outvars[0].aval.shape
        within = within_loop or equation.primitive.name in ("while", "scan")
        for inner in jaxprs_in_params(equation.params):
            yield from selected_in_loops(inner, within)


def histories(rates, run_lanes):
    def lane(rate):
        optimizer, stop = optax.sgd(rate), gdjax.stop.gradient_below()
        d = halving(optimizer=optimizer, stop=stop, max_steps=999, record=record.every(1))
        return gdjax.run(d).record.values

    return run_lanes(lane)(rates)


def test_history_is_not_rewritten_at_every_step_under_vmap():
    program = jax.make_jaxpr(lambda rates: histories(rates, jax.vmap))(jnp.ones(7))
    selected = list(selected_in_loops(program.jaxpr))
    assert (7,) in selected  # finished lanes are frozen by a select …
    assert (7, 1000) not in selected  # … which does not touch their history


def test_reverse_mode_goes_through_a_history():
    def area(rate):
        return jnp.sum(recorded(record.every(2, params), optimizer=optax.sgd(rate)).values)

    # sum over k = 0, 2, …, 10 of (1 - 2 rate)^k
    slope = sum(-2 * k * 0.5 ** (k - 1) for k in range(0, 11, 2))
    assert float(jax.grad(area)(0.25)) == pytest.approx(slope, rel=1e-5)


def test_recorded_step_of_a_run_that_goes_on_is_its_own():
    d = halving(record=record.every(2), max_steps=4)
    again = gdjax.run(d, state=gdjax.run(d).state)
    assert again.record.steps.tolist() == [4, 6, 8]


def test_traced_budget_has_no_length_for_a_history():
    with pytest.raises(TypeError, match=r"^max_steps: expected a Python int"):
        halving(record=record.every(2), max_steps=jnp.array(4))


def test_bad_period_is_named():
    with pytest.raises(ValueError, match=r"^period: expected a whole number of at least 1, got 0"):
        record.every(0)


def test_other_things_are_no_recorders():
    with pytest.raises(TypeError, match=r"^record: expected recorders of gdjax.record"):
        halving(record={"loss": lambda state: state.loss})


def quartic(w, scale):
    return scale * w**4


def second_derivative(loss, params, *args):
    return jax.grad(jax.grad(loss))(params, *args)


def test_function_of_the_loss_gets_it_with_its_arguments():
    of = record.of_loss(second_derivative)
    changes = {"loss": quartic, "args": (0.5,), "optimizer": optax.sgd(0.125)}
    series = recorded({"of": record.every(1, of), "at": record.every(1, params)}, **changes)
    np.testing.assert_allclose(series["of"].values, 6 * series["at"].values ** 2, rtol=1e-6)


def test_function_of_the_loss_sees_all_data_in_the_place_of_a_batch():
    batches = gdjax.batches.mini(jnp.array([1.0, 2.0, 3.0, 6.0]), 1)
    changes = {"loss": lambda w, batch: jnp.mean(batch) * w**2, "optimizer": optax.sgd(0.01)}
    of = record.every(5, record.of_loss(second_derivative))
    series = recorded(of, batches=batches, key=jax.random.key(0), **changes)
    np.testing.assert_array_equal(series.values, [6.0, 6.0, 6.0])


def test_function_of_the_loss_takes_the_fields_of_the_state_that_are_named():
    of = record.of_loss(lambda loss, grad, step: grad + step, "grad", "step")
    np.testing.assert_array_equal(recorded(record.every(5, of)).values[0], 2.0)


@pytest.mark.long
def test_sharpness_is_recorded_in_lanes_as_alone(x64):
    of = record.every(3, record.of_loss(gdjax.curvature.sharpness))

    def lane(start, scale):
        optimizer, args = optax.sgd(0.05), (scale,)
        return Descent(quartic, start, optimizer, args, record=of, stop=None, max_steps=7)

    runs = gdjax.sweep(lane, start=np.array([0.5, 1.0]), scale=np.array([0.5, 1.0, 2.0]))
    alone = gdjax.run(runs.descent(1, 2)).record
    assert alone.values.value[0] == 24.0
    np.testing.assert_allclose(runs.record.values.value[1, 2], alone.values.value, rtol=1e-12)


def test_building_a_recorder_of_the_loss_again_compiles_nothing(no_compilation):
    def run():
        d = halving(record=record.every(5, record.of_loss(second_derivative)))
        return gdjax.run(d).record

    run()
    with no_compilation():
        run()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: record.of_loss(1.0), "^function: "),
        (lambda: record.of_loss(second_derivative, 3), "^fields: "),
        (lambda: record.mean(record.of_loss(second_derivative)), "^of: "),
    ],
)
def test_what_is_no_function_of_the_loss_is_refused(make, message):
    with pytest.raises(TypeError, match=message):
        make()


@pytest.mark.parametrize("of_complex", [record.variance, record.minimum, record.maximum])
def test_complex_values_have_neither_order_nor_variance(of_complex):
    with pytest.raises(TypeError, match=r"^of: expected it to return real arrays"):
        recorded(of_complex(lambda state: state.params * 1j))


def test_a_period_beyond_int32_is_refused():
    with pytest.raises(ValueError, match=r"^period: expected at most 2147483647 steps"):
        record.every(2**31)


def test_the_last_row_of_a_long_budget_has_the_step_of_the_end():
    series = recorded(record.every(2**30), max_steps=2**31 - 1, stop=gdjax.stop.loss_below(0.1))
    assert series.steps.tolist() == [0, 2, 2]
