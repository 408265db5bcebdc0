"""The gradient flow, and how faithfully descents follow it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax
from gdjax import Descent
from gdjax.basins import fidelity, flow_labels

SQUARE = gdjax.grid((-2, 2, 16), (-2, 2, 16))
WELLS = {
    "a": np.array([[1.0, 1.0]]),
    "b": np.array([[-1.0, -1.0]]),
}  # minima at ±1 in both coordinates
RATES = [0.7, 0.05, 0.3]


def lane(start, learning_rate, a, b):  # one function for all cases, compiled once
    def loss(w):
        return jnp.sum(a * w**4 / 4 + b * w**2 / 2)

    return Descent(loss, start, optax.sgd(learning_rate), max_steps=2000)


def swept(start=SQUARE, learning_rate=RATES, a=WELLS["a"], b=WELLS["b"]):
    return gdjax.sweep(lane, start=start, learning_rate=learning_rate, a=a, b=b)


def places(flow):
    """Where the attractors of the labels are [starts, 2], rounded."""
    return np.asarray(flow.attractors.params).round(3)[flow.labels.ravel()]


def starts_of(flow):
    return np.asarray(flow.starts[0])


@pytest.fixture(scope="module")
def wells():
    runs = swept()
    return runs, fidelity(runs)


def test_flow_of_separable_wells_goes_to_the_signs_of_the_coordinates(wells):
    flow = wells[1].flow
    assert flow.labels.shape == (16, 16, 1, 1)
    assert flow.dims == ("start_0", "start_1", "a", "b")
    np.testing.assert_array_equal(places(flow), np.sign(starts_of(flow)))
    assert not flow.unresolved.any()


@pytest.mark.long
def test_labels_are_those_of_the_map_of_the_runs(wells):
    runs, found = wells
    basins = gdjax.map_basins(runs)
    np.testing.assert_array_equal(found.flow.attractors.params, basins.attractors.params)
    np.testing.assert_array_equal(found.flow.attractors.size, basins.attractors.size)
    own = found.flow.labels[:, :, None]
    np.testing.assert_array_equal(found.right, np.moveaxis(basins.labels == own, 2, -1))


def test_descent_is_right_until_its_first_step_would_cross_zero(wells):
    # w → w (1 + η − η w²), for η < 1, keeps its sign from |w| < √(1 + 1/η) on all later steps; a
    # step from beyond leads, from none of these starts, farther than that on the other side
    found = wells[1]
    furthest = np.abs(starts_of(found.flow)).max(axis=1).reshape(16, 16, 1, 1)
    for i, rate in enumerate(RATES):
        np.testing.assert_array_equal(found.right[..., i], furthest**2 < 1 + 1 / rate)


def test_share_is_that_of_the_right_starts_with_its_interval(wells):
    agreement = wells[1].agreement
    share = wells[1].right.mean(axis=(0, 1, 2, 3))
    np.testing.assert_allclose(agreement.share, share)
    assert ((agreement.low < share) & (share <= agreement.high)).all()
    assert agreement.share[1] == 1.0
    assert agreement.share[0] < 1.0


def test_confusion_matrix_counts_all_starts_flow_by_run(wells):
    agreement = wells[1].agreement
    assert agreement.counts.sum(axis=(1, 2)).tolist() == [256, 256, 256]
    of_flow = np.bincount(wells[1].flow.labels.ravel(), minlength=4)
    np.testing.assert_array_equal(agreement.counts[0].sum(axis=1), of_flow)
    assert np.array_equal(agreement.counts[1], np.diag(of_flow))


def test_largest_faithful_rate_is_told_in_the_order_of_the_rates(wells):
    found = wells[1]
    furthest = np.abs(starts_of(found.flow)).max(axis=1).reshape(16, 16, 1, 1)
    expected = np.select([furthest**2 < 1 + 1 / r for r in (0.7, 0.3, 0.05)], (0.7, 0.3, 0.05))
    np.testing.assert_allclose(found.faithful_up_to, expected, rtol=1e-6)
    np.testing.assert_array_equal(found.faithful_at, found.faithful_up_to)


@pytest.mark.long
def test_order_of_the_starts_changes_no_label(wells):
    starts = starts_of(wells[1].flow)
    order = np.random.default_rng(0).permutation(len(starts))
    shuffled = flow_labels(swept(starts[order]))
    np.testing.assert_array_equal(shuffled.labels.ravel(), wells[1].flow.labels.ravel()[order])


@pytest.mark.long
def test_starts_on_the_border_are_unresolved_and_no_others():
    starts = np.array(np.meshgrid(np.linspace(-2, 2, 16), np.linspace(-2, 2, 16))).T.reshape(-1, 2)
    starts[::5, 0] = 0.0
    flow = flow_labels(swept(starts.astype(np.float32)))
    np.testing.assert_array_equal(flow.unresolved.ravel(), starts[:, 0] == 0)
    np.testing.assert_array_equal(flow.labels.ravel() == -1, starts[:, 0] == 0)


@pytest.mark.long
def test_stiff_valley_is_followed_to_its_end_where_no_run_gets():
    runs = swept(learning_rate=[1e-7, 1e-8, 1e-9], a=np.zeros((1, 2)), b=np.array([[1.0, 1e6]]))
    found = fidelity(runs)
    assert (found.flow.labels == 0).all()
    np.testing.assert_allclose(found.flow.attractors.params, [[0.0, 0.0]], atol=1e-6)
    assert found.flow.attractors.size.tolist() == [0]
    assert found.agreement.share.tolist() == [0.0, 0.0, 0.0]
    assert (found.faithful_up_to == 0).all()


@pytest.mark.long
def test_flow_that_leaves_has_no_label_but_is_resolved():
    runs = swept(a=np.array([[1.0, 0.0]]))  # along the second coordinate it runs away
    found = fidelity(runs)
    assert (found.flow.labels == -1).all()
    assert not found.flow.unresolved.any()
    assert np.isnan(found.agreement.share).all()
    assert np.isnan(found.faithful_up_to).all()


@pytest.mark.long
def test_flow_of_one_optimizer_serves_another(wells):
    def pushed(start, learning_rate, a, b):
        d = lane(start, learning_rate, a, b)
        return Descent(d.loss, start, optax.sgd(learning_rate, momentum=0.5), max_steps=2000)

    runs = gdjax.sweep(pushed, start=SQUARE, learning_rate=[0.01], **WELLS)
    found = fidelity(runs, wells[1].flow)
    np.testing.assert_array_equal(places(found.flow), np.sign(starts_of(found.flow)))
    assert found.agreement.share.tolist() == [1.0]


BAD = {
    "runs that are none": (lambda runs, flow: fidelity(3), TypeError, "runs: "),
    "labels of no runs": (lambda runs, flow: flow_labels(None), TypeError, "runs: "),
    "flow that is none": (lambda runs, flow: fidelity(runs, runs), TypeError, "flow: "),
    "rate of another name": (
        lambda runs, flow: fidelity(runs, flow, rate="momentum"),
        ValueError,
        "rate: ",
    ),
    "rate that is a start": (
        lambda runs, flow: fidelity(runs, flow, rate="start_0"),
        ValueError,
        "rate: ",
    ),
    "tolerance of the map": (lambda runs, flow: fidelity(runs, flow, tol=0.0), ValueError, "tol: "),
    "no tolerance": (lambda runs, flow: flow_labels(runs, tol=-1.0), ValueError, "tol: "),
    "one tolerance": (
        lambda runs, flow: flow_labels(runs, tolerances=1e-5),
        TypeError,
        "tolerances: ",
    ),
    "tolerances in the wrong order": (
        lambda runs, flow: flow_labels(runs, tolerances=(1e-7, 1e-5)),
        ValueError,
        "tolerances: ",
    ),
    "no steps": (lambda runs, flow: flow_labels(runs, max_steps=0), ValueError, "max_steps: "),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_by_name(case, wells):
    call, error, message = BAD[case]
    with pytest.raises(error, match=f"^{message}"):
        call(wells[0], wells[1].flow)


@pytest.mark.parametrize(
    "changes",
    [
        {"start": gdjax.grid((-1, 1, 16), (-1, 1, 16))},
        {"b": np.array([[-1.0, -2.0]])},
        {"start": np.ones((1, 2))},
    ],
)
def test_flow_of_other_starts_or_another_loss_is_refused(changes, wells):
    with pytest.raises(ValueError, match=r"^flow: "):
        fidelity(swept(**changes), wells[1].flow)


def test_random_loss_that_is_another_one_in_float64_is_refused():
    def noisy(start):
        centre = jax.random.normal(jax.random.key(0), (1,))
        return Descent(lambda w: jnp.sum((w - centre) ** 2), start, optax.sgd(0.1))

    with pytest.raises(ValueError, match=r"^runs: in float64"):
        flow_labels(gdjax.sweep(noisy, start=np.array([[0.0], [1.0]])))


def test_without_diffrax_the_extra_is_named(wells, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "diffrax", None)
    with pytest.raises(ModuleNotFoundError, match=r"gdjax\[flow\]"):
        flow_labels(wells[0])


@pytest.mark.long
def test_double_precision_has_the_same_labels(wells, x64):
    flow = fidelity(swept()).flow
    np.testing.assert_array_equal(flow.labels, wells[1].flow.labels)


@pytest.mark.long
def test_starts_of_random_keys_each_have_a_flow_of_their_own():
    def drawn(key, learning_rate):
        start = jax.random.uniform(key, (2,), minval=-2.0, maxval=2.0)
        return lane(start, learning_rate, jnp.ones(2), -jnp.ones(2))

    runs = gdjax.sweep(drawn, learning_rate=[0.05] * 32, key=jax.random.key(0))
    found = fidelity(runs)
    np.testing.assert_array_equal(places(found.flow), np.sign(starts_of(found.flow)))
    assert found.dims == ()
    assert found.agreement.share == 1.0


@pytest.mark.long
def test_valley_is_one_attractor_of_flow_and_runs():
    def circle(start, learning_rate):
        return Descent(lambda w: (w @ w - 1) ** 2, start, optax.sgd(learning_rate))

    start = gdjax.grid((-2, 2, 16), (-2, 2, 16))
    found = fidelity(gdjax.sweep(circle, start=start, learning_rate=[0.01, 0.02]))
    assert (found.flow.labels == 0).all()
    assert found.agreement.share.tolist() == [1.0, 1.0]


@pytest.mark.long
def test_more_parameters_than_a_hessian_is_made_of_are_integrated_explicitly():
    starts = np.random.default_rng(0).uniform(-2, 2, (4, 300)).astype(np.float32)
    signs = np.repeat(np.sign(starts), 2, axis=0)

    def well(start, learning_rate):
        return Descent(gdjax.landscapes.double_well, start, optax.sgd(learning_rate))

    found = fidelity(gdjax.sweep(well, start=np.repeat(starts, 2, axis=0), learning_rate=[0.01]))
    np.testing.assert_array_equal(places(found.flow), signs)
    assert found.agreement.share.tolist() == [1.0]
