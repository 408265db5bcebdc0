"""Every experiment's figures come out."""

from importlib import import_module

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import convergence_region, spurious_minima
from experiments.__main__ import EXPERIMENTS, main

LONG = {
    "himmelblau_basins",
    "diabetes",
    "catapult",
    "convergence_region",
    "digits",
    "edge_of_stability",
    "feigenbaum",
    "fidelity",
    "product_of_three",
    "spurious_minima",
}
CASES = [pytest.param(n, marks=[pytest.mark.long] * (n in LONG)) for n in EXPERIMENTS]


@pytest.mark.parametrize("name", CASES)
def test_every_figure_is_within_its_tolerance(name):
    measured = import_module(f"experiments.{name}").measure()
    assert measured
    assert not [str(figure) for figure in measured if not figure.holds]


def test_unknown_experiment_is_met_with_the_known_ones(capsys):
    with pytest.raises(SystemExit):
        main(["himmelblau"])
    assert "himmelblau_basins" in capsys.readouterr().err


@pytest.mark.long
def test_convergence_region_holds_on_a_coarse_grid_too():
    measured = convergence_region.measure(side=41)
    assert not [str(figure) for figure in measured if not figure.holds]


@pytest.mark.long
@pytest.mark.usefixtures("x64")
def test_expected_products_of_relus_are_those_of_a_sample():
    w, v = jax.random.normal(jax.random.key(0), (2, 3, 4))
    x = jax.random.normal(jax.random.key(1), (400_000, 4))
    sampled = jax.nn.relu(x @ w.T).T @ jax.nn.relu(x @ v.T) / len(x)
    np.testing.assert_allclose(spurious_minima.expected_products(w, v), sampled, atol=0.02)


@pytest.mark.long
@pytest.mark.usefixtures("x64")
def test_gradient_of_expected_products_is_that_of_the_closed_form():
    w, v = jax.random.normal(jax.random.key(0), (2, 3, 4))

    def product(w):  # sin θ + (π − θ) cos θ, with nothing held
        lengths = jnp.outer(jnp.linalg.norm(w, axis=1), jnp.linalg.norm(v, axis=1))
        angle = jnp.arccos(w @ v.T / lengths)
        return jnp.sum(lengths * (jnp.sin(angle) + (np.pi - angle) * jnp.cos(angle))) / (2 * np.pi)

    found = jax.grad(lambda w: jnp.sum(spurious_minima.expected_products(w, v)))(w)
    np.testing.assert_allclose(found, jax.grad(product)(w), rtol=1e-12)


@pytest.mark.long
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("w", [np.eye(4), np.zeros((4, 4)), np.ones((4, 4))])
def test_gradient_at_a_kink_is_finite(w):
    value, gradient = jax.value_and_grad(spurious_minima.loss)(jnp.asarray(w), jnp.eye(4))
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


@pytest.mark.long
@pytest.mark.usefixtures("x64")
def test_teacher_is_a_minimum_of_no_loss():
    assert spurious_minima.loss(jnp.eye(5), jnp.eye(5)) == pytest.approx(0.0, abs=1e-14)
