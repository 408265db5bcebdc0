import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax
from gdjax import Descent
from gdjax.basins import slice_line, slice_plane
from gdjax.trees import real_columns

KEY = jax.random.key(3)
NET = {"w": jnp.arange(1.0, 7.0).reshape(3, 2), "b": jnp.array([3.0, -4.0]), "z": 1.0 + 2.0j}


def size(params):
    return sum(jnp.sum(jnp.abs(leaf) ** 2) for leaf in jax.tree.leaves(params))


def still(start):
    return Descent(size, start, optax.sgd(0.1), max_steps=0)


def flat(tree):
    return real_columns(jax.tree.map(lambda leaf: np.asarray(leaf)[None], tree))[0]


@pytest.fixture(scope="module")
def plane():
    axis = slice_plane(KEY, NET, 2.0, 4)
    return axis, gdjax.sweep(still, start=axis)


def test_directions_are_orthonormal(plane):
    ways = np.stack([flat(way) for way in plane[0].directions])
    np.testing.assert_allclose(ways @ ways.T, np.eye(2), atol=1e-6)


def test_starts_lie_at_the_coordinates_along_the_directions(plane):
    axis, runs = plane
    assert runs.dims == ("start_u", "start_v")
    assert runs.coords["start_u"].tolist() == [-1.5, -0.5, 0.5, 1.5]
    d, e = (flat(way) for way in axis.directions)
    expected = flat(NET) - 0.5 * d + 1.5 * e
    own = jax.tree.map(lambda leaf: leaf[1, 3], runs.params)
    np.testing.assert_allclose(flat(own), expected, atol=1e-6)


def test_starts_have_the_structure_and_dtypes_of_the_centre(plane):
    params = plane[1].params
    shapes = jax.tree.map(lambda leaf: (leaf.shape[2:], leaf.dtype.name), params)
    assert shapes == {
        "w": ((3, 2), "float32"),
        "b": ((2,), "float32"),
        "z": ((), "complex64"),
    }


def test_a_lane_of_a_slice_can_be_run_alone(plane):
    d = plane[1].descent(1, 3)
    np.testing.assert_allclose(d.params["w"], plane[1].params["w"][1, 3], atol=1e-6)


@pytest.mark.long
def test_a_line_has_one_dimension():
    runs = gdjax.sweep(still, start=slice_line(KEY, jnp.ones(5), 1.0, 3))
    assert (runs.dims, runs.params.shape) == (("start_u",), (3, 5))
    np.testing.assert_allclose(runs.params[1], np.ones(5), atol=1e-6)


def test_the_key_alone_decides_the_directions():
    ways = [slice_line(key, jnp.zeros(9), 1.0, 3).directions[0] for key in (KEY, KEY)]
    np.testing.assert_array_equal(*ways)
    other = slice_line(jax.random.key(4), jnp.zeros(9), 1.0, 3).directions[0]
    assert np.abs(ways[0] - other).max() > 0.1


@pytest.mark.long
def test_directions_are_uniformly_random():
    keys = jax.random.split(KEY, 200)
    ways = np.stack([slice_line(key, jnp.zeros(3), 1.0, 1).directions[0] for key in keys])
    # Of a unit vector in 3 dimensions each entry has mean 0 and variance 1/3.
    assert np.abs(ways.mean(axis=0)).max() < 4 / np.sqrt(3 * 200)
    np.testing.assert_allclose((ways**2).mean(axis=0), 1 / 3, atol=0.1)


def test_filters_of_a_direction_have_the_norms_of_the_centre():
    for way in slice_plane(KEY, NET, 1.0, 2, scale="filter").directions:
        norms = np.linalg.norm(way["w"], axis=0)
        np.testing.assert_allclose(norms, np.linalg.norm(NET["w"], axis=0), rtol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(way["b"]), 5.0, rtol=1e-5)
        np.testing.assert_allclose(abs(way["z"]), np.sqrt(5.0), rtol=1e-5)


def test_another_plane_compiles_nothing(no_compilation):
    axes = [slice_plane(jax.random.key(i), jnp.ones(5), 1.0, 4) for i in (0, 1)]
    gdjax.sweep(still, start=axes[0])
    with no_compilation():
        gdjax.sweep(still, start=axes[1])


@pytest.mark.long
def test_basins_on_a_plane_are_those_of_the_signs():
    wells = gdjax.landscapes.double_well.in_dimension(4)
    axis = slice_plane(KEY, jnp.zeros(4), 1.5, 20)
    runs = gdjax.sweep(lambda start: Descent(wells, start, optax.sgd(0.1)), start=axis)
    basins = gdjax.map_basins(runs)
    u, v = np.meshgrid(*axis.coordinates, indexing="ij")
    start = u[..., None] * axis.directions[0] + v[..., None] * axis.directions[1]
    np.testing.assert_array_equal(np.sign(basins.attractors.params[basins.labels]), np.sign(start))


@pytest.mark.long
def test_low_precision_keeps_its_dtype():
    runs = gdjax.sweep(still, start=slice_plane(KEY, jnp.ones(4, jnp.bfloat16), 1.0, 2))
    assert runs.params.dtype == jnp.bfloat16


BAD = {
    "no key": ({"key": 0}, TypeError, "key: "),
    "whole numbers": ({"centre": {"w": jnp.arange(3)}}, TypeError, r"centre\['w'\]: "),
    "not finite": ({"centre": jnp.array([1.0, jnp.nan])}, ValueError, "centre: "),
    "too few": ({"centre": jnp.ones(1)}, ValueError, "centre: .*at least 2"),
    "nothing": ({"centre": {}}, ValueError, "centre: .*at least 2"),
    "no width": ({"half_width": 0.0}, ValueError, "half_width: "),
    "no start": ({"n": 0}, ValueError, "n: "),
    "another scale": ({"scale": "layer"}, ValueError, "scale: "),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused(name):
    changes, error, message = BAD[name]
    with pytest.raises(error, match=f"^{message}"):
        slice_plane(**({"key": KEY, "centre": jnp.ones(3), "half_width": 1.0, "n": 2} | changes))
