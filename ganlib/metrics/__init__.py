"""Features → statistics → number. The functions take torch tensors or numpy arrays, real first, compute on the CPU, and
depend on their arguments and seeds alone. Those of pairs (`pairs`, `lpips`) take images and what they should be. Four
work with networks: `perceptual_path_length` calls a generator and an extractor, on their device, `pair_intervals` an
extractor and LPIPS, `lpips_distance` the latter, and `classification_accuracy_score` trains a classifier on images."""

from ganlib.metrics.classes import classification_accuracy_score, intra_class_distance
from ganlib.metrics.collisions import collision_test, uniformity_by_collisions
from ganlib.metrics.frechet import frechet_distance
from ganlib.metrics.inception_score import inception_score
from ganlib.metrics.kernel import kernel_distance, kernel_distance_subsets
from ganlib.metrics.lpips import lpips_distance
from ganlib.metrics.neighbours import density_coverage, memorization, nearest, precision_recall
from ganlib.metrics.pairs import (
    colour_histograms,
    cosine_distance,
    l1,
    pair_intervals,
    psnr,
    ssim,
    total_variation,
)
from ganlib.metrics.path_length import perceptual_path_length, slerp
from ganlib.metrics.prd import f_score, precision_recall_curve
from ganlib.metrics.statistics import Statistics
from ganlib.metrics.uncertainty import extrapolate, frechet_interval, kernel_interval, mean_interval
from ganlib.metrics.wasserstein import earth_mover, sliced_wasserstein, sliced_wasserstein_lower_bound

__all__ = [
    "Statistics",
    "classification_accuracy_score",
    "collision_test",
    "colour_histograms",
    "cosine_distance",
    "density_coverage",
    "earth_mover",
    "extrapolate",
    "f_score",
    "frechet_distance",
    "frechet_interval",
    "inception_score",
    "intra_class_distance",
    "kernel_distance",
    "kernel_distance_subsets",
    "kernel_interval",
    "l1",
    "lpips_distance",
    "mean_interval",
    "memorization",
    "nearest",
    "pair_intervals",
    "perceptual_path_length",
    "precision_recall",
    "precision_recall_curve",
    "psnr",
    "slerp",
    "sliced_wasserstein",
    "sliced_wasserstein_lower_bound",
    "ssim",
    "total_variation",
    "uniformity_by_collisions",
]
