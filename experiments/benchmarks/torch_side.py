"""The torch side of workload F: all networks at once, `torch.func.vmap` over `grad`."""

from typing import Any

import numpy as np

from experiments.benchmarks.digits import Data, Params, accuracy, batches, flat
from experiments.benchmarks.harness import Answer, Missing, Side
from experiments.benchmarks.optional import imported

NAME = "torch.func vmap"
B1, B2, EPS = 0.9, 0.999, 1e-8  # of Adam, as in optax


def torch_side(
    starts: Params, learning_rates: np.ndarray, steps: int, data: Data
) -> Side | Missing:
    """Return the side; its runs are learning rates × starts [seeds, ...], these fastest."""
    torch = imported("torch")
    if isinstance(torch, Missing):
        return Missing(NAME, torch.reason)

    def loss(params: Params, x: Any, y: Any) -> Any:
        hidden = torch.tanh(x @ params["w1"] + params["b1"])
        return torch.nn.functional.cross_entropy(hidden @ params["w2"] + params["b2"], y)

    gradients = torch.func.vmap(torch.func.grad(loss), in_dims=(0, None, None))
    in_order = [(torch.tensor(x), torch.tensor(y).long()) for x, y in batches(data)]
    seeds = len(starts["b1"])
    rates = torch.tensor(learning_rates).repeat_interleave(seeds)

    def run() -> Params:
        params = {
            k: torch.tensor(np.tile(v, (len(learning_rates), *[1] * (v.ndim - 1))))
            for k, v in starts.items()
        }
        means = {name: torch.zeros_like(leaf) for name, leaf in params.items()}
        squares = {name: torch.zeros_like(leaf) for name, leaf in params.items()}
        for i in range(steps):
            grads = gradients(params, *in_order[i % len(in_order)])
            for name, leaf in params.items():
                grad, mean, square = grads[name], means[name], squares[name]
                mean.lerp_(grad, 1 - B1)
                square.mul_(B2).addcmul_(grad, grad, value=1 - B2)
                size = (square / (1 - B2 ** (i + 1))).sqrt_().add_(EPS)
                rate = (rates / (1 - B1 ** (i + 1))).view(-1, *[1] * (leaf.ndim - 1))
                leaf.sub_(rate * mean / size)
        return {name: leaf.numpy() for name, leaf in params.items()}

    def answer(params: Params) -> Answer:
        count = len(rates) * steps
        scores = {"accuracy": accuracy(params, data)}
        return Answer(flat(params), useful=count, executed=count, scores=scores)

    return Side(NAME, run, answer)
