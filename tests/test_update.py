from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gdjax


def sum_of_squares(params):
    return sum(jnp.sum(jnp.abs(leaf) ** 2) for leaf in jax.tree.leaves(params))


class Layer(NamedTuple):
    w: jax.Array
    b: jax.Array


@chex.dataclass(frozen=True)
class Model:
    w: jax.Array
    b: jax.Array


W, B = jnp.array([1.0, -2.0]), jnp.array(3.0)


@pytest.mark.parametrize(
    "params",
    [{"w": W, "b": B}, (W, B), [W, (B,)], Layer(W, B), Model(w=W, b=B), {"a": {"b": {"c": W}}}, B],
    ids=["dict", "tuple", "nested", "NamedTuple", "dataclass", "deep", "array"],
)
def test_any_pytree_shrinks_by_one_minus_two_learning_rates(params):
    new = gdjax.gradient_step(sum_of_squares, params, 0.25)
    chex.assert_trees_all_close(new, jax.tree.map(lambda leaf: leaf * 0.5, params))


def test_python_scalar_is_a_parameter():
    assert float(gdjax.gradient_step(lambda w: w**2, 1.0, 0.25)) == 0.5


leaf_shapes = st.lists(
    st.tuples(
        st.sampled_from(["float16", "bfloat16", "float32"]),
        st.lists(st.integers(1, 3), max_size=3).map(tuple),
    ),
    min_size=1,
    max_size=4,
)


@given(leaf_shapes, st.floats(2**-6, 1.0, width=16))
@settings(max_examples=8, deadline=None)
def test_shapes_dtypes_and_structure_are_kept(leaves, rate):
    params = {str(i): jnp.ones(shape, dtype) for i, (dtype, shape) in enumerate(leaves)}
    new = gdjax.gradient_step(sum_of_squares, params, rate)
    chex.assert_trees_all_equal_shapes_and_dtypes(new, params)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_every_floating_dtype_gets_the_exact_step(dtype, x64):
    new = gdjax.gradient_step(sum_of_squares, jnp.array([2.0, -4.0], dtype), 0.25)
    assert new.dtype == dtype
    assert new.tolist() == [1.0, -2.0]


def test_complex_parameters_go_along_the_conjugate():
    target = 1.0 + 2.0j
    new = gdjax.gradient_step(lambda z: jnp.abs(z - target) ** 2, jnp.array(0.0j), 0.5)
    assert complex(new) == target


def test_learning_rate_may_be_a_prefix():
    params = {"first": {"w": W, "b": B}, "last": B}
    new = gdjax.gradient_step(sum_of_squares, params, {"first": 0.0, "last": 0.5})
    chex.assert_trees_all_close(new, {"first": {"w": W, "b": B}, "last": jnp.array(0.0)})


def test_extra_arguments_reach_the_loss():
    new = gdjax.gradient_step(lambda w, x, y: (w * x - y) ** 2, 0.0, 0.5, 1.0, 3.0)
    assert float(new) == 3.0


def test_new_learning_rates_compile_nothing():
    chex.clear_trace_counter()
    loss = chex.assert_max_traces(sum_of_squares, n=1)
    for rate in (0.1, 0.2, np.float64(0.3), jnp.float32(0.4), jnp.array(0.5)):
        gdjax.gradient_step(loss, W, rate)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_step_equals_the_formula_to_the_bit(dtype):
    w = jax.random.normal(jax.random.key(0), (1001,), dtype)
    formula = jax.jit(lambda w: w - 0.1 * jax.grad(sum_of_squares)(w))
    chex.assert_trees_all_equal(gdjax.gradient_step(sum_of_squares, w, 0.1), formula(w))


def test_it_is_differentiable_in_the_learning_rate():
    def after(rate):
        return sum_of_squares(gdjax.gradient_step(sum_of_squares, W, rate))

    # sum of squares after a step: 5 (1 - 2 rate)^2
    assert float(jax.grad(after)(0.25)) == pytest.approx(-20 * 0.5)


def test_vmap_over_learning_rates_equals_each_alone():
    rates = jnp.array([0.1, 0.2, 0.3])
    together = jax.vmap(lambda rate: gdjax.gradient_step(sum_of_squares, W, rate))(rates)
    alone = [gdjax.gradient_step(sum_of_squares, W, rate) for rate in rates]
    chex.assert_trees_all_close(together, jnp.stack(alone), rtol=1e-6)
