import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax
from gdjax import Descent, Status
from gdjax.transforms import perturb

pytestmark = pytest.mark.usefixtures("x64")


def strict_saddle(w):
    return 0.5 * w[0] ** 2 + 0.25 * w[1] ** 4 - 0.5 * w[1] ** 2


def perturbed(key, **changes):
    options = {"radius": 0.01, "grad_below": 1e-3, "patience": 100} | changes
    return optax.chain(optax.sgd(0.1), perturb(key, **options))


def test_starts_on_the_stable_manifold_end_at_the_saddle_without_and_at_a_minimum_with_it():
    starts = np.stack([np.linspace(-2, 2, 100), np.zeros(100)], axis=1)

    def lane(start, key, pushed):
        radius = jnp.where(pushed, 0.01, 0.0)
        return Descent(strict_saddle, start, perturbed(key, radius=radius))

    runs = gdjax.sweep(lane, start=starts, pushed=[False, True], key=jax.random.key(0))
    assert (runs.status == Status.CONVERGED).all()
    np.testing.assert_allclose(runs.params[:, 0], np.zeros((100, 2)), atol=1e-6)
    np.testing.assert_allclose(np.abs(runs.params[:, 1]), [[0.0, 1.0]] * 100, atol=1e-6)


@pytest.mark.long
def test_escape_takes_the_logarithm_of_the_push():
    def loss(w):
        return 0.5 * (w[0] ** 2 - w[1] ** 2)

    optimizer, start = perturbed(jax.random.key(4), radius=1e-8, patience=300), jnp.zeros(2)
    pushed = gdjax.step(d := Descent(loss, start, optimizer, stop=None), gdjax.init(d)).params
    assert 0 < jnp.linalg.norm(pushed) <= 1e-8
    stop = gdjax.stop.loss_below(-0.5)
    steps = gdjax.run(Descent(loss, start, optimizer, stop=stop)).steps
    assert steps == 1 + np.ceil(np.log(1 / abs(pushed[1])) / np.log(1.1))


@pytest.mark.parametrize("dim", [1, 5])
def test_push_is_uniform_in_the_ball(dim):
    def push(key):
        optimizer = perturb(key, radius=2.0, grad_below=0.0, patience=1)
        zero = {"a": jnp.zeros(dim - 1), "b": jnp.zeros(())}
        return optimizer.update(zero, optimizer.init(zero), zero, value=0.0, grad=zero)[0]

    n = 4000
    pushes = jax.jit(jax.vmap(push))(jax.random.split(jax.random.key(0), n))
    lengths = np.sort(np.sqrt(pushes["b"] ** 2 + np.sum(pushes["a"] ** 2, axis=1)))
    assert len(np.unique(pushes["b"])) == n  # each key pushes elsewhere
    assert lengths[-1] <= 2.0
    # Kolmogorov and Smirnov: a distance of 1.95/√n is exceeded once in a thousand times.
    distance = np.abs((lengths / 2) ** dim - np.arange(1, n + 1) / n).max()
    assert distance < 1.95 / np.sqrt(n)


def test_a_minimum_is_kept_and_pushed_only_once():
    record = {
        "params": gdjax.record.every(1, lambda state: state.params),
        "settled": gdjax.record.every(1, lambda state: state.opt_state[1].settled),
    }
    start = jnp.array([1e-4, 1.0])
    optimizer = perturbed(jax.random.key(0), patience=20)
    result = gdjax.run(
        Descent(strict_saddle, start, optimizer, stop=None, max_steps=200, record=record)
    )
    path, settled = result.record["params"].values, result.record["settled"].values
    back = int(np.argmax(settled))
    assert settled[back:].all()
    np.testing.assert_allclose(path[back], start, atol=1e-12)  # update 1 pushes, 22 takes it back
    np.testing.assert_allclose(result.params, [0.0, 1.0], atol=1e-7)


def test_a_large_gradient_allows_another_push():
    optimizer = perturb(jax.random.key(0), radius=1.0, grad_below=1.0, patience=1)
    zero = jnp.zeros(2)

    def update(state, gradient):
        grad = jnp.full(2, gradient)
        push, state = optimizer.update(zero, state, zero, value=0.0, grad=grad)
        return state, jnp.any(push != 0)

    gradients = jnp.array([0.0, 0.0, 0.0, 0.0, 9.0, 0.0])
    _, pushed = jax.lax.scan(update, optimizer.init(zero), gradients)
    assert pushed.tolist() == [True, False, False, False, False, True]
