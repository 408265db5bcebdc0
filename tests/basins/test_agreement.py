import numpy as np
import pytest
from scipy.stats import binomtest

from gdjax.basins import agreement, tipping_matrix


def test_share_and_interval_are_those_of_equal_labels():
    before, after = np.random.default_rng(0).integers(0, 3, (2, 40, 50))
    found = agreement(before, after)
    right = int((before == after).sum())
    interval = binomtest(right, 2000).proportion_ci(method="wilson")
    np.testing.assert_allclose(found[:3], [right / 2000, interval.low, interval.high])


def test_confusion_matrix_is_square_over_the_labels_of_both():
    found = agreement([0, 0, 5], [7, 0, 0])
    assert found.label.tolist() == [0, 5, 7]
    assert found.counts.tolist() == [[1, 0, 1], [1, 0, 0], [0, 0, 0]]


def test_counts_are_those_of_the_tipping_matrix():
    before, after = np.random.default_rng(1).integers(-1, 4, (2, 500))
    np.testing.assert_array_equal(
        agreement(before, after).counts, tipping_matrix(before, after).counts
    )


def test_no_attractor_agrees_with_nothing():
    found = agreement([-1, -1, 0, 0], [-1, 0, -1, 0])
    assert (found.share, found.compared) == (1 / 3, 3)


def test_nothing_to_compare_has_no_share():
    found = agreement([-1, -1], [-1, -1])
    assert np.isnan([found.share, found.low, found.high]).all()
    assert found.compared == 0


@pytest.mark.parametrize(
    ("before", "after", "error", "message"),
    [
        ([0, 1], [0, 1, 1], ValueError, "after: "),
        ([], [], ValueError, "before: "),
        ([0.5], [0], TypeError, "before: "),
        ([0], ["a"], TypeError, "after: "),
    ],
)
def test_bad_labels_are_refused_by_name(before, after, error, message):
    with pytest.raises(error, match=f"^{message}"):
        agreement(before, after)
