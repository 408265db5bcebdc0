import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gdjax import basins

LINE = (np.arange(1000) > 300).astype(int)


def sierpinski(side):
    i = np.arange(side)
    return ((i[:, None] & i[None, :]) == 0).astype(int)


def test_dimension_of_a_straight_line_is_one():
    x = np.arange(256)
    found = basins.boundary_dimension((x[:, None] + 0.4 * x[None, :] > 170).astype(int))
    assert found.value == pytest.approx(1.0, abs=0.05)
    assert found.fit.is_good


@pytest.mark.parametrize("side", [256, 512])
def test_dimension_of_sierpinskis_triangle(side):
    found = basins.boundary_dimension(sierpinski(side))
    assert found.value == pytest.approx(np.log2(3), abs=0.05)


def test_random_labels_fill_the_map_with_boundary():
    labels = np.random.default_rng(0).integers(0, 3, (512, 512))
    assert basins.boundary_dimension(labels).value == pytest.approx(2.0, abs=0.05)
    assert basins.uncertainty_exponent(labels).value == pytest.approx(0.0, abs=0.05)


def test_uncertainty_of_one_boundary_falls_with_the_error():
    assert basins.uncertainty_exponent(LINE).value == pytest.approx(1.0, abs=0.01)


def test_map_of_one_label_has_no_dimension_and_says_so():
    found = basins.boundary_dimension(np.zeros((64, 64), int))
    assert np.isnan(found.value)
    assert not found.fit.is_good


def test_boundary_entropy_of_a_point_at_random_is_one_half():
    cuts = np.random.default_rng(0).integers(1, 200, 4000)  # within a box of 200 starts
    labels = np.arange(200)[None, :] >= cuts[:, None]
    found = basins.basin_entropy(labels.astype(int).ravel(), 200)
    assert found.boundary == pytest.approx(0.5 * 200 / 199, abs=3 * found.boundary_error)
    assert not found.proves_fractal


def test_boundary_entropy_of_a_straight_line_at_random_is_known_in_discs():
    # At the distance d, uniform, from the centre of a unit disc, the line cuts off the share
    # (arccos d - d √(1 - d²)) / π: the mean of the entropy over d is 0.43951.
    random, side = np.random.default_rng(0), 41
    angle, distance = random.uniform(0, np.pi, 2000), random.uniform(-side / 2, side / 2, 2000)
    at = np.arange(side) - (side - 1) / 2
    x, y = np.cos(angle)[:, None, None] * at[:, None], np.sin(angle)[:, None, None] * at
    labels = (x + y > distance[:, None, None]).astype(int).reshape(-1, side)
    found = basins.basin_entropy(labels, side, shape="ball")
    assert found.boundary == pytest.approx(0.43951, abs=3 * found.boundary_error)
    assert found.boundary_error < 0.006
    assert not found.proves_fractal


@pytest.mark.parametrize(("first", "box"), [(42, 4), (45, 6), (45, 10)])
def test_a_line_through_the_middle_of_its_boxes_proves_nothing(first, box):
    labels = (np.indices((240, 240))[0] >= first).astype(int)
    found = basins.basin_entropy(labels, box)
    assert found.boundary == pytest.approx(np.log(2))
    assert not found.proves_fractal


def test_entropy_of_random_labels_is_the_logarithm_of_their_number():
    labels = np.random.default_rng(0).integers(0, 4, (500, 500))
    found = basins.basin_entropy(labels, 50)
    assert found.total == pytest.approx(np.log(4), abs=1e-3)
    assert found.proves_fractal


def test_basins_smaller_than_a_box_prove_no_fractal():
    found = basins.basin_entropy(np.arange(60 * 60).reshape(60, 60) // 2, 5)
    assert found.boundary > np.log(2)
    assert not found.proves_fractal


def test_map_smaller_than_eight_boxes_is_not_wada():
    labels = np.arange(9).reshape(3, 3) % 3
    assert (basins.wada(labels).value, basins.wada(labels).is_wada) == (1.0, False)


def test_tipped_starts_are_counted_where_they_go():
    tipped = basins.tipping_matrix([0, 0, 0, 1, -1], [0, 0, 1, 1, -1])
    assert tipped.before.tolist() == tipped.after.tolist() == [-1, 0, 1]
    assert tipped.counts.tolist() == [[1, 0, 0], [0, 2, 1], [0, 0, 1]]
    assert tipped.agreement == 0.8


def test_unattained_starts_do_not_make_a_third_basin():
    labels = np.repeat([[0, -1, 1]], 32, axis=0).repeat(20, axis=1)
    assert basins.wada(labels).basins == 2
    assert not basins.wada(labels).is_wada


def test_labels_seen_once_estimate_the_unseen():
    shares = basins.fractions([0] * 97 + [1, 2, -1])
    assert (shares.unseen, shares.never) == (0.02, 0.03)


MAP = [
    ("fractions", lambda labels: basins.fractions(labels)),
    ("basin_entropy", lambda labels: basins.basin_entropy(labels, 2)),
    ("uncertainty_exponent", basins.uncertainty_exponent),
    ("boundary_dimension", basins.boundary_dimension),
    ("wada", basins.wada),
    ("tipping_matrix", lambda labels: basins.tipping_matrix(labels, labels)),
]
MEASURES = pytest.mark.parametrize("measure", [m for _, m in MAP], ids=[name for name, _ in MAP])


@MEASURES
@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([], ValueError, "expected at least one, got none"),
        (np.zeros((0, 3), int), ValueError, "expected at least one, got none"),
        ([0.0, 1.0], TypeError, "expected integers, got float64"),
        ([np.nan, 1.0], TypeError, "expected integers, got float64"),
        ([True, False], TypeError, "expected integers, got bool"),
        (["a", "b"], TypeError, "expected integers, got"),
        ([0, None], TypeError, "expected integers, got object"),
        ([[0, 1], [2]], ValueError, "expected an array of integers, but .*inhomogeneous"),
    ],
)
def test_what_are_no_labels_is_refused(measure, labels, error, message):
    with pytest.raises(error, match=f"^(labels|before): {message}"):
        measure(labels)


@MEASURES
@pytest.mark.parametrize(
    "kind",
    ["int8", "uint8", "int64", "uint64", "list", "jax", "fortran", "huge", "strided"],
)
def test_labels_of_any_kind_are_measured_as_integers_are(measure, kind):
    labels = np.random.default_rng(0).integers(0, 3, (64, 48))
    given = {
        "list": labels.tolist(),
        "jax": jnp.asarray(labels),
        "fortran": np.asfortranarray(labels),
        "huge": labels * 2**61,
        "strided": np.repeat(labels, 2, axis=1)[:, ::2],
    }
    found = measure(given[kind] if kind in given else labels.astype(kind))
    numbers, expected = jax.tree.leaves(found), jax.tree.leaves(measure(labels))
    first = 2 if kind == "huge" else 0  # names are what they are
    for one, other in zip(numbers[first:], expected[first:]):
        np.testing.assert_array_equal(one, other)


@MEASURES
@pytest.mark.parametrize("shape", [(2,), (2, 2), (1, 1, 5), (3, 4, 5), (5, 4, 3, 6)])
def test_small_maps_of_any_dimension_are_measured(measure, shape):
    for labels in (
        np.zeros(shape, int),
        np.full(shape, -1),
        np.arange(np.prod(shape)).reshape(shape),
    ):
        measure(labels)


def test_a_map_of_no_dimension_is_one_start():
    labels = np.array(3)
    assert not basins.boundary_dimension(labels).fit.is_good
    assert not basins.uncertainty_exponent(labels).fit.is_good
    assert not basins.wada(labels).is_wada
    with pytest.raises(ValueError, match=r"^box: "):
        basins.basin_entropy(labels, 2)
