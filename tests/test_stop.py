import dataclasses

import jax
import jax.numpy as jnp
import optax
import pytest

import gdjax
from gdjax import Descent, Status, stop


def steps(condition, loss=lambda w: w**2, start=1.0, rate=0.25, **changes):
    """Run w -> w / 2, unless told otherwise; return the steps it takes, None at the limit."""
    result = gdjax.run(Descent(loss, start, optax.sgd(rate), stop=condition, **changes))
    return None if result.status == Status.STEP_LIMIT else int(result.steps)


def test_gradient_below_stops_at_the_first_gradient_within():
    assert steps(stop.gradient_below(2 * 0.5**5)) == 5  # gradient after k steps: 2 (1/2)^k


def test_gradient_below_takes_the_largest_entry_or_the_euclidean_norm():
    loss, start = (lambda w: jnp.sum(w**2)), jnp.ones(4)  # entries 2 (1/2)^k, norm twice that
    assert steps(stop.gradient_below(2 * 0.5**5, norm="max"), loss, start) == 5
    assert steps(stop.gradient_below(2 * 0.5**5, norm="l2"), loss, start) == 6


def test_euclidean_norm_does_not_underflow_in_half_precision():
    def loss(w):  # gradient 1e-4 in each of 4 entries, whose squares are 0 in float16
        return 1e-4 * jnp.sum(w.astype(jnp.float32))

    start = jnp.ones(4, jnp.float16)
    assert steps(stop.gradient_below(1e-4, norm="l2"), loss, start, max_steps=3) is None
    assert steps(stop.gradient_below(3e-4, norm="l2"), loss, start, max_steps=3) == 0


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_default_tolerance_is_the_square_root_of_the_dtypes_epsilon(dtype, x64):
    start = jnp.ones((), dtype)
    by_default = steps(stop.gradient_below(), start=start)
    assert by_default == steps(stop.gradient_below(float(jnp.finfo(dtype).eps) ** 0.5), start=start)


def test_default_tolerance_is_that_of_the_coarsest_dtype():
    start = {"a": jnp.float16(1), "b": jnp.float32(1)}

    def loss(p):
        return p["a"].astype(jnp.float32) ** 2 + p["b"] ** 2

    coarse = float(jnp.finfo(jnp.float16).eps) ** 0.5
    assert steps(stop.gradient_below(), loss, start) == steps(
        stop.gradient_below(coarse), loss, start
    )


def test_step_below_stops_at_the_first_short_step():
    assert steps(stop.step_below(0.5**5)) == 5  # step k moves by (1/2)^k


def test_step_below_never_stops_before_a_step():
    assert steps(stop.step_below(1e3)) == 1


def test_loss_below_stops_at_the_first_loss_within():
    assert steps(stop.loss_below(0.25**3)) == 3


def test_loss_below_takes_negative_values():
    assert steps(stop.loss_below(-1.0), loss=lambda w: w, rate=0.5) == 4


def test_loss_stalled_counts_steps_since_the_last_fall():
    # at learning rate 1 it jumps 1, -1, 1, … : the loss never falls
    assert steps(stop.loss_stalled(window=7), rate=1.0) == 7


def test_loss_stalled_lets_slow_progress_add_up():
    # falls by 0.1 a step: never by 0.25 in one, but within every three
    slow = {"loss": lambda w: w, "start": 0.0, "rate": 0.1, "max_steps": 50}
    assert steps(stop.loss_stalled(window=4, tol=0.25), **slow) is None
    assert steps(stop.loss_stalled(window=2, tol=0.25), **slow) == 2


def test_both_stop_at_the_later():
    assert steps(stop.loss_below(0.25**3) & stop.gradient_below(2 * 0.5**5)) == 5


def test_either_stops_at_the_sooner():
    assert steps(stop.loss_below(0.25**3) | stop.gradient_below(2 * 0.5**5)) == 3


def test_combinations_nest():
    soon, late = stop.loss_below(0.25**2), stop.loss_below(0.25**6)
    middle = stop.step_below(0.5**4)
    assert steps((soon | late) & middle) == 4
    assert steps(soon | (late & middle)) == 2


def test_without_a_condition_all_steps_run():
    result = gdjax.run(Descent(lambda w: w**2, 0.0, optax.sgd(0.25), stop=None, max_steps=9))
    assert (result.status, result.steps) == (Status.STEP_LIMIT, 9)


def test_without_a_condition_the_budget_may_be_traced():
    def ended(budget):
        d = Descent(lambda w: w**2, 1.0, optax.sgd(0.25), stop=None, max_steps=budget)
        return gdjax.run(d).steps

    assert jax.vmap(ended)(jnp.array([3, 5])).tolist() == [3, 5]


def test_tolerance_may_be_swept_without_compiling_again(no_compilation):
    def steps_of(tol):
        d = Descent(lambda w: w**2, 1.0, optax.sgd(0.25), stop=stop.gradient_below(tol))
        return gdjax.run(d).steps

    swept = jax.jit(jax.vmap(steps_of))
    assert swept(2 * 0.5 ** jnp.arange(1.0, 4.0)).tolist() == [1, 2, 3]
    other = 2 * 0.5 ** jnp.arange(2.0, 5.0)
    with no_compilation():
        swept(other)


def test_zero_tolerance_stops_only_at_a_zero_gradient():
    assert steps(stop.gradient_below(0.0), rate=0.5) == 1


@pytest.mark.parametrize("tol", [-1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("make", [stop.gradient_below, stop.step_below])
def test_bad_tolerance_is_named(make, tol):
    with pytest.raises(ValueError, match=r"^tol: expected"):
        make(tol)


def test_unknown_norm_is_named():
    with pytest.raises(ValueError, match=r"^norm: expected one of \['l2', 'max'\], got 'l3'"):
        stop.gradient_below(norm="l3")


def test_bad_window_is_named():
    with pytest.raises(ValueError, match=r"^window: expected a whole number of at least 1"):
        stop.loss_stalled(0)


def test_other_things_do_not_combine():
    with pytest.raises(TypeError, match=r"^stop: expected a condition"):
        stop.gradient_below() & 0.1


def noisy_steps(condition, losses):
    """Return at which of these losses a run stops whose parameters walk through them."""
    levels = jnp.asarray(losses)

    def loss(w):
        return levels[jnp.round(w).astype(jnp.int32)] + jax.lax.stop_gradient(w) - w

    return steps(condition, loss, start=0.0, rate=1.0, max_steps=len(losses) - 1)


def test_averages_are_those_of_optax():
    losses = jnp.array([5.0, 1.0, 4.0, 2.0, 3.0, 0.5])
    ema = optax.ema(0.7)
    state, averages = ema.init(losses[0]), []
    for loss in losses:
        average, state = ema.update(loss, state)
        averages.append(float(average))
    for i in range(1, 6):
        lowest = min(averages[: i + 1])
        expected = next(k for k, a in enumerate(averages) if a <= lowest + 1e-6)
        assert noisy_steps(stop.averaged(stop.loss_below(lowest + 1e-6), 0.7), losses) == expected


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float16, jnp.bfloat16])
def test_an_average_of_half_precision_does_not_stand_still(dtype):
    d = Descent(
        lambda w: (0.5 + 0.5 * w**2).astype(dtype),
        1.0,
        optax.sgd(0.02),
        stop=stop.averaged(stop.loss_below(0.52), 0.99),
        max_steps=1000,
    )
    assert 200 < gdjax.run(d).steps < 250


def test_a_validation_within_an_average_sees_the_whole_state():
    held_out = stop.validation(lambda state: state.opt_state[0].mu ** 2, stop.loss_stalled(3))
    alone, within = (
        gdjax.run(Descent(lambda w: w**2, 1.0, optax.adam(0.1), stop=condition)).steps
        for condition in (held_out, stop.averaged(held_out, 0.9))
    )
    assert alone == within < 1000


def test_one_lucky_batch_does_not_stop_an_average():
    losses = [4.0, 4.0, 0.0, 4.0, 4.0, 4.0, 4.0]
    assert noisy_steps(stop.loss_below(1.0), losses) == 2
    assert noisy_steps(stop.averaged(stop.loss_below(1.0), 0.9), losses) is None


def test_the_average_gradient_is_smaller_than_each():
    # at learning rate 1 the gradient is 2, -2, 2, … and its average tends to 0
    small = stop.gradient_below(0.2)
    assert steps(small, rate=1.0, max_steps=200) is None
    assert steps(stop.averaged(small, 0.95), rate=1.0, max_steps=200) is not None


def test_without_decay_an_average_is_the_condition_itself():
    for condition in (
        stop.loss_below(0.25**3),
        stop.gradient_below(2 * 0.5**5),
        stop.step_below(0.1),
    ):
        assert steps(stop.averaged(condition, 0.0)) == steps(condition)


def held_out(data, state):
    return jnp.mean((state.params - data) ** 2)


DATA = jnp.array([0.5, 0.0, 1.0])


@pytest.mark.parametrize(("every", "expected"), [(1, 5), (2, 6), (3, 9)])
def test_validation_stops_where_the_loss_of_held_out_data_stalls(every, expected):
    # 8, 4, 2, 1, 1/2, 1/4, …: the best is at step 4; of every third, at step 3 or 6
    validated = stop.validation(
        jax.tree_util.Partial(held_out, DATA), stop.loss_stalled(1), every=every
    )
    assert steps(validated, start=8.0) == expected


def test_validation_combines_with_averages_and_others():
    validated = stop.validation(
        jax.tree_util.Partial(held_out, DATA), stop.averaged(stop.loss_stalled(1), 0.0)
    )
    assert steps(validated, start=8.0) == 5
    assert steps(validated | stop.loss_below(1.0), start=8.0) == 3
    assert steps(validated & stop.loss_below(0.25**6), start=8.0) == 9


def test_noisy_conditions_are_the_same_alone_resumed_and_in_a_sweep():
    def lane(start, decay):
        condition = stop.validation(
            jax.tree_util.Partial(held_out, DATA),
            stop.averaged(stop.loss_stalled(2), decay),
            every=3,
        )
        return Descent(lambda w: w**2, start, optax.sgd(0.1), stop=condition, max_steps=100)

    runs = gdjax.sweep(lane, start=[8.0, 2.0, 3.0], decay=[0.0, 0.25])
    for i in range(3):
        for j in range(2):
            alone = gdjax.run(lane(float(runs.coords["start"][i]), float(runs.coords["decay"][j])))
            assert (alone.steps, alone.status) == (runs.steps[i, j], runs.status[i, j])
            assert alone.status == Status.CONVERGED
    whole = lane(8.0, 0.25)
    half = gdjax.run(dataclasses.replace(whole, max_steps=7))
    assert gdjax.run(whole, state=half.state).steps == runs.steps[0, 1]


def square(w):
    return w**2


SGD = optax.sgd(0.25)


def test_validation_data_are_an_argument(no_compilation):
    def run(data):
        validated = stop.validation(jax.tree_util.Partial(held_out, data), stop.loss_stalled(1))
        return gdjax.run(Descent(square, 8.0, SGD, stop=validated)).steps

    run(DATA)
    other = DATA + 1
    with no_compilation():
        run(other)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: stop.averaged(0.1), TypeError, "condition: "),
        (lambda: stop.averaged(stop.loss_below(1.0), 1.0), ValueError, "decay: "),
        (lambda: stop.averaged(stop.loss_below(1.0), -0.1), ValueError, "decay: "),
        (lambda: stop.validation(3, stop.loss_below(1.0)), TypeError, "function: "),
        (lambda: stop.validation(abs, 3), TypeError, "condition: "),
        (lambda: stop.validation(abs, stop.loss_below(1.0), every=0), ValueError, "every: "),
        (
            lambda: steps(stop.validation(lambda s: s.step, stop.loss_below(1.0))),
            TypeError,
            "function: ",
        ),
    ],
)
def test_what_noisy_conditions_refuse(make, error, message):
    with pytest.raises(error, match=f"^{message}"):
        make()
