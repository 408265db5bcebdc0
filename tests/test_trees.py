import jax
import jax.numpy as jnp
import pytest

from gdjax.trees import computed_where


@pytest.mark.parametrize(
    ("least", "found", "calls"), [(5.0, [-1.0, -2.0], 0), (1.5, [-1.0, 2.0], 2)]
)
def test_lanes_compute_only_where_any_needs_it(least, found, calls):
    called = []

    def seen(x):
        called.append(x)
        return x

    def compute(x):
        return jax.pure_callback(seen, x, x, vmap_method="sequential")

    lanes = jax.vmap(lambda x: computed_where(x > least, compute, (x,), -x))
    assert lanes(jnp.array([1.0, 2.0])).tolist() == found
    assert len(called) == calls
