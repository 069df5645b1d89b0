"""Mixed precision where it pays."""

import torch


def resolve(precision: str, device: torch.device) -> torch.dtype:
    """"auto" is bfloat16 on GPUs and on CPUs with matrix units for it (AMX); elsewhere it is slower than float32."""
    if precision == "auto":
        fast = torch.cpu._is_amx_tile_supported() if device.type == "cpu" else torch.cuda.is_bf16_supported()
        return torch.bfloat16 if fast else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]


def autocast(dtype: torch.dtype, device: torch.device) -> torch.autocast:
    """The context of a phase's loss. Parameters stay float32, so no gradient scaling is needed."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)
