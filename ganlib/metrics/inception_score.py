"""The inception score (Salimans et al. 2016, section 4). From another network's logits, an inception-style score."""

import numpy as np
import torch
from torch import Tensor

from ganlib.metrics.arrays import matrix


def inception_score(logits: Tensor | np.ndarray, splits: int = 10) -> tuple[float, float]:
    """Logits (N, K) → exp(E KL(p(y|x) ‖ p(y))), between 1 and K: its mean over `splits` parts in the order given, and
    its standard deviation over them. It sees no real images and cannot tell memorised ones."""
    values = matrix(logits, "inception_score")
    if not 1 <= splits <= len(values):
        raise ValueError("inception_score: logits (N, K) and 1 ≤ splits ≤ N are needed, "
                         f"got {tuple(values.shape)} and {splits}")
    bounds = [part * len(values) // splits for part in range(1, splits)]  # the parts of the original code
    scores = []
    for part in values.tensor_split(bounds):
        part = part.double().log_softmax(1)
        marginal = part.logsumexp(0) - np.log(len(part))
        scores.append((part.exp() * (part - marginal)).sum(1).mean().exp())
    return float(torch.stack(scores).mean()), float(torch.stack(scores).std(correction=0))
