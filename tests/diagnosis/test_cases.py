from functools import lru_cache

import jax
import numpy as np
import pytest
from cases import CASES, diagnosed, lanes

from gdjax import Verdict

FAILING = {Verdict.PLATEAU, Verdict.SLOW, Verdict.OSCILLATING, Verdict.BOUNDED, Verdict.DIVERGED}
POLYNOMIALS = {"one", "xx", "yy", "x3", "x4", "y4", "monkey", "valley"}
OPTIMIZERS_USED = sorted({case.optimizer for case in CASES})
SAMPLE = [c for c in CASES if c.optimizer == "sgd" and set(c.terms) <= POLYNOMIALS]


@lru_cache
def diagnoses(optimizer, key, copies):
    """Return the diagnosis of each case of an optimizer by name, with variants after it."""
    every = [case for case in CASES if case.optimizer == optimizer]
    cases = SAMPLE if optimizer == "sample" else every
    found = diagnosed(cases[0].optimizer)(lanes(cases, key, copies))
    rows = {case.name: slice(i * copies, (i + 1) * copies) for i, case in enumerate(cases)}
    return {
        name: jax.tree.map(lambda x, own=own: np.asarray(x[own]), found)
        for name, own in rows.items()
    }


def check(case, found):
    assert Verdict(int(found.verdict[0])).name == case.verdict.name
    assert [flag for flag in case.flags if not getattr(found, flag)[0]] == []


@pytest.mark.parametrize("case", SAMPLE, ids=lambda case: case.name)
def test_some_cases_get_their_verdict_and_flags(case):
    check(case, diagnoses("sample", 1, 10)[case.name])


def test_some_cases_keep_their_verdicts_in_other_units_and_nearby():
    check_variants(SAMPLE, [diagnoses("sample", 1, 10)])


@pytest.mark.long
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_all_cases_get_their_verdict_and_flags(case):
    check(case, diagnoses(case.optimizer, 2, 11)[case.name])


@pytest.mark.long
def test_all_cases_keep_their_verdicts_in_other_units_and_nearby():
    check_variants(CASES, [diagnoses(optimizer, 2, 11) for optimizer in OPTIMIZERS_USED])


@pytest.mark.long
def test_all_cases_keep_their_verdicts_in_double_precision(x64):
    check_variants(CASES, [diagnoses(optimizer, 3, 11) for optimizer in OPTIMIZERS_USED])


def test_at_least_three_cases_have_each_verdict():
    assert min(sum(case.verdict == verdict for case in CASES) for verdict in Verdict) >= 3


def check_variants(cases, found):
    found = {name: own for part in found for name, own in part.items()}
    variants = [(case, found[case.name].verdict[1:]) for case in cases]
    right = np.concatenate([verdict == case.verdict for case, verdict in variants])
    assert right.mean() >= 0.95
    wrong = {c.name for c, v in variants if c.verdict in FAILING and (v == Verdict.MINIMUM).any()}
    assert not wrong
