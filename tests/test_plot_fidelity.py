"""Tests of the pictures of fidelity and confusion: is what they show what was found?"""

import numpy as np
import pytest

from gdjax.basins import Fidelity, agreement, tipping_matrix
from gdjax.basins.agreement import agreements

pytest.importorskip("matplotlib")
import gdjax.plot

RATES = np.array([0.1, 1.0, 0.01])


def found(rates=RATES, dims=("learning_rate",), rate="learning_rate"):
    """The first rate has 3 right starts of 4, the second 2, the third 4."""
    flow, runs = np.array([0, 0, 1, 1]), np.array([[0, 1, 1, 1], [1, 1, 1, 1], [0, 0, 1, 1]]).T
    nothing = np.zeros(4)
    return Fidelity(
        agreements(flow, runs),
        runs == flow[:, None],
        nothing,
        nothing,
        None,
        dims,
        {rate: rates},
        rate,
    )


def texts(items):
    return [item.get_text() for item in items]


def test_share_is_drawn_in_the_order_of_the_rates():
    ax = gdjax.plot.fidelity(found())
    assert ax.lines[0].get_xdata().tolist() == [0.01, 0.1, 1.0]
    assert ax.lines[0].get_ydata().tolist() == [1.0, 0.75, 0.5]
    assert (ax.get_xscale(), ax.get_xlabel()) == ("log", "learning_rate")
    assert ax.get_legend() is None


def test_interval_is_a_band_around_the_share():
    one = found().agreement
    (band,) = gdjax.plot.fidelity(found()).collections
    corners = band.get_paths()[0].vertices
    for x, low, high in zip(RATES, one.low, one.high):
        assert {low, high} <= set(corners[np.isclose(corners[:, 0], x), 1].tolist())


def test_several_have_a_line_each_with_its_name():
    ax = gdjax.plot.fidelity({"gd": found(), "adam": found(-RATES)})
    assert texts(ax.get_legend().get_texts()) == ["gd", "adam"]
    assert ax.get_xscale() == "linear"  # not all rates are above 0


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (3, TypeError, "found: "),
        ({}, ValueError, "found: "),
        ({"gd": 3}, TypeError, r"found\['gd'\]: "),
        (found(dims=("a", "b")), ValueError, "found: "),
        ({str(i): found() for i in range(9)}, ValueError, "found: "),
    ],
)
def test_what_is_no_fidelity_over_one_rate_is_refused(wrong, error, message):
    with pytest.raises(error, match=f"^{message}"):
        gdjax.plot.fidelity(wrong)


def test_confusion_has_two_sides():
    with pytest.raises(ValueError, match=r"^sides: "):
        gdjax.plot.confusion(agreement([0, 1], [0, 1]), sides=("flow",))


def test_confusion_has_before_in_rows_and_after_in_columns():
    one = agreement([0, 0, 0, 1, -1], [0, 1, 1, 1, 1])
    ax = gdjax.plot.confusion(one, names={1: "(3, 2)"}, sides=("flow", "runs"))
    assert texts(ax.get_yticklabels()) == texts(ax.get_xticklabels()) == ["none", "0", "(3, 2)"]
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("flow", "runs")
    np.testing.assert_allclose(
        ax.images[0].get_array(), [[0, 0, 1], [0, 1 / 3, 2 / 3], [0, 0, 1]], atol=1e-12
    )
    assert texts(ax.texts) == ["0", "0", "1", "0", "1", "2", "0", "0", "1"]


def test_row_without_a_start_has_no_colour():
    ax = gdjax.plot.confusion(agreement([0], [1]))
    assert ax.images[0].get_array().mask.tolist() == [[False, False], [True, True]]


def test_maps_with_labels_of_their_own_have_a_rectangle():
    ax = gdjax.plot.confusion(tipping_matrix([0, 1, 2], [5, 5, 5]))
    assert ax.images[0].get_array().shape == (3, 1)
    assert texts(ax.get_xticklabels()) == ["5"]


def test_counts_of_many_labels_are_not_written():
    assert not gdjax.plot.confusion(agreement(range(13), range(13))).texts


@pytest.mark.parametrize(
    ("wrong", "error"), [(np.eye(2), TypeError), (found().agreement, ValueError)]
)
def test_what_is_no_single_matrix_is_refused(wrong, error):
    with pytest.raises(error, match=r"^found: "):
        gdjax.plot.confusion(wrong)
