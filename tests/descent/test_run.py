import dataclasses
import gc
import weakref

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax
from gdjax import Descent, Status
from gdjax.descent import programs


def himmelblau(params):
    x, y = params["x"], params["y"]
    return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2


START = {"x": 1.0, "y": 2.0}


def described(learning_rate=0.01, **changes):
    return Descent(himmelblau, START, optax.sgd(learning_rate), **changes)


def test_hand_written_loop_is_equal_to_the_bit():
    @jax.jit
    def by_hand(params):
        gradient = jax.grad(himmelblau)(params)
        return jax.tree.map(lambda p, g: p - 0.01 * g, params, gradient)

    params = jax.tree.map(jnp.float32, START)
    for _ in range(25):
        params = by_hand(params)
    result = gdjax.run(described(stop=None, max_steps=25))
    chex.assert_trees_all_equal(result.params, params)


def test_gradient_step_is_equal_to_the_bit():
    params = jax.tree.map(jnp.float32, START)
    for _ in range(25):
        params = gdjax.gradient_step(himmelblau, params, 0.01)
    result = gdjax.run(described(stop=None, max_steps=25))
    chex.assert_trees_all_equal(result.params, params)


def test_init_and_step_by_hand_equal_run_to_the_bit():
    d = described()
    state = gdjax.init(d)
    while state.status == Status.RUNNING:
        state = gdjax.step(d, state)
    chex.assert_trees_all_equal(state, gdjax.run(d).state)


def test_converged_run_is_at_the_minimum_with_its_loss_and_gradient():
    result = gdjax.run(described())
    assert result.status == Status.CONVERGED
    assert result.grad_norm <= jnp.finfo(jnp.float32).eps ** 0.5
    np.testing.assert_allclose([result.params["x"], result.params["y"]], [3.0, 2.0], atol=1e-4)
    assert result.loss == himmelblau(result.params)


def test_start_that_already_satisfies_the_stop_takes_no_step():
    result = gdjax.run(Descent(himmelblau, {"x": 3.0, "y": 2.0}, optax.sgd(0.01)))
    assert (result.status, result.steps) == (Status.CONVERGED, 0)


def test_budget_is_kept_exactly():
    result = gdjax.run(described(max_steps=7))
    assert (result.status, result.steps) == (Status.STEP_LIMIT, 7)


def test_no_step_is_taken_with_a_budget_of_none():
    result = gdjax.run(described(max_steps=0))
    assert (result.status, result.steps) == (Status.STEP_LIMIT, 0)


def test_going_on_from_the_budget_equals_one_longer_run_to_the_bit():
    half = gdjax.run(described(stop=None, max_steps=10))
    whole = gdjax.run(described(stop=None, max_steps=20))
    again = gdjax.run(described(stop=None, max_steps=10), state=half.state)
    chex.assert_trees_all_equal(again.state, whole.state)


def test_going_on_from_convergence_changes_nothing():
    result = gdjax.run(described())
    again = gdjax.run(described(), state=result.state)
    chex.assert_trees_all_equal(again.params, result.params)
    assert (again.steps, again.status) == (result.steps, Status.CONVERGED)


def test_going_on_with_a_tighter_tolerance_goes_further():
    loose = gdjax.run(described(stop=gdjax.stop.gradient_below(1.0)))
    tight = gdjax.run(described(stop=gdjax.stop.gradient_below(1e-2)), state=loose.state)
    assert tight.steps > loose.steps
    assert tight.grad_norm <= 1e-2


def test_going_on_with_another_condition_is_possible():
    first = gdjax.run(described(max_steps=3))
    stop = gdjax.stop.gradient_below(1e-2) | gdjax.stop.loss_stalled(50)
    again = gdjax.run(described(stop=stop), state=first.state)
    assert again.status == Status.CONVERGED
    assert again.grad_norm <= 1e-2


def test_going_on_with_another_recorder_begins_it_anew():
    first = gdjax.run(described(max_steps=3))
    again = gdjax.run(described(record=gdjax.record.minimum()), state=first.state)
    assert again.record == again.loss


def test_going_on_with_other_data_sees_its_loss():
    def loss(w, target):
        return (w - target) ** 2

    first = gdjax.run(Descent(loss, 0.0, optax.sgd(0.25), (0.0,)))
    again = gdjax.run(Descent(loss, 0.0, optax.sgd(0.25), (10.0,)), state=first.state)
    assert float(again.params) == pytest.approx(10.0, abs=1e-3)


def test_finished_state_comes_back_unchanged_from_step():
    d = described()
    end = gdjax.run(d).state
    chex.assert_trees_all_equal(gdjax.step(d, end), end)


def test_diverged_run_keeps_the_last_finite_parameters():
    # w -> -2 w: (-2)^k, whose square is infinite in float32 from k = 64 on
    result = gdjax.run(Descent(lambda w: w**2, 1.0, optax.sgd(1.5)))
    assert result.status == Status.DIVERGED
    assert (result.steps, result.params, result.loss) == (63, -(2.0**63), 2.0**126)


def test_diverged_state_stays_diverged_when_gone_on():
    d = Descent(lambda w: w**2, 1.0, optax.sgd(1.5))
    end = gdjax.run(d).state
    assert gdjax.run(d, state=end).status == Status.DIVERGED


@pytest.mark.parametrize(
    ("loss", "start"),
    [
        (lambda w: jnp.log(w), -1.0),
        (lambda w: jnp.sqrt(w), 0.0),
        (lambda w: 1.0 / w, 0.0),
        (lambda w: w * 0.0, jnp.inf),
    ],
    ids=["NaN loss", "infinite gradient", "infinite loss", "infinite parameter"],
)
def test_start_that_is_not_finite_is_diverged_at_once(loss, start):
    result = gdjax.run(Descent(loss, start, optax.sgd(0.1)))
    assert (result.status, result.steps) == (Status.DIVERGED, 0)


def test_parameters_that_become_infinite_under_a_finite_loss_end_the_run():
    def jump(updates, state, params=None):
        return jax.tree.map(lambda g: jnp.full_like(g, jnp.inf), updates), state

    optimizer = optax.GradientTransformation(lambda params: optax.EmptyState(), jump)
    result = gdjax.run(Descent(lambda w: jnp.arctan(w), 1.0, optimizer))
    assert (result.status, result.steps, result.params) == (Status.DIVERGED, 0, 1.0)


def test_thousands_of_diverging_lanes_are_all_diverged():
    # XLA's maximum drops NaN on a CPU once loops are vectorised: it must not decide this.
    starts = jax.random.uniform(jax.random.key(0), (4096, 2), minval=0.5, maxval=1.0)
    loss = gdjax.landscapes.monkey_saddle
    result = jax.vmap(lambda start: gdjax.run(Descent(loss, start, optax.sgd(0.01))))(starts)
    assert set(result.status.tolist()) == {Status.DIVERGED}
    assert np.isfinite(result.params).all()


def test_key_is_carried_by_the_state():
    key = jax.random.key(7)
    assert gdjax.run(described(key=key)).state.key == key


def test_legacy_key_is_taken():
    result = gdjax.run(described(key=jax.random.PRNGKey(7)))
    assert result.state.key == jax.random.key(7)


def test_optimizer_may_keep_a_random_key():
    optimizer = optax.chain(optax.add_noise(0.01, 0.55, jax.random.key(0)), optax.sgd(0.01))
    result = gdjax.run(Descent(himmelblau, START, optimizer, stop=None, max_steps=50))
    assert result.loss < 1.0


class Data:
    def __init__(self, value):
        self.value = value


def test_nothing_but_a_bounded_cache_keeps_a_loss_that_is_gone():
    references = []
    for i in range(2):
        data = Data(float(i))  # the loss closes over its data, as in a notebook
        references.append(weakref.ref(data))
        gdjax.run(Descent(lambda w, data=data: (w - data.value) ** 2, 0.0, optax.sgd(0.1)))
        del data
    assert programs._program.cache_parameters()["maxsize"] == 64
    programs._program.cache_clear()
    gc.collect()
    assert [reference() for reference in references] == [None, None]


class Transformed(chex.TestCase):
    @chex.variants(with_jit=True, without_jit=True)
    def test_run_inside_jit_equals_run_alone(self):
        result = self.variant(lambda rate: gdjax.run(described(rate)).params)(0.01)
        chex.assert_trees_all_close(result, gdjax.run(described()).params, rtol=1e-6)

    @chex.variants(with_jit=True, without_jit=True)
    def test_step_inside_jit_equals_step_alone(self):
        d = described()
        state = self.variant(gdjax.step)(d, gdjax.init(d))
        chex.assert_trees_all_close(state, gdjax.step(d, gdjax.init(d)), rtol=1e-6)


def test_lanes_that_stop_at_different_steps_equal_the_runs_alone():
    rates = jnp.array([0.001, 0.003, 0.01, 0.02, 1.0])
    together = jax.vmap(lambda rate: gdjax.run(described(rate)))(rates)
    assert len(set(together.steps.tolist())) == 5
    for i, rate in enumerate(rates):
        alone = jax.jit(lambda rate: gdjax.run(described(rate)))(rate)
        lane = jax.tree.map(lambda leaf, i=i: leaf[i], together)
        assert (lane.status, lane.steps) == (alone.status, alone.steps)
        chex.assert_trees_all_close(lane.params, alone.params, rtol=1e-5)


def test_vmaps_nest():
    def end(rate, x):
        d = Descent(himmelblau, {"x": x, "y": 2.0}, optax.sgd(rate))
        return gdjax.run(d).steps

    rates, xs = jnp.array([0.003, 0.01]), jnp.array([0.5, 1.0, 4.0])
    nested = jax.vmap(jax.vmap(end, (None, 0)), (0, None))(rates, xs)
    alone = [[int(end(rate, x)) for x in xs] for rate in rates]
    assert nested.tolist() == alone


def test_descent_is_a_pytree_whose_values_are_batched():
    d = Descent(lambda w, target: (w - target) ** 2, jnp.zeros(2), optax.sgd(0.25), (jnp.ones(2),))
    result = jax.vmap(gdjax.run)(d)
    np.testing.assert_allclose(result.params, [1.0, 1.0], atol=1e-3)


def end_after_10_steps(rate):
    return gdjax.run(described(rate, stop=None, max_steps=10)).loss


def test_hypergradient_in_reverse_mode_equals_finite_differences():
    chex.assert_numerical_grads(end_after_10_steps, (jnp.array(0.004),), order=1, atol=0.05)


def test_forward_mode_equals_reverse_mode():
    forward = jax.jacfwd(end_after_10_steps)(0.004)
    assert float(forward) == pytest.approx(float(jax.grad(end_after_10_steps)(0.004)), rel=1e-4)


def test_forward_mode_goes_through_a_run_that_stops_by_itself():
    def end(target):
        d = Descent(lambda w, t: (w - t) ** 2, 0.0, optax.sgd(0.25), (target,))
        return gdjax.run(d).params

    value, slope = jax.jvp(end, (3.0,), (1.0,))
    assert float(value) == pytest.approx(3.0, abs=1e-3)
    assert float(slope) == pytest.approx(1.0, abs=1e-3)


def test_reverse_mode_goes_through_step():
    def after(rate):
        d = described(rate)
        return gdjax.step(d, gdjax.init(d)).loss

    assert float(jax.grad(after)(0.001)) == pytest.approx(float(jax.jacfwd(after)(0.001)), rel=1e-5)


def test_loss_is_traced_once_for_a_run_and_its_repetitions():
    chex.clear_trace_counter()
    loss = chex.assert_max_traces(himmelblau, n=1)
    d = Descent(loss, START, optax.sgd(0.01))
    gdjax.run(d)
    gdjax.run(d)
    for changes in (
        {"params": {"x": jnp.float32(0.0), "y": np.float32(1.0)}},
        {"max_steps": 17},
        {"max_steps": jnp.array(18)},
        {"stop": gdjax.stop.gradient_below(1e-2)},
        {"stop": gdjax.stop.gradient_below(np.float64(1e-2))},
    ):
        gdjax.run(dataclasses.replace(d, **changes))
    gdjax.step(d, gdjax.init(d))


def test_second_run_of_equal_structure_compiles_nothing(no_compilation):
    d = Descent(himmelblau, START, optax.adam(0.1), record=gdjax.record.mean())
    gdjax.run(d)
    again = dataclasses.replace(d, params={"x": 4.0, "y": 4.0}, record=gdjax.record.mean())
    with no_compilation():
        gdjax.run(again)


def test_the_compilation_counter_sees_a_compilation(no_compilation):
    with pytest.raises(AssertionError, match="compiled"), no_compilation():
        jax.jit(lambda x: x * 3.25)(1.0)
