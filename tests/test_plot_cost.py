"""The loss against its cost."""

import numpy as np
import pytest

from gdjax import Cost, plot
from gdjax.record import Series

SERIES = {"full": Series(np.array([0, 2, 4]), np.array([3.0, 2.0, 1.0]))}
COSTS = [Cost(10, 1, 100.0, 50.0)]
DRAWN = {
    "examples": [10, 30, 50],
    "updates": [2, 4],
    "flops": [100, 300, 500],
    "seconds": [4, 8],
}


@pytest.mark.parametrize("against", DRAWN)
def test_the_loss_is_drawn_against_what_it_cost(against):
    (line,) = plot.cost(SERIES, COSTS, against, seconds=[8.0]).lines
    np.testing.assert_allclose(line.get_xdata(), DRAWN[against])
    np.testing.assert_allclose(line.get_ydata(), [3, 2, 1][-len(DRAWN[against]) :])


def test_measured_seconds_may_be_an_array():
    (line,) = plot.cost(SERIES, COSTS, "seconds", seconds=np.array([8.0])).lines
    np.testing.assert_allclose(line.get_xdata(), [4, 8])


def test_each_of_many_is_drawn_against_its_own_cost():
    series = {str(i): Series(np.array([0, 2]), np.array([3.0, 1.0]) + i) for i in range(9)}
    ax = plot.cost(series, [Cost(10 * (i + 1), 1, 100.0, 50.0) for i in range(9)])
    (curves,) = ax.collections
    drawn = [curve[:, 0].tolist() for curve in curves.get_segments()]
    assert drawn == [[10 * (i + 1), 30 * (i + 1)] for i in range(9)]
    assert not ax.lines  # a median over what each cost would mean nothing


@pytest.mark.parametrize("against", ["examples", "flops"])
def test_the_cost_of_the_whole_run_is_spread_over_its_updates(against):
    (line,) = plot.cost(SERIES, [COSTS[0].of(4)], against).lines
    np.testing.assert_allclose(line.get_xdata(), DRAWN[against])


REFUSED = {
    "against": (lambda: plot.cost(SERIES, COSTS, "money"), ValueError, "against"),
    "seconds": (lambda: plot.cost(SERIES, COSTS, "seconds"), ValueError, "seconds"),
    "costs": (lambda: plot.cost(SERIES, []), ValueError, "costs"),
    "unknown examples": (
        lambda: plot.cost(SERIES, [Cost(np.nan, 1, 100.0, 50.0)]),
        ValueError,
        "against",
    ),
    "no time": (
        lambda: plot.cost(SERIES, COSTS, "seconds", seconds=["x"]),
        TypeError,
        "seconds",
    ),
    "no name": (lambda: plot.cost(SERIES["full"], COSTS), TypeError, "series"),
    "no cost": (lambda: plot.cost(SERIES, [1.0]), TypeError, "costs"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case):
    call, error, name = REFUSED[case]
    with pytest.raises(error, match=f"^{name}: "):
        call()
