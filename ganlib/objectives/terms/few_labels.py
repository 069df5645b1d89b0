"""Classification from few labels, by the discriminator. Salimans et al. 2016, arXiv:1606.03498, sec. 5."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torch.nn.functional import cross_entropy

from ganlib.config import ConfigError, require
from ganlib.objectives.base import Images, Networks
from ganlib.objectives.terms.base import Move, Term


@dataclass(frozen=True)
class Config:
    labels_per_class: int = 100  # training images whose label is used; the others are seen without
    weight: float = 2.0  # against the adversarial loss, which the authors' code halves

    def __post_init__(self) -> None:
        require(self.labels_per_class >= 1, f"labels_per_class: must be at least 1, got {self.labels_per_class}")
        require(self.weight > 0, f"weight: must be above 0, got {self.weight:g}")


class FewLabels(Term):
    """L_supervised = −E log P(y | x, y < K + 1), on the labelled images of each batch. With score = log Σ exp(logits)
    the adversarial loss is their L_unsupervised: D(x) = Z / (Z + 1), the class K + 1 having the logit 0."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config

    def bind(self, networks: Networks, images: Images) -> None:
        """Keep the first images of each class, as training sees them."""
        device = next(networks["discriminator"].parameters()).device
        few = images.few(self.config.labels_per_class)  # type: ignore[attr-defined]
        self.images, self.label = few.batch(np.arange(len(few)), device)

    def discriminator(self, move: Move) -> Tensor:
        chosen = move.batch.noise.stream("few").integers(len(self.images))
        images, label = self.images[chosen], self.label[chosen]
        logits = move.networks["discriminator"](images).label.float()
        move.stats["D/labelled_accuracy"] = (logits.detach().argmax(1) == label).float().mean()
        return self.config.weight * cross_entropy(logits, label)

    def check(self, networks: Networks) -> None:
        if networks["generator"].told or not networks["discriminator"].classes:
            raise ConfigError("objective.terms.few_labels: the discriminator must tell the class, and the generator "
                              "not be told it; set networks.conditioning=classes")


def build(config: Config) -> FewLabels:
    return FewLabels(config)
