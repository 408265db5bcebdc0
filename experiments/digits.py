"""Full batch, mini-batch and stochastic: one network, one budget of examples, six batch sizes.

Claim: what differs is cost against noise. On an equal budget of examples, small batches make more
updates and go farther; large ones make fewer, and each takes less time an example. The best reaches
an accuracy of at least 96% on digits that it has not seen.
Source: the 1,797 digits of scikit-learn (Alpaydin and Kaynak, 1998).

1,197 digits train the network 64-64-10, 300 choose the learning rate, from the same six for each
batch size, by their accuracy, and the last 300 are looked at once, at the end. Each batch size is
one sweep of learning rates and seeds, which are starts and orders of the examples.
"""

from dataclasses import replace
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
RATES = np.geomspace(0.02, 2.0, 6).astype(np.float32)
SEEDS = 4


class Trained(NamedTuple):
    """Networks trained at a batch size, at its best learning rate."""

    rate: float
    cost: gdjax.Cost  # of an update
    seconds: float  # of one run at that rate alone, compiled before: the shortest of five
    record: Any  # Series of the loss over all that they were trained on, its mean over the seeds
    accuracy: np.ndarray  # [seeds] on digits that they have not seen


def split() -> list[tuple[np.ndarray, np.ndarray]]:
    """Return pixels within [0, 1] and digits: to train, to choose and to test."""
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.target))
    x, y = (bunch.data / 16).astype(np.float32)[order], bunch.target.astype(np.int32)[order]
    ends = [0, TRAINED, TRAINED + CHOOSING, len(y)]
    return [(x[a:b], y[a:b]) for a, b in pairwise(ends)]


def start(key) -> dict[str, jax.Array]:
    first, last = jax.random.split(key)
    return {
        "w1": jax.random.normal(first, (64, 64)) / 8,
        "b1": jnp.zeros(64),
        "w2": jax.random.normal(last, (64, 10)) / 8,
        "b2": jnp.zeros(10),
    }


def logits(params, x):
    return jnp.tanh(x @ params["w1"] + params["b1"]) @ params["w2"] + params["b2"]


def loss(params, batch):
    x, y = batch
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits(params, x), y))


def accuracy(params, data) -> np.ndarray:
    """Return the share of right answers of networks [...]."""
    x, y = data
    hidden = np.tanh(x @ params["w1"] + params["b1"][..., None, :])
    answers = np.argmax(hidden @ params["w2"] + params["b2"][..., None, :], axis=-1)
    return np.mean(answers == y, axis=-1)


def trained(size: int, train: Any, choose: Any, test: Any) -> Trained:
    drawn = gdjax.batches.full(train) if size == TRAINED else gdjax.batches.mini(train, size)
    steps = EPOCHS * drawn.per_epoch

    whole = gdjax.record.every(max(drawn.per_epoch // 8, 1), gdjax.record.of_loss(value))

    def lane(rate, seed):
        return gdjax.Descent(
            loss,
            seed["start"],
            optax.sgd(rate),
            batches=drawn,
            stop=None,
            max_steps=steps,
            key=seed["key"],
            record=whole,
        )

    keys = jax.random.split(jax.random.key(0), SEEDS)
    seeds = gdjax.paired(start=jax.vmap(start)(keys), key=keys)
    runs = gdjax.sweep(lane, rate=RATES, seed=seeds, progress=False)
    best = int(np.argmax(accuracy(runs.params, choose).mean(axis=1)))
    d = replace(runs.descent(best, 0), record=None)
    gdjax.run(d).loss.block_until_ready()
    seconds = min(timed(d) for _ in range(5))
    params, record = jax.tree.map(lambda leaf: leaf[best], (runs.params, runs.record))
    record = record._replace(steps=record.steps[0], values=record.values.mean(axis=0))
    return Trained(float(RATES[best]), gdjax.cost(d), seconds, record, accuracy(params, test))


def timed(d: gdjax.Descent) -> float:
    began = perf_counter()
    gdjax.run(d).loss.block_until_ready()
    return perf_counter() - began


def value(loss, params, *args):
    return loss(params, *args)


@cache
def results() -> dict[int, Trained]:
    data = split()
    return {size: trained(size, *data) for size in SIZES}


def measure() -> list[Measured]:
    best = max(float(result.accuracy.mean()) for result in results().values())
    return [Measured("mean accuracy of the best on digits not seen", best, 0.98, 0.02)]


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
        f"The digits, {EPOCHS} times each, at the best learning rate of each batch size: "
        f"mean of {SEEDS} seeds"
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
            f"{float(r.record.values[-1]):.2g} | {_percent(r.accuracy)} | {r.cost.flops:,.0f} | "
            f"{r.cost.bytes:,.0f} | {r.seconds:.2f} |"
        )
    return "\n".join(lines)


def _percent(accuracy: np.ndarray) -> str:
    return f"{accuracy.mean():.1%} ± {100 * accuracy.std(ddof=1):.1f}"
