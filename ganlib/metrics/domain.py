"""The classifier of the data set itself as a feature extractor, for images that ImageNet knows nothing of: grey digits,
garments.

It is the file that `classifier.save` writes. The hash of that file is in the protocol: numbers of two classifiers are
never compared.
"""

from pathlib import Path

from torch import Tensor, nn

from ganlib.config import ConfigError
from ganlib.metrics import classifier

RESIZE = classifier.LARGEST
RESIZE_METHOD = "area, larger images only"
FEATURES = 96


class Domain(nn.Module):
    """Images (N, C, h, w), scaled as `prepare` does it, → last activations, averaged over the image (N, 96), logits.

    The 1,536 activations one by one would need that many images more, and tell a missing class from noise less well.
    """

    def __init__(self, network: classifier.Classifier) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if x.shape[1] != self.network.channels:
            raise ValueError(f"domain: the classifier was trained on images of {self.network.channels} channels, "
                             f"these have {x.shape[1]}; train it on such images")
        activations = self.network.body(x)
        return activations.unflatten(1, (FEATURES, -1)).mean(2), self.network.head(activations)


def weights_file() -> Path:
    """There is none before the classifier is trained: ConfigError."""
    raise ConfigError("extractor: domain needs the path of a classifier that `ganlib.metrics.classifier.save` wrote; "
                      "stage reference trains one")


def load(path: Path) -> Domain:
    """The network in eval mode, channels_last. ValueError for a file that is not a classifier."""
    return Domain(classifier.load(path)).eval()


def prepare(images: Tensor, resize: int) -> Tensor:
    """0 … 255 (N, C, H, W) → float32 (N, C, h, w) in [-1, 1], at most `resize` px a side."""
    return classifier.scale(images, resize)
