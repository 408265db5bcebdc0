"""Tests of the test losses: are the listed points what the landscapes say they are?"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gdjax import landscapes
from gdjax.landscapes import Landscape
from gdjax.landscapes.landscape import points

EVERY = landscapes.names()
ANY_DIMENSION = tuple(n for n in EVERY if landscapes.get(n).least_dimension is not None)
FIXED_DIMENSION = tuple(n for n in EVERY if landscapes.get(n).least_dimension is None)
KINDS = ("minima", "saddles", "maxima")

# Points without an index: the Hessian is zero (monkey saddle) or does not exist (Ackley's kink).
# Tests of their own, below, check what the loss does around them.
WITHOUT_INDEX = {"monkey_saddle": (0.0, 0.0), "ackley": (0.0, 0.0)}

# Where the listed stationary points are all there are.
COMPLETE_WITHIN = {
    "himmelblau": ((-5.0, 5.0), (-5.0, 5.0)),
    "six_hump_camel": ((-3.0, 3.0), (-2.0, 2.0)),
    "muller_brown": ((-1.5, 1.2), (-0.5, 2.0)),
    "beale": ((-4.5, 4.5), (-4.5, 4.5)),
    "ackley": ((-1.0, 1.0), (-1.0, 1.0)),
    "rastrigin": ((-1.5, 1.5), (-1.5, 1.5)),
    "griewank": ((-4.5, 4.5), (-4.5, 4.5)),
}

# Values from the literature, in the order in which the points are listed.
KNOWN_VALUES = {
    ("himmelblau", "minima"): [0.0, 0.0, 0.0, 0.0],
    ("himmelblau", "maxima"): [181.616521522583],
    ("rosenbrock", "minima"): [0.0],
    ("six_hump_camel", "minima"): [-1.031628453490] * 2
    + [-0.215463824384] * 2
    + [2.10425031031] * 2,
    ("muller_brown", "minima"): [-146.699517209954, -108.166724116852, -80.767818129659],
    ("muller_brown", "saddles"): [-72.248940112325, -40.664843508657],
    ("beale", "minima"): [0.0],
    ("beale", "saddles"): [14.203125, 9.864512284756],
    ("booth", "minima"): [0.0],
    ("styblinski_tang", "minima"): [
        -78.332331407543,
        -64.195612359055,
        -64.195612359055,
        -50.058893310568,
    ],
    ("ackley", "minima"): [0.0] + [2.57992755703] * 4 + [3.57445187726] * 4,
    ("griewank", "minima"): [0.0] + [0.00739604033412] * 4,
    ("quadratic", "minima"): [0.0],
    ("monkey_saddle", "saddles"): [0.0],
    ("double_well", "minima"): [-0.5] * 4,
    ("double_well", "maxima"): [0.0],
}


@pytest.fixture(autouse=True)
def _double_precision_and_strict_ranks() -> Iterator[None]:
    with jax.enable_x64(True), jax.numpy_rank_promotion("raise"):
        yield


def _middle(landscape: Landscape) -> jax.Array:
    """A point of the domain that is no stationary point and has unequal coordinates."""
    low, high = np.array(landscape.domain).T
    shares = np.linspace(0.4, 0.55, landscape.dimension)
    return jnp.asarray(low + shares * (high - low))


def _in_dimensions(*dimensions: int) -> list[Landscape]:
    """Every landscape, and those of any dimension in the dimensions given too."""
    return [landscapes.get(name) for name in EVERY] + [
        landscapes.get(name).in_dimension(n)
        for name, n in itertools.product(ANY_DIMENSION, dimensions)
    ]


IN_DIMENSIONS = [
    *_in_dimensions(4),
    *(pytest.param(landscape, marks=pytest.mark.long) for landscape in _in_dimensions(30)),
]


def _label(landscape: Landscape) -> str:
    return f"{landscape.name}-{landscape.dimension}"


@functools.cache
def _at_listed_points(landscape: Landscape) -> dict[str, tuple[np.ndarray, ...]]:
    """The values, gradients and Hessians at the listed points of each kind."""
    listed = [getattr(landscape, kind) for kind in KINDS]

    @jax.jit
    @jax.vmap
    def derivatives(point: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        value, slope = jax.value_and_grad(landscape)(point)
        return value, slope, jax.hessian(landscape)(point)

    ends = np.cumsum([len(rows) for rows in listed])[:-1]
    every = derivatives(jnp.asarray(np.concatenate(listed)))
    split = [np.split(np.asarray(rows), ends) for rows in every]
    return dict(zip(KINDS, zip(*split, strict=True), strict=True))


def _curvatures(landscape: Landscape, kind: str) -> np.ndarray:
    """The eigenvalues of the Hessian at each listed point that has an index, ascending."""
    _, _, hessians = _at_listed_points(landscape)[kind]
    without = WITHOUT_INDEX.get(landscape.name)
    if without is not None:
        hessians = hessians[np.any(getattr(landscape, kind) != without[0], axis=1)]
    curvatures = np.linalg.eigvalsh(hessians)
    assert np.all(np.abs(curvatures) > 1e-3), "an eigenvalue near zero has no sign to speak of"
    return curvatures


@pytest.mark.parametrize("landscape", IN_DIMENSIONS, ids=_label)
def test_gradient_vanishes_at_every_listed_point(landscape: Landscape) -> None:
    for kind, (_, slopes, hessians) in _at_listed_points(landscape).items():
        reach = np.abs(getattr(landscape, kind)).max(axis=1)
        scales = (1.0 + np.abs(hessians).max(axis=(1, 2))) * (1.0 + reach)
        assert np.all(np.abs(slopes).max(axis=1) <= 1e-14 * scales), kind


@pytest.mark.parametrize("landscape", IN_DIMENSIONS, ids=_label)
def test_every_curvature_at_a_minimum_is_positive(landscape: Landscape) -> None:
    assert np.all(_curvatures(landscape, "minima") > 0.0)


@pytest.mark.parametrize("landscape", _in_dimensions(4), ids=_label)
def test_curvatures_at_a_saddle_have_both_signs(landscape: Landscape) -> None:
    curvatures = _curvatures(landscape, "saddles")
    assert np.all((curvatures[:, 0] < 0.0) & (curvatures[:, -1] > 0.0))


@pytest.mark.parametrize("landscape", IN_DIMENSIONS, ids=_label)
def test_every_curvature_at_a_maximum_is_negative(landscape: Landscape) -> None:
    assert np.all(_curvatures(landscape, "maxima") < 0.0)


def test_monkey_saddle_has_no_curvature_at_the_origin() -> None:
    _, _, hessians = _at_listed_points(landscapes.monkey_saddle)["saddles"]
    assert np.all(hessians == 0.0)


@pytest.mark.parametrize("radius", [1e-3, 1.0])
def test_monkey_saddle_rises_and_falls_three_times_around_the_origin(radius: float) -> None:
    angles = np.arange(720) * (2.0 * np.pi / 720) + 1e-3
    circle = jnp.asarray(radius * np.stack([np.cos(angles), np.sin(angles)], axis=-1))
    signs = np.sign(jax.jit(jax.vmap(landscapes.monkey_saddle))(circle))
    assert np.sum(signs != np.roll(signs, 1)) == 6


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_ackley_gradient_at_its_kink_is_zero(dimension: int) -> None:
    assert np.all(jax.jit(jax.grad(landscapes.ackley))(jnp.zeros(dimension)) == 0.0)


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_ackley_rises_as_a_cone_from_the_origin(dimension: int) -> None:
    directions = np.random.default_rng(0).normal(size=(50, dimension))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    rises = jax.jit(jax.vmap(landscapes.ackley))(jnp.asarray(1e-6 * directions)) / 1e-6
    np.testing.assert_allclose(rises, 4.0 / np.sqrt(dimension), rtol=1e-4)


@pytest.mark.parametrize(("name", "kind"), KNOWN_VALUES)
def test_value_at_listed_points_is_that_of_the_literature(name: str, kind: str) -> None:
    values, _, _ = _at_listed_points(landscapes.get(name))[kind]
    np.testing.assert_allclose(values, KNOWN_VALUES[name, kind], rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(
    ("dimension", "value"), [(4, 3.70142861), (5, 3.93083943), (6, 3.97394050)]
)
def test_rosenbrock_has_its_known_second_minimum(dimension: int, value: float) -> None:
    values, _, _ = _at_listed_points(landscapes.rosenbrock.in_dimension(dimension))["minima"]
    np.testing.assert_allclose(values[1], value, rtol=1e-8)


@pytest.mark.parametrize("landscape", _in_dimensions(4), ids=_label)
def test_first_minimum_is_a_lowest_one(landscape: Landscape) -> None:
    values, _, _ = _at_listed_points(landscape)["minima"]
    assert np.all(values >= values[:1] - 1e-12)


@pytest.mark.parametrize("landscape", IN_DIMENSIONS, ids=_label)
def test_listed_points_are_within_the_domain(landscape: Landscape) -> None:
    low, high = np.array(landscape.domain).T
    listed = np.concatenate([getattr(landscape, kind) for kind in KINDS])
    assert np.all((low <= listed) & (listed <= high))


@pytest.mark.parametrize("name", [name for name in EVERY if name != "monkey_saddle"])
def test_no_value_on_a_dense_grid_is_below_the_lowest_minimum(name: str) -> None:
    landscape = landscapes.get(name)
    axes = [np.linspace(low, high, 301) for low, high in landscape.domain]
    grid = jnp.asarray(np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2))
    lowest = landscape(jnp.asarray(landscape.minima[0]))
    assert np.min(jax.jit(jax.vmap(landscape))(grid)) >= lowest - 1e-12


@pytest.mark.parametrize("name", COMPLETE_WITHIN)
def test_newton_from_a_grid_finds_exactly_the_listed_points(name: str) -> None:
    landscape, window = landscapes.get(name), np.array(COMPLETE_WITHIN[name])

    def step(_: int, point: jax.Array) -> jax.Array:
        slope, hessian = jax.grad(landscape)(point), jax.hessian(landscape)(point)
        full = jnp.linalg.solve(hessian, slope)
        return point - full / jnp.maximum(1.0, jnp.linalg.norm(full) / 0.25)

    # An odd number of starts on each axis makes the origin one: Ackley's kink attracts no other.
    axes = [np.linspace(low, high, 61) for low, high in window]
    starts = jnp.asarray(np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2))
    ends = jax.jit(jax.vmap(lambda start: jax.lax.fori_loop(0, 60, step, start)))(starts)
    slopes = np.abs(jax.jit(jax.vmap(jax.grad(landscape)))(ends))
    ends = np.asarray(ends)
    inside = (ends >= window[:, 0]) & (ends <= window[:, 1])
    found = ends[np.all(inside & (slopes < 1e-8), axis=1)]

    listed = np.concatenate([getattr(landscape, kind) for kind in KINDS])
    apart = np.max(np.abs(found[:, None] - listed), axis=-1)
    assert np.all(np.min(apart, axis=1) < 1e-6), "a point is not listed"
    assert np.all(np.min(apart, axis=0) < 1e-6), "a listed point is not found"


@pytest.mark.parametrize("name", EVERY)
def test_a_pytree_gives_the_value_of_the_vector(name: str) -> None:
    landscape = landscapes.get(name)
    vector = _middle(landscape)
    assert landscape({"x": vector[0], "y": [vector[1:]]}) == landscape(vector)


def test_python_numbers_count_as_the_default_float() -> None:
    with jax.enable_x64(False):
        assert landscapes.himmelblau({"x": 3, "y": 2}).dtype == np.float32


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64])
@pytest.mark.parametrize("name", EVERY)
def test_value_and_gradient_keep_the_dtype(name: str, dtype: type) -> None:
    landscape = landscapes.get(name)
    with jax.numpy_dtype_promotion("strict"):
        point = jax.ShapeDtypeStruct((landscape.dimension,), dtype)
        value, slope = jax.eval_shape(jax.value_and_grad(landscape), point)
    assert (value.dtype, slope.dtype) == (dtype, dtype)


@pytest.mark.parametrize("name", EVERY)
def test_jvp_is_the_gradient_along_the_direction(name: str) -> None:
    landscape = landscapes.get(name)
    point, direction = _middle(landscape), jnp.array([0.6, -0.8])
    _, along = jax.jit(lambda x, v: jax.jvp(landscape, (x,), (v,)))(point, direction)
    np.testing.assert_allclose(along, jax.jit(jax.grad(landscape))(point) @ direction, rtol=1e-12)


@pytest.mark.parametrize("name", EVERY)
def test_a_landscape_is_a_static_argument_of_jit(name: str) -> None:
    landscape = landscapes.get(name)
    call = jax.jit(lambda loss, x: loss(x), static_argnums=0)
    np.testing.assert_allclose(call(landscape, _middle(landscape)), landscape(_middle(landscape)))


@pytest.mark.parametrize("name", FIXED_DIMENSION)
@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_wrong_number_of_coordinates_is_an_error(name: str, count: int) -> None:
    with pytest.raises(ValueError, match=rf"{name}: got {count} coordinates .* expected 2"):
        landscapes.get(name)(jnp.zeros(count))


@pytest.mark.parametrize("name", ANY_DIMENSION)
def test_too_few_coordinates_are_an_error(name: str) -> None:
    landscape = landscapes.get(name)
    least = landscape.least_dimension
    assert least is not None
    with pytest.raises(ValueError, match=rf"{name}: got {least - 1} .* at least {least}"):
        landscape(jnp.zeros(least - 1))


@pytest.mark.parametrize("name", ANY_DIMENSION)
def test_a_loss_of_any_dimension_takes_more_coordinates(name: str) -> None:
    assert landscapes.get(name)(jnp.full(5, 0.3)).shape == ()


@pytest.mark.parametrize("name", ANY_DIMENSION)
def test_in_dimension_gives_the_same_object_each_time(name: str) -> None:
    landscape = landscapes.get(name)
    assert landscape.in_dimension(3) is landscape.in_dimension(3)
    assert landscape.in_dimension(2) is landscape


@pytest.mark.parametrize("name", FIXED_DIMENSION)
def test_in_dimension_of_a_loss_of_fixed_dimension_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} is of fixed dimension 2; .* dimension 3"):
        landscapes.get(name).in_dimension(3)


@pytest.mark.parametrize("name", ANY_DIMENSION)
def test_in_dimension_below_the_least_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} is defined from dimension . up; got 0"):
        landscapes.get(name).in_dimension(0)


@pytest.mark.parametrize("condition_number", [1.0, 30.0, 1e4])
def test_quadratic_has_the_condition_number_asked_for(condition_number: float) -> None:
    loss = landscapes.quadratic(condition_number=condition_number, dimension=4)
    _, _, hessians = _at_listed_points(loss)["minima"]
    curvatures = np.linalg.eigvalsh(hessians[0])
    np.testing.assert_allclose(curvatures[[0, -1]], [1.0, condition_number], rtol=1e-12)


@pytest.mark.parametrize("condition_number", [0.5, np.inf, np.nan])
def test_quadratic_rejects_an_impossible_condition_number(condition_number: float) -> None:
    with pytest.raises(ValueError, match="condition_number"):
        landscapes.quadratic(condition_number)


def test_quadratic_rejects_a_single_dimension() -> None:
    with pytest.raises(ValueError, match="dimension is 1; expected 2 or more"):
        landscapes.quadratic(dimension=1)


@pytest.mark.parametrize("name", [name for name in EVERY if name != "quadratic"])
def test_get_gives_the_landscape_of_the_module(name: str) -> None:
    assert landscapes.get(name) is getattr(landscapes, name)


def test_get_quadratic_gives_the_default_one() -> None:
    assert landscapes.get("quadratic") is landscapes.quadratic(100.0, 2)


def test_get_accepts_hyphens() -> None:
    assert landscapes.get("six-hump-camel") is landscapes.six_hump_camel


def test_an_unknown_name_is_an_error_that_suggests_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"'himelblau'; did you mean himmelblau"):
        landscapes.get("himelblau")


def test_a_name_near_to_none_is_an_error_that_lists_them_all() -> None:
    with pytest.raises(ValueError, match=r"'zzz'; known: ackley, .*, styblinski_tang"):
        landscapes.get("zzz")


def test_listed_points_are_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        landscapes.himmelblau.minima[0, 0] = 1.0


def test_points_of_unequal_dimension_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"points of 2 coordinates expected; got shape \(1, 3\)"):
        points([(1.0, 2.0, 3.0)])


def test_points_that_do_not_fit_the_domain_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"mine: saddles must be of shape \[k, 1\]"):
        Landscape(
            name="mine",
            formula=jnp.sum,
            domain=((0.0, 1.0),),
            minima=points([], 1),
            saddles=points([]),
            maxima=points([], 1),
            learning_rate=0.1,
            source="none",
        )
