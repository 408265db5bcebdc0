import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gdjax import curvature


def loss(w, scale, batch):
    x, y = batch["x"], batch["y"]
    return scale * jnp.mean((jnp.tanh(x @ w) - y) ** 2)


X = jax.random.normal(jax.random.key(0), (10, 3))
DATA = {"x": X, "y": jnp.sin(X[:, 0])}
W = jnp.array([0.3, -1.0, 2.0])


@pytest.mark.parametrize("size", [1, 3, 5, 10, 20])
def test_batches_keep_the_value_and_the_hessian(size):
    batched = curvature.in_batches(loss, size)
    np.testing.assert_allclose(batched(W, 2.0, DATA), loss(W, 2.0, DATA), rtol=1e-6)
    expected = curvature.hessian(loss, W, 2.0, DATA)
    np.testing.assert_allclose(curvature.hessian(batched, W, 2.0, DATA), expected, atol=1e-5)


def test_a_product_takes_the_memory_of_a_batch():
    def wide(w, x):
        return jnp.mean(jnp.sin(jnp.sin(x[:, None] * w[None]) @ jnp.ones(1000)))

    def memory(loss):
        product = jax.jit(lambda w, x: curvature.hvp(loss, w, w, x))
        compiled = product.lower(jnp.ones(1000), jnp.ones(4096)).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert memory(curvature.in_batches(wide, 64)) < memory(wide) / 16


def test_the_same_batches_are_the_same_program(no_compilation):
    jax.block_until_ready(curvature.hvp(curvature.in_batches(loss, 2), W, W, 1.0, DATA))
    with no_compilation():
        jax.block_until_ready(curvature.hvp(curvature.in_batches(loss, 2), W, W, 1.0, DATA))


@pytest.mark.parametrize(
    ("of", "size", "error", "named"),
    [(3, 1, TypeError, "loss: "), (loss, 0, ValueError, "size: "), (loss, 1.5, TypeError, "size")],
)
def test_bad_arguments_are_refused(of, size, error, named):
    with pytest.raises(error, match=named):
        curvature.in_batches(of, size)


@pytest.mark.parametrize(
    "data",
    [(), (jnp.ones(0),), (1.0,), ((jnp.ones(2), jnp.ones(3)),)],
    ids=["none", "no examples", "a scalar", "unequal"],
)
def test_bad_data_are_refused(data):
    halves = curvature.in_batches(lambda w, *batch: jnp.sum(w**2), 2)
    with pytest.raises((TypeError, ValueError), match=r"^data: "):
        curvature.sharpness(halves, jnp.ones(2), *data)


def test_a_loss_that_is_no_scalar_is_refused():
    squares = curvature.in_batches(lambda w, x: (w * x) ** 2, 2)
    with pytest.raises(TypeError, match=r"^loss: expected it to return a scalar"):
        curvature.sharpness(squares, 1.0, jnp.ones(4))
