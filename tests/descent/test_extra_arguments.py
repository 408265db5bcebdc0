import jax
import jax.numpy as jnp
import optax
import pytest

import gdjax
from gdjax import Descent


def seen_by(update):
    """Run one step with this update and return what it put into its state."""
    optimizer = optax.GradientTransformationExtraArgs(lambda params: jnp.zeros(()), update)
    d = Descent(lambda w: w**3, 2.0, optimizer, stop=None, max_steps=1)
    return float(gdjax.run(d).state.opt_state)


def unchanged(grad):
    return jax.tree.map(jnp.zeros_like, grad)


def test_value_is_the_loss_at_the_parameters():
    assert seen_by(lambda u, s, p, *, value, **extra: (unchanged(u), value)) == 8.0


def test_grad_is_the_gradient_at_the_parameters():
    assert seen_by(lambda u, s, p, *, grad, **extra: (unchanged(u), grad)) == 12.0


def test_value_fn_is_the_loss():
    assert seen_by(lambda u, s, p, *, value_fn, **extra: (unchanged(u), value_fn(3.0))) == 27.0


def test_value_fn_has_the_descents_arguments():
    optimizer = optax.GradientTransformationExtraArgs(
        lambda params: jnp.zeros(()),
        lambda u, s, p, *, value_fn, **extra: (unchanged(u), value_fn(p)),
    )
    d = Descent(lambda w, x: w * x, 2.0, optimizer, (5.0,), stop=None, max_steps=1)
    assert gdjax.run(d).state.opt_state == 10.0


def test_grad_fn_is_the_gradient_elsewhere():
    assert seen_by(lambda u, s, p, *, grad_fn, **extra: (unchanged(u), grad_fn(3.0, 0))) == 27.0


def test_update_that_takes_only_some_gets_these():
    assert seen_by(lambda u, s, p, *, value: (unchanged(u), value)) == 8.0


@pytest.mark.parametrize("takes_any", [False, True])
def test_first_argument_may_be_called_grad(takes_any):
    def update(grad, state, params=None):
        return unchanged(grad), grad

    def update_with_extra(grad, state, params=None, **extra):
        return unchanged(grad), grad

    assert seen_by(update_with_extra if takes_any else update) == 12.0
