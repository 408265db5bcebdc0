import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax
from gdjax import Descent, Status
from gdjax.transforms import scale_by_stable_learning_rate
from gdjax.transforms.top_curvature import top_curvature

pytestmark = pytest.mark.usefixtures("x64")

SPECTRA = {
    "positive": np.linspace(1, 10, 12),
    "negative dominates": np.r_[np.linspace(-100, 0, 11), 1.0],
    "all negative": -np.geomspace(1, 10, 12),
    "one outlier": np.r_[np.zeros(11), 1.0],
    "all equal": np.full(12, 3.0),
    "zero": np.zeros(12),
    "pair on top": np.r_[np.linspace(-1, 1, 10), 5.0, 5.0],
}


@jax.jit
@jax.vmap
def tops(matrix, vector, probe):
    return top_curvature(lambda v: matrix @ v, vector, probe)


@pytest.mark.parametrize("name", SPECTRA)
def test_largest_curvature_is_found_to_within_a_twentieth(name):
    spectrum, n = SPECTRA[name], 50
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(n, 12, 12)))[0]
    matrices = (axes * spectrum) @ axes.swapaxes(1, 2)
    top = tops(matrices, *rng.normal(size=(2, n, 12)))
    largest, rounding = spectrum.max(), 1e-12 * np.abs(spectrum).max()
    assert (top.value <= largest + rounding).all()
    assert (np.abs(top.value + top.error - largest) <= 0.1 * abs(largest) + rounding).mean() > 0.9
    near = np.abs(top.value[:, None] - spectrum[None]).min(axis=1)
    assert (near <= top.error + rounding).all()


def test_one_dimension_of_negative_curvature_is_no_zero():
    top = top_curvature(lambda v: -2.0 * v, jnp.ones(1), jnp.ones(1))
    assert (float(top.value), float(top.error)) == (-2.0, 0.0)


def test_the_probe_finds_what_the_last_eigenvector_hides():
    curvatures = jnp.array([1.0, 4.0])
    top = top_curvature(lambda v: curvatures * v, jnp.array([1.0, 0.0]), jnp.array([5.0, 1e-3]))
    assert float(top.value) == pytest.approx(4.0)


CURVATURES = np.array([1.0, 10.0, 100.0])


def quadratic(w, curvatures):
    return 0.5 * jnp.sum(curvatures * w**2)


@pytest.mark.parametrize("held", [False, True])
def test_rate_of_ten_times_the_limit_diverges_unless_it_is_held(held):
    rate = 10 * 2 / 100
    optimizer = scale_by_stable_learning_rate(rate, jax.random.key(0)) if held else optax.sgd(rate)
    result = gdjax.run(Descent(quadratic, jnp.ones(3), optimizer, (CURVATURES,)))
    assert result.status == (Status.CONVERGED if held else Status.DIVERGED)


@jax.jit
def last_rate(rate, limit, curvatures, steps):
    """Return the learning rate of the last step, where that of the schedule falls from `rate`."""
    optimizer = scale_by_stable_learning_rate(lambda k: rate / (1 + k), jax.random.key(0), limit)
    d = Descent(quadratic, jnp.ones(3), optimizer, (curvatures,), stop=None, max_steps=steps)
    return gdjax.run(d).state.opt_state.learning_rate


@pytest.mark.parametrize("steps", [1, 20])
def test_rate_is_held_at_the_limit_from_the_first_step_on(steps):
    rate = last_rate(100.0, 1.9, CURVATURES, steps)
    assert 0.95 * 1.9 / 100 < rate <= 1.9 / 100


def test_schedule_is_followed_below_the_limit():
    assert last_rate(0.015, 1.9, CURVATURES, 1) == 0.015
    assert last_rate(1.0, 1.9, CURVATURES, 100) == 0.01


def test_concave_loss_has_no_limit():
    assert last_rate(5.0, 1.9, -CURVATURES, 1) == 5.0


@pytest.mark.long
def test_momentum_allows_its_own_larger_limit():
    decay = 0.9
    # Polyak's limit is 2(1 + β)/λ: slightly below it is stable, and would not be without momentum.
    limit = 0.97 * 2 * (1 + decay)
    optimizer = optax.chain(
        optax.trace(decay), scale_by_stable_learning_rate(1.0, jax.random.key(0), limit)
    )
    d = Descent(quadratic, jnp.ones(3), optimizer, (CURVATURES,))
    assert gdjax.run(d).status == Status.CONVERGED


@pytest.mark.long
def test_walls_of_himmelblau_no_longer_throw_starts_out():
    axes = {"start": gdjax.grid(x=(-6, 6, 12), y=(-6, 6, 12)), "key": jax.random.key(0)}
    himmelblau, rate = gdjax.landscapes.himmelblau, 0.03

    def held(start, key):
        return Descent(himmelblau, start, scale_by_stable_learning_rate(rate, key))

    fixed = gdjax.sweep(lambda start, key: Descent(himmelblau, start, optax.sgd(rate)), **axes)
    assert (fixed.status == Status.DIVERGED).mean() > 0.1
    assert (gdjax.sweep(held, **axes).status == Status.CONVERGED).all()


@pytest.mark.long
def test_complex_parameters_have_the_curvature_of_pairs_of_real_ones():
    def loss(z):
        return 0.5 * jnp.sum(z.real**2 + 8 * z.imag**2) + 3 * jnp.sum(z.real * z.imag)

    optimizer = scale_by_stable_learning_rate(5.0, jax.random.key(0))
    d = Descent(loss, jnp.array([1.0 + 1.0j, 2.0]), optimizer, stop=None, max_steps=3)
    largest = np.linalg.eigvalsh([[1.0, 3.0], [3.0, 8.0]])[-1]
    assert gdjax.run(d).state.opt_state.curvature == pytest.approx(largest, rel=0.06)
