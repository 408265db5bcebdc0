import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdjax.basins import fractions


def test_shares_are_of_all_labels_those_of_no_minimum_included():
    shares = fractions(np.array([[0, 0], [1, -1]]))
    assert shares.label.tolist() == [-1, 0, 1]
    assert shares.share.tolist() == [0.25, 0.5, 0.25]


def test_interval_is_wilsons():
    # 1.959964^2 = 3.841459: centre (k + z^2/2) / (n + z^2), half width as in Wilson (1927)
    shares = fractions(np.repeat([0, 1], [81, 19]))
    z, n, p = 1.959963984540054, 100, 0.81
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert shares.low[0] == pytest.approx(centre - half)
    assert shares.high[0] == pytest.approx(centre + half)


@given(st.lists(st.integers(-1, 5), min_size=1, max_size=50))
def test_shares_sum_to_one_within_their_intervals(labels):
    shares = fractions(labels)
    assert shares.share.sum() == pytest.approx(1.0)
    assert np.all((shares.low >= 0) & (shares.low <= shares.share))
    assert np.all((shares.share <= shares.high) & (shares.high <= 1))
