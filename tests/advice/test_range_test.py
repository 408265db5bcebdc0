import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax
from gdjax import lr_range_test


def bowl(w, curvature=4.0):
    return jnp.sum(curvature * w**2) / 2


def cliff(w):
    return jnp.where(jnp.abs(w) < 3, 2 * w**2, jnp.nan)


RANGE = {"low": 1e-2, "high": 10.0, "steps": 60}


@pytest.mark.parametrize(
    ("optimizer", "limit"),
    [(optax.sgd, 2 / 4), (lambda rate: optax.sgd(rate, 0.5), 3 / 4)],
)
def test_largest_rate_on_a_bowl_is_the_limit_of_stability(optimizer, limit):
    test = lr_range_test(bowl, 1.0, optimizer, **RANGE)
    step = (RANGE["high"] / RANGE["low"]) ** (1 / (RANGE["steps"] - 1))
    assert limit / step**2 < test.largest < limit * step**2


def test_largest_rate_is_stable_where_the_loss_underflows_on_the_way():
    assert lr_range_test(bowl, 1.0, optax.sgd, steps=1000).largest < 2 / 4


def test_losses_are_those_of_a_loop_of_steps():
    test = lr_range_test(bowl, 1.0, optax.sgd, **RANGE)
    w, losses = 1.0, []
    for rate in np.asarray(test.rates):
        w = gdjax.gradient_step(bowl, w, rate)
        losses.append(bowl(w))
    np.testing.assert_allclose(test.losses, losses, rtol=2e-5)


def test_rates_are_geometric_from_low_to_high():
    rates = lr_range_test(bowl, 1.0, optax.sgd, **RANGE).rates
    np.testing.assert_allclose(rates, np.geomspace(1e-2, 10.0, 60), rtol=1e-5)


def test_suggestion_is_where_the_loss_falls_fastest():
    test = lr_range_test(bowl, 1.0, optax.sgd, low=1e-4, high=1.0, steps=100)
    losses = np.concatenate([[2.0], test.losses])
    assert test.suggestion == test.rates[np.diff(losses).argmin()]
    assert test.suggestion < test.largest


def test_losses_after_divergence_are_infinite():
    test = lr_range_test(cliff, 1.0, optax.sgd, **RANGE)
    past = np.isinf(test.losses)
    assert past.any()
    assert (np.diff(past.astype(int)) >= 0).all()
    assert 0.3 < test.largest < 0.6


@pytest.mark.parametrize("start", [0.0, 5.0])
def test_without_any_fall_there_is_no_suggestion(start):
    test = lr_range_test(cliff, start, optax.sgd, **RANGE)
    assert np.isnan([test.suggestion, test.largest]).all()


def test_learning_rate_in_the_state_of_the_optimizer_grows_too():
    injected = optax.inject_hyperparams(optax.sgd)
    held = lr_range_test(bowl, 1.0, lambda rate: injected(learning_rate=rate), **RANGE)
    np.testing.assert_array_equal(held.losses, lr_range_test(bowl, 1.0, optax.sgd, **RANGE).losses)


def test_several_learning_rates_in_the_state_all_grow():
    injected = optax.inject_hyperparams(optax.sgd)

    def by_leaf(rate):
        parts = {"a": injected(learning_rate=rate), "b": injected(learning_rate=rate)}
        return optax.multi_transform(parts, {"a": "a", "b": "b"})

    def loss(params):
        return bowl(params["a"]) + bowl(params["b"])

    start = {"a": 1.0, "b": 2.0}
    held = lr_range_test(loss, start, by_leaf, **RANGE).losses
    np.testing.assert_array_equal(held, lr_range_test(loss, start, optax.sgd, **RANGE).losses)


@pytest.mark.long
def test_batches_are_smoothed_without_moving_the_limit():
    examples = 1 + jax.random.normal(jax.random.key(0), (500,)) / 10
    loss = lambda w, batch: jnp.mean((w - batch) ** 2)  # noqa: E731
    batches = gdjax.batches.stochastic(examples)
    options = {"batches": batches, "key": jax.random.key(1), "low": 1e-3, "high": 10.0}
    test = lr_range_test(loss, 10.0, optax.sgd, steps=400, **options)
    assert np.abs(np.diff(test.smoothed[:200])).sum() < np.abs(np.diff(test.losses[:200])).sum()
    assert 0.01 < test.largest < 1.0
    assert test.suggestion < test.largest


def test_lanes_give_what_single_calls_give():
    starts = jnp.array([1.0, 2.0])
    lanes = jax.jit(jax.vmap(lambda w: lr_range_test(bowl, w, optax.adam, **RANGE)))(starts)
    alone = [lr_range_test(bowl, w, optax.adam, **RANGE) for w in starts]
    for field in ("losses", "suggestion", "largest"):
        expected = np.stack([getattr(test, field) for test in alone])
        np.testing.assert_allclose(getattr(lanes, field), expected, rtol=1e-4)


def test_another_range_compiles_nothing(no_compilation):
    lr_range_test(bowl, 1.0, optax.sgd, **RANGE)
    with no_compilation():
        lr_range_test(bowl, 2.0, optax.sgd, **(RANGE | {"low": 0.02, "high": 5.0}))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"low": 0.0}, ValueError, "^low: "),
        ({"high": 1e-3}, ValueError, "^high: "),
        ({"high": np.inf}, ValueError, "^high: "),
        ({"steps": 1}, ValueError, "^steps: "),
        ({"optimizer": 0.1}, TypeError, "^optimizer: "),
        ({"optimizer": lambda rate: rate}, TypeError, "^optimizer: "),
        ({"params": 1}, TypeError, "^params"),
        ({"args": 1.0}, TypeError, "^args: "),
    ],
)
def test_bad_input_is_named(changes, error, message):
    with pytest.raises(error, match=message):
        lr_range_test(**({"loss": bowl, "params": 1.0, "optimizer": optax.sgd} | RANGE | changes))
