"""Perceptual path length: how abruptly images change between two latents (Karras et al. 2019, section 4.1)."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from ganlib import seeds


def perceptual_path_length(decode: Callable[..., Tensor], embed: Callable[[Tensor], Tensor], a: Tensor, b: Tensor,
                           path: Callable[[Tensor, Tensor, Tensor], Tensor] = torch.lerp, labels: Tensor | None = None,
                           sampling: Literal["full", "end"] = "full", epsilon: float = 1e-4, batch_size: int = 64,
                           seed: int = 0) -> tuple[float, float]:
    """Pairs of latents a and b (N, latent), N ≥ 2 → the mean over pairs of |f(t + ε) − f(t)|² / ε² with f(t) the
    embedded image at `path(a, b, t)`, trimmed as in `trimmed_mean`, and its standard error.

    `decode`: latents → images, or latents and labels → images if `labels` (N,) are given, one a pair. Float, as the
    generator makes them: a step of ε is less than a level of grey, and of images rounded to uint8 one would measure the
    rounding. `embed`: images → features (n, …); the squared Euclidean distance of these stands for LPIPS, so numbers
    compare only under one `embed`.
    `path`: `torch.lerp` for mapped latents (equation 3), `slerp` for normal ones (equation 2); t (n, 1) is drawn
    uniformly for "full", and is 0 for "end". In float32 the last digits of `embed` are noise: at an ε much below 1e-4
    it outweighs the path.
    """
    if a.ndim != 2 or a.shape != b.shape or len(a) < 2 or (labels is not None and len(labels) != len(a)):
        raise ValueError("perceptual_path_length: a and b (N, latent) with N ≥ 2 are needed, and labels (N,) or none, "
                         f"got {[tuple(x.shape) for x in (a, b, labels) if x is not None]}")
    if sampling not in ("full", "end") or epsilon <= 0:
        raise ValueError("perceptual_path_length: sampling is 'full' or 'end' and epsilon above 0, "
                         f"got {sampling!r} and {epsilon}")
    t = torch.rand(len(a), 1, generator=seeds.stream("paths", seed), dtype=torch.float64)
    t = t.to(a) * (sampling == "full")
    told = () if labels is None else (labels,)
    lengths = []
    with torch.inference_mode():
        for batch in zip(*(x.split(batch_size) for x in (a, b, t, *told)), strict=True):
            x, y, start, *label = batch
            here, there = (embed(decode(path(x, y, at), *label)).flatten(1).double() for at in (start, start + epsilon))
            lengths.append((there - here).square().sum(1).cpu() / epsilon**2)
    return trimmed_mean(torch.cat(lengths))


def trimmed_mean(values: Tensor) -> tuple[float, float]:
    """Values (N,), N ≥ 2 → the mean of the h values from the 1st to the 99th percentile, as in StyleGAN's code: each
    percentile is the next value outwards, so that of at most 100 all count. And its standard error, √(S / h(h − 1)), S
    being the squared deviations of all N values, those outside moved to the nearer percentile (winsorized, Yuen 1974).
    """
    ordered, last = values.sort().values, len(values) - 1
    low, high = ordered[last // 100], ordered[-(-99 * last // 100)]
    kept = values[(low <= values) & (values <= high)]
    winsorized = values.clamp(low, high)
    squares = (winsorized - winsorized.mean()).square().sum()
    return float(kept.mean()), float((squares / (len(kept) * (len(kept) - 1))).sqrt())


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """a, b (n, latent), t (n, 1) → (n, latent), along the great circle: (sin((1 − t)Ω) a + sin(tΩ) b) / sin Ω, with the
    angle Ω between them, in which the latents of many dimensions are never parallel."""
    angle = torch.nn.functional.cosine_similarity(a, b, dim=1)[:, None].clamp(-1, 1).arccos()
    return (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / angle.sin()
