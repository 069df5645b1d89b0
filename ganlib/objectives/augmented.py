"""Any game, behind an augmentation: the discriminator sees all images through it, real and generated, in its own moves
and in the generator's. So the generator does not learn to augment: Karras et al. 2020, arXiv:2006.06676, section 2;
Zhao et al. 2020, arXiv:2006.10738, section 3."""

import functools
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ganlib.augmentations.base import Augmentation
from ganlib.condition import NOTHING
from ganlib.config import ConfigError
from ganlib.objectives.base import WHOLE, Batch, Images, Networks, Noise, Objective, Optimizers, Phase, Stats

Side = Literal["real", "fake"]


class Seen(nn.Module):
    """A discriminator D that is shown T(x) where it is asked about x, T being drawn anew at each look but those of
    `looking_at`. Of a pair it is shown (T(x), T(y)), both under one draw. What else is asked of it, D answers itself.
    """

    def __init__(self, discriminator: nn.Module, augmentation: Augmentation, noise: Noise):
        super().__init__()
        self.discriminator, self.noise, self.looks = discriminator, noise, 0
        self.augment = functools.partial(augmentation)  # no child: its buffers are none of D's

    @property
    def back(self) -> "Seen":
        """D of the way back, behind the same augmentation."""
        return Seen(self.discriminator.back, self.augment, self.noise)  # type: ignore[arg-type]

    def forward(self, images: Tensor, *others: Any, **options: Any) -> Any:
        if self._of_pairs:
            self.looks += 1
            return self._pair((f"look {self.looks}",), images, *others, **options)
        return self.discriminator(self.augment(images, self.noise), *others, **options)

    def look(self, sides: tuple[Side, ...], images: Tensor, *others: Any, **options: Any) -> Any:
        """See `looking_at`."""
        if self._of_pairs:
            return self._pair(sides, images, *others, **options)
        return self.discriminator(self._drawn(sides, images), *others, **options)

    @property
    def _of_pairs(self) -> bool:
        return getattr(self.discriminator, "told", NOTHING).kind == "image"

    def _pair(self, draws: tuple[str, ...], images: Tensor, condition: Tensor, **options: Any) -> Any:
        # Alike in channels too, or one of the two would take more numbers from the same draw.
        channels = max(images.shape[1], condition.shape[1])
        seen = (self._drawn(draws, x.expand(-1, channels, -1, -1))[:, : x.shape[1]] for x in (images, condition))
        return self.discriminator(*seen, **options)

    def _drawn(self, draws: tuple[str, ...], images: Tensor) -> Tensor:
        """As many parts of the images, each under the draw of that name."""
        parts = zip(images.chunk(len(draws)), draws, strict=True)
        return torch.cat([self.augment(part, self.noise.stream(draw)) for part, draw in parts])

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("discriminator"), name)


def looking_at(discriminator: Any, *sides: Side) -> Callable[..., Any]:
    """The discriminator, to be called as always: with the reals of the batch, with the fakes, with both in one tensor,
    or with as many images that they were changed to. Behind an augmentation one draw of it is kept for the reals of a
    move, and one for the fakes, so that D(T(x)) can be compared with D(T(x + Δ))."""
    return functools.partial(discriminator.look, sides) if isinstance(discriminator, Seen) else discriminator


class Augmented(Objective):
    """The game `objective`, with all that its discriminator sees behind the `augmentation`.

    Penalties differentiate D(T(x)) with respect to x, the image that is not augmented.
    """

    images_seen: Tensor

    def __init__(self, objective: Objective, augmentation: Augmentation):
        super().__init__()
        self.objective, self.augmentation = objective, augmentation
        self.roles, self.optimizers = objective.roles, objective.optimizers
        self.register_buffer("images_seen", torch.tensor(0))  # at the discriminator's last step

    def phases(self) -> tuple[Phase, ...]:
        return tuple(phase._replace(loss=functools.partial(self._loss, phase)) for phase in self.objective.phases())

    def check(self, networks: Networks) -> None:
        if "discriminator" not in self.roles:
            raise ConfigError(f"augmentation: this objective is played by {' and '.join(self.roles)}, and there is no "
                              "discriminator to show augmented images to; write augmentation: null")
        self.augmentation.check(self.objective)
        self.objective.check(networks)

    def bind(self, networks: Networks, images: Images, optimizers: Optimizers) -> None:
        self.objective.bind(networks, images, optimizers)

    def fakes(self, networks: Networks, batch: Batch) -> Any:
        return self.objective.fakes(networks, batch)

    @torch.no_grad()
    def advance(self, phase: Phase, networks: Networks, stats: Stats, images_seen: int) -> None:
        self.objective.advance(phase, networks, stats, images_seen)
        if phase.name == "D":
            images = images_seen - self.images_seen
            if phase.window != WHOLE:  # of those before its first step it has seen nothing
                images = images * (self.images_seen > 0)
            self.augmentation.advance(stats, images_seen, images)
            self.images_seen.fill_(images_seen)

    def _loss(self, phase: Phase, networks: Networks, batch: Batch) -> tuple[Tensor, Stats]:
        seen = Seen(networks["discriminator"], self.augmentation, batch.noise)
        loss, stats = phase.loss({**networks, "discriminator": seen}, batch)
        return loss, stats | (self.augmentation.stats() if phase.name == "D" else {})
