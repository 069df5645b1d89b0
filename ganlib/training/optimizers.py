"""An optimizer per player, its learning rate a function of the share of the run that is done."""

import math
from collections.abc import Iterable

import torch
from torch import nn

from ganlib.objectives.base import Optimizer


def build(config: Optimizer, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The torch optimizer. Fused where torch has it: one kernel, which also skips its step on `found_inf`."""
    match config.name:
        case "adam":
            return torch.optim.Adam(parameters, lr=config.lr, betas=config.betas, fused=True)
        case "sgd":
            return torch.optim.SGD(parameters, lr=config.lr, fused=True)
        case "rmsprop":
            return torch.optim.RMSprop(parameters, lr=config.lr, alpha=0.99)
    raise AssertionError(config.name)


def set_learning_rate(optimizer: torch.optim.Optimizer, config: Optimizer, done: float) -> None:
    """`done` in [0, 1], of the run: linear decay is lr·(1 − t), cosine lr·½(1 + cos π·t), where t is the share that is
    done of what comes after `decay_from`."""
    done = max(0.0, done - config.decay_from) / (1 - config.decay_from)
    factor = {"constant": 1.0, "linear": 1 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done))}[config.decay]
    for group in optimizer.param_groups:
        group["lr"] = config.lr * factor
