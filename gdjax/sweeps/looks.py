"""The looks at the ends of lanes, compiled: tile after tile, as many as there are lanes for."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gdjax.descent.description import canonical
from gdjax.diagnosis.ahead import Ahead
from gdjax.diagnosis.decide import Found, ahead_of, went_on
from gdjax.diagnosis.diagnose import Look, looked_closer, on_the_way
from gdjax.diagnosis.end import End
from gdjax.diagnosis.verdict import Diagnosis
from gdjax.sweeps.constants_apart import ConstantsApart
from gdjax.sweeps.keys import with_keys, without_keys
from gdjax.sweeps.lanes import Lane, place_of
from gdjax.trees import PyTree


class Looks(NamedTuple):
    """Looks at lanes.

    Each is a function of the sources and their key, what else is the same for all, the number of
    tiles, and of lanes [n] their numbers, ends, and what else they have.
    """

    closer: Callable[..., tuple[Look, Found]]
    ahead: Callable[..., Ahead]  # until so many windows; with the tolerances, and that so far
    on_the_way: Callable[..., Diagnosis]  # with what is found, and that ahead
    nothing_yet: Callable[..., Ahead]  # of sources, key, numbers and ends


Looker = Callable[..., Any]  # of sources, key, and of a lane its number and end, and of what else


def looker(lane: Lane, shape: tuple[int, ...], look: Callable[..., Any]) -> Looker:
    """Return a look at a lane's end as a function of its number."""

    def of_lane(sources: PyTree, key: Any, number: Any, end: End, *more: Any) -> Any:
        d = canonical(lane.descent(lane.values(sources, place_of(number, shape)), number, key))
        opt_state = with_keys(end.opt_state, d.optimizer.init(d.params))
        return look(d, end._replace(opt_state=opt_state), *more)

    return of_lane


@lru_cache(maxsize=32)
def looks_at(lane: Lane, shape: tuple[int, ...], width: int) -> Looks:
    """Return the looks at a lane's end and at where it goes from there, in tiles of this width."""

    def seen(d, end, so_far):
        begin = ahead_of(d, end)
        so_far = jax.tree.map(
            lambda a, b: jnp.where(so_far.windows == 0, a, b), without_keys(begin), so_far
        )
        return with_keys(so_far, begin)

    def ahead(d, end, most, tol, so_far):
        return without_keys(went_on(d, end, tol, seen(d, end, so_far), most))

    def way(d, end, found, ahead):
        return on_the_way(d, end, found, seen(d, end, ahead))

    def compiled(look: Callable[..., Any]) -> Callable[..., Any]:
        return ConstantsApart(partial(_in_tiles, looker(lane, shape, look), width))

    begin = looker(lane, shape, lambda d, end: without_keys(ahead_of(d, end)))
    return Looks(
        closer=compiled(looked_closer),
        ahead=compiled(ahead),
        on_the_way=compiled(way),
        nothing_yet=jax.jit(jax.vmap(begin, in_axes=(None, None, 0, 0))),
    )


def _in_tiles(
    look: Looker, width: int, shared: tuple, common: tuple, tiles: Any, lanes: tuple
) -> PyTree:
    """Return a look at each of lanes [n] but for those beyond so many tiles, where it is 0."""
    cut = jax.tree.map(lambda leaf: leaf.reshape(-1, width, *leaf.shape[1:]), lanes)

    @jax.jit  # and so it is traced once
    def at_a_tile(tile: Any) -> PyTree:
        own = jax.tree.map(lambda leaf: lax.dynamic_index_in_dim(leaf, tile, 0, False), cut)
        return jax.vmap(lambda number, end, *more: look(*shared, number, end, *common, *more))(*own)

    def next_tile(carry: tuple) -> tuple:
        tile, rows = carry
        rows = jax.tree.map(
            lambda whole, own: lax.dynamic_update_index_in_dim(whole, own, tile, 0),
            rows,
            at_a_tile(tile),
        )
        return tile + 1, rows

    none = jnp.zeros((), jnp.int32)
    count = len(jax.tree.leaves(cut)[0])
    rows = jax.tree.map(
        lambda leaf: jnp.zeros((count, *leaf.shape), leaf.dtype), jax.eval_shape(at_a_tile, none)
    )
    _, rows = lax.while_loop(lambda carry: carry[0] < tiles, next_tile, (none, rows))
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), rows)
