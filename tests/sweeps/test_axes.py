import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gdjax
from gdjax import Descent
from gdjax.sweeps.axes import named_axes


@pytest.fixture(params=[np.float32, np.float64])
def default(request):
    with jax.enable_x64(request.param is np.float64):
        yield request.param


def axis(name="start", /, **axes):
    return named_axes(axes)[name]


def values(axis):
    """Return what all lanes of an axis get."""
    return axis.gather(axis.source, np.unravel_index(np.arange(np.prod(axis.shape)), axis.shape))


def test_grid_has_its_points_at_the_centres_of_cells():
    assert axis(start=gdjax.grid(x=(0, 1, 2))).coords["x"][1].tolist() == [0.25, 0.75]


def test_named_grid_gives_dicts_and_dims_of_these_names():
    grid = axis(start=gdjax.grid(x=(0, 2, 2), y=(0, 3, 3)))
    assert (grid.dims, grid.shape) == (("x", "y"), (2, 3))
    assert values(grid)["x"].tolist() == [0.5] * 3 + [1.5] * 3
    assert values(grid)["y"].tolist() == [0.5, 1.5, 2.5] * 2


def test_positional_grid_gives_vectors_and_numbered_dims():
    grid = axis(start=gdjax.grid((0, 2, 2), (0, 3, 3)))
    assert (grid.dims, grid.shape) == (("start_0", "start_1"), (2, 3))
    assert values(grid).shape == (6, 2)
    assert values(grid)[4].tolist() == [1.5, 1.5]


def test_grid_is_in_double_precision_under_x64(x64):
    assert values(axis(start=gdjax.grid((0, 1, 3)))).dtype == np.float64


@given(
    st.floats(-1e3, 1e3),
    st.floats(1e-2, 1e3),
    st.integers(1, 50),
)
@settings(deadline=None)
def test_grid_points_lie_evenly_within_their_bounds(low, width, n):
    points = axis(start=gdjax.grid(x=(low, low + width, n))).coords["x"][1].astype(float)
    assert low <= points[0] <= points[-1] <= low + width
    np.testing.assert_allclose(np.diff(points), width / n, atol=1e-3)


def test_array_is_its_own_coordinate():
    rates = axis("rate", rate=jnp.array([0.1, 0.2]))
    assert rates.dims == ("rate",)
    np.testing.assert_array_equal(rates.coords["rate"][1], np.float32([0.1, 0.2]))


@pytest.mark.parametrize("given", [[1.0, 2.0], (1.0, 2.0), np.array([1.0, 2.0])])
def test_lists_and_tuples_of_numbers_have_one_value_a_lane(given):
    assert values(axis("a", a=given)).tolist() == [1.0, 2.0]


def test_whole_numbers_stay_whole():
    assert values(axis("n", n=[1, 2])).dtype == np.int32


def test_a_list_of_fractions_whole_numbers_and_truths_is_of_the_default_float(default):
    mixed = axis("a", a=[0.1, 1, True])
    assert mixed.coords["a"][1].dtype == values(mixed).dtype == default
    np.testing.assert_array_equal(values(mixed), np.array([0.1, 1, 1], default))


def test_the_caller_may_change_an_array_afterwards():
    given = np.float32([1.0, 2.0])
    kept = axis("a", a=given)
    given[:] = 0
    assert values(kept).tolist() == [1.0, 2.0]


TOO_LARGE = {
    "int64": np.array([2**40, 1]),
    "uint64": np.array([2**40, 1], np.uint64),
    "float64": np.array([1e300, 1.0]),
    "complex128": np.array([1e300j, 1.0]),
    "list": [1, 2**40],
    "list of both signs": [np.int32(-1), np.uint32(2**32 - 1)],
    "tree": {"b": np.array([2**40, 1])},
}


@pytest.mark.parametrize("given", TOO_LARGE.values(), ids=TOO_LARGE)
def test_values_out_of_the_range_of_their_dtype_are_refused(given):
    with pytest.raises(ValueError, match=r"^budget.*: expected values within .*jax_enable_x64"):
        axis("budget", budget=given)


@pytest.mark.parametrize("given", TOO_LARGE.values(), ids=TOO_LARGE)
def test_values_within_the_range_of_x64_are_taken_there(given, x64):
    axis("budget", budget=given)


def test_infinite_values_may_be_swept():
    given = np.array([np.inf, np.nan, -np.inf, 1.0])
    np.testing.assert_array_equal(values(axis("a", a=given)), np.float32(given))


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: gdjax.grid(x=(0, 1e300, 3)), r"grid\['x'\] upper bound"),
        (lambda: gdjax.sobol({"x": (-1e300, 0)}, 3), r"box\['x'\] lower bound"),
    ],
)
def test_bounds_out_of_the_range_of_the_default_float_are_refused(make, name):
    with pytest.raises(ValueError, match=f"^{name}: expected values within float32"):
        make()


def test_a_box_may_be_as_wide_as_floats_go():
    points = values(axis(start=gdjax.uniform(jax.random.key(0), [(-3e38, 3e38)], 100)))
    assert np.isfinite(points).all()
    assert np.ptp(points.astype(float)) > 4e38


def test_list_of_trees_is_stacked():
    got = values(axis("w", w=[{"a": 1.0, "b": [1.0, 2.0]}, {"a": 2.0, "b": [3.0, 4.0]}]))
    assert got["a"].tolist() == [1.0, 2.0]
    assert got["b"][1].tolist() == [2.0, 4.0]


def test_tree_of_arrays_has_a_leading_lane_axis():
    w = axis("w", w={"kernel": np.ones((5, 3, 2)), "bias": np.zeros((5, 2))})
    assert (w.dims, w.shape, w.coords["w"][1].tolist()) == (("w",), (5,), [0, 1, 2, 3, 4])
    assert values(w)["kernel"].shape == (5, 3, 2)


def test_random_keys_may_be_an_axis():
    keys = jax.random.split(jax.random.key(0), 3)
    assert values(axis("key_of_lane", key_of_lane=keys)).shape == (3,)


def test_paired_values_go_together_along_one_dim():
    both = axis("both", both=gdjax.paired(a=[1.0, 2.0], b=[3.0, 4.0]))
    assert (both.dims, both.shape) == (("both",), (2,))
    assert {k: v.tolist() for k, v in values(both).items()} == {"a": [1.0, 2.0], "b": [3.0, 4.0]}
    assert both.coords["b"][0] == "both"


def test_uniform_starts_fill_their_box_and_depend_on_the_key_alone():
    box = {"x": (-1, 1), "y": (10, 20)}
    first, again, other = (
        values(axis(start=gdjax.uniform(jax.random.key(seed), box, 500))) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first["y"], again["y"])
    assert not np.array_equal(first["y"], other["y"])
    assert 10 <= first["y"].min() < 10.2 < 19.8 < first["y"].max() <= 20


def test_sobol_starts_are_one_in_each_cell():
    points = values(axis(start=gdjax.sobol([(0, 1), (0, 1)], 64)))
    cells = {tuple(cell) for cell in np.floor(points * 8).astype(int).tolist()}
    assert len(cells) == 64


def test_sobol_starts_are_any_number():
    assert values(axis(start=gdjax.sobol([(0, 1)], 5))).shape == (5, 1)


def test_sobol_seeds_differ_and_repeat():
    zero, again, one = (
        values(axis(start=gdjax.sobol([(0, 1)], 8, seed=seed))) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(zero, again)
    assert not np.array_equal(zero, one)


def test_scattered_starts_have_their_components_as_coordinates():
    start = axis(start=gdjax.sobol({"x": (0, 1), "y": (0, 1)}, 4))
    assert {name: dim for name, (dim, _) in start.coords.items()} == dict.fromkeys(
        ("start", "x", "y"), "start"
    )


lengths = st.lists(st.integers(1, 4), min_size=1, max_size=3)


@given(lengths)
@settings(max_examples=3, deadline=None)
def test_lanes_are_the_product_of_the_axes_in_the_order_given(lengths):
    axes = {f"axis_{i}": np.arange(n, dtype=np.float32) + 1 for i, n in enumerate(lengths)}

    def lane(**swept):
        start = sum(100.0**i * swept[f"axis_{i}"] for i in range(len(lengths)))
        return Descent(lambda w: w**2, start, optax.sgd(0.1), max_steps=0)

    runs = gdjax.sweep(lane, **axes)
    grids = np.meshgrid(*axes.values(), indexing="ij")
    expected = sum(100.0**i * grid for i, grid in enumerate(grids))
    assert runs.dims == tuple(axes)
    np.testing.assert_array_equal(runs.params, expected.astype(np.float32))
