import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdjax.basins.refinement.audit import missed, skipped_sample
from gdjax.basins.refinement.lattice import Lattice
from gdjax.basins.refinement.tree import Points, Tree


def places_of(lattice):
    n = lattice.coarse << lattice.levels
    return np.stack(np.meshgrid(*[np.arange(n)] * lattice.dims, indexing="ij"), axis=-1)


def grown(truth, coarse, levels):
    """The tree of a known map, and the calls that it made for labels."""
    lattice, calls = Lattice(truth.ndim, coarse, levels), []

    def run(codes):
        calls.append(codes)
        return truth.ravel()[codes]

    return Tree(lattice, Points(run)), calls


def painted(tree):
    n = tree.lattice.coarse << tree.lattice.levels
    labels = tree.labels_at(np.arange(n**tree.lattice.dims))
    return labels.reshape((n,) * tree.lattice.dims)


def unit(n, dims=2):
    """The centres of n cells along each side of [-1, 1]."""
    x = (2 * np.arange(n) + 1) / n - 1
    return np.meshgrid(*[x] * dims, indexing="ij")


def finger(n):
    """A half-plane with a finger, one start wide, that reaches far across coarse cells."""
    truth = np.zeros((n, n), int)
    truth[: n // 3] = 1
    truth[n // 3 : n - 5, n // 2 + 3] = 1
    truth[n - 6, n // 2 + 3 : n - 3] = 1
    return truth


def maps(n=128):
    x, y = unit(n)
    return {
        "half-plane": (x + 0.37 * y > 0.213).astype(int),
        "circle": (np.hypot(x - 0.1, y) < 0.6).astype(int),
        "rings": (np.hypot(x, y) // 0.3).astype(int),
        "quadrants": 2 * (x > 0) + (y > 0),
        "checkerboard": ((x + 1) // 0.4 + (y + 1) // 0.4).astype(int) % 2,
        "finger": finger(n),
        "two on the diagonal": ((x > 0) == (y > 0)).astype(int),
        "with -1": np.where(np.abs(x - y) < 0.4, -1, (x > y).astype(int)),
        "one label": np.zeros((n, n), int),
    }


@pytest.mark.parametrize("name", maps())
def test_a_map_whose_borders_are_met_is_exact(name):
    truth = maps()[name]
    tree, _ = grown(truth, 8, 4)
    np.testing.assert_array_equal(painted(tree), truth)


@pytest.mark.parametrize(("dims", "coarse", "levels"), [(1, 8, 9), (3, 8, 3), (4, 4, 2)])
def test_a_ball_is_exact_in_other_dimensions(dims, coarse, levels):
    centred = [x - 0.1 * i for i, x in enumerate(unit(coarse << levels, dims))]
    truth = (sum(x**2 for x in centred) < 0.4).astype(int)
    tree, _ = grown(truth, coarse, levels)
    np.testing.assert_array_equal(painted(tree), truth)


def test_a_border_costs_its_length():
    counts = [len(grown(maps(n)["circle"], 8, k)[0].points.codes) for n, k in ((256, 5), (512, 6))]
    # The coarse starts and those within a cell or two of the border, twice as many at each level.
    assert counts[1] < 2.1 * counts[0] < 0.1 * 512**2


def test_a_map_of_one_label_costs_its_corners_only():
    tree, _ = grown(maps()["one label"], 8, 4)
    assert len(tree.points.codes) == 9**2


def test_in_one_dimension_a_border_is_bisected():
    truth = (np.arange(4 << 20) > 1_234_567).astype(int)
    tree, _ = grown(truth, 4, 20)
    assert len(tree.points.codes) == 5 + 20
    assert tree.labels_at(np.array([1_234_567, 1_234_568])).tolist() == [0, 1]


def test_no_start_is_run_twice():
    _, calls = grown(maps()["rings"], 8, 4)
    codes = np.concatenate(calls)
    assert len(np.unique(codes)) == len(codes)


def test_an_island_that_no_corner_lies_on_is_missed():
    truth = np.zeros((128, 128), int)
    truth[5:9, 5:9] = 1  # within the coarse cell [0, 16]²
    tree, _ = grown(truth, 8, 4)
    assert not painted(tree).any()


def test_without_levels_every_start_is_run():
    truth = np.random.default_rng(0).integers(0, 3, (7, 7))
    tree, _ = grown(truth, 7, 0)
    assert len(tree.points.codes) == 49
    np.testing.assert_array_equal(painted(tree), truth)


@st.composite
def rough_maps(draw):
    """Random blobs, some smaller than a coarse cell."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    width = draw(st.sampled_from([1, 2, 4, 8]))
    noise = rng.integers(0, draw(st.integers(2, 4)), (32 // width, 32 // width))
    return np.kron(noise, np.ones((width, width), int))


@settings(max_examples=40, deadline=None)
@given(truth=rough_maps(), levels=st.integers(0, 4))
def test_a_border_is_followed_wholly_or_missed_wholly(truth, levels):
    tree, _ = grown(truth, 32 >> levels, levels)
    known = np.zeros(truth.size, bool)
    known[tree.points.codes] = True
    known = known.reshape(truth.shape)
    # Two neighbours of different label: one met, and it is met with all that it goes on in.
    for axis in (0, 1):
        one, other = (np.moveaxis(x, axis, 0) for x in (truth, known))
        border = one[1:] != one[:-1]
        # beside each border edge, the edges of the cell to its right
        met = border & other[1:] & other[:-1]
        cell = np.stack([one[:-1, :-1], one[1:, :-1], one[:-1, 1:], one[1:, 1:]])
        seen = np.stack([other[:-1, :-1], other[1:, :-1], other[:-1, 1:], other[1:, 1:]])
        assert seen.all(axis=0)[met[:, :-1] & (cell != cell[0]).any(axis=0)].all()
    np.testing.assert_array_equal(painted(tree)[known], truth[known])


@settings(max_examples=60, deadline=None)
@given(
    known=st.sets(st.integers(0, 59)).map(lambda found: np.array(sorted(found), np.int64)),
    count=st.integers(0, 70),
    seed=st.integers(0, 1000),
)
def test_the_sample_is_of_different_starts_that_were_skipped(known, count, seed):
    sample = skipped_sample(known, 60, count, seed)
    assert len(sample) == min(count, 60 - len(known))
    assert len(np.unique(sample)) == len(sample)
    assert not np.isin(sample, known).any()
    assert ((sample >= 0) & (sample < 60)).all()


def test_each_skipped_start_is_drawn_as_often():
    known = np.array([0, 1, 7])
    drawn = np.concatenate([skipped_sample(known, 10, 2, seed) for seed in range(3500)])
    counts = np.bincount(drawn, minlength=10)[[2, 3, 4, 5, 6, 8, 9]]
    assert np.abs(counts - 1000).max() < 4 * np.sqrt(1000)


NONE_WRONG = np.zeros((0, 2), np.int64)


@pytest.mark.parametrize(
    ("wrong", "audited", "left", "bounds"),
    [
        (0, 1000, 10**6, (0, 0, 0.003)),  # the rule of three
        (0, 2, 10**6, (0, 0, 1)),
        (50, 50, 50, (1, 1, 1)),  # all that are left
        (0, 50, 50, (0, 0, 0)),
        (0, 0, 0, (0, 0, 0)),
        (3, 4, 10**6, (0.75, 0.3006, 0.9544)),  # Wilson
    ],
)
def test_bounds_of_what_was_missed(wrong, audited, left, bounds):
    found = missed(np.zeros((wrong, 2), np.int64), audited, left)
    np.testing.assert_allclose((found.share, found.low, found.high), bounds, atol=5e-5)


def test_without_an_audit_nothing_is_known():
    found = missed(NONE_WRONG, 0, 10)
    assert np.isnan(found.share)
    assert (found.low, found.high) == (0, 1)
