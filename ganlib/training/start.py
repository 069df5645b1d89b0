"""What a run begins with: made of its seed and the images alone."""

from typing import NamedTuple

import torch
from torch import nn

from ganlib.build import MODEL
from ganlib.datasets.jitter import Jitter
from ganlib.layers import virtual
from ganlib.objectives.base import Images, Objective
from ganlib.training import optimizers
from ganlib.training.run import Run


class Game(NamedTuple):
    """The networks and the optimizers of each role, the objective that is bound to them, and the images as drawn."""

    networks: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    objective: Objective
    images: Images


def begin(run: Run, images: Images, device: torch.device) -> Game:
    """The game before its first move."""
    networks = {
        role: network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for role, network in run.build_networks(images.shape, images.condition).items()
    }
    virtual.refer(networks.values(), *images.draw(run.seed, 0, run.training.batch_size, device))
    networks[MODEL].label_counts = images.label_counts  # by which it is sampled
    objective = run.build_objective().to(device)
    movers = {role: optimizers.build(config, networks[role].parameters())
              for role, config in objective.optimizers.items()}
    objective.bind(networks, images, movers)
    flip, jitter = run.training.flip, run.training.jitter
    return Game(networks, movers, objective, Jitter(images, flip, jitter) if flip or jitter else images)


def rehearse(run: Run, images: Images) -> None:
    """Raise ConfigError for what the game needs of the images and these do not have, before any time is spent."""
    with torch.device("meta"):
        networks = run.build_networks(images.shape, images.condition)
    run.build_objective().bind(networks, images, {})
