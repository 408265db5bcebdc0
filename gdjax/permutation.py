"""A random permutation, evaluated only where it is asked."""

import jax
import jax.numpy as jnp
from jax import lax

ROUNDS = 48  # of the shuffle: each leaves two indices tied to each other with probability 1/2


def permuted(key: jax.Array, indices: jax.Array, length: int) -> jax.Array:
    """Return where a random permutation of `range(length)` takes some indices.

    Equal keys give one permutation, so that each index of `range(length)` is met once, whatever
    parts it is asked for in; and a part costs no more than its length, where
    `jax.random.permutation` sorts all of it.

    Args:
      key: the random key of the permutation.
      indices: uint32 [...] within `range(length)`.
      length: how many are permuted, from 1 to 2**31.

    Returns:
      uint32 [...] within `range(length)`.

    References:
      Hoang, Morris, Rogaway, An enciphering scheme based on a card shuffle, 2012: swap or not.

    >>> where = permuted(jax.random.key(0), jnp.arange(6, dtype=jnp.uint32), 6)
    >>> sorted(where.tolist())
    [0, 1, 2, 3, 4, 5]
    """
    pivots, salts = jax.random.bits(key, (2, ROUNDS), jnp.uint32)
    pivots %= length

    def swapped_or_not(i: jax.Array, indices: jax.Array) -> jax.Array:
        pivot = pivots[i]
        partner = jnp.where(indices <= pivot, pivot - indices, pivot - indices + length)
        # Of a pair of partners both see the larger one, and so both see one coin.
        coin = _mixed(jnp.maximum(indices, partner) ^ salts[i]) >> 31
        return jnp.where(coin == 1, partner, indices)

    return lax.fori_loop(0, ROUNDS, swapped_or_not, indices)


def _mixed(bits: jax.Array) -> jax.Array:
    """Return bits each of which depends on all of the given ones: the end of MurmurHash3."""
    bits = (bits ^ (bits >> 16)) * jnp.uint32(0x85EBCA6B)
    bits = (bits ^ (bits >> 13)) * jnp.uint32(0xC2B2AE35)
    return bits ^ (bits >> 16)
