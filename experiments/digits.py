"""Full batch, mini-batch and stochastic: one network, one budget of examples, six batch sizes.

Claim: what differs is cost against noise. On an equal budget of examples, small batches make more
updates and go farther; large ones make fewer, and each takes less time an example. The best reaches
an accuracy of at least 96% on digits that it has not seen.
Source: the 1,797 digits of scikit-learn (Alpaydin and Kaynak, 1998).

1,197 digits train the network 64-64-10, 300 choose the learning rate, from the same ten for each
batch size, by their accuracy, and the last 300 are looked at once, at the end.
"""

from functools import cache
from itertools import pairwise
from time import perf_counter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gdjax
from experiments.outcome import FIGURES, Measured

TRAINED, CHOOSING = 1197, 300
EPOCHS = 40
SIZES = (1, 8, 32, 128, 512, TRAINED)
RATES = np.geomspace(1e-3, 2.0, 10).astype(np.float32)


class Trained(NamedTuple):
    """A network trained at a batch size, at its best learning rate."""

    rate: float
    cost: gdjax.Cost  # of an update
    seconds: float  # of the run at that rate alone, compiled before
    record: Any  # Series of the loss over all that it was trained on
    accuracy: float  # on digits that it has not seen


def split() -> list[tuple[np.ndarray, np.ndarray]]:
    """Return pixels within [0, 1] and digits: to train, to choose and to test."""
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.target))
    x, y = (bunch.data / 16).astype(np.float32)[order], bunch.target.astype(np.int32)[order]
    ends = [0, TRAINED, TRAINED + CHOOSING, len(y)]
    return [(x[a:b], y[a:b]) for a, b in pairwise(ends)]


def start() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    params = {
        "w1": rng.normal(size=(64, 64)) / 8,
        "b1": np.zeros(64),
        "w2": rng.normal(size=(64, 10)) / 8,
        "b2": np.zeros(10),
    }
    return {name: leaf.astype(np.float32) for name, leaf in params.items()}


def logits(params, x):
    return jnp.tanh(x @ params["w1"] + params["b1"]) @ params["w2"] + params["b2"]


def loss(params, batch):
    x, y = batch
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits(params, x), y))


def accuracy(params, data) -> float:
    return float(np.mean(np.argmax(logits(params, data[0]), axis=-1) == data[1]))


def trained(size: int, train: Any, choose: Any, test: Any) -> Trained:
    drawn = gdjax.batches.full(train) if size == TRAINED else gdjax.batches.mini(train, size)
    steps = EPOCHS * drawn.per_epoch

    def lane(rate):
        return gdjax.Descent(
            loss, start(), optax.sgd(rate), batches=drawn, stop=None, max_steps=steps
        )

    key = jax.random.key(0)
    runs = gdjax.sweep(lane, rate=RATES, key=key, progress=False)
    ends = [jax.tree.map(lambda leaf, i=i: leaf[i], runs.params) for i in range(len(RATES))]
    best = int(np.argmax([accuracy(params, choose) for params in ends]))
    d = runs.descent(best)
    gdjax.run(d).loss.block_until_ready()
    began = perf_counter()
    gdjax.run(d).loss.block_until_ready()
    seconds = perf_counter() - began
    whole = gdjax.record.every(max(drawn.per_epoch // 8, 1), gdjax.record.of_loss(value))
    options = {"batches": drawn, "stop": None, "max_steps": steps, "key": d.key, "record": whole}
    recorded = gdjax.run(gdjax.Descent(loss, d.params, d.optimizer, **options))
    reached = accuracy(recorded.params, test)
    return Trained(float(RATES[best]), gdjax.cost(d), seconds, recorded.record, reached)


def value(loss, params, *args):
    return loss(params, *args)


@cache
def results() -> dict[int, Trained]:
    data = split()
    return {size: trained(size, *data) for size in SIZES}


def measure() -> list[Measured]:
    best = max(result.accuracy for result in results().values())
    return [Measured("accuracy of the best on digits not seen", best, 0.98, 0.02)]


def draw() -> None:
    from matplotlib.figure import Figure

    from gdjax.plot import cost

    figure = Figure(figsize=(11, 8), layout="compressed")
    axes = figure.subplots(2, 2, sharey=True).ravel()
    names = {1: "stochastic, 1", TRAINED: f"full, {TRAINED}"}
    for ax, against in zip(axes, ("examples", "updates", "flops", "seconds")):
        cost(
            {names.get(size, f"mini, {size}"): r.record for size, r in results().items()},
            [r.cost for r in results().values()],
            against,
            seconds=[r.seconds for r in results().values()],
            ax=ax,
        )
    figure.suptitle(
        f"The digits, {EPOCHS} times each, at the best learning rate of each batch size"
    )
    figure.savefig(FIGURES / "digits.png", dpi=120)
    print(table())


def table() -> str:
    lines = [
        "| batch | learning rate | updates | loss | test accuracy | flops an update | "
        "bytes an update | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for size, r in results().items():
        lines.append(
            f"| {size:,} | {r.rate:.3g} | {int(r.record.steps[-1]):,} | "
            f"{float(r.record.values[-1]):.2g} | {r.accuracy:.1%} | {r.cost.flops:,.0f} | "
            f"{r.cost.bytes:,.0f} | {r.seconds:.2f} |"
        )
    return "\n".join(lines)
