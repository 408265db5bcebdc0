"""Sets whose dimension is known: the measures must come near it, and say how near."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax
from gdjax import basins

NEWTON_DIMENSION = 1.444  # Bowen's formula over the preimages, 11 deep, of Newton's map for z³ = 1


def newton(updates, params):
    z = jax.lax.complex(params["x"], params["y"])
    step = -(z**3 - 1) / (3 * z**2)
    return {"x": step.real, "y": step.imag}


def distance_from_unity(w):
    z = jax.lax.complex(w["x"], w["y"])
    return jnp.abs(z**3 - 1) ** 2


@pytest.fixture(scope="module")
def newton_labels():
    runs = gdjax.sweep(
        lambda start: gdjax.Descent(
            distance_from_unity, start, optax.stateless(newton), max_steps=200
        ),
        start=gdjax.grid(x=(-2, 2, 400), y=(-2, 2, 400)),
    )
    ends = np.arctan2(runs.params["y"], runs.params["x"])
    labels = np.round(ends / (2 * np.pi / 3)).astype(int) % 3
    return np.where(runs.status == gdjax.Status.CONVERGED, labels, -1)


def test_basins_of_newtons_map_share_one_boundary(newton_labels):
    found = basins.wada(newton_labels)
    assert (found.basins, found.is_wada) == (3, True)


def test_boundary_of_newtons_map_has_its_dimension(newton_labels):
    found = basins.boundary_dimension(newton_labels)
    assert found.fit.is_good
    assert found.value == pytest.approx(NEWTON_DIMENSION, abs=0.04)


def test_starts_without_a_label_do_not_hide_the_property_of_wada(newton_labels):
    some = newton_labels.copy()
    some[::7, ::7] = -1
    assert basins.wada(some).is_wada


@pytest.mark.parametrize("name", ["two basins", "half planes"])
def test_what_does_not_share_one_boundary_is_not_wada(newton_labels, name):
    half_planes = np.repeat(np.digitize(np.arange(90), [30, 60])[:, None], 90, axis=1)
    labels = {"two basins": np.minimum(newton_labels, 1), "half planes": half_planes}[name]
    assert not basins.wada(labels).is_wada


def cantor_gaps(starts, ratio):
    """Return the parity of the generation of the gap of a Cantor set that each start lies in.

    Two pieces of size `ratio` make the set, so that its dimension is ln 2 / ln (1 / ratio).
    """
    x = (np.arange(starts) + 0.5) / starts
    labels, left = np.zeros(starts, int), np.ones(starts, bool)
    for generation in range(30):
        gap = left & (x > ratio) & (x < 1 - ratio)
        labels[gap] = generation % 2
        left &= ~gap
        x = np.where(x <= ratio, x, x - (1 - ratio)) / ratio
    return labels


@pytest.mark.parametrize("ratio", [1 / 3, 0.25, 0.4, 0.45])
@pytest.mark.parametrize("starts", [5_000, 20_000])
def test_interval_holds_the_exponent_of_a_cantor_set(starts, ratio):
    found = basins.uncertainty_exponent(cantor_gaps(starts, ratio))
    assert found.fit.is_good
    assert found.low <= 1 - np.log(2) / np.log(1 / ratio) <= found.high


@pytest.mark.parametrize("side", [256, 500])
def test_exponent_of_a_set_without_interior_is_its_codimension(side):
    i = np.arange(side)
    sierpinski = ((i[:, None] & i) == 0).astype(int)
    found = basins.uncertainty_exponent(sierpinski)
    assert found.value == pytest.approx(2 - np.log2(3), abs=0.05)
    assert found.low <= 2 - np.log2(3) <= found.high


def under_a_graph(starts, roughness, degrees):
    """Return where the starts of a map, turned, are below a graph of dimension 2 - roughness.

    It is Weierstrass's function, with the phases of Mandelbrot's.
    """
    at = (np.arange(starts) + 0.5) / starts - 0.5
    turn = np.exp(1j * np.deg2rad(degrees)) * (at[:, None] + 1j * at)
    octaves = np.arange(20)[:, None, None]
    phases = np.random.default_rng(0).uniform(0, 2 * np.pi, octaves.shape)
    waves = np.cos(2 * np.pi * 2.0**octaves * (turn.real + 1) + phases)
    return (turn.imag < 0.1 * np.sum(2.0 ** (-roughness * octaves) * waves, axis=0)).astype(int)


@pytest.mark.parametrize("roughness", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("degrees", [0, 30, 45])
def test_error_covers_that_the_graph_of_a_rough_function_looks_smoother(roughness, degrees):
    found = basins.uncertainty_exponent(under_a_graph(256, roughness, degrees))
    assert found.low <= roughness <= found.high
    assert not found.fit.is_good or abs(found.value - roughness) < 0.15


@pytest.mark.parametrize("measure", [basins.uncertainty_exponent, basins.boundary_dimension])
def test_one_odd_start_does_not_make_a_good_fit_bad(measure):
    stripes = np.repeat(cantor_gaps(2000, 0.25)[:, None], 256, axis=1)
    odd = stripes.copy()
    odd[1000, 128] = 7
    assert measure(odd).error == pytest.approx(measure(stripes).error, rel=0.05)


def test_border_of_trainability_of_a_quadratic_is_smooth():
    hessian = jnp.array([[2.0, 1.0], [1.0, 3.0]])

    def lane(first, second):
        rates = jnp.stack([10.0**first, 10.0**second])
        update = optax.stateless(lambda gradient, _: -rates * gradient)
        return gdjax.Descent(lambda w: w @ hessian @ w / 2, jnp.ones(2), update, max_steps=500)

    exponents = np.linspace(-2, 1, 192)
    runs = gdjax.sweep(lane, first=exponents, second=exponents)
    found = basins.boundary_dimension((runs.status == gdjax.Status.DIVERGED).astype(int))
    assert found.fit.is_good
    assert found.value == pytest.approx(1.0, abs=0.05)


def test_sphere_in_three_dimensions_is_smooth():
    x = np.linspace(-1, 1, 64) ** 2
    ball = (x[:, None, None] + x[:, None] + x < 0.5).astype(int)
    assert basins.uncertainty_exponent(ball).value == pytest.approx(1.0, abs=0.05)
    assert basins.boundary_dimension(ball).value == pytest.approx(2.0, abs=0.05)


def test_shares_that_follow_no_power_law_are_no_good_fit():
    i = np.arange(512) // 16
    assert not basins.uncertainty_exponent((i[:, None] + i) % 2).fit.is_good


@pytest.mark.parametrize("measure", [basins.boundary_dimension, basins.uncertainty_exponent])
def test_labels_beyond_the_signed_integers_are_labels_as_others(measure):
    labels = (np.arange(256) > 100).astype(np.uint64)
    assert measure(labels + np.uint64(2**63 + 5)).value == measure(labels).value


def test_labels_beyond_the_signed_integers_keep_their_names():
    labels = np.array([2**63 + 5, 2**63 + 5, 2**64 - 1], np.uint64)
    assert basins.fractions(labels).label.tolist() == [2**63 + 5, 2**64 - 1]
    assert basins.fractions(labels[:2]).label.tolist() == [2**63 + 5]
    assert basins.wada(labels).basins == 2


def test_entropy_of_a_disc_is_that_of_its_cells():
    labels = np.zeros((4, 4), int)
    labels[:2] = 1
    labels[0, 0] = labels[3, 3] = 2  # corners, outside of the disc of 12 cells
    found = basins.basin_entropy(labels, 4, shape="ball")
    assert found.boundary == pytest.approx(np.log(2))
