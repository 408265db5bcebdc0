"""The sharpness that an adaptive optimizer sees, in the units of its own steps."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from gdjax import checks
from gdjax.curvature.estimate import Estimate
from gdjax.curvature.extremes import both_ends, real_size, steps_for
from gdjax.curvature.products import product_with, widened
from gdjax.losses import Loss, ascent_direction
from gdjax.trees import PyTree, real_dtype, real_vector

ADAM = "ScaleByAdamState"
RMS = {"ScaleByRmsState", "ScaleByRmsWithCountState"}
CENTRED = {"ScaleByRStdDevState", "ScaleByRStdDevWithCountState"}
OF_OPTAX = {"b1": 0.9, "b2": 0.999, "decay": 0.9, "eps": 1e-8, "eps_root": 0.0}


def preconditioned_sharpness(
    loss: Loss,
    params: PyTree,
    opt_state: Any,
    *args: Any,
    b1: Any = None,
    b2: Any = None,
    decay: Any = None,
    eps: Any = None,
    eps_root: Any = None,
    eps_in_sqrt: bool = True,
    key: jax.Array | None = None,
    max_steps: int | None = None,
) -> Estimate:
    """Return the largest eigenvalue of P⁻¹H, for the preconditioner P of Adam or RMSProp.

    For Adam after t steps P = (1 − b1ᵗ)(√(ν/(1 − b2ᵗ) + eps_root) + eps), so that its step is that
    of a moving average of gradients divided by P; before the first step, P of that one. Some of its
    like keep a state of the same kind, which nothing tells apart: the value means nothing for
    Adamax and LAMB, and for Yogi takes `eps=1e-3`. For RMSProp P = √(ν + eps). The second moments ν
    are taken from wherever they are in the state: in chains, with `optax.inject_hyperparams`,
    `optax.masked` or `optax.multi_transform`, where parameters without any have P = 1.

    Args:
      loss: function of `(params, *args)` to a real scalar.
      params: pytree of floating or complex arrays.
      opt_state: state of any optax chain with Adam, AdamW, Nadam or RMSProp in it.
      *args: further arguments of the loss.
      b1: that of Adam, a real scalar. As optax does not keep it in the state, None takes what
        `optax.inject_hyperparams` has put there, or else optax's default; so for those below.
      b2: that of Adam.
      decay: that of RMSProp, which counts if it has `bias_correction=True`.
      eps: that of Adam or RMSProp.
      eps_root: that of Adam.
      eps_in_sqrt: that of RMSProp.
      key: random key; see `extremes`.
      max_steps: products with the Hessian; see `extremes`.

    Returns:
      Scalars; a bound on the error. Adam with b1 is stable where its learning rate is below
      (2 + 2 b1) / (1 − b1) / value, which is 38 / value for b1 = 0.9, and RMSProp below 2 / value;
      Nadam is so below about a third of Adam's.

    Raises:
      TypeError: the state has no such moments, or not of these parameters; see also `extremes`.
      ValueError: there are no parameters, a hyperparameter is below 0, or max_steps below 1.

    References:
      Cohen et al., Adaptive gradient methods at the edge of stability, arXiv:2207.14484, 2022.

    >>> params, optimizer = jnp.array([3.0, 1.0]), optax.rmsprop(0.1, eps=0.0)
    >>> _, state = optimizer.update(jnp.array([2.0, 4.0]), optimizer.init(params))
    >>> loss = lambda w: 0.5 * jnp.sum(w**2)  # P is √0.1 times [2, 4]
    >>> print(f"{preconditioned_sharpness(loss, params, state, eps=0.0).value:.4f}")
    1.5811
    """
    checks.function("loss", loss)
    params = widened(params)
    key = checks.typed_key("key", jax.random.key(0) if key is None else key)
    given = {"b1": b1, "b2": b2, "decay": decay, "eps": eps, "eps_root": eps_root}
    given = {
        name: checks.at_least_zero(name, value)
        for name, value in given.items()
        if value is not None
    }
    if not isinstance(eps_in_sqrt, bool):
        raise TypeError(f"eps_in_sqrt: expected a bool, got {eps_in_sqrt!r}")
    if not all(hasattr(leaf, "dtype") for leaf in jax.tree.leaves(opt_state)):
        raise TypeError(f"opt_state: expected the state of an optimizer, got {opt_state!r}")
    steps = steps_for(real_size(params), max_steps)
    _, high = preconditioned_ends(loss, params, opt_state, args, key, given, eps_in_sqrt, steps)
    return high


@partial(jax.jit, static_argnums=(0, 6, 7))
def preconditioned_ends(
    loss: Loss,
    params: PyTree,
    opt_state: Any,
    args: tuple,
    key: jax.Array,
    given: dict,
    eps_in_sqrt: bool,
    steps: int,
) -> tuple[Estimate, Estimate]:
    """Return the least and the largest eigenvalue of P⁻¹H at wide parameters."""
    first = jax.tree.map(lambda g: jnp.abs(g) ** 2, ascent_direction(loss, params, args))
    leaves, structure = jax.tree.flatten(params)
    roots = [jnp.ones(leaf.shape, real_dtype(leaf)) for leaf in leaves]
    found = list(_moments(opt_state, OF_OPTAX))
    if not found:
        raise TypeError(
            "opt_state: expected the state of a chain with Adam or RMSProp in it, found none in "
            f"{jax.tree.structure(opt_state)}"
        )
    for moments, known in found:
        own = _preconditioner(moments, first, known | given, eps_in_sqrt)
        roots = [
            root if divisor is None else 1 / jnp.sqrt(divisor.astype(root.dtype))
            for root, divisor in zip(roots, own)
        ]
    # Of complex parameters both parts are scaled alike.
    parts = [root + 1j * root if jnp.iscomplexobj(x) else root for root, x in zip(roots, leaves)]
    scale, _ = real_vector(jax.tree.unflatten(structure, parts))
    product = product_with(loss, params, args)
    high, low = both_ends(lambda v: scale * product(scale * v), scale, key, 1, steps)
    return Estimate(-low.values[0], low.errors[0]), Estimate(high.values[0], high.errors[0])


def kinds_of_moments(opt_state: Any) -> set[str]:
    """Return the names of the states with second moments that there are in a state."""
    return {type(moments).__name__ for moments, _ in _moments(opt_state, {})}


def _moments(state: Any, known: dict) -> Iterator[tuple[Any, dict]]:
    """Yield the states that have second moments, each with the hyperparameters known for it."""

    def is_found(node: Any) -> bool:
        return type(node).__name__ in {ADAM, *RMS, *CENTRED} or hasattr(node, "hyperparams")

    for node in jax.tree.leaves(state, is_leaf=is_found):
        if hasattr(node, "hyperparams"):
            yield from _moments(node.inner_state, known | node.hyperparams)
        elif is_found(node):
            yield node, known


def _preconditioner(
    moments: Any, first: PyTree, hyperparameters: dict, eps_in_sqrt: bool
) -> list[jax.Array | None]:
    """Return P for each leaf, None for those that another transformation updates."""
    h, kind = hyperparameters, type(moments).__name__
    nu, squares = _aligned(moments.nu, first), jax.tree.leaves(first)
    mu = _aligned(moments.mu, first) if kind in CENTRED else nu
    count = moments.count if "count" in moments._fields else None

    def corrected(moment: jax.Array, decay: Any, otherwise: jax.Array) -> jax.Array:
        if count is None:
            return moment
        after = optax.tree.bias_correction(moment, decay, jnp.maximum(count, 1))
        return jnp.where(count == 0, otherwise, after)

    def of_leaf(nu: jax.Array, mu: jax.Array, square: jax.Array) -> jax.Array:
        nu = jnp.real(nu).astype(square.dtype)
        if kind == ADAM:
            steps = jnp.maximum(moments.count, 1)
            root = jnp.sqrt(corrected(nu, h["b2"], square) + h["eps_root"])
            return (1 - h["b1"] ** steps) * (root + h["eps"])
        variance = corrected(nu, h["decay"], square)
        if kind in CENTRED:
            variance -= jnp.abs(corrected(mu, h["decay"], jnp.sqrt(square))) ** 2
        return jnp.sqrt(variance + h["eps"]) if eps_in_sqrt else jnp.sqrt(variance) + h["eps"]

    return [None if n is None else of_leaf(n, m, s) for n, m, s in zip(nu, mu, squares)]


def _aligned(moments: PyTree, params: PyTree) -> list[Any]:
    """Return the moment of each leaf of the parameters, None where it is masked."""

    def is_masked(node: Any) -> bool:
        return isinstance(node, optax.MaskedNode)

    leaves, structure = jax.tree.flatten(moments, is_leaf=is_masked)
    try:
        parts = structure.flatten_up_to(params)
    except ValueError as error:
        raise TypeError(f"opt_state: it is not that of these parameters: {error}") from None
    aligned = []
    for leaf, part in zip(leaves, parts):
        below = jax.tree.leaves(part)
        aligned += [None] * len(below) if is_masked(leaf) else [leaf]
        if not is_masked(leaf) and [jnp.shape(leaf)] != [jnp.shape(x) for x in below]:
            raise TypeError(
                f"opt_state: it is not that of these parameters: a moment has shape "
                f"{jnp.shape(leaf)}"
            )
    return aligned
