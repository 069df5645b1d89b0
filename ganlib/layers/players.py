"""What the generators, and the discriminators, of all families have in common: latents, conditions, heads."""

import abc

import torch
from torch import Tensor, nn

from ganlib.condition import NOTHING, Condition
from ganlib.layers.conditions import ConditionalNorm2d, Projection, with_condition
from ganlib.layers.minibatch import MinibatchDiscrimination, MinibatchStd
from ganlib.layers.norms import MIXING, Norm, constrained, norm2d
from ganlib.layers.options import Options
from ganlib.layers.priors import PRIORS, uniform
from ganlib.layers.virtual import SIZE, Reference
from ganlib.verdict import Verdict


class Generator(nn.Module, abc.ABC):
    """z (N, latent), standard normal, and conditions (N, ...), if any are `told` → images (N, C, H, W) in [−1, 1]. A
    family makes its layers after this, and `inputs` is what the first of them is given."""

    def __init__(self, options: Options, condition: Condition, norm: Norm = "none", conditional_norms: bool = True):
        """`condition` of the data. Without `conditional_norms`, all that is told enters beside z."""
        super().__init__()
        how = options.conditioning
        self.latent = options.latent
        self.told = NOTHING if how == "classes" else options.told(condition)
        self.classes = self.told.classes
        self.labels_are_codes = how == "code"
        self.continuous = options.code_continuous if how == "code" else 0
        self.prior = options.prior
        self.norm_name = norm
        self.in_norms = how == "projection" and conditional_norms
        self.inputs = self.latent + (0 if self.in_norms else self.told.size)
        self.reference = Reference(torch.randn(SIZE, self.latent), self.told) if norm == "virtual" else None

    @abc.abstractmethod
    def paint(self, z: Tensor, condition: Tensor | None) -> Tensor:
        """The family's layers, applied to `self.tell(z, condition)`."""

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        if self.told and condition is None:
            raise ValueError(f"condition: this generator needs {self.told} for each image")
        condition = condition if self.told else None
        return self.paint(z, condition) if self.reference is None else self.reference(self.paint, z, condition)

    def code(self, z: Tensor) -> Tensor:
        """The continuous codes within z: (N, code_continuous), uniform on [−1, 1]."""
        return uniform(z[:, self.latent - self.continuous :])

    def tell(self, z: Tensor, condition: Tensor | None) -> Tensor:
        """(N, latent) → (N, inputs): z as the prior has it, then the codes, then the condition."""
        inputs = PRIORS[self.prior](z[:, : self.latent - self.continuous])
        if self.continuous:
            inputs = torch.cat([inputs, self.code(z)], 1)
        return inputs if condition is None or self.in_norms else with_condition(inputs, condition, self.told.size)

    def norm(self, channels: int) -> nn.Module:
        """The layer that follows a convolution; one that is told the condition, if this is where it enters."""
        if self.in_norms:
            return ConditionalNorm2d(self.norm_name, channels, self.told)
        return norm2d(self.norm_name, channels)


class Discriminator(nn.Module, abc.ABC):
    """Images (N, C, H, W) in [−1, 1] and conditions (N, ...), if any are `told` → a Verdict: scores (N,), what is
    guessed of classes and codes, and the features (N, F) that all of these are read from.

    A family makes its layers after this, the first with `planes` more inputs, and then its heads."""

    energy = False

    def __init__(self, options: Options, shape: tuple[int, int, int], condition: Condition, norm: Norm = "none"):
        super().__init__()
        self.options, self.norm_name = options, norm
        known = options.told(condition)
        self.told = known if options.conditioning in ("concat", "projection") else NOTHING
        self.classes = 0 if self.told else known.classes
        self.planes = known.size if options.conditioning == "concat" else 0
        self.mixes_batch = norm in MIXING or options.minibatch != "none"
        # Of one score to one image, as gradient penalties need them. The standard deviation of a group is let pass, as
        # progressive growing and StyleGAN2 do.
        self.own_gradients = norm not in MIXING and options.minibatch != "discrimination"
        self.reference = None
        if norm == "virtual":
            self.reference = Reference(torch.randn(SIZE, *shape).clamp(-1, 1), known, real=True)

    @abc.abstractmethod
    def describe(self, images: Tensor, condition: Tensor | None) -> Tensor:
        """Images → features (N, F): the family's layers, applied to `self.tell(images, condition)`."""

    def make_heads(self, features: int) -> None:
        """What reads the features."""
        options, how = self.options, self.options.conditioning
        self.minibatch = self.score = self.projection = self.label = self.posterior = None
        if options.minibatch != "none":
            with_kernels = options.minibatch == "discrimination"
            self.minibatch = MinibatchDiscrimination(features, options.kernels) if with_kernels else MinibatchStd()
            features += self.minibatch.added
        if how != "classes":
            self.score = constrained(self.norm_name, nn.Linear(features, 1))
        if how == "projection":
            self.projection = constrained(self.norm_name, Projection(self.told, features))
        if how in ("classifier", "classes"):
            self.label = constrained(self.norm_name, nn.Linear(features, self.classes))
        if how == "code":  # Q of Chen et al. 2016, appendix C.1: 128 hidden units of its own
            outputs = self.classes + options.code_continuous
            self.posterior = nn.Sequential(nn.Linear(features, 128), nn.LeakyReLU(0.1), nn.Linear(128, outputs))

    def forward(self, images: Tensor, condition: Tensor | None = None) -> Verdict:
        if self.told and condition is None:
            raise ValueError(f"condition: this discriminator needs {self.told} for each image")
        condition = condition if self.told else None
        if self.reference is None:
            features = self.describe(images, condition)
        else:
            features = self.reference(self.describe, images, condition)
        if self.minibatch is not None:
            features = self.minibatch(features)
        logits = posterior = None
        if self.label is not None:
            logits = self.label(features)
        if self.posterior is not None:
            logits, posterior = self.posterior(features).tensor_split([self.classes], 1)
        if self.score is not None:
            score = self.score(features).squeeze(1)
        else:  # D = Z / (Z + 1) with Z = Σ exp(logits), so that D's own logit is log Z
            assert logits is not None
            score = logits.float().logsumexp(1)
        if self.projection is not None:
            score = score + self.projection(features, condition)
        return Verdict(score, logits, posterior, features)

    def tell(self, images: Tensor, condition: Tensor | None) -> Tensor:
        """(N, C, ...) → (N, C + planes, ...)."""
        return with_condition(images, condition, self.planes) if self.planes and condition is not None else images
