import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax
from gdjax import RateVerdict, advise

pytestmark = pytest.mark.usefixtures("x64")

FAMILIES = ["gd", "polyak", "nesterov", "adam", "rmsprop"]
CURVATURES = np.array([1.0, 7.0, 100.0])


def bowl(w, curvatures=CURVATURES):
    return jnp.sum(curvatures * w**2) / 2


def of_bowl(family="gd", **momentum):
    return advise(bowl, jnp.ones(3), family, **momentum)


def as_optax(family, rate, momentum):
    """An optimizer of the family with a preconditioner of 1."""
    if family == "adam":
        return optax.chain(optax.ema(momentum, debias=False), optax.scale(-rate))
    return optax.sgd(rate, momentum, nesterov=family == "nesterov")


def slowest(family, rate, momentum):
    """The spectral radius of one update of parameters and optimizer together."""
    optimizer = as_optax(family, rate, momentum)
    params = jnp.zeros(3)
    flat, unravel = jax.flatten_util.ravel_pytree((params, optimizer.init(params)))

    def update(flat):
        params, state = unravel(flat)
        updates, state = optimizer.update(CURVATURES * params, state, params)
        return jax.flatten_util.ravel_pytree((optax.apply_updates(params, updates), state))[0]

    return jnp.abs(jnp.linalg.eigvals(jax.jacfwd(update)(flat))).max()


@pytest.mark.parametrize(
    ("family", "expected"),
    [("gd", 2.0), ("polyak", 3.8), ("nesterov", 3.8 / 2.8), ("adam", 38.0)],
)
def test_largest_rate_has_the_published_factor(family, expected):
    advice = identity_preconditioned(family, None)
    assert advice.largest_rate == pytest.approx(expected / 100, rel=2e-8)


def test_best_constant_rate_shrinks_sixteen_steps_as_published():
    advice = of_bowl()
    assert advice.best_rate == pytest.approx(2 / 101, rel=1e-12)
    assert advice.best_contraction**16 == pytest.approx(0.726141, abs=5e-7)


def test_best_momentum_shrinks_every_error_by_nine_elevenths():
    advice = of_bowl()
    assert advice.best_momentum == pytest.approx((9 / 11) ** 2)
    assert advice.best_momentum_rate == pytest.approx(4 / 11**2)
    assert advice.best_momentum_contraction == pytest.approx(9 / 11)


def identity_preconditioned(family, momentum):
    """The advice of a family for the bowl itself, whose preconditioner is 1 where it has one."""
    settled = None
    if family == "adam":
        settled = optax.ScaleByAdamState(10**6, jnp.zeros(3), jnp.ones(3))
    return advise(bowl, jnp.ones(3), family, momentum=momentum, opt_state=settled)


@pytest.mark.long
@pytest.mark.parametrize(
    "family",
    ["gd", *(pytest.param(f, marks=pytest.mark.long) for f in ("polyak", "nesterov")), "adam"],
)
def test_contraction_is_the_spectral_radius_of_an_update(family):
    rates, momenta = np.meshgrid(np.geomspace(1e-4, 0.4, 20), [0.0, 0.3, 0.9, 0.99])
    cases = jnp.asarray(rates.ravel()), jnp.asarray(momenta.ravel())
    expected = jax.vmap(lambda *case: slowest(family, *case))(*cases)

    def predicted(rate, momentum):
        return identity_preconditioned(family, momentum).contraction(rate)

    np.testing.assert_allclose(jax.jit(jax.vmap(predicted))(*cases), expected, rtol=1e-6)


@pytest.mark.parametrize("family", ["gd", "polyak", "nesterov", "adam"])
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.95])
def test_error_shrinks_below_the_largest_rate_and_grows_above_it(family, momentum):
    limit = identity_preconditioned(family, momentum).largest_rate
    below, above = (slowest(family, factor * limit, momentum) for factor in (0.9999, 1.0001))
    assert below < 1 < above


@pytest.mark.parametrize("family", ["gd", "polyak", "nesterov", "adam"])
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.95])
def test_no_rate_is_better_than_the_best(family, momentum):
    advice = identity_preconditioned(family, momentum)
    others = advice.contraction(advice.largest_rate * jnp.linspace(0.001, 1, 2000))
    assert advice.best_contraction <= others.min() + 1e-9
    assert advice.best_contraction == pytest.approx(float(advice.contraction(advice.best_rate)))


@pytest.mark.parametrize(
    "family", [pytest.param("polyak", marks=pytest.mark.long), "nesterov", "adam"]
)
def test_no_momentum_is_better_than_the_best(family):
    others = jax.jit(jax.vmap(lambda momentum: identity_preconditioned(family, momentum)))(
        jnp.linspace(0.0, 0.99, 500)
    )
    best = others.best_momentum_contraction[0]
    assert best <= others.best_contraction.min() + 1e-9
    at_best = identity_preconditioned(family, others.best_momentum[0])
    assert at_best.best_contraction == pytest.approx(float(best), abs=1e-7)
    assert at_best.best_rate == pytest.approx(float(others.best_momentum_rate[0]), rel=1e-6)


def test_predicted_steps_are_those_of_a_run():
    advice = of_bowl()
    start = jnp.array([1.0, 0.0, 0.0])
    d = gdjax.Descent(bowl, start, optax.sgd(0.01), stop=gdjax.stop.loss_below(0.5e-6))
    assert gdjax.run(d).steps == advice.steps(0.01, 1000.0)


@pytest.mark.parametrize(
    "family", ["polyak", *(pytest.param(f, marks=pytest.mark.long) for f in ("gd", "nesterov"))]
)
def test_steps_at_a_tiny_rate_are_those_in_double_precision(family):
    advice = gdjax.advise(lambda w: w**2, 1.0, family)
    with jax.enable_x64(True):
        exact = gdjax.advise(lambda w: w**2, jnp.float64(1.0), family).steps(1e-7)
    np.testing.assert_allclose(advice.steps(1e-7), exact, rtol=1e-5)


def test_steps_are_not_finite_beyond_the_limit():
    assert jnp.isinf(of_bowl().steps(0.021))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("factor", "verdict"),
    [
        (1e-4, RateVerdict.TOO_SMALL),
        (0.5, RateVerdict.FINE),
        (1.0, RateVerdict.TOO_LARGE),
        (30.0, RateVerdict.TOO_LARGE),
        (-1.0, RateVerdict.TOO_SMALL),
        (jnp.nan, RateVerdict.UNKNOWN),
    ],
)
def test_verdict_on_a_rate(family, factor, verdict):
    advice = of_bowl(family)
    assert jax.jit(type(advice).verdict)(advice, factor * advice.largest_rate) == verdict


def test_rate_next_to_the_limit_that_is_as_slow_as_a_small_one_is_too_large():
    advice = advise(lambda w: w**2, 1.0, "gd")  # the best rate arrives in one step
    assert advice.verdict(0.99) == RateVerdict.TOO_LARGE
    assert advice.verdict(0.9) == RateVerdict.FINE


def test_rate_is_not_too_small_while_momentum_keeps_it_as_quick_as_the_best():
    advice = advise(lambda w: w**2 / 2, 1.0, "polyak", momentum=0.9)
    assert advice.verdict(advice.best_rate / 100) == RateVerdict.FINE
    assert advice.verdict(advice.best_rate / 10_000) == RateVerdict.TOO_SMALL


def test_negative_curvature_leaves_the_limit_and_half_of_it_as_the_rate():
    advice = advise(lambda w: 2 * w[0] ** 2 - w[1] ** 2, jnp.ones(2), "gd")
    assert (advice.largest_rate, advice.best_rate, advice.condition) == (0.5, 0.25, jnp.inf)
    assert advice.contraction(0.25) == 1.5  # away from the saddle
    assert jnp.isnan(advice.best_momentum)
    assert advice.verdict(0.001) == RateVerdict.TOO_SMALL
    assert "negative along some axis" in str(advice)


def test_flat_axis_has_no_rate_of_convergence():
    advice = advise(lambda w: 2 * w[0] ** 2 + 0 * w[1], jnp.ones(2), "polyak")
    assert (advice.best_rate, advice.condition) == (advice.largest_rate / 2, jnp.inf)
    assert jnp.isinf(advice.steps(0.1))
    assert "0 along some axis" in str(advice)


@pytest.mark.parametrize("loss", [lambda w: jnp.sum(w), lambda w: -jnp.sum(w**2)])
def test_without_positive_curvature_no_rate_is_too_large(loss):
    advice = advise(loss, jnp.ones(2), "gd")
    assert jnp.isinf(advice.largest_rate)
    assert jnp.isnan(advice.best_rate)
    assert advice.verdict(1e6) == RateVerdict.UNKNOWN
    assert "no learning rate is too large" in str(advice)


def test_curvature_that_is_not_finite_says_nothing():
    advice = advise(lambda w: jnp.sum(jnp.sqrt(w)), -jnp.ones(2), "gd")
    assert jnp.isnan(advice.largest_rate)
    assert advice.verdict(0.1) == RateVerdict.UNKNOWN
    assert "not finite" in str(advice)


def test_error_covers_that_a_bowl_too_shallow_to_be_told_may_be_one():
    shallow = advise(lambda w: (w[0] ** 2 + w[1] ** 2 / 1.1e6) / 2, jnp.ones(2, "float32"), "gd")
    assert (shallow.condition, shallow.error.condition) == (jnp.inf, jnp.inf)
    assert abs(shallow.best_rate - 2 / (1 + 1 / 1.1e6)) <= shallow.error.best_rate
    assert shallow.error.best_contraction >= 2 / 1.1e6
    saddle = advise(lambda w: (w[0] ** 2 - w[1] ** 2) / 2, jnp.ones(2), "gd")
    assert (saddle.condition, saddle.error.condition) == (jnp.inf, 0)


def test_curvature_that_is_not_finite_has_no_condition():
    assert jnp.isnan(advise(lambda w: jnp.sqrt(-1 - w**2), 1.0, "gd").condition)


@pytest.mark.long
def test_error_covers_what_lanczos_does_not_resolve():
    curvatures = jnp.linspace(1.0, 50.0, 1000)
    advice = advise(bowl, jnp.ones(1000), "gd", curvatures)
    assert 0 < abs(advice.largest_rate - 2 / 50) <= advice.error.largest_rate
    assert 0 < abs(advice.best_rate - 2 / 51) <= advice.error.best_rate
    assert abs(advice.best_contraction - 49 / 51) <= advice.error.best_contraction


def test_adam_is_limited_by_the_preconditioned_hessian_of_its_state():
    optimizer = optax.adam(1e-3)
    d = gdjax.Descent(bowl, jnp.array([1.0, 2.0, 0.3]), optimizer, stop=None, max_steps=50)
    state = gdjax.run(d).state
    moments = state.opt_state[0]
    scale = (1 - 0.9**50) * (jnp.sqrt(moments.nu / (1 - 0.999**50)) + 1e-8)
    advice = advise(bowl, state.params, "adam", opt_state=state.opt_state)
    assert advice.largest_rate == pytest.approx(38 / float(jnp.max(CURVATURES / scale)))


def test_rmsprop_is_limited_by_the_preconditioned_hessian_of_its_state():
    optimizer = optax.rmsprop(1e-3, momentum=0.5)
    d = gdjax.Descent(bowl, jnp.array([1.0, 2.0, 0.3]), optimizer, stop=None, max_steps=50)
    state = gdjax.run(d).state
    scale = jnp.sqrt(state.opt_state[0].nu + 1e-8)
    advice = advise(bowl, state.params, "rmsprop", opt_state=state.opt_state, momentum=0.5)
    assert advice.largest_rate == pytest.approx(3 / float(jnp.max(CURVATURES / scale)))


@pytest.mark.parametrize("family", [pytest.param("nesterov", marks=pytest.mark.long), "adam"])
def test_lanes_and_jit_give_what_single_calls_give(family):
    def loss(w):
        return jnp.sum(CURVATURES * (w**2 + w**3))

    def figures(w):
        return advise(loss, w, family)._replace(error=None)

    points = jnp.array([[1.0, 2.0, 3.0], [0.1, 0.2, 0.3]])
    lanes = jax.jit(jax.vmap(figures))(points)
    alone = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(figures, points))
    chex.assert_trees_all_close(lanes, alone, rtol=1e-10)


def test_text_names_limit_rate_and_momentum():
    assert str(of_bowl()) == (
        "Gradient descent. The curvature lies between 1 and 100: condition number 100. Stable "
        "below a learning rate of 0.02; the best constant one is 0.0198, which multiplies the "
        "error by 0.98 a step: tenfold less in 116. With β = 0.669 and a learning rate of 0.0331 "
        "it would be 0.818 a step."
    )


@pytest.mark.long
def test_parameters_may_be_a_tree_with_complex_leaves():
    def loss(p):
        return jnp.abs(p["z"]) ** 2 + 3 * p["w"] ** 2

    params = {"z": 3 + 4j, "w": 1.0}
    assert advise(loss, params, "gd").largest_rate == pytest.approx(2 / 6)
    # Adam's first step divides by the absolute values of the gradient, here 10 and 6.
    assert advise(loss, params, "adam").largest_rate == pytest.approx(3.8, rel=1e-6)


def advised(family, optimizer):
    return advise(bowl, jnp.ones(3), family, opt_state=optimizer.init(jnp.ones(3)))


@pytest.mark.parametrize("optimizer", [optax.rmsprop(0.1), optax.rmsprop(0.1, centered=True)])
def test_states_of_both_kinds_of_rmsprop_are_taken(optimizer):
    assert jnp.isfinite(advised("rmsprop", optimizer).largest_rate)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: advise(bowl, jnp.ones(3), "adamw"), ValueError, "^optimizer_family: "),
        (lambda: advise(bowl, jnp.ones(3), optax.sgd), ValueError, "^optimizer_family: "),
        (lambda: advise(bowl, jnp.ones(3), "gd", momentum=1.0), ValueError, "^momentum: "),
        (lambda: advise(bowl, jnp.ones(3), "gd", momentum="much"), TypeError, "^momentum: "),
        (lambda: advise(bowl, jnp.ones(3), "adam", opt_state=()), TypeError, "^opt_state: "),
        (lambda: advised("rmsprop", optax.adam(0.1)), TypeError, "^opt_state: .* ScaleByAdam"),
        (lambda: advised("adam", optax.rmsprop(0.1)), TypeError, "^opt_state: .* ScaleByRms"),
        (lambda: advised("adam", optax.sgd(0.1, 0.9)), TypeError, "^opt_state: .* no second"),
        (lambda: advised("polyak", optax.adam(0.1)), TypeError, "^opt_state: .* None"),
        (lambda: advise(bowl, jnp.ones(3), "gd", key=0), TypeError, "^key: "),
        (lambda: advise(bowl, jnp.ones(3, int), "gd"), TypeError, "^params"),
        (lambda: advise(3, jnp.ones(3), "gd"), TypeError, "^loss: "),
        (lambda: advise(bowl, jnp.ones(3), "gd").verdict("a"), TypeError, "^learning_rate: "),
        (lambda: advise(bowl, jnp.ones(3), "gd").contraction(None), TypeError, "^learning_rate: "),
        (lambda: advise(bowl, jnp.ones(3), "gd").steps(0.1, 1j), TypeError, "^factor: "),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    ("ask", "name"),
    [
        (lambda advice: advice.verdict(-1.0), "learning_rate"),
        (lambda advice: advice.contraction(jnp.array([0.1, -0.1])), "learning_rate"),
        (lambda advice: advice.steps(-0.01), "learning_rate"),
        (lambda advice: advice.steps(0.01, factor=0.5), "factor"),
    ],
)
def test_what_no_rate_or_factor_can_be_is_refused(ask, name):
    with pytest.raises(ValueError, match=f"^{name}: expected at least"):
        ask(of_bowl())
