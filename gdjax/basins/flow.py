"""The ends of the gradient flow w' = −∇L, integrated by diffrax in float64."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gdjax.curvature.extremes import LARGEST_HESSIAN
from gdjax.descent import Status
from gdjax.descent.description import canonical, whole_arguments
from gdjax.losses import value
from gdjax.sweeps.constants_apart import ConstantsApart
from gdjax.sweeps.lanes import Lane, Lanes
from gdjax.sweeps.machine import checked_devices, workers_of
from gdjax.sweeps.threads import with_settings
from gdjax.trees import PyTree, coarsest_eps, in_double, real_columns, real_vector

# Of the spread: a distance, to the point that Newton's method sees along the flow, at which it has
# arrived. Where it slows down on the floor of a valley, that distance is 1 / condition.
ARRIVED = 1e-10
FARTHEST = 1e6  # in units of the spread: a flow that gets there does not come back
FIRST = 1e-3  # of the spread: how far the first step goes
TOGETHER = 256  # starts that are integrated side by side
NUMBERS = 2**20  # of their Hessians


class FlowEnds(NamedTuple):
    """Where flows end; arrays [starts, ...]."""

    params: PyTree  # in the dtypes of the starts
    loss: Any
    grad_norm: Any
    steps: Any  # int32, of the integrator
    status: Any  # int8: CONVERGED at a critical point, DIVERGED out of sight, STEP_LIMIT


def check_diffrax() -> None:
    """Raise if diffrax is not installed."""
    if find_spec("diffrax") is None:
        raise ModuleNotFoundError(
            "the gradient flow needs diffrax: pip install 'gdjax[flow]'", name="diffrax"
        )


def starts_of(lanes: Lanes, numbers: np.ndarray) -> tuple[PyTree, np.ndarray]:
    """Return the starts of these lanes, numpy arrays [n, ...] in their own dtypes, and the losses.

    Random numbers differ between precisions, so that starts are made in that of the sweep.
    """
    values, numbers = lanes.values(numbers), numbers.astype(np.int32)
    return jax.tree.map(np.asarray, _starts_program(lanes.lane)(values, numbers, lanes.key))


@lru_cache(maxsize=32)
def _starts_program(lane: Lane) -> Callable[..., tuple[PyTree, jax.Array]]:
    def start(values: PyTree, number: Any, key: Any) -> tuple[PyTree, jax.Array]:
        d = canonical(lane.descent(values, number, key))
        return d.params, value(d.loss, d.params, whole_arguments(d))

    return _in_turn(start)


def check_losses(lanes: Lanes, numbers: np.ndarray, starts: tuple[PyTree, np.ndarray]) -> None:
    """Raise where the loss of a start is another one in float64 than in the sweep's precision."""
    params, own = starts
    with jax.enable_x64(True):
        program, values = _losses_program(lanes.lane), lanes.values(numbers)
        wide = np.asarray(program((values, params), numbers.astype(np.int32), lanes.key))
    finite = np.isfinite(own) & np.isfinite(wide)
    apart = np.abs(own - wide)[finite].max(initial=0.0)
    if apart > coarsest_eps(params) ** 0.5 * np.abs(wide[finite]).max(initial=0.0):
        raise ValueError(
            f"runs: in float64, in which the flow is integrated, the loss of a start differs by "
            f"{apart:.3g}; a loss that draws random numbers needs a sweep with jax_enable_x64"
        )


@lru_cache(maxsize=32)
def _losses_program(lane: Lane) -> Callable[..., jax.Array]:
    def loss(values_and_start: PyTree, number: Any, key: Any) -> jax.Array:
        values, start = values_and_start
        d = lane.descent(values, number, key)
        return value(d.loss, in_double(start), whole_arguments(d))

    return _in_turn(loss)


def _in_turn(function: Callable[..., PyTree]) -> Callable[..., PyTree]:
    """Return the function over the leading axis of all arguments but the key, a part at a time."""

    def over(values: PyTree, numbers: jax.Array, key: Any) -> PyTree:
        return lax.map(lambda x: function(*x, key), (values, numbers), batch_size=TOGETHER)

    return ConstantsApart(over)


def flow_ends(
    lanes: Lanes,
    numbers: np.ndarray,
    starts: tuple[PyTree, np.ndarray],
    tolerance: float,
    max_steps: int,
) -> FlowEnds:
    """Return where the flows from the starts of these lanes end."""
    params, losses = starts
    centre, spread = _frame(real_columns(params))
    values = lanes.values(numbers)
    dim, count = len(spread), len(numbers)
    room = NUMBERS // (dim * min(dim, LARGEST_HESSIAN)) or 1
    together = min(TOGETHER, 1 << (count - 1).bit_length(), 1 << (room.bit_length() - 1))

    def part(first: int) -> FlowEnds:
        rows = np.minimum(np.arange(first, first + together), count - 1)
        some = jax.tree.map(lambda leaf: leaf[rows], (values, numbers.astype(np.int32), params))
        program = _flow_program(lanes.lane, max_steps)
        ends = program(*some, lanes.key, centre, spread, np.float64(tolerance))
        return jax.tree.map(lambda leaf: np.asarray(leaf)[: count - first], ends)

    workers = workers_of(None, checked_devices(None))
    with jax.enable_x64(True), ThreadPoolExecutor(workers) as threads:
        parts = list(threads.map(with_settings(part), range(0, count, together)))
    ends = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    like = FlowEnds(params, losses, losses, np.zeros(0, np.int32), np.zeros(0, np.int8))
    with np.errstate(over="ignore"):  # where the flow has left the range of the runs' dtype
        return jax.tree.map(lambda end, own: end.astype(own.dtype), ends, like)


def _frame(starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the centre and the spread of the starts [starts, dim], never 0."""
    finite = starts[np.isfinite(starts).all(axis=1)]
    if not len(finite):
        return np.zeros(starts.shape[1]), np.ones(starts.shape[1])
    low, high = finite.min(axis=0), finite.max(axis=0)
    spread = high - low
    whole = spread.max() or np.abs(finite).max() or 1.0
    return (low + high) / 2, np.where(spread > 0, spread, whole)


@lru_cache(maxsize=32)
def _flow_program(lane: Lane, max_steps: int) -> Callable[..., FlowEnds]:
    """Return a function from starts to the ends of their flows, in float64."""
    import diffrax
    import optimistix

    def flow(
        values: PyTree, number: Any, start: PyTree, key: Any, centre: Any, spread: Any, tol: Any
    ) -> FlowEnds:
        d = lane.descent(values, number, key)
        wide, unravel = real_vector(in_double(start))
        # In units of the spread, so that one tolerance fits all coordinates.
        first = (wide - centre) / spread

        def loss(place: jax.Array) -> jax.Array:
            return value(d.loss, unravel(centre + spread * place), whole_arguments(d))

        def velocity(t: Any, place: jax.Array, args: Any) -> jax.Array:
            return -jax.grad(loss)(place) / spread**2

        small = wide.size <= LARGEST_HESSIAN
        # An explicit method wavers about the end by as much as it may err in a step.
        reach = ARRIVED if small else jnp.maximum(ARRIVED, 100 * tol)

        def arrived(t: Any, place: jax.Array, args: Any, **_: Any) -> jax.Array:
            # |f|² / |Jf| is how far Newton's method along f would go, whatever the units of time.
            f = velocity(t, place, args)
            length = jnp.max(jnp.abs(f))
            along = f / jnp.where(length > 0, length, 1)
            turn = jax.jvp(lambda p: velocity(t, p, args), (place,), (along,))[1]
            near = length * (along @ along) <= reach * jnp.sqrt(turn @ turn)
            return near | (length == 0)  # a kink has no second derivative

        def left(t: Any, place: jax.Array, args: Any, **_: Any) -> jax.Array:
            return ~(jnp.max(jnp.abs(place - first)) < FARTHEST)

        speed = jnp.max(jnp.abs(velocity(0.0, first, None)))
        # With one Hessian a step, the default, ten times as many steps: most are refused.
        newton = diffrax.with_stepsize_controller_tols(optimistix.Newton)()
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(velocity),
            diffrax.Kvaerno5(root_finder=newton) if small else diffrax.Tsit5(),
            t0=0.0,
            t1=jnp.inf,
            dt0=FIRST / jnp.where(speed > 0, speed, 1),
            y0=first,
            stepsize_controller=diffrax.PIDController(rtol=tol, atol=tol),
            event=diffrax.Event((arrived, left)),
            adjoint=diffrax.ForwardMode(),
            max_steps=max_steps,
            throw=False,
        )
        place = jax.tree.leaves(solution.ys)[0][0]
        has_arrived, has_left = jax.tree.leaves(solution.event_mask)
        status = jnp.where(has_arrived, Status.CONVERGED, Status.STEP_LIMIT)
        status = jnp.where(has_left, Status.DIVERGED, status)
        return FlowEnds(
            params=unravel(centre + spread * place),
            loss=loss(place),
            grad_norm=jnp.max(jnp.abs(jax.grad(loss)(place) / spread)),
            steps=solution.stats["num_steps"],
            status=status,
        )

    return ConstantsApart(jax.vmap(flow, in_axes=(0, 0, 0, None, None, None, None)))
