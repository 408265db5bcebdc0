"""One registry of optimizers and chains drives all tests here."""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax
from gdjax import Descent, Status

KAPPA = 10.0
OPTIMIZERS = {
    "sgd": lambda rate: optax.sgd(rate),
    "momentum": lambda rate: optax.sgd(rate / 4, momentum=0.8),
    "nesterov": lambda rate: optax.sgd(rate / 4, momentum=0.8, nesterov=True),
    "adam": lambda rate: optax.adam(rate),
    "amsgrad": lambda rate: optax.amsgrad(rate),
    "nadam": lambda rate: optax.nadam(rate),
    "adamax": lambda rate: optax.adamax(rate),
    "adan": lambda rate: optax.adan(rate / 4),
    "adabelief": lambda rate: optax.adabelief(rate),
    "adagrad": lambda rate: optax.adagrad(5 * rate),
    "yogi": lambda rate: optax.yogi(rate),
    "rmsprop": lambda rate: optax.rmsprop(optax.linear_schedule(rate, 0.0, 1500)),
    "lion": lambda rate: optax.lion(optax.linear_schedule(rate, 0.0, 1500)),
    "polyak": lambda rate: optax.chain(optax.scale(10 * rate), optax.polyak_sgd(1.0)),
    "clipped": lambda rate: optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(rate)),
    "centralized": lambda rate: optax.chain(optax.centralize(), optax.adam(rate)),
    "decayed_to_zero": lambda rate: optax.chain(optax.add_decayed_weights(0.0), optax.sgd(rate)),
    "cosine": lambda rate: optax.adam(optax.cosine_decay_schedule(rate, 1500)),
    "injected": lambda rate: optax.inject_hyperparams(optax.sgd)(learning_rate=rate),
    "multi": lambda rate: optax.multi_transform(
        {"a": optax.sgd(rate), "b": optax.adam(rate)}, {"w": "a", "b": "b"}
    ),
    "multi_steps": lambda rate: optax.MultiSteps(optax.sgd(rate), 2),
    "backtracking": lambda rate: optax.chain(
        optax.sgd(10 * rate), optax.scale_by_backtracking_linesearch(20)
    ),
    "lbfgs": lambda rate: optax.lbfgs(),
    "momo": lambda rate: optax.contrib.momo(10 * rate),
    "schedule_free": lambda rate: optax.contrib.schedule_free_sgd(rate),
    "reduce_on_plateau": lambda rate: optax.chain(
        optax.sgd(rate), optax.contrib.reduce_on_plateau(patience=50)
    ),
    "sophia": lambda rate: optax.contrib.sophia(rate),
    "sam": lambda rate: optax.contrib.sam(
        optax.sgd(rate), optax.sgd(1e-3), sync_period=2, opaque_mode=True
    ),
}


def bowl(params, target):
    curvatures = jnp.array([1.0, KAPPA], params["w"].dtype)
    return 0.5 * jnp.sum(curvatures * (params["w"] - target) ** 2) + 0.5 * params["b"] ** 2


COMMON = ["sgd", "adam", "lbfgs"]
SOME_NOW_ALL_ON_PURPOSE = [
    name if name in COMMON else pytest.param(name, marks=pytest.mark.long) for name in OPTIMIZERS
]


def described(name, rate=0.05, dtype="float32", **changes):
    start = {"w": jnp.array([2.0, -1.0], dtype), "b": jnp.array(1.5, dtype)}
    target = jnp.ones(2, dtype)
    return Descent(
        bowl, start, OPTIMIZERS[name](rate), (target,), **({"max_steps": 3000} | changes)
    )


@pytest.mark.parametrize("name", SOME_NOW_ALL_ON_PURPOSE)
def test_it_reaches_the_minimum(name):
    result = gdjax.run(described(name, stop=gdjax.stop.gradient_below(2e-3)))
    assert result.status == Status.CONVERGED
    np.testing.assert_allclose(result.params["w"], [1.0, 1.0], atol=3e-3)
    np.testing.assert_allclose(result.params["b"], 0.0, atol=3e-3)


@pytest.mark.long
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", SOME_NOW_ALL_ON_PURPOSE)
def test_half_precision_is_kept(name, dtype):
    result = gdjax.run(described(name, dtype=dtype, max_steps=5))
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(result.params)} == {dtype}
    assert result.status != Status.DIVERGED


@pytest.mark.parametrize("name", SOME_NOW_ALL_ON_PURPOSE)
def test_double_precision_is_kept(name, x64):
    result = gdjax.run(described(name, dtype="float64", max_steps=5))
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(result.params)} == {"float64"}


@lru_cache
def lanes(name):
    """Return the compiled runs of many learning rates, shared by the tests that need them."""
    return jax.jit(jax.vmap(lambda rate: gdjax.run(described(name, rate, max_steps=20)).params))


@pytest.mark.parametrize("name", SOME_NOW_ALL_ON_PURPOSE)
def test_other_learning_rates_compile_nothing(name, no_compilation):
    first, second = jnp.array([0.01, 0.02]), jnp.array([0.03, 0.04])
    lanes(name)(first)
    with no_compilation():
        lanes(name)(second)


@pytest.mark.parametrize("name", SOME_NOW_ALL_ON_PURPOSE)
def test_lanes_equal_the_runs_alone(name):
    together = lanes(name)(jnp.array([0.01, 0.05]))
    alone = gdjax.run(described(name, jnp.array(0.05), max_steps=20)).params
    for lane, single in zip(jax.tree.leaves(together), jax.tree.leaves(alone)):
        np.testing.assert_allclose(lane[1], single, rtol=2e-4, atol=1e-5)
