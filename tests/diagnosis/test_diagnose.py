from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax
from gdjax import Descent, Verdict

himmelblau = gdjax.landscapes.himmelblau


def bowl(w):
    return jnp.sum(jnp.array([1.0, 10.0]) * w**2) / 2


def diagnosed(d):
    return gdjax.diagnose(d, gdjax.run(d))


@pytest.mark.long
def test_what_meets_its_tolerance_at_its_start_is_at_a_minimum_only_beside_it():
    def loss(w):
        return 1e-6 * himmelblau(w)

    optimizer = optax.sgd(1e4)  # one, so that all is compiled once
    for start, verdict in {
        (-4.6, -4.8): Verdict.PLATEAU,  # a slope
        (1.0, 0.0): Verdict.PLATEAU,  # a ridge
        (3.001, 2.0): Verdict.MINIMUM,
    }.items():
        d = Descent(loss, jnp.array(start), optimizer)
        assert gdjax.run(d).steps == 0
        assert diagnosed(d).verdict == verdict


@pytest.mark.long
def test_chaos_that_passes_a_maximum_is_bounded_and_unstable():
    def lane(start):
        loss = lambda w: w**4 / 4 - w**2 / 2  # noqa: E731
        return Descent(loss, start, optax.sgd(1.6), stop=None, max_steps=500)

    found = gdjax.sweep(lane, start=np.linspace(-1.2, 1.23, 200), diagnose=True).diagnosis
    assert (found.verdict == Verdict.BOUNDED).all()
    assert found.unstable.all()


@pytest.mark.long
@pytest.mark.parametrize("power", [pytest.param(4, marks=pytest.mark.long), 6])
def test_a_single_parameter_can_be_at_a_degenerate_minimum(power):
    found = diagnosed(Descent(lambda w: w**power, 1.0, optax.sgd(0.1)))
    assert found.verdict == Verdict.VALLEY
    assert found.flat_dimension == 1


@pytest.mark.long
@pytest.mark.parametrize("rest", [0.0, 1.0], ids=["flat", "rising"])
def test_falling_direction_hidden_in_a_kernel_is_no_valley(rest):
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(20, 20)))[0].astype(np.float32)

    def loss(w, axes):
        along = axes.T @ w
        fourth = rest * jnp.sum(along[1:10] ** 4) - along[0] ** 4
        return along[10:] @ along[10:] / 2 + fourth

    found = diagnosed(Descent(loss, jnp.zeros(20), optax.sgd(0.1), (axes,)))
    assert found.verdict == Verdict.SADDLE
    assert found.flat_dimension == 10


def net(w, decay):
    """Return the loss of a network that learns AND, with decay of its weights."""
    data = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    out = jnp.tanh(data @ w["in"] + w["bias"][None]) @ w["out"] + w["mean"]
    squares = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(w))
    return jnp.mean((out - jnp.array([0.0, 0.0, 0.0, 1.0])) ** 2) + decay * squares


@pytest.mark.long
def test_saddle_is_told_though_the_loss_falls_far_along_its_flat_axes():
    zeros = {"in": jnp.zeros((2, 3)), "bias": jnp.zeros(3), "out": jnp.zeros(3), "mean": 0.25}
    found = diagnosed(Descent(net, zeros, optax.sgd(0.1), (0.0,)))
    assert found.verdict == Verdict.SADDLE
    assert found.index == 3


@pytest.mark.long
def test_minimum_is_found_along_a_bent_valley():
    random = np.random.default_rng(0)
    start = {
        "in": random.normal(size=(2, 3)),
        "bias": np.zeros(3),
        "out": random.normal(size=3),
        "mean": 0.0,
    }
    start = jax.tree.map(jnp.asarray, start)
    assert diagnosed(Descent(net, start, optax.sgd(0.2), (0.01,))).verdict == Verdict.MINIMUM


@pytest.mark.long
def test_run_that_crosses_a_cusp_at_the_same_height_does_not_descend(x64):
    start = jnp.array([0.3, 0.2])
    found = diagnosed(Descent(gdjax.landscapes.ackley, start, optax.sgd(0.01)))
    assert found.verdict == Verdict.OSCILLATING
    assert found.period == 2


@pytest.mark.long
def test_run_that_rests_elsewhere_later_is_not_at_the_saddle_it_passed():
    def loss(w):
        return (jnp.prod(w) - 1) ** 2 / 2

    start = jnp.array([0.02, 0.025, 0.02])
    stop = gdjax.stop.gradient_below(1e-5)
    found = diagnosed(Descent(loss, start, optax.sgd(0.1), stop=stop, max_steps=100))
    assert found.verdict == Verdict.PLATEAU


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.sgd(2.0, momentum=0.5),  # the limit is 3 / curvature
        pytest.param(optax.sgd(0.9, momentum=0.5, nesterov=True), marks=pytest.mark.long),  # 1.5
        pytest.param(
            optax.chain(optax.ema(0.5, debias=False), optax.scale(-4.0)), marks=pytest.mark.long
        ),  # 6
    ],
    ids=["heavy ball", "Nesterov", "mean of gradients"],
)
def test_minimum_that_would_not_hold_the_momentum_is_none(optimizer):
    def loss(w):
        return w**4 / 4 - w**2 / 2  # of curvature 2 at its minima

    stop = gdjax.stop.gradient_below(1e-2)
    found = diagnosed(Descent(loss, 1.001, optimizer, stop=stop))
    assert found.verdict != Verdict.MINIMUM
    assert found.unstable


@pytest.mark.parametrize("momentum", [None, pytest.param(0.5, marks=pytest.mark.long)])
def test_sharp_minimum_from_which_a_run_goes_to_a_flat_one_is_none(momentum):
    def loss(w):
        return (w**2 - 1) ** 2 * (1 + w / 2)  # of curvature 12 at 1, and 4 at -1

    optimizer = optax.sgd(0.36, momentum=momentum)
    d = Descent(loss, 1.001, optimizer, stop=gdjax.stop.gradient_below(0.1))
    assert diagnosed(d).verdict == Verdict.PLATEAU


@pytest.mark.parametrize(
    ("loss", "minimum", "least"),
    [
        (lambda z: jnp.sum(jnp.abs(z - 1.5 - 2j) ** 2), 1.5 + 2j, 2),
        pytest.param(lambda w: jnp.sum(jnp.abs(w) ** 4), 0.0, 0, marks=pytest.mark.long),
        pytest.param(lambda w: jnp.sum(jax.nn.relu(w) ** 2), 0.0, 0, marks=pytest.mark.long),
    ],
    ids=["square of a modulus", "fourth power", "square on one side"],
)
def test_second_derivative_that_is_0_at_a_minimum_alone_makes_no_valley(loss, minimum, least):
    found = diagnosed(Descent(loss, jnp.full(2, minimum), optax.sgd(0.1)))
    assert found.verdict == (Verdict.MINIMUM if least else Verdict.VALLEY)
    np.testing.assert_allclose(found.curvature_min, least, atol=1e-6)


@pytest.mark.long
def test_catapult_spikes():
    n = 8
    start = jnp.concatenate([jnp.full(n, 1.0), jnp.full(n, 0.2)])

    def loss(w):
        return (w[:n] @ w[n:]) ** 2 / (2 * n)

    sharpness = jnp.sum(start**2) / n

    def of(stable):
        return diagnosed(Descent(loss, start, optax.sgd(stable / sharpness)))

    found = jax.jit(jax.vmap(of))(jnp.array([1.5, 2.5, 3.0]))
    assert (found.verdict == Verdict.VALLEY).all()
    assert found.flat_dimension.tolist() == [2 * n - 1] * 3
    assert found.spiked.tolist() == [False, True, True]


def test_exact_line_search_zigzags_where_curvatures_differ():
    curvatures = jnp.array([1.0, 10.0])
    # Along the zigzag the gradients go (1, ±1) and shrink by 9/11: Boyd and Vandenberghe, 9.3.
    found = diagnosed(
        Descent(
            lambda w: w @ (curvatures * w) / 2,
            jnp.array([10.0, 1.0]),
            gdjax.transforms.exact_line_search(),
            stop=gdjax.stop.gradient_below(0.2),
        )
    )
    assert found.verdict == Verdict.MINIMUM
    assert found.ill_conditioned
    np.testing.assert_allclose(found.condition, 10, rtol=1e-3)
    np.testing.assert_allclose(found.alignment, 0, atol=1e-3)
    np.testing.assert_allclose(found.grad_norm, 10 * (9 / 11) ** 20, rtol=1e-4)


@pytest.mark.long
def test_sigmoid_neuron_is_on_a_plateau_first_and_slow_after_300_steps():
    def neuron(w):
        return jax.nn.sigmoid(jnp.sum(w)) ** 2 / 2

    @jax.jit
    def after(steps):
        optimizer = optax.sgd(0.15)
        return diagnosed(Descent(neuron, jnp.full(2, 2.0), optimizer, max_steps=steps))

    first, last = after(0), after(300)  # of which Nielsen gives the outputs
    assert first.verdict == Verdict.PLATEAU
    assert first.grad_norm == pytest.approx(0.9820**2 * 0.0180, rel=2e-3)
    assert last.verdict == Verdict.SLOW
    assert last.grad_norm == pytest.approx(0.2028**2 * 0.7972, rel=2e-3)


@pytest.mark.parametrize(
    "stop",
    [None, gdjax.stop.step_below(1e-3)],
    ids=["none", "step"],
)
@pytest.mark.long
def test_rate_that_moves_nothing_is_at_no_minimum(stop):
    stuck = Descent(lambda w: w**2, 1.0, optax.sgd(0.0), stop=stop, max_steps=10)
    assert diagnosed(stuck).verdict == Verdict.SLOW


NOISY_DATA = jax.random.normal(jax.random.key(0), (64,))


@pytest.fixture(scope="module")
def in_batches():
    """The compiled diagnosis of a mean, taken in batches with replacement."""

    @jax.jit
    def of(rate, tol, steps):
        d = Descent(
            lambda w, batch: jnp.mean((w - batch) ** 2),
            10.0,
            optax.sgd(rate),
            batches=gdjax.batches.mini(NOISY_DATA, 64, replace=True),
            key=jax.random.key(1),
            stop=gdjax.stop.gradient_below(tol),
            max_steps=steps,
        )
        return diagnosed(d)

    return of


@pytest.mark.parametrize(
    "tol",
    [
        pytest.param(0.0, id="out of budget", marks=pytest.mark.long),
        pytest.param(0.03, id="by the chance of a batch", marks=pytest.mark.long),
    ],
)
def test_noise_of_batches_is_no_minimum(in_batches, tol):
    found = in_batches(0.1, tol, 1000)
    assert found.verdict == Verdict.BOUNDED
    assert found.noise_floor
    assert found.lyapunov < 0


@pytest.mark.long
def test_descent_to_the_noise_floor_is_slow_before_it_is_there(in_batches):
    found = in_batches(0.01, 0.0, 30)
    assert found.verdict == Verdict.SLOW
    assert not found.noise_floor


def lane(start, rate):
    return Descent(himmelblau, start, optax.sgd(rate), max_steps=300)


@pytest.fixture(scope="module")
def runs():
    start = gdjax.grid(x=(-5, 5, 6), y=(-5, 5, 5))
    return gdjax.sweep(lane, start=start, rate=[1e-4, 0.01, 0.02, 0.05], diagnose=True)


@pytest.mark.long
def test_sweep_diagnoses_each_lane_as_if_it_were_alone(runs):
    x, y = (c.ravel() for c in np.meshgrid(runs.coords["x"], runs.coords["y"], indexing="ij"))
    rates = runs.coords["rate"]
    one = jax.jit(jax.vmap(lambda x, y, rate: diagnosed(lane({"x": x, "y": y}, rate))))
    alone = one(*(np.repeat(c, 4).astype(np.float32) for c in (x, y)), np.tile(rates, 30))
    assert len(np.unique(runs.diagnosis.verdict)) >= 3
    for name in ("verdict", "index", "period", "ill_conditioned", "spiked", "unstable"):
        expected = getattr(alone, name).reshape(runs.shape)
        np.testing.assert_array_equal(getattr(runs.diagnosis, name), expected, err_msg=name)
    minima = runs.diagnosis.verdict == Verdict.MINIMUM
    np.testing.assert_allclose(
        runs.diagnosis.curvature_max[minima],
        alone.curvature_max.reshape(runs.shape)[minima],
        rtol=1e-3,
    )


RATES = [
    0.002,
    0.4,
    0.9,
    1.1,
    1.3,
    1.5,
    1.9,
    2.5,
]  # w ← w − α(w³ − w): SLOW, MINIMUM, cycles, chaos


@pytest.mark.long
def test_diagnosis_does_not_depend_on_how_many_others_there_are():
    def quartic(rate, copy):
        start = jnp.where(rate > 2, 3.0, 0.3)  # which diverges
        return Descent(lambda w: w**4 / 4 - w**2 / 2, start, optax.sgd(rate), max_steps=500)

    few = gdjax.sweep(quartic, rate=RATES, copy=jnp.arange(1), diagnose=True).diagnosis
    assert len(np.unique(few.verdict)) >= 5
    # More than a call of the closer look takes, and in an order in which none is like the next.
    many = gdjax.sweep(quartic, copy=jnp.arange(700), rate=RATES, diagnose=True).diagnosis
    for name in ("verdict", "period", "unstable", "steps_to_tolerance"):
        own = getattr(few, name)[:, 0]
        np.testing.assert_array_equal(
            getattr(many, name), np.broadcast_to(own, (700, len(RATES))), err_msg=name
        )


@pytest.mark.long
def test_diagnosis_leaves_the_runs_as_they_are(runs):
    start = gdjax.grid(x=(-5, 5, 6), y=(-5, 5, 5))
    plain = gdjax.sweep(lane, start=start, rate=[1e-4, 0.01, 0.02, 0.05])
    assert plain.diagnosis is None
    np.testing.assert_array_equal(plain.status, runs.status)
    np.testing.assert_array_equal(plain.steps, runs.steps)
    assert plain.record is runs.record is None


@pytest.mark.long
def test_stored_runs_are_diagnosed_as_those_in_memory(runs, tmp_path):
    start = gdjax.grid(x=(-5, 5, 6), y=(-5, 5, 5))
    rates = [1e-4, 0.01, 0.02, 0.05]
    stored = gdjax.sweep(lane, start=start, rate=rates, diagnose=True, store=tmp_path)
    assert isinstance(stored.loss, np.memmap)
    jax.tree.map(np.testing.assert_array_equal, stored.diagnosis, runs.diagnosis)


@pytest.mark.long
def test_second_sweep_compiles_nothing(runs, no_compilation):
    start = gdjax.grid(x=(-5, 5, 6), y=(-5, 5, 5))
    with no_compilation():
        gdjax.sweep(lane, start=start, rate=[1e-4, 0.01, 0.02, 0.05], diagnose=True)


@pytest.mark.long
def test_summary_counts_each_verdict(runs):
    verdict = Verdict(int(runs.diagnosis.verdict[0, 0, 0]))
    count = (runs.diagnosis.verdict == verdict).sum()
    lines = runs.diagnosis.summary().splitlines()
    (line,) = (line for line in lines if line.startswith(verdict.name))
    assert line.split()[1] == f"{count:,}"
    assert str(runs.diagnosis) == runs.diagnosis.summary()


def quadratic(w, curvatures):
    return w @ (curvatures * w) / 2


@pytest.fixture(scope="module")
def slow():
    """A run that has come down the steep axes alone, and its diagnosis."""
    curvatures = jnp.array([1e-3, 1e-2, 1.0])
    d = Descent(quadratic, jnp.ones(3), optax.sgd(1.0), (curvatures,), max_steps=20)
    return d, diagnosed(d)


def test_paragraph_names_the_verdict_and_the_evidence(slow):
    said = str(slow[1])
    assert said.startswith("SLOW: ")
    assert "steps" in said


def test_paragraph_says_at_least_of_curvatures_that_were_not_all_counted(slow):
    saddle = slow[1]._replace(verdict=Verdict.SADDLE, index=2, counted=True)
    assert "a saddle of index 2: " in str(saddle)
    assert "a saddle of index at least 2: " in str(saddle._replace(counted=False))


def test_predicted_steps_to_tolerance_are_those_that_the_run_still_takes(slow):
    d, found = slow
    whole = gdjax.run(replace(d, max_steps=100_000))
    assert whole.status == gdjax.Status.CONVERGED
    np.testing.assert_allclose(found.steps_to_tolerance, whole.steps - 20, rtol=0.01)


@pytest.mark.long
@pytest.mark.parametrize(
    ("loss", "start", "rate"),
    [
        pytest.param(lambda w: jnp.exp(-w), 0.0, 0.3, id="tail"),
        pytest.param(lambda w: jnp.exp(-w), 4.0, 0.3, id="tail from afar"),
        pytest.param(lambda w: 1 / w, 1.0, 0.3, id="longer tail"),
        pytest.param(lambda w: w**4, 1.0, 0.01, id="quartic minimum"),
    ],
)
def test_predicted_steps_of_a_power_law_are_those_that_the_run_still_takes(loss, start, rate):
    def lane(max_steps):
        stop = gdjax.stop.gradient_below(1e-4)
        return Descent(loss, start, optax.sgd(rate), stop=stop, max_steps=max_steps)

    budgets = np.array([400, 1000, 5000])
    whole = gdjax.run(lane(3_000_000))
    assert whole.status == gdjax.Status.CONVERGED
    found = gdjax.sweep(lane, max_steps=budgets, diagnose=True).diagnosis
    assert (found.verdict == Verdict.SLOW).all()
    np.testing.assert_allclose(found.steps_to_tolerance, whole.steps - budgets, rtol=0.1)


@pytest.mark.long
@pytest.mark.parametrize("tol", [0.1, 0.01, 0.001])
def test_tail_beside_a_stiff_axis_is_a_plateau(tol):
    def tail(w):
        return jnp.exp(-w[0]) + w[1] ** 2

    stop = gdjax.stop.gradient_below(tol)
    d = Descent(tail, jnp.array([0.0, 1.0]), optax.sgd(0.3), stop=stop)
    assert diagnosed(d).verdict == Verdict.PLATEAU


@pytest.mark.long
@pytest.mark.parametrize("nesterov", [False, True])
def test_predicted_steps_of_momentum_are_those_that_the_run_still_takes(nesterov):
    curvatures = jnp.array([1e-5, 1e-3, 1e-2, 1.0])
    optimizer = optax.sgd(0.3, momentum=0.9, nesterov=nesterov)
    d = Descent(quadratic, jnp.ones(4), optimizer, (curvatures,), max_steps=20)
    d = replace(d, stop=gdjax.stop.gradient_below(1e-7))
    whole = gdjax.run(replace(d, max_steps=1_000_000))
    assert whole.status == gdjax.Status.CONVERGED
    np.testing.assert_allclose(diagnosed(d).steps_to_tolerance, whole.steps - 20, rtol=0.02)


SCHEDULES = {
    "1/t": lambda t: 40 / (t + 100.0),
    "power": lambda t: 6 / (t + 20.0) ** 0.75,
    "cosine with a floor": optax.cosine_decay_schedule(0.05, 20_000, alpha=0.1),
    "growing": lambda t: jnp.minimum(1e-5 * t, 0.5),
}


@pytest.mark.long
@pytest.mark.parametrize("name", SCHEDULES)
def test_predicted_steps_allow_for_the_schedule(name, x64):
    optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=SCHEDULES[name])
    d = Descent(quadratic, jnp.ones(2), optimizer, (jnp.array([1.0, 0.02]),), max_steps=100)
    d = replace(d, stop=gdjax.stop.gradient_below(1e-5))
    whole = gdjax.run(replace(d, max_steps=3_000_000))
    assert whole.status == gdjax.Status.CONVERGED
    np.testing.assert_allclose(diagnosed(d).steps_to_tolerance, whole.steps - 100, rtol=0.05)


@pytest.mark.long
@pytest.mark.parametrize("family", [optax.sgd, optax.adam])
def test_steps_are_infinite_where_the_schedule_ends_before_the_tolerance(family, x64):
    optimizer = family(optax.cosine_decay_schedule(1e-3, 8000))
    d = Descent(quadratic, jnp.ones(2), optimizer, (jnp.array([1.0, 0.01]),), max_steps=100)
    d = replace(d, stop=gdjax.stop.gradient_below(1e-12))
    assert gdjax.run(replace(d, max_steps=20_000)).status == gdjax.Status.STEP_LIMIT
    assert diagnosed(d).steps_to_tolerance == np.inf


@pytest.mark.long
@pytest.mark.parametrize(
    ("condition", "rate", "steps"), [(1e3, 0.001, 800), (1e4, 0.01, 100), (1e4, 0.003, 300)]
)
def test_predicted_steps_of_adam_allow_for_moments_that_fade(condition, rate, steps):
    axes, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))
    hessian = jnp.array(axes @ np.diag(np.geomspace(1, condition, 4)) @ axes.T, jnp.float32)
    start = jnp.array([1.0, 0.7, -0.5, 0.3])
    stop = gdjax.stop.gradient_below(1e-3)
    d = Descent(lambda w: w @ hessian @ w / 2, start, optax.adam(rate), stop=stop, max_steps=steps)
    whole = gdjax.run(replace(d, max_steps=100_000))
    assert whole.status == gdjax.Status.CONVERGED
    np.testing.assert_allclose(diagnosed(d).steps_to_tolerance, whole.steps - steps, rtol=0.4)


@pytest.mark.long
@pytest.mark.parametrize(
    ("loss", "optimizer", "steps", "rtol"),
    [
        (gdjax.landscapes.rosenbrock, optax.sgd(1e-3), 1000, 0.1),
        (gdjax.landscapes.beale, optax.sgd(1e-3), 1000, 0.1),
        (gdjax.landscapes.six_hump_camel, optax.sgd(1e-3, momentum=0.5), 50, 0.1),
        pytest.param(
            gdjax.landscapes.rosenbrock,
            optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(1e-3)),
            500,
            0.25,
            id="clipped",
        ),
        (himmelblau, optax.adam(1e-3), 100, 0.2),
        (gdjax.landscapes.rosenbrock, optax.adam(0.1), 20, 0.1),
    ],
)
def test_predicted_steps_of_bent_ways_are_those_that_the_run_still_takes(
    loss, optimizer, steps, rtol
):
    stop = gdjax.stop.gradient_below(1e-3)
    start = gdjax.grid((-1.5, 1.5, 9), (-1, 1.2, 7))

    def lane(start, steps):
        return Descent(loss, start, optimizer, stop=stop, max_steps=steps)

    short = gdjax.sweep(lambda start: lane(start, steps), start=start, diagnose=True)
    whole = gdjax.sweep(lambda start: lane(start, 100_000), start=start)
    slow = (short.diagnosis.verdict == Verdict.SLOW) & (whole.status == gdjax.Status.CONVERGED)
    assert slow.sum() > 40
    ratio = (short.diagnosis.steps_to_tolerance / (whole.steps - steps))[slow]
    assert np.mean(np.abs(ratio - 1) <= rtol) >= 0.95, np.sort(ratio)


@pytest.mark.long
def test_predicted_steps_of_adam_in_a_bent_valley_are_of_the_right_order():
    stop = gdjax.stop.gradient_below(1e-3)
    start = gdjax.grid((-2, 2, 9), (-1, 3, 9))

    def lane(start, steps):
        rosenbrock = gdjax.landscapes.rosenbrock
        return Descent(rosenbrock, start, optax.adam(0.01), stop=stop, max_steps=steps)

    short = gdjax.sweep(lambda start: lane(start, 100), start=start, diagnose=True)
    whole = gdjax.sweep(lambda start: lane(start, 100_000), start=start)
    slow = short.diagnosis.verdict == Verdict.SLOW
    assert (whole.status == gdjax.Status.CONVERGED).all()
    ratio = (short.diagnosis.steps_to_tolerance / (whole.steps - 100))[slow]
    assert np.mean((ratio > 0.5) & (ratio < 3)) > 0.85, np.sort(ratio)


@pytest.mark.long
def test_record_of_the_user_comes_through_a_diagnosis():
    def lane(start):
        recorder = {"peak": gdjax.record.maximum(), "loss": gdjax.record.every(5)}
        return Descent(lambda w: w**2, start, optax.sgd(0.1), record=recorder, max_steps=60)

    runs = gdjax.sweep(lane, start=[1.0, 2.0], diagnose=True)
    np.testing.assert_array_equal(runs.record["peak"], [1.0, 4.0])
    assert runs.record["loss"].values.shape == (2, 13)
    assert (runs.diagnosis.verdict == Verdict.MINIMUM).all()


def test_bad_input_is_named():
    d = Descent(lambda w: w**2, 1.0, optax.sgd(0.1))
    with pytest.raises(TypeError, match=r"^d: "):
        gdjax.diagnose(himmelblau, gdjax.run(d))
    with pytest.raises(TypeError, match=r"^result: "):
        gdjax.diagnose(d, 3.0)
    other = Descent(lambda w: w**2, 1.0, optax.adam(0.1))
    with pytest.raises(TypeError, match=r"^result.state.opt_state: "):
        gdjax.diagnose(other, gdjax.run(d))
    with pytest.raises(TypeError, match=r"^result.params: "):
        gdjax.diagnose(Descent(lambda w: w @ w, jnp.ones(2), optax.sgd(0.1)), gdjax.run(d))
    with pytest.raises(TypeError, match=r"^diagnose: "):
        gdjax.sweep(lambda start: d, start=[1.0], diagnose="yes")
    reduce = gdjax.reduce.total(lambda outcome: outcome.steps)
    with pytest.raises(ValueError, match=r"^diagnose: "):
        gdjax.sweep(lambda start: d, start=[1.0], reduce=reduce, diagnose=True)


OFF_THE_ORIGIN = {
    "parabola": (lambda w: jnp.sum((w - 3) ** 2), (0.0,), optax.sgd(0.2)),
    "momentum": (lambda w: jnp.sum((w - 3) ** 2), (0.0,), optax.sgd(0.05, momentum=0.5)),
    "himmelblau": (himmelblau, (0.0, 0.0), optax.sgd(0.01)),
    "adam": (himmelblau, (0.0, 0.0), optax.adam(0.05)),
}


@pytest.mark.long
@pytest.mark.parametrize(
    "case",
    [
        "parabola",
        *(pytest.param(c, marks=pytest.mark.long) for c in OFF_THE_ORIGIN if c != "parabola"),
    ],
)
@pytest.mark.parametrize("wide", [False, pytest.param(True, marks=pytest.mark.long)])
def test_what_is_out_of_budget_on_its_way_is_at_no_minimum(case, wide):
    loss, start, optimizer = OFF_THE_ORIGIN[case]
    with jax.enable_x64(wide):

        def lane(budget):
            return Descent(loss, jnp.array(start), optimizer, max_steps=budget)

        whole = gdjax.run(lane(10_000))
        budgets = np.arange(int(whole.steps) + 2)
        found = gdjax.sweep(lane, budget=budgets, diagnose=True).diagnosis
        assert whole.status == gdjax.Status.CONVERGED
        assert (found.verdict[:-2] != Verdict.MINIMUM).all()
        assert (found.verdict[-2:] == Verdict.MINIMUM).all()
        assert not found.precision_floor.any()
        late = slice(len(budgets) // 2, -2)
        np.testing.assert_allclose(
            found.steps_to_tolerance[late], whole.steps - budgets[late], rtol=0.02, atol=1
        )


UNBOUNDED = {
    "adam": (lambda w: w[0] ** 2 - w[1] ** 2, (1.0, 0.1), optax.adam(0.1)),
    "adagrad": (lambda w: w[0] ** 2 - w[1] ** 4, (0.1, 0.1), optax.adagrad(0.5)),
    "clipped": (
        lambda w: w[0] ** 2 - w[1] ** 2,
        (1.0, 0.1),
        optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.1)),
    ),
    "signs": (lambda w: -jnp.sum(w**2), (0.1,), optax.lion(0.1, weight_decay=0.0)),
}


@pytest.mark.long
@pytest.mark.parametrize("case", UNBOUNDED)
def test_what_falls_ever_more_steeply_diverges_though_its_steps_stay_as_long(case):
    loss, start, optimizer = UNBOUNDED[case]
    found = diagnosed(Descent(loss, jnp.array(start), optimizer, max_steps=2000))
    assert found.verdict == Verdict.DIVERGED


@pytest.mark.long
@pytest.mark.parametrize("start", [-8.0, -7.9, 9.0])
def test_saturated_slope_with_nothing_on_its_other_side_is_no_maximum(start):
    d = Descent(lambda w: (jnp.tanh(w) - 0.5 * jnp.sign(start)) ** 2, start, optax.sgd(0.1))
    found = diagnosed(replace(d, loss=lambda w: (jnp.tanh(w) + 0.5 * jnp.sign(start)) ** 2))
    assert found.verdict in (Verdict.PLATEAU, Verdict.VALLEY)
    assert diagnosed(d).verdict == Verdict.PLATEAU


@pytest.mark.long
@pytest.mark.parametrize("start", [0.01, 0.003, 0.001, 0.0004])
def test_run_that_began_beside_its_critical_point_still_ends_at_it(start):
    def strict(w):
        return w[0] ** 2 / 2 + w[1] ** 4 / 4 - w[1] ** 2 / 2

    start = jnp.array([start, 0.0])
    bowl = diagnosed(Descent(lambda w: jnp.sum(w**2) / 2, start, optax.sgd(0.1)))
    saddle = diagnosed(Descent(strict, start, optax.sgd(0.1)))
    assert (bowl.verdict, saddle.verdict) == (Verdict.MINIMUM, Verdict.SADDLE)


@pytest.mark.long
def test_cycle_between_minima_too_sharp_for_the_rate_is_unstable():
    d = Descent(lambda w: (w**2 - 1) ** 2 / 4, 0.5, optax.sgd(1.7), max_steps=5000)
    found = diagnosed(d)  # the curvature of both is 2, and 1.7 * 2 beyond the limit of 2
    assert found.verdict == Verdict.OSCILLATING
    assert found.unstable


@pytest.mark.long
def test_adam_before_its_first_step_is_not_unstable():
    found = diagnosed(Descent(lambda w: jax.nn.softplus(-w), 14.0, optax.adam(1e-3)))
    assert found.verdict == Verdict.PLATEAU
    assert not found.unstable
    assert found.steps_to_tolerance == 0


@pytest.mark.long
@pytest.mark.parametrize(("rate", "steps"), [(1e-4, 300), (1e-3, 100), (1e-2, 20)])
@pytest.mark.parametrize("size", [4, 32])
def test_batches_whose_losses_scatter_more_than_they_fall_are_slow(rate, steps, size):
    x = jnp.linspace(-1, 1, 64)
    y = 3 * x + 1 + 0.3 * jax.random.normal(jax.random.key(1), x.shape)

    def loss(params, batch):
        x, y = batch
        return jnp.mean((params["w"] * x + params["b"] - y) ** 2)

    drawn = gdjax.batches.mini((x, y), size)
    start = {"w": 0.0, "b": 0.0}
    key = jax.random.key(0)
    d = Descent(loss, start, optax.sgd(rate), batches=drawn, key=key, max_steps=steps)
    found = diagnosed(d)
    assert found.verdict == Verdict.SLOW
    assert not found.noise_floor


def rosenbrock(w):
    return (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2


def spread_out(w):
    return jnp.sum(jnp.linspace(1.0, 50.0, w.size) * w**2) / 2


FAR_FROM_THE_END = {
    "bent valley": (rosenbrock, (-1.2, 1.0), optax.sgd(1e-3), 1000, 0.15),
    "heavy ball": (rosenbrock, (-1.2, 1.0), optax.sgd(5e-4, momentum=0.9), 500, 0.1),
    "beyond a ridge": (himmelblau, (0.0, 0.0), optax.sgd(5e-4), 20, 0.05),
    "two scales": (
        lambda w: jnp.sum(jnp.array([1.0, 1000.0]) * (w - 3) ** 2) / 2,
        (0.0, 0.0),
        optax.sgd(1e-3),
        200,
        0.01,
    ),
    "decay": (spread_out, (3.0, 3.0), optax.adamw(0.01, weight_decay=0.5), 300, 0.01),
    "many parameters": (spread_out, (1.0,) * 400, optax.sgd(1e-3), 500, 0.05),
}


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("case", FAR_FROM_THE_END)
@pytest.mark.long
def test_steps_to_a_distant_end_are_about_those_it_takes(case, wide):
    loss, start, optimizer, steps, off = FAR_FROM_THE_END[case]
    with jax.enable_x64(wide):
        d = Descent(loss, jnp.array(start), optimizer, max_steps=steps)
        result = gdjax.run(d)
        found = gdjax.diagnose(d, result)
        rest = gdjax.run(replace(d, max_steps=10**6), result.state)
    assert rest.status == gdjax.Status.CONVERGED
    assert found.verdict == Verdict.SLOW
    np.testing.assert_allclose(found.steps_to_tolerance, rest.steps - result.steps, rtol=off)


@pytest.mark.long
def test_what_rounding_stops_on_its_way_never_reaches_its_tolerance():
    d = Descent(himmelblau, jnp.array([2.9, 2.1]), optax.sgd(1e-4), max_steps=600)
    found = diagnosed(d)  # the last steps are less than half a unit in the last place
    assert gdjax.run(replace(d, max_steps=10**5)).status == gdjax.Status.STEP_LIMIT
    assert found.verdict == Verdict.SLOW
    assert found.steps_to_tolerance == np.inf


@pytest.mark.long
def test_run_whose_rate_has_decayed_to_nothing_is_at_no_minimum():
    start, rate = jnp.array([3.0, 3.0]), optax.cosine_decay_schedule(0.03, 100)
    d = Descent(bowl, start, optax.sgd(rate), stop=None, max_steps=100)
    assert gdjax.run(d).loss < 0.01 * bowl(start)
    found = diagnosed(d)
    assert (found.verdict, found.steps_to_tolerance) == (Verdict.SLOW, np.inf)


@pytest.mark.long
@pytest.mark.parametrize("optimizer", [optax.adam(0.02), optax.adagrad(0.5)])
def test_adaptive_optimizer_far_below_its_limit_is_not_unstable(optimizer):
    start = jnp.array([3.0, 3.0])
    found = diagnosed(Descent(bowl, start, optimizer, max_steps=5))
    assert found.spectral_radius < 1
    assert not found.unstable


@pytest.mark.long
def test_noise_that_hides_the_gradient_holds_up_no_run_whose_loss_still_falls():
    random = np.random.default_rng(0)
    x = jnp.asarray(random.normal(size=(256, 4)))
    y = x @ jnp.array([1.0, -1.0, 0.5, 0.2]) + 0.5 * jnp.asarray(random.normal(size=256))

    def loss(w, batch):
        return jnp.mean((batch[0] @ w - batch[1]) ** 2) / 2

    def lane(of):
        drawn, key = gdjax.batches.mini((x, y), 16), jax.random.key(0)
        options = {"batches": drawn, "key": key, "stop": None, "max_steps": of["steps"]}
        return Descent(loss, jnp.zeros(4), optax.sgd(of["rate"]), **options)

    lanes = gdjax.paired(rate=[0.003, 0.003, 0.003, 0.1], steps=[300, 800, 10_000, 2000])
    found = gdjax.sweep(lane, of=lanes, diagnose=True).diagnosis
    assert found.verdict.tolist() == [Verdict.SLOW] * 2 + [Verdict.BOUNDED] * 2
    assert found.noise_floor.tolist() == [False, False, True, True]
    assert not found.spiked.any()


@pytest.mark.long
@pytest.mark.parametrize("start", [3 + 4j, 1 - 1j])
def test_tolerance_of_a_complex_gradient_is_of_its_modulus(start):
    d = Descent(
        lambda z: (z * jnp.conj(z)).real / 2, jnp.asarray(start), optax.sgd(0.001), max_steps=0
    )
    d = replace(d, stop=gdjax.stop.gradient_below(1e-3))
    found = diagnosed(d)
    np.testing.assert_allclose(found.grad_norm, abs(start), rtol=1e-6)
    assert found.steps_to_tolerance == gdjax.run(replace(d, max_steps=20_000)).steps
