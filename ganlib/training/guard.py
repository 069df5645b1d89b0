"""No step is taken on a loss that is not finite."""

from pathlib import Path

import torch
from torch import Tensor

from ganlib.training import state


class NonFiniteLoss(RuntimeError):
    """A loss became NaN or infinite. No parameter has moved on it."""


class Guard:
    """On a CPU, and for optimizers that cannot skip on the device, the loss is looked at before each step. On a GPU
    that would stall the queue each time, so there the fused optimizers skip every step from the first bad loss on, and
    the host looks at intervals."""

    def __init__(self, device: torch.device, checkpoints: Path | None):
        self.device, self.checkpoints = device, checkpoints
        self._bad: dict[str, Tensor] = {}
        self._checked = 0

    def watch(self, phase: str, loss: Tensor, optimizers: list[torch.optim.Optimizer], images_seen: int) -> None:
        """Call between the averaged backward pass and the steps of `optimizers`; `loss` is the mean of all workers."""
        self._bad[phase] = torch.maximum((~loss.isfinite()).float(), self._bad.get(phase, torch.zeros_like(loss)))
        if self.device.type == "cpu" or not all(optimizer.defaults.get("fused") for optimizer in optimizers):
            self.check(images_seen)
            return
        anything = torch.stack(list(self._bad.values())).amax()
        for optimizer in optimizers:
            optimizer.found_inf = anything  # type: ignore[attr-defined]

    def check(self, images_seen: int) -> None:
        """Raise NonFiniteLoss if a loss since the last check was not finite."""
        for phase, bad in self._bad.items():
            if bad.item():
                kept = state.found(self.checkpoints) if self.checkpoints else []
                raise NonFiniteLoss(
                    f"the loss of {phase} is not finite between {self._checked:,} and {images_seen:,} images seen; "
                    f"no parameter has moved on it. Last checkpoint: {kept[-1] if kept else 'none'}. "
                    "Try a lower learning rate, or a stronger penalty on the discriminator."
                )
        self._checked = images_seen
