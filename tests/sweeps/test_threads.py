from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax
from gdjax.basins.ends import starts_in_line
from gdjax.sweeps.threads import with_settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("enable_x64", True),
        ("default_matmul_precision", "highest"),
        ("default_prng_impl", "rbg"),
        ("threefry_partitionable", False),
        ("numpy_dtype_promotion", "strict"),
        ("numpy_rank_promotion", "allow"),
        ("debug_nans", True),
        ("debug_infs", True),
    ],
)
def test_a_setting_of_this_thread_holds_in_others(name, value):
    def seen(_):
        return getattr(jax.config, f"jax_{name}")

    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(seen, None).result() != value
        with getattr(jax, name)(value):
            assert threads.submit(with_settings(seen), None).result() == value
        assert threads.submit(seen, None).result() != value


def test_starts_of_many_lanes_are_drawn_as_those_of_the_runs():
    def lane(shift):
        drawn = jax.random.normal(jax.random.key(0), (2,))
        return gdjax.Descent(lambda w: jnp.sum(w**2), shift + drawn, optax.sgd(0.1), max_steps=0)

    with jax.default_prng_impl("rbg"):
        runs = gdjax.sweep(lane, shift=np.zeros(2**18 + 1, np.float32))
        np.testing.assert_array_equal(starts_in_line(runs), runs.params)
