import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gdjax.trees import computed_where, inverse_length


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


def test_inverse_length_of_zeros_leaves_them():
    inverse, length = inverse_length({"w": jnp.zeros(3)})
    assert (float(inverse), float(length)) == (1.0, 0.0)


@pytest.mark.parametrize("scale", [1e-37, 1e-20, 1.0, 1e20, 6e36])
def test_inverse_length_makes_unit_length_where_squares_do_not_fit(scale):
    tree = {"w": jnp.array([3.0, -4.0]) * scale, "z": jnp.array(12.0 * scale)}
    inverse, length = inverse_length(tree)
    unit = jax.tree.map(lambda leaf: leaf * inverse, tree)
    np.testing.assert_allclose(length / scale, 13, rtol=1e-6)
    np.testing.assert_allclose(
        jnp.append(unit["w"], unit["z"]), [3 / 13, -4 / 13, 12 / 13], rtol=1e-6
    )
