"""Data that a lane closes over are no part of what is compiled."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax
from gdjax import Descent
from gdjax.sweeps.constants_apart import ConstantsApart

DATA = np.random.default_rng(0).normal(size=(100_000, 4)).astype(np.float32)  # 1.6 MB


def mean_square(w, batch):
    return jnp.mean((batch @ w - 1) ** 2)


def test_values_are_those_of_the_function():
    def function(x):
        return {"sums": DATA.T @ (DATA @ x), "first": x[0]}

    x = np.arange(4, dtype=np.float32)
    found, expected = ConstantsApart(function)(x), jax.jit(function)(x)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), found, expected)


def test_arguments_of_other_shapes_have_programs_of_their_own():
    apart = ConstantsApart(lambda x: DATA @ x)
    assert apart(np.ones(4, np.float32)).shape == (100_000,)
    assert apart(np.ones((4, 2), np.float32)).shape == (100_000, 2)


def test_a_second_call_compiles_nothing(no_compilation):
    apart, x = ConstantsApart(lambda x: DATA @ x), np.ones(4, np.float32)
    apart(x)
    with no_compilation():
        apart(2 * x)


@pytest.mark.long
def test_no_look_at_a_sweep_compiles_them_in(tmp_path):
    batches = gdjax.batches.mini(DATA, 64)

    def lane(rate):
        stop = gdjax.stop.loss_below(10.0)
        optimizer = optax.chain(optax.scale(rate), optax.scale_by_backtracking_linesearch(3))
        return Descent(mean_square, jnp.zeros(4), optimizer, batches=batches, stop=stop)

    jax.config.update("jax_dump_ir_to", str(tmp_path))
    try:
        runs = gdjax.sweep(lane, rate=[0.01, 0.02], key=jax.random.key(0), diagnose=True)
        gdjax.map_basins(runs)
        assert runs.cost.examples.shape == (2,)
    finally:
        jax.config.update("jax_dump_ir_to", None)
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) > 3
    assert max(sizes) < 2 * DATA.nbytes  # in hexadecimal
