"""What both players of a game may be told of an image: nothing, its class, a text, or another image."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ganlib.config import ConfigError, require


@dataclass(frozen=True)
class Condition:
    """What is told, as one tensor of N conditions. False for "nothing".

    class  (N,) int64, 0 … size − 1
    text   (N, size) float32: a vector of each caption
    image  (N, size, *sides) float32 in [−1, 1]
    """

    kind: Literal["nothing", "class", "text", "image"] = "nothing"
    size: int = 0  # the number of classes, the length of a text's vector, the channels of an image
    sides: tuple[int, int] | None = None  # height and width of an image
    paired: bool = True  # False: the images told are a set of their own, and the answer to none of them is known

    def __post_init__(self) -> None:
        least = {"nothing": 0, "class": 1, "text": 1, "image": 1}[self.kind]
        require(least <= self.size <= (0 if self.kind == "nothing" else 10**6), f"condition.size: {self.size} is no "
                f"size of {self.kind}")
        require((self.sides is not None) == (self.kind == "image"), "condition.sides: images have them, and no others")
        require(self.paired or self.kind == "image", "condition.paired: only images can come without their pairs")

    def __bool__(self) -> bool:
        return self.kind != "nothing"

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one condition: () of a class, (D,) of a text, (C, H, W) of an image."""
        return {"text": (self.size,), "image": (self.size, *(self.sides or ()))}.get(self.kind, ())

    @property
    def given(self) -> bool:
        """Whether each image needs one that is given, a text or an image; classes are known by their shares."""
        return self.kind in ("text", "image")

    @property
    def classes(self) -> int:
        """The number of classes; 0 where what is told is no class."""
        return self.size if self.kind == "class" else 0

    def __str__(self) -> str:
        return {"nothing": "nothing", "class": f"one of {self.size} classes", "text": f"a text's {self.size} numbers",
                "image": f"an image {'×'.join(map(str, self.shape))}"}[self.kind]

    def require_fit(self, conditions: Tensor) -> None:
        """ConfigError unless these (N, …) are conditions of this kind and shape."""
        if self.kind == "nothing":
            raise ConfigError("this generator makes its images of noise alone, and cannot go by labels, texts or "
                              "images; ask for a number of images")
        known = {"class": (torch.int64,), "image": (torch.uint8, torch.float32)}.get(self.kind, (torch.float32,))
        if tuple(conditions.shape[1:]) != self.shape or conditions.dtype not in known:
            raise ConfigError(f"conditions: {self} each, got {str(conditions.dtype).removeprefix('torch.')} of shape "
                              f"{tuple(conditions.shape)}")
        if self.kind == "class" and len(conditions):
            require(int(conditions.min()) >= 0 and int(conditions.max()) < self.size,
                    f"conditions: classes 0 … {self.size - 1}, got {int(conditions.min())} … {int(conditions.max())}")


NOTHING = Condition()


def of_classes(count: int) -> Condition:
    """One of so many classes; nothing, where there are none."""
    return Condition("class", count) if count else NOTHING

