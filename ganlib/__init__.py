"""Generative adversarial networks in plain torch: objectives, networks, one training loop, metrics."""
