"""No step is taken on a loss or a gradient that is not finite, and nothing that is not finite is saved."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganlib.training import state


class NotFinite(RuntimeError):
    """A loss, a gradient or a weight became NaN or infinite. What was saved before is whole."""


class Guard:
    """On a CPU, and for optimizers that cannot skip on the device, loss and gradients are looked at before each step.
    On a GPU that would stall the queue each time, so there the fused optimizers skip every step from the first bad one
    on, and the host looks at intervals."""

    def __init__(self, device: torch.device, checkpoints: Path | None, images_seen: int = 0):
        self.device, self.checkpoints = device, checkpoints
        self._bad: dict[str, Tensor] = {}  # phase → whether its loss, and whether its gradient, was not finite
        self._checked = images_seen

    def watch(self, phase: str, loss: Tensor, gradients: list[Tensor], optimizers: list[torch.optim.Optimizer],
              images_seen: int) -> None:
        """Call between the averaged backward pass and the steps of `optimizers`; `loss` and `gradients` are the means
        of all workers."""
        # The largest entries: unlike a sum of squares, they do not overflow before the gradient does.
        largest = torch._foreach_norm(gradients, torch.inf) if gradients else [loss]
        bad = ~torch.stack([loss.float(), torch.stack(largest).float().amax()]).isfinite()
        self._bad[phase] = bad | self._bad[phase] if phase in self._bad else bad
        if self.device.type == "cpu" or not all(optimizer.defaults.get("fused") for optimizer in optimizers):
            self.check(images_seen)
            return
        anything = torch.stack(list(self._bad.values())).any().float()
        for optimizer in optimizers:
            optimizer.found_inf = anything  # type: ignore[attr-defined]

    def check(self, images_seen: int) -> None:
        """Raise NotFinite if a loss or gradient since the last check was not finite."""
        for phase, bad in self._bad.items():
            loss, gradient = bad.tolist()
            if loss or gradient:
                what = "loss" if loss else "gradient"
                raise NotFinite(f"the {what} of {phase} is not finite between {self._checked:,} and {images_seen:,} "
                                f"images seen; no parameter has moved on it. {self._advice()}")
        self._checked = images_seen

    def check_state(self, state: Mapping[str, Any], images_seen: int) -> None:
        """Raise NotFinite if a number of a state that is about to be saved is not finite: of weights, or of what an
        optimizer remembers."""
        for name, part in state.items():
            if not all(tensor.isfinite().all() for tensor in _tensors(part) if tensor.is_floating_point()):
                raise NotFinite(f"the state of {name} is not finite after {images_seen:,} images, though all losses "
                                f"and gradients were; it is not saved. {self._advice()}")

    def _advice(self) -> str:
        kept = state.newest(self.checkpoints) if self.checkpoints else None
        return (f"Last checkpoint: {kept or 'none'}. Try a lower learning rate, or a stronger penalty on the "
                "discriminator.")


def _tensors(part: Any) -> list[Tensor]:
    if isinstance(part, Tensor):
        return [part]
    inner = part.values() if isinstance(part, Mapping) else part if isinstance(part, list | tuple) else ()
    return [tensor for each in inner for tensor in _tensors(each)]
