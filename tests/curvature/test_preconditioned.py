"""The preconditioner is what optax divides by: seen from its own steps."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gdjax import curvature

pytestmark = pytest.mark.usefixtures("x64")  # 1 - b2 has few digits in single precision
PARAMS = {"a": np.array([1.0, -2.0, 0.5]), "b": np.array([[3.0, 1.0]])}
CURVATURES = {"a": np.array([1.0, 5.0, 2.0]), "b": np.array([[0.5, 4.0]])}


def loss(params):
    terms = jax.tree.map(lambda w, c: jnp.sum(c * w**2) / 2, params, CURVATURES)
    return sum(jax.tree.leaves(terms))


def after(optimizer, steps, params=PARAMS):
    state = optimizer.init(params)
    for _ in range(steps):
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def largest(divisors):
    """Of a diagonal Hessian, P⁻¹H is diagonal."""
    ratios = jax.tree.map(lambda c, p: jnp.max(c / p), CURVATURES, divisors)
    return max(jax.tree.leaves(ratios))


def adam_divisors(state, b1=0.9, b2=0.999, eps=1e-8):
    t = state.count
    return jax.tree.map(lambda nu: (1 - b1**t) * (jnp.sqrt(nu / (1 - b2**t)) + eps), state.nu)


@pytest.mark.parametrize("steps", [1, 3, 50])
def test_adam_is_that_of_cohen_et_al(steps):
    params, state = after(optax.adam(0.01), steps)
    found = curvature.preconditioned_sharpness(loss, params, state)
    np.testing.assert_allclose(found.value, largest(adam_divisors(state[0])), rtol=1e-10)


def test_before_its_first_step_adam_has_the_preconditioner_of_that_step():
    optimizer = optax.adam(0.01)
    found = curvature.preconditioned_sharpness(loss, PARAMS, optimizer.init(PARAMS))
    _, state = optimizer.update(jax.grad(loss)(PARAMS), optimizer.init(PARAMS))
    np.testing.assert_allclose(found.value, largest(adam_divisors(state[0])), rtol=1e-10)


def test_hyperparameters_are_those_given():
    params, state = after(optax.adam(0.01, b1=0.5, b2=0.9, eps=0.1), 4)
    found = curvature.preconditioned_sharpness(loss, params, state, b1=0.5, b2=0.9, eps=0.1)
    expected = largest(adam_divisors(state[0], b1=0.5, b2=0.9, eps=0.1))
    np.testing.assert_allclose(found.value, expected, rtol=1e-10)


def test_hyperparameters_in_the_state_are_found():
    params, state = after(optax.inject_hyperparams(optax.adam)(0.01, b1=0.5, b2=0.9, eps=0.1), 4)
    found = curvature.preconditioned_sharpness(loss, params, state)
    expected = largest(adam_divisors(state.inner_state[0], b1=0.5, b2=0.9, eps=0.1))
    np.testing.assert_allclose(found.value, expected, rtol=1e-10)


NOISE = {"a": np.array([0.3, 1.0, -2.0]), "b": np.array([[0.1, -0.2]])}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"eps": 0.1},
        {"eps": 0.1, "eps_in_sqrt": False},
        {"decay": 0.8, "bias_correction": True},
        {"centered": True, "eps": 0.01},
        {"centered": True, "eps": 0.01, "bias_correction": True, "eps_in_sqrt": False},
    ],
)
def test_rmsprop_is_what_optax_divides_by(options):
    optimizer = optax.rmsprop(1.0, **options)
    state = optimizer.init(PARAMS)
    for gradient in (NOISE, PARAMS, CURVATURES):
        updates, state = optimizer.update(gradient, state)
    divisors = jax.tree.map(lambda g, u: -g / u, CURVATURES, updates)
    hyperparameters = {k: v for k, v in options.items() if k in ("eps", "decay", "eps_in_sqrt")}
    found = curvature.preconditioned_sharpness(loss, PARAMS, state, **hyperparameters)
    np.testing.assert_allclose(found.value, largest(divisors), rtol=1e-10)


def test_each_group_of_parameters_has_its_own_preconditioner():
    optimizer = optax.multi_transform(
        {"adam": optax.inject_hyperparams(optax.adam)(0.01, b1=0.8), "sgd": optax.sgd(0.01)},
        {"a": "adam", "b": "sgd"},
    )
    params, state = after(optimizer, 3)
    found = curvature.preconditioned_sharpness(loss, params, state)
    adam = state.inner_states["adam"].inner_state.inner_state[0]
    nu = {"a": adam.nu["a"], "b": jnp.zeros((1, 2))}
    divisors = adam_divisors(adam._replace(nu=nu), b1=0.8) | {"b": jnp.ones((1, 2))}
    np.testing.assert_allclose(found.value, largest(divisors), rtol=1e-10)


def test_it_is_found_in_chains_and_wrappers():
    inner = optax.chain(optax.clip(10.0), optax.adamw(0.01), optax.scale(0.5))
    params, state = after(optax.apply_if_finite(inner, 3), 3)
    moments = optax.tree.get(state, "ScaleByAdamState")
    found = curvature.preconditioned_sharpness(loss, params, state)
    np.testing.assert_allclose(found.value, largest(adam_divisors(moments)), rtol=1e-10)


@pytest.mark.parametrize(("factor", "is_stable"), [(0.99, True), (1.01, False)])
def test_the_threshold_of_frozen_adam_is_38_over_the_learning_rate(factor, is_stable):
    params, state = after(optax.adam(1e-3), 5)
    rate = factor * 38 / curvature.preconditioned_sharpness(loss, params, state).value
    divisors = adam_divisors(state[0])

    def step(carry, _):
        w, mean = carry
        mean = jax.tree.map(lambda m, x, c: 0.9 * m + 0.1 * c * x, mean, w, CURVATURES)
        return (jax.tree.map(lambda x, m, p: x - rate * m / p, w, mean, divisors), mean), None

    start = jax.tree.map(jnp.ones_like, params), jax.tree.map(jnp.zeros_like, params)
    (w, _), _ = jax.lax.scan(step, start, length=3000)
    assert (jnp.max(jnp.abs(jnp.concatenate([w["a"], w["b"][0]]))) < 1) == is_stable


def test_vmap_and_jit_give_each_lane_its_own():
    optimizer = optax.adam(0.01)
    scales = jnp.array([0.5, 1.0, 3.0])

    @jax.jit
    def one(scale):
        params = jax.tree.map(lambda leaf: scale * leaf, PARAMS)
        _, state = optimizer.update(jax.grad(loss)(params), optimizer.init(params))
        return curvature.preconditioned_sharpness(loss, params, state).value

    np.testing.assert_allclose(jax.vmap(one)(scales), [one(s) for s in scales], rtol=1e-10)


@pytest.mark.long
def test_many_parameters_take_lanczos():
    curvatures = jnp.linspace(0.5, 1, 500)
    params = 1.0 + jnp.arange(500) % 7
    state = optax.adam(0.01).init(params)
    found = curvature.preconditioned_sharpness(
        lambda w: jnp.sum(curvatures * w**2) / 2, params, state
    )
    true = jnp.max(curvatures / (0.1 * (curvatures * params + 1e-8)))
    assert abs(found.value - true) <= found.error
    assert found.error < 1e-3 * true


@pytest.mark.parametrize(
    ("state", "named"),
    [
        (optax.sgd(0.1).init(PARAMS), "opt_state: "),
        ("a", "opt_state: "),
        (optax.adam(0.1).init({"a": jnp.ones(3)}), "opt_state: "),
        (optax.adam(0.1).init(jax.tree.map(lambda leaf: leaf[:1], PARAMS)), "opt_state: "),
    ],
)
def test_a_state_without_moments_of_the_parameters_is_refused(state, named):
    with pytest.raises(TypeError, match=named):
        curvature.preconditioned_sharpness(loss, PARAMS, state)


@pytest.mark.parametrize("name", ["b1", "b2", "eps", "eps_root", "eps_in_sqrt"])
def test_negative_hyperparameters_are_refused(name):
    state = optax.adam(0.1).init(PARAMS)
    with pytest.raises((TypeError, ValueError), match=f"^{name}: "):
        curvature.preconditioned_sharpness(loss, PARAMS, state, **{name: -1.0})
