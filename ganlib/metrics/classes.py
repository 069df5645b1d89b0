"""What a generator of labelled images makes of each class: intra-class distance, classification accuracy score."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ganlib.metrics import classifier
from ganlib.metrics.arrays import pair
from ganlib.metrics.frechet import frechet_distance
from ganlib.metrics.statistics import Statistics


def intra_class_distance(real: Tensor | np.ndarray, real_labels: Tensor | np.ndarray, fake: Tensor | np.ndarray,
                         fake_labels: Tensor | np.ndarray) -> tuple[float, dict[int, float]]:
    """Features real (n, d) with labels (n,), fake (m, d) with labels (m,) → the mean over classes of the Fréchet
    distance within the class, and that of each class (Miyato and Koyama 2018, section 4: intra FID).

    ValueError if a class of one set has fewer than 2 images in either. A class has few images, so the bias of the
    Fréchet distance is large: compare only numbers of equal counts.
    """
    x, y = pair(real, fake, "intra_class_distance")
    of_x, of_y = torch.as_tensor(real_labels), torch.as_tensor(fake_labels)
    if of_x.shape != (len(x),) or of_y.shape != (len(y),):
        raise ValueError(f"intra_class_distance: a label for each image is needed, got {tuple(of_x.shape)} for "
                         f"{len(x)} real and {tuple(of_y.shape)} for {len(y)} generated ones")
    distances = {}
    for label in torch.cat([of_x, of_y]).unique().tolist():
        inside, made = x[of_x == label], y[of_y == label]
        if min(len(inside), len(made)) < 2:
            raise ValueError(f"intra_class_distance: class {label} has {len(inside)} real and {len(made)} generated "
                             "images; at least 2 of each are needed")
        distances[label] = frechet_distance(Statistics.from_features(inside), made)
    return float(np.mean(list(distances.values()))), distances


def classification_accuracy_score(real: np.ndarray | Tensor, real_labels: np.ndarray | Tensor,
                                  fake: np.ndarray | Tensor, fake_labels: np.ndarray | Tensor, classes: Sequence[str],
                                  images_shown: int = 60_000, seed: int = 0,
                                  progress: Callable[[int], object] | None = None) -> float:
    """uint8 images real (n, C, H, W) with labels (n,), fake (m, C, H, W) with labels (m,) in 0 … len(classes) − 1 → the
    share of the real ones that a classifier gets right which was trained on the generated ones alone (Ravuri and
    Vinyals 2019; with the small classifier of `ganlib.metrics.classifier` in place of a ResNet-50).

    Compare it with the accuracy of the same classifier trained on real images. Real ones are those of a test split.
    """
    if len(real) != len(real_labels) or len(fake) != len(fake_labels):
        raise ValueError(f"classification_accuracy_score: {len(real_labels)} labels for {len(real)} real images and "
                         f"{len(fake_labels)} for {len(fake)} generated ones")
    network = classifier.train(np.asarray(fake), np.asarray(fake_labels), classes, images_shown, seed, progress)
    return float((classifier.predict(network, real) == torch.from_numpy(np.array(real_labels))).double().mean())
