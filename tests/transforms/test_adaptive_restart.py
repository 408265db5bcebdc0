import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax
from gdjax import Descent
from gdjax.transforms import adaptive_restart

pytestmark = pytest.mark.usefixtures("x64")
CURVATURES = np.geomspace(1.0, 1e3, 7)


def quadratic(w, curvatures):
    return 0.5 * jnp.sum(curvatures * w**2)


def reference(scheme, start, steps):
    """Return the points y of algorithm 1 of the paper, and how often it restarted."""
    x, y, theta, path, restarts = start, start, 1.0, [], 0
    for _ in range(steps):
        gradient = CURVATURES * y
        new = y - gradient / CURVATURES[-1]
        if scheme == "function":
            restart = CURVATURES @ new**2 > CURVATURES @ x**2
        else:
            restart = gradient @ (new - x) > 0
        smaller = (-(theta**2) + np.sqrt(theta**4 + 4 * theta**2)) / 2
        beta = theta * (1 - theta) / (theta**2 + smaller)
        if restart and scheme != "never":
            beta, smaller, restarts = 0.0, 1.0, restarts + 1
        x, y, theta = new, new + beta * (new - x), smaller
        path.append(y)
    return np.array(path), restarts


@pytest.mark.parametrize("scheme", ["gradient", "function"])
def test_iterates_are_those_of_the_paper(scheme):
    start, steps = np.ones(7), 300
    optimizer = optax.chain(optax.sgd(1 / CURVATURES[-1]), adaptive_restart(scheme))
    record = gdjax.record.every(1, lambda state: state.params)
    d = Descent(
        quadratic, start, optimizer, (CURVATURES,), stop=None, max_steps=steps, record=record
    )
    path, restarts = reference(scheme, start, steps)
    assert restarts == 2
    # Restarts amplify rounding no more than the descent itself shrinks it.
    np.testing.assert_allclose(gdjax.run(d).record.values[1:], path, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("scheme", ["gradient", "function"])
def test_first_restart_comes_at_the_first_zero_of_the_bessel_function(scheme):
    # Along a curvature far below the largest, x follows 2 J₁(t)/t with t = k √(μ/L) (Su, Boyd,
    # Candès, 2014), and the loss rises from where that is zero: t = 3.8317.
    restarted = gdjax.record.every(1, lambda state: state.opt_state[1].theta == 1)
    kappa, optimizer = 1e5, optax.chain(optax.sgd(1e-5), adaptive_restart(scheme))
    d = Descent(lambda w: 0.5 * w**2, 1.0, optimizer, stop=None, max_steps=1500, record=restarted)
    first = 1 + int(np.argmax(gdjax.run(d).record.values[1:]))
    assert first / np.sqrt(kappa) == pytest.approx(3.8317, rel=0.01)


def test_without_restart_the_same_momentum_takes_several_times_as_many_steps():
    restarted, start = adaptive_restart(), np.ones(7)
    stop = gdjax.stop.loss_below(1e-12)
    optimizer = optax.chain(optax.sgd(1 / CURVATURES[-1]), restarted)
    steps = int(gdjax.run(Descent(quadratic, start, optimizer, (CURVATURES,), stop=stop)).steps)
    path, _ = reference("never", start, 4 * steps)
    assert (CURVATURES * path**2).sum(1).min() / 2 > 1e-12


def test_the_first_state_is_of_the_types_of_those_after_it():
    optimizer, params = adaptive_restart("function"), jnp.ones(2)
    first = optimizer.init(params)
    _, after = optimizer.update(params, first, params, value_fn=jnp.sum)
    assert jax.tree.map(jax.typeof, first) == jax.tree.map(jax.typeof, after)
