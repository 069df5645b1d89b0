"""Adaptive discriminator augmentation: Karras et al. 2020, arXiv:2006.06676, appendix B.

Each change is made to an image with probability p, and p follows how much the discriminator overfits. The changes are
the paper's pixel blits, geometric transformations and colour transformations, with its strengths and in its order
(figure 16); its filters, noise and cutout are not here: the authors leave them out of their own runs.

Unlike the paper, which transforms images at twice their size behind wavelet filters, images are read once between
their own pixels (bilinear), so that turned and scaled ones are a little blurred or aliased; blits stay exact.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from ganlib.augmentations.base import Augmentation, integers, normal, uniform
from ganlib.augmentations.resample import bilinear
from ganlib.config import ConfigError, require
from ganlib.objectives.base import Noise, Objective, Stats

Change = Literal[
    "xflip", "rotate90", "xint",  # blits
    "scale", "rotate", "aniso", "xfrac",  # geometry
    "brightness", "contrast", "lumaflip", "hue", "saturation",  # colour; grey images have no hue and no saturation
]  # fmt: skip


@dataclass(frozen=True)
class Config:
    changes: tuple[Change, ...] = get_args(Change)  # all of them: the authors' "bgc"
    p: float = 0.0  # the probability of each change, at the first image
    target: float | None = 0.6  # of E[sign D(real)], above which p grows; null: p stays
    interval: int = 256  # images between two steps of p: four of the authors' batches of 64
    kimg: float = 500.0  # thousands of images in which p can go from 0 to 1

    def __post_init__(self) -> None:
        require(0 <= self.p <= 1, f"p: must lie in [0, 1], got {self.p:g}")
        require(self.target is None or -1 < self.target < 1,
                f"target: a mean of signs lies in (−1, 1), got {self.target}; 0.6 is the paper's, null keeps p fixed")
        require(self.interval >= 1, f"interval: must be at least 1 image, got {self.interval}")
        require(self.kimg > 0, f"kimg: must be above 0, got {self.kimg:g}; 500 is the paper's")


class ADA(Augmentation):
    """State: p, and the signs that were counted since its last step."""

    p: Tensor
    signs: Tensor
    counted: Tensor

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.register_buffer("p", torch.tensor(config.p))
        self.register_buffer("signs", torch.tensor(0.0))  # Σ sign D(real), over `counted` images
        self.register_buffer("counted", torch.tensor(0.0))

    def augment(self, images: Tensor, noise: Noise) -> Tensor:
        chance = Chance(images, noise, self.p)
        return recolour(self.config.changes, chance, transform(self.config.changes, chance, images))

    def check(self, objective: Objective) -> None:
        if self.config.target is not None and not objective.reports_real_sign:
            raise ConfigError("augmentation.target: ada follows the sign of the discriminator's score on reals, which "
                              "tells nothing in this game (its zero does not divide reals from fakes); set "
                              "augmentation.target=null, and augmentation.p to what p should be")

    def stats(self) -> Stats:
        return {"augmentation/p": self.p.clone()}

    @torch.no_grad()
    def advance(self, stats: Stats, images_seen: int, images: int | Tensor) -> None:
        """p ← p + sign(r_t − target)·images / (1000·kimg) with r_t = E[sign D(real)], equation 1, once an interval."""
        if self.config.target is None:
            return
        self.signs += stats["D/real_sign"] * images
        self.counted += images
        due = (self.counted >= self.config.interval).float()  # no branch: a GPU would have to wait for it
        direction = torch.sign(self.signs - self.config.target * self.counted)
        self.p += due * direction * self.counted / (1000 * self.config.kimg)
        self.p.clamp_(0, 1)
        self.signs *= 1 - due
        self.counted *= 1 - due


class Chance:
    """The random numbers of one call, (N, *shape): with probability p for each image what is drawn, else zeros."""

    def __init__(self, images: Tensor, noise: Noise, p: Tensor):
        self._images, self._noise, self._p = images, noise, p

    def normal(self, std: float, *shape: int) -> Tensor:
        """N(0, std²)."""
        return self._perhaps(std * normal(self._noise, self._images, *shape))

    def uniform(self, high: float, *shape: int) -> Tensor:
        """U(−high, high)."""
        return self._perhaps(high * (2 * uniform(self._noise, self._images, *shape) - 1))

    def integer(self, high: int) -> Tensor:
        """One of 0 … high."""
        return self._perhaps(integers(self._noise, self._images, 0, high).to(self._images.dtype))

    def half_as_likely(self) -> "Chance":
        """With q such that (1 − q)² = 1 − p: of two changes, at least one is made with probability p."""
        return Chance(self._images, self._noise, 1 - (1 - self._p).sqrt())

    def _perhaps(self, number: Tensor) -> Tensor:
        made = uniform(self._noise, self._images) < self._p
        return torch.where(made.view(-1, *[1] * (number.ndim - 1)), number, 0)


def transform(changes: tuple[Change, ...], chance: Chance, images: Tensor) -> Tensor:
    """The blits and the geometry: one affine map (N, 3, 3) from the places (x, y, 1) of the new image to those of the
    old one, in pixels from the centre. It is the product of the changes' inverses, that of the first one leftmost."""
    height, width = images.shape[2:]
    back = torch.eye(3, dtype=images.dtype, device=images.device).expand(len(images), 3, 3)
    if "xflip" in changes:
        sign = 1 - 2 * chance.integer(1)
        back = back @ _scaling(sign, sign.abs())
    if "rotate90" in changes:
        back = back @ _rotation(chance.integer(3) * (math.pi / 2)).round()  # whole pixels move to whole pixels
    if "xint" in changes:
        x, y = chance.uniform(0.125, 2).unbind(1)
        back = back @ _translation(-(x * width).round(), -(y * height).round())
    if "scale" in changes:
        size = torch.exp2(-chance.normal(0.2))
        back = back @ _scaling(size, size)
    if "rotate" in changes:
        back = back @ _rotation(chance.half_as_likely().uniform(math.pi))
    if "aniso" in changes:
        size = torch.exp2(-chance.normal(0.2))
        back = back @ _scaling(size, 1 / size)
    if "rotate" in changes:
        back = back @ _rotation(chance.half_as_likely().uniform(math.pi))
    if "xfrac" in changes:
        x, y = chance.normal(0.125, 2).unbind(1)
        back = back @ _translation(-x * width, -y * height)

    centre = torch.tensor([(width - 1) / 2, (height - 1) / 2], dtype=images.dtype, device=images.device)
    y, x = (torch.arange(size, dtype=images.dtype, device=images.device) for size in (height, width))
    place = torch.stack(torch.broadcast_tensors(x - centre[0], (y - centre[1])[:, None], x.new_ones(()))).flatten(1)
    column, row = ((back @ place)[:, :2] + centre[:, None]).unflatten(2, (height, width)).unbind(1)
    return bilinear(images, row, column)


def recolour(changes: tuple[Change, ...], chance: Chance, images: Tensor) -> Tensor:
    """y = c·(f·L + s·R)(x + b) for each pixel: b is brightness, c contrast, f = ±1 the flip of the luma, s saturation;
    L = vvᵀ projects on the grey axis v = (1, 1, 1)/√3, and R turns what is orthogonal to it by the hue's angle. (The
    linear changes commute.) Where there are not three channels, each of them is grey: y = c·f·(x + b)."""
    zero = images.new_zeros(len(images))
    brightness = chance.normal(0.2) if "brightness" in changes else zero
    contrast = torch.exp2(chance.normal(0.5) if "contrast" in changes else zero)
    flip = 1 - 2 * (chance.integer(1) if "lumaflip" in changes else zero)
    images = images + brightness.view(-1, 1, 1, 1)
    if images.shape[1] != 3:
        return images * (contrast * flip).view(-1, 1, 1, 1)
    hue = (chance.uniform(math.pi) if "hue" in changes else zero).view(-1, 1, 1)
    saturation = torch.exp2(chance.normal(1.0) if "saturation" in changes else zero).view(-1, 1, 1)
    grey = images.new_full((3, 3), 1 / 3)
    quarter = images.new_tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)  # v × x
    turned = hue.cos() * (torch.eye(3).to(images) - grey) + hue.sin() * quarter
    matrix = contrast.view(-1, 1, 1) * (flip.view(-1, 1, 1) * grey + saturation * turned)
    return (matrix @ images.flatten(2)).view(images.shape)


def _matrix(*rows: tuple[Tensor, ...]) -> Tensor:
    """(N, 3, 3) from its first two rows; the last is (0, 0, 1)."""
    zero, one = torch.zeros_like(rows[0][0]), torch.ones_like(rows[0][0])
    return torch.stack([torch.stack(row, 1) for row in (*rows, (zero, zero, one))], 1)


def _scaling(x: Tensor, y: Tensor) -> Tensor:
    zero = torch.zeros_like(x)
    return _matrix((x, zero, zero), (zero, y, zero))


def _rotation(angle: Tensor) -> Tensor:
    zero, cos, sin = torch.zeros_like(angle), angle.cos(), angle.sin()
    return _matrix((cos, -sin, zero), (sin, cos, zero))


def _translation(x: Tensor, y: Tensor) -> Tensor:
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    return _matrix((one, zero, x), (zero, one, y))


def build(config: Config) -> ADA:
    return ADA(config)
