from functools import lru_cache

import jax
import numpy as np
import pytest
from cases import CASES, OPTIMIZERS, diagnosed, lanes

from gdjax import Verdict

FAILING = {Verdict.PLATEAU, Verdict.SLOW, Verdict.OSCILLATING, Verdict.BOUNDED, Verdict.DIVERGED}
POLYNOMIALS = {"one", "xx", "yy", "x3", "x4", "y4", "monkey", "valley"}
SAMPLE = [c for c in CASES if c.optimizer == "sgd" and set(c.terms) <= POLYNOMIALS]


def verdicts(cases, key=None, copies=1):
    """Return the diagnosis of each case, of all cases of an optimizer in one call."""
    found = {}
    for optimizer in OPTIMIZERS:
        own = [case for case in cases if case.optimizer == optimizer]
        if own:
            _, diagnosis = diagnosed(optimizer)(lanes(own, key, copies))
            diagnosis = jax.tree.map(np.asarray, diagnosis)
            for i, case in enumerate(own):
                rows = slice(i * copies, (i + 1) * copies)
                found[case.name] = jax.tree.map(lambda x, rows=rows: x[rows], diagnosis)
    return found


@lru_cache
def of_sample():
    return verdicts(SAMPLE)


@lru_cache
def of_all():
    return verdicts(CASES)


@pytest.mark.parametrize("case", SAMPLE, ids=lambda case: case.name)
def test_some_cases_get_their_verdict_and_flags(case):
    check(case, of_sample()[case.name])


@pytest.mark.long
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_all_cases_get_their_verdict_and_flags(case):
    check(case, of_all()[case.name])


def check(case, found):
    assert Verdict(int(found.verdict[0])).name == case.verdict.name
    assert [flag for flag in case.flags if not getattr(found, flag)[0]] == []


def test_at_least_three_cases_have_each_verdict():
    assert min(sum(case.verdict == verdict for case in CASES) for verdict in Verdict) >= 3


def test_sample_keeps_its_verdicts_in_other_units_and_nearby():
    check_variants(SAMPLE, key=1, copies=8)


@pytest.mark.long
@pytest.mark.parametrize("key", [2, 3])
def test_variants_keep_their_verdicts(key):
    check_variants(CASES, key, copies=10)


@pytest.mark.long
def test_variants_keep_their_verdicts_in_double_precision(x64):
    check_variants(CASES, key=4, copies=10)


def check_variants(cases, key, copies):
    found = verdicts(cases, key, copies)
    right = np.concatenate([found[case.name].verdict == case.verdict for case in cases])
    assert right.mean() >= 0.95
    failing = [case for case in cases if case.verdict in FAILING]
    called_minimum = {c.name: (found[c.name].verdict == Verdict.MINIMUM).sum() for c in failing}
    assert not any(called_minimum.values()), called_minimum
