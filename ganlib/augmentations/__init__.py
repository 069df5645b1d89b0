"""Augmentations: what the discriminator sees in place of the images, real and generated."""
