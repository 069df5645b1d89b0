"""One stream of random numbers for each purpose, from the user's seeds: weights and latents of seed 0 share nothing."""

import hashlib

import torch


def derive(purpose: str, *parts: int | str) -> int:
    """63 bits from the name of the purpose and whatever else the numbers depend on, alike on every machine."""
    return int.from_bytes(hashlib.blake2b(repr((purpose, *parts)).encode(), digest_size=8).digest(), "big") >> 1


def stream(purpose: str, *parts: int | str) -> torch.Generator:
    """Torch's generator of those numbers, on the CPU."""
    return torch.Generator().manual_seed(derive(purpose, *parts))
