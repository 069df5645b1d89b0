"""What the families that draw images from images have in common: options, directions, patch discriminators."""

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from ganlib.condition import NOTHING, Condition
from ganlib.config import ConfigError, require, within
from ganlib.layers.conditions import with_condition
from ganlib.layers.initialization import normal_002
from ganlib.layers.norms import MIXING, Norm, constrained, norm2d
from ganlib.verdict import Verdict

# Receptive field in pixels → strided layers of the patch discriminator; 1: it judges each pixel by itself.
PATCHES = {1: 0, 16: 1, 34: 2, 70: 3}


@dataclass(frozen=True)
class Options:
    """The base of a family's configuration."""

    width: int = 64  # channels of the generator's largest feature maps
    generator_norm: Norm = "batch"
    discriminator_width: int = 64
    discriminator_norm: Norm = "batch"
    patch: Literal[1, 16, 34, 70] = 70  # pixels that each score of the discriminator sees of an image
    conditioning: Literal["none", "concat"] = "concat"  # concat: the discriminator sees the pair; none: the image alone
    directions: Literal[1, 2] = 1  # 2: each role has a network for the way back as well

    def __post_init__(self) -> None:
        within(self, 1, 16_384, "width", "discriminator_width")
        for name in ("generator_norm", "discriminator_norm"):
            require(getattr(self, name) != "virtual", f"{name}: virtual is for dcgan and subpixel; write instance")
        require(self.generator_norm != "spectral", "generator_norm: spectral is for the discriminator; write batch")
        require(self.directions == 1 or self.conditioning == "none", "conditioning: in two directions the "
                "discriminators see images alone; write none")


class Translator(nn.Module, abc.ABC):
    """z (N, latent) and images (N, C′, H, W) in [−1, 1] → images (N, C, H, W) in [−1, 1]."""

    classes, labels_are_codes, continuous, prior = 0, False, 0, "normal"
    latent = 0

    def __init__(self, told: Condition):
        super().__init__()
        self.told = told

    @abc.abstractmethod
    def draw(self, z: Tensor, images: Tensor) -> Tensor:
        """The family's layers, up to what tanh is applied to."""

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        if condition is None:
            raise ValueError(f"condition: this generator needs {self.told} for each image")
        return self.draw(z, condition).tanh()


class Patches(nn.Module):
    """Images (N, C, H, W) in [−1, 1], and those that they were drawn from if it is `told` them → a Verdict with scores
    (N, 1, h, w), each of a patch. PatchGAN: Isola et al. 2017, arXiv:1611.07004, sec. 3.2.2 and 6.1.2."""

    energy, classes = False, 0

    def __init__(self, options: Options, shape: tuple[int, int, int], told: Condition = NOTHING):
        super().__init__()
        self.told = told
        self.mixes_batch = options.discriminator_norm in MIXING
        self.own_gradients = not self.mixes_batch
        norm, width, strided = options.discriminator_norm, options.discriminator_width, PATCHES[options.patch]
        channels, smaller = shape[0] + told.size, min(shape[1:])
        if not strided:  # 1×1 convolutions: what it calls pixelGAN
            self.layers = nn.Sequential(
                constrained(norm, nn.Conv2d(channels, width, 1)), nn.LeakyReLU(0.2),
                *_normed(norm, nn.Conv2d(width, 2 * width, 1, bias=biased(norm))), nn.LeakyReLU(0.2))
            self.score: nn.Module = constrained(norm, nn.Conv2d(2 * width, 1, 1, bias=biased(norm)))
        else:
            require(smaller >> strided > 2, f"networks.patch: images of {shape[1]}×{shape[2]} are too small for "
                    f"patches of {options.patch} pixels; write a smaller one of {', '.join(map(str, PATCHES))}")
            layers: list[nn.Module] = [constrained(norm, nn.Conv2d(channels, width, 4, stride=2, padding=1)),
                                       nn.LeakyReLU(0.2)]
            for level in range(1, strided + 1):
                before, after = (width * min(2**power, 8) for power in (level - 1, level))
                stride = 2 if level < strided else 1
                layers += [*_normed(norm, nn.Conv2d(before, after, 4, stride, 1, bias=biased(norm))), nn.LeakyReLU(0.2)]
            self.layers = nn.Sequential(*layers)
            self.score = constrained(norm, nn.Conv2d(after, 1, 4, padding=1))
        self.apply(normal_002)

    def forward(self, images: Tensor, condition: Tensor | None = None) -> Verdict:
        if self.told:
            if condition is None:
                raise ValueError(f"condition: this discriminator needs {self.told} for each image")
            images = with_condition(images, condition, self.told.size)
        maps = self.layers(images)
        return Verdict(self.score(maps), features=maps.flatten(1))


def biased(norm: Norm) -> bool:
    """Whether a convolution in front of this normalisation has a bias: not where the normalisation brings one."""
    return norm in ("none", "instance", "spectral")


def normalized(norm: Norm, channels: int) -> nn.Module:
    """The normalisation; instance norm is without scale and shift, as in the authors' code."""
    return norm2d(norm, channels, affine=norm != "instance")


def _normed(norm: Norm, convolution: nn.Conv2d) -> tuple[nn.Module, nn.Module]:
    return constrained(norm, convolution), normalized(norm, convolution.out_channels)


def players(options: Options, shape: tuple[int, int, int], condition: Condition,
            translator: Callable[[Condition, int], Translator]) -> dict[str, nn.Module]:
    """One network per role. `translator(told, channels)` draws images of so many channels from those it is told. In
    two directions, each role's `back` is the network of the other one. ConfigError for data that tells no
    images, or images of another size."""
    if condition.kind != "image" or condition.sides != shape[1:]:
        raise ConfigError(f"networks.name: this family draws images {'×'.join(map(str, shape))} from images of that "
                          f"height and width, and this data tells {condition}; take networks=subpixel, or data that "
                          "has them: dataset=pairs, openmoji or emoji")
    told = condition if options.conditioning == "concat" else NOTHING
    generator, discriminator = translator(condition, shape[0]), Patches(options, shape, told)
    if options.directions == 2:
        generator.back = translator(Condition("image", shape[0], shape[1:], condition.paired), condition.size)
        discriminator.back = Patches(options, (condition.size, *shape[1:]))
    return {"generator": generator, "discriminator": discriminator}
