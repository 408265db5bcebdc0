import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gdjax import curvature
from gdjax.trees import real_vector


def network(params, x):
    hidden = jnp.tanh(x @ params["in"] + params["bias"][None])
    return jnp.mean((hidden @ params["out"] - jnp.sin(3 * x[:, 0])) ** 2)


def network_params(dtype=jnp.float32):
    keys = jax.random.split(jax.random.key(0), 3)
    shapes = {"in": (2, 5), "bias": (5,), "out": (5,)}
    return {name: jax.random.normal(k, s, dtype) for k, (name, s) in zip(keys, shapes.items())}


X = jax.random.normal(jax.random.key(1), (12, 2))


@pytest.mark.long
def test_hessian_is_that_of_jax_in_the_order_of_the_vector():
    params = network_params()
    flat, unravel = real_vector(params)
    expected = jax.hessian(lambda v: network(unravel(v), X))(flat)
    np.testing.assert_allclose(curvature.hessian(network, params, X), expected, atol=2e-6)


def test_hvp_is_the_hessian_times_the_vector():
    params = network_params()
    vector = jax.tree.map(jnp.cos, params)
    product, _ = real_vector(curvature.hvp(network, params, vector, X))
    expected = curvature.hessian(network, params, X) @ real_vector(vector)[0]
    np.testing.assert_allclose(product, expected, atol=2e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_computed_in_single(dtype):
    params = network_params(dtype)
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), params)
    found = curvature.hessian(network, params, X)
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, curvature.hessian(network, single, X))


def test_mixed_precision_is_computed_in_the_widest(x64):
    params = {"a": jnp.float16(1), "b": jnp.float64(2), "c": jnp.float32(3)}
    product = curvature.hvp(lambda p: p["a"] * p["b"] ** 2 / 3 + p["c"], params, params)
    assert {leaf.dtype for leaf in jax.tree.leaves(product)} == {jnp.dtype("float64")}
    np.testing.assert_allclose(product["b"], (2 * 2 * 1 + 2 * 2) / 3, rtol=1e-15)


def test_complex_parameters_are_pairs_of_real_ones():
    def loss(z):
        return 3 * jnp.real(z) ** 2 + 2 * jnp.real(z) * jnp.imag(z) + 5 * jnp.imag(z) ** 2

    at = jnp.complex64(1 + 2j)
    np.testing.assert_allclose(curvature.hessian(loss, at), [[6, 2], [2, 10]])
    np.testing.assert_allclose(curvature.hvp(loss, at, jnp.complex64(1 - 1j)), 4 - 8j)


def test_vmap_of_hvp_is_a_loop_of_it():
    params = jax.vmap(lambda s: jax.tree.map(lambda leaf: s * leaf, network_params()))(
        jnp.array([0.5, 1.0, 2.0])
    )
    products = jax.jit(jax.vmap(lambda p: curvature.hvp(network, p, p, X)))(params)
    expected = lax.map(lambda p: curvature.hvp(network, p, p, X), params)
    for a, b in zip(jax.tree.leaves(products), jax.tree.leaves(expected)):
        np.testing.assert_allclose(a, b, atol=2e-6)


def test_a_second_call_compiles_nothing(no_compilation):
    params = network_params()
    jax.block_until_ready(curvature.hvp(network, params, params, X))
    doubled = jax.block_until_ready(jax.tree.map(lambda leaf: 2 * leaf, params))
    with no_compilation():
        jax.block_until_ready(curvature.hvp(network, doubled, doubled, X))


@pytest.mark.parametrize(
    ("vector", "named"),
    [
        ({"in": jnp.ones((2, 5))}, "vector: "),
        (network_params() | {"bias": jnp.ones(4)}, r"vector\['bias'\]: "),
        (network_params() | {"bias": jnp.ones(5) * 1j}, r"vector\['bias'\]: "),
    ],
)
def test_a_vector_that_does_not_fit_is_refused(vector, named):
    with pytest.raises(TypeError, match=named):
        curvature.hvp(network, network_params(), vector, X)
