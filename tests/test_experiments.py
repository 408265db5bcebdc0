"""Every experiment's figures come out."""

from importlib import import_module

import pytest

from experiments.__main__ import EXPERIMENTS

LONG = {"catapult", "digits", "edge_of_stability", "feigenbaum", "fidelity"}
CASES = [pytest.param(n, marks=[pytest.mark.long] * (n in LONG)) for n in EXPERIMENTS]


@pytest.mark.parametrize("name", CASES)
def test_every_figure_is_within_its_tolerance(name):
    measured = import_module(f"experiments.{name}").measure()
    assert measured
    assert not [str(figure) for figure in measured if not figure.holds]
