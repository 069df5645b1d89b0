"""What every network family promises."""

from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from ganlib import build
from ganlib.condition import NOTHING, Condition, of_classes
from ganlib.config import ConfigError
from ganlib.layers.virtual import refer
from ganlib.verdict import Verdict

TRANSLATOR = {"width": 4, "discriminator_width": 4, "patch": 16}
SMALL = {"dcgan": {"width": 4}, "subpixel": {"width": 4}, "mlp": {"width": 8, "depth": 2}, "autoencoder": {"width": 4},
         "unet": TRANSLATOR, "resnet": TRANSLATOR}  # fmt: skip
SHAPES = [(1, 28, 28), (3, 32, 32), (3, 64, 64), (3, 48, 64), (1, 36, 28)]
CLASSES = 3
TOLD = ["concat", "projection", "classifier", "code", "classes"]  # every conditioning but none
CONDITIONED = [(family, how) for family in ("dcgan", "subpixel", "mlp") for how in TOLD]


def networks(family: str, shape: tuple[int, int, int], condition: Condition | None = None, **options: Any
             ) -> dict[str, Any]:
    """Of the first of these that the family takes: unconditional ones, or translators of images of two channels."""
    module, _ = build.component("networks", {"name": family})
    latent = {"latent": 6} if hasattr(module.Config, "latent") else {}
    _, config = build.component("networks", {"name": family} | latent | SMALL.get(family, {}) | options)
    torch.manual_seed(0)
    if condition is None:
        try:
            return module.build(config, shape, NOTHING)
        except ConfigError:
            condition = Condition("image", 2, shape[1:])
    return module.build(config, shape, condition)


def told(network: Any, count: int) -> torch.Tensor | None:
    """Conditions for it, if it is told any."""
    return torch.randn(count, *network.told.shape).clamp(-1, 1) if network.told.kind == "image" else None


def conditioned(family: str, how: str, **options: Any) -> dict[str, Any]:
    shape = (2, 1, 1) if family == "mlp" else SHAPES[0]
    return networks(family, shape, of_classes(CLASSES), conditioning=how, code_classes=CLASSES, **options)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("family", build.names("networks"))
def test_images_in_range_and_one_score_each(family, shape):
    players = networks(family, shape)
    conditions = told(players["generator"], 5)
    images = players["generator"](torch.randn(5, players["generator"].latent), conditions)
    assert images.shape == (5, *shape) and images.abs().max() <= 1
    verdict = players["discriminator"](images, conditions)
    assert isinstance(verdict, Verdict) and verdict.features.shape[0] == 5
    assert verdict.score.shape == (5,) or (verdict.score.shape[:2] == (5, 1) and verdict.score.ndim == 4)  # of patches


@pytest.mark.parametrize("family", build.names("networks"))
def test_mixes_batch_says_whether_other_images_matter(family):
    """A discriminator that claims to judge each image by itself gives it the same score in any company."""
    choices: list[dict[str, str]] = [{}]
    if hasattr(build.module("networks", family).Config, "discriminator_norm"):
        choices += [{"discriminator_norm": norm} for norm in ("batch", "sync_batch", "layer", "group", "instance")]
    if family in ("dcgan", "subpixel", "mlp"):
        choices += [{"minibatch": "std"}, {"minibatch": "discrimination"}]
    for options in choices:
        discriminator = networks(family, SHAPES[0], **options)["discriminator"].train()
        images = torch.randn(6, *SHAPES[0])
        conditions = told(discriminator, 6)
        together = discriminator(images, conditions).score[:3]
        alone = discriminator(images[:3], None if conditions is None else conditions[:3]).score
        assert torch.allclose(together, alone, atol=1e-5) == (not discriminator.mixes_batch)


@pytest.mark.parametrize("family", build.names("networks"))
def test_the_same_seed_gives_the_same_weights_and_all_of_them_learn(family):
    _all_learn_alike(networks(family, SHAPES[0]), networks(family, SHAPES[0]))


@pytest.mark.parametrize("minibatch", ["std", "discrimination"])
@pytest.mark.parametrize(("family", "how"), CONDITIONED)
def test_so_it_is_with_labels_and_what_the_discriminator_sees_of_its_batch(family, how, minibatch):
    _all_learn_alike(*(conditioned(family, how, minibatch=minibatch) for _ in range(2)))


@pytest.mark.parametrize("family", ["dcgan", "subpixel"])
def test_so_it_is_with_virtual_batch_norm(family):
    norms = {"generator_norm": "virtual", "discriminator_norm": "virtual"}
    for how in ("none", "projection"):
        _all_learn_alike(*(conditioned(family, how, **norms) for _ in range(2)))


def _all_learn_alike(players, again):
    for role, network in players.items():
        for mine, theirs in zip(network.parameters(), again[role].parameters(), strict=True):
            assert torch.equal(mine, theirs)
    label = torch.arange(4) % CLASSES if told(players["generator"], 4) is None else told(players["generator"], 4)
    verdict = players["discriminator"](players["generator"](torch.randn(4, players["generator"].latent), label), label)
    sum(output.square().sum() for output in verdict[:3] if output is not None).backward()
    for role, network in players.items():
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), f"{role}.{name}"


@pytest.mark.parametrize("norm", ["none", "batch", "sync_batch", "virtual", "layer", "group", "instance", "spectral"])
def test_normalisations_by_name(norm):
    discriminator = networks("dcgan", SHAPES[1], discriminator_norm=norm)["discriminator"]
    assert discriminator(torch.randn(4, *SHAPES[1])).score.isfinite().all()


@pytest.mark.parametrize(("family", "how"), CONDITIONED)
def test_each_player_says_what_it_is_told_and_what_it_guesses(family, how):
    players = conditioned(family, how, code_continuous=2)
    generator, discriminator = players["generator"], players["discriminator"]
    assert generator.classes == (0 if how == "classes" else CLASSES)
    assert generator.labels_are_codes == (how == "code")
    assert bool(discriminator.told) == (how in ("concat", "projection"))
    assert discriminator.classes == (CLASSES if how in ("classifier", "code", "classes") else 0)
    z, label = torch.randn(6, generator.latent), torch.arange(6) % CLASSES
    images = generator(z, label)
    verdict, other = discriminator(images, label), discriminator(images, label.roll(1))
    assert verdict.score.shape == (6,) and verdict.features.shape[0] == 6
    assert (verdict.label is None) == (discriminator.classes == 0)
    assert verdict.label is None or verdict.label.shape == (6, CLASSES)
    assert (verdict.posterior is None) == (how != "code")
    assert verdict.posterior is None or verdict.posterior.shape == generator.code(z).shape == (6, 2)
    assert torch.equal(verdict.score, other.score) == (not discriminator.told)


@pytest.mark.parametrize(("family", "how"), CONDITIONED)
def test_a_generator_heeds_the_label_that_it_is_told(family, how):
    generator = conditioned(family, how)["generator"]
    with torch.no_grad():
        for parameter in generator.parameters():  # conditional norms begin alike for all classes
            parameter.add_(0.1 * torch.randn_like(parameter))
    z = torch.randn(1, generator.latent).expand(4, -1)
    images = generator.eval()(z, torch.tensor([0, 1, 0, 2]))
    torch.testing.assert_close(images[0], images[2])
    for other in (1, 3):
        assert torch.allclose(images[0], images[other], atol=1e-6) == (how == "classes")


@pytest.mark.parametrize(("family", "how"), CONDITIONED)
def test_what_the_conditioning_needs_is_asked_for(family, how):
    players = conditioned(family, how)
    z, images = torch.randn(2, players["generator"].latent), torch.zeros(2, *SHAPES[0])
    if how != "classes":
        with pytest.raises(ValueError, match="condition: this generator needs one of 3 classes for each image"):
            players["generator"](z)
    if players["discriminator"].told:
        with pytest.raises(ValueError, match="condition: this discriminator needs one of 3 classes for each image"):
            players["discriminator"](images)
    if how == "code":
        assert networks(family, SHAPES[0], conditioning=how)["generator"].classes == 10  # data without labels
    else:
        with pytest.raises(ConfigError, match=f"networks.conditioning: {how} needs labels, and this data has none"):
            networks(family, SHAPES[0], NOTHING, conditioning=how)


@pytest.mark.parametrize("family", ["dcgan", "subpixel", "mlp"])
def test_projection_adds_the_product_of_embedding_and_features_to_the_score(family):
    discriminator = conditioned(family, "projection")["discriminator"]
    images, label = torch.randn(4, *((2, 1, 1) if family == "mlp" else SHAPES[0])), torch.tensor([0, 1, 2, 1])
    verdict = discriminator(images, label)
    unconditional = discriminator.score(verdict.features).squeeze(1)
    product = torch.einsum("nf,nf->n", discriminator.projection.weight[label], verdict.features)
    torch.testing.assert_close(verdict.score - unconditional, product)
    assert product.abs().min() > 1e-6


def test_the_probability_of_real_is_that_of_all_classes_against_a_logit_of_zero():
    discriminator = conditioned("mlp", "classes")["discriminator"]
    verdict = discriminator(torch.randn(5, 2, 1, 1))
    with_generated = torch.cat([verdict.label, torch.zeros(5, 1)], 1).softmax(1)
    torch.testing.assert_close(verdict.score.sigmoid(), 1 - with_generated[:, -1])


@pytest.mark.parametrize("prior", ["normal", "uniform", "sphere"])
def test_continuous_codes_are_uniform_whatever_the_prior_and_the_noise_keeps_to_it(prior):
    generator = conditioned("mlp", "code", prior=prior, code_continuous=2)["generator"]
    z, label = torch.randn(4000, 6), torch.zeros(4000, dtype=torch.int64)
    told = generator.tell(z, label)
    noise, code, one_hot = told.split([4, 2, CLASSES], 1)
    assert torch.equal(code, generator.code(z)) and code.abs().max() <= 1
    assert code.square().mean().item() == pytest.approx(1 / 3, abs=0.02)
    assert torch.equal(one_hot, torch.tensor([1.0, 0, 0]).expand(4000, -1))
    squared = {"normal": 1, "uniform": 1 / 3, "sphere": 1}[prior]
    assert noise.square().mean().item() == pytest.approx(squared, abs=0.05)
    if prior == "sphere":
        torch.testing.assert_close(noise.norm(dim=1), torch.full((4000,), 2.0))


@pytest.mark.parametrize("how", ["none", "concat", "projection", "code"])
@pytest.mark.parametrize("family", ["dcgan", "subpixel"])
def test_virtual_batch_norm_leaves_each_image_to_itself(family, how):
    players = conditioned(family, how, generator_norm="virtual", discriminator_norm="virtual")
    generator, discriminator = players["generator"].train(), players["discriminator"].train()
    assert not discriminator.mixes_batch
    z, label = torch.randn(6, 6), torch.arange(6) % CLASSES
    images = generator(z, label)
    torch.testing.assert_close(generator(z[:2], label[:2]), images[:2])
    scores = discriminator(images, label).score
    torch.testing.assert_close(discriminator(images[:2], label[:2]).score, scores[:2])
    before = discriminator(images, label).score
    refer([generator, discriminator], 3 * torch.randn(20, *SHAPES[0]), torch.arange(20) % CLASSES)
    torch.testing.assert_close(generator(z, label), images)
    assert not torch.allclose(discriminator(images, label).score, before, atol=1e-5)


def test_the_reference_batch_is_the_first_real_images_and_in_the_checkpoint():
    discriminator = conditioned("dcgan", "concat", discriminator_norm="virtual")["discriminator"]
    images, label = torch.randn(5, *SHAPES[0]), torch.tensor([2, 1, 0, 2, 1])
    refer([discriminator], images, label)
    again = conditioned("dcgan", "concat", discriminator_norm="virtual")["discriminator"]
    again.load_state_dict(discriminator.state_dict())
    order = torch.arange(16) % 5  # fewer than the 16 of a reference batch: over again
    assert torch.equal(again.reference.samples, images[order])
    assert torch.equal(again.reference.label, label[order])
    without = conditioned("dcgan", "concat")["discriminator"]
    refer([without], images, label)  # nothing to set
    assert without.reference is None


OPTIONS = [
    *({"conditioning": how} for how in TOLD),
    *({"minibatch": how} for how in ("std", "discrimination")),
    *({"prior": prior} for prior in ("uniform", "sphere")),
]
NORMS = [{"generator_norm": norm, "discriminator_norm": norm} for norm in ("virtual", "group", "sync_batch")]
NORMS += [{"discriminator_norm": "spectral", "conditioning": "projection", "minibatch": "std"}]


@pytest.mark.parametrize("family", ["dcgan", "subpixel", "mlp"])
def test_every_option_can_be_built_without_memory_and_run_in_bfloat16(family):
    for options in OPTIONS + (NORMS if family != "mlp" else []):
        with torch.device("meta"):
            shadows = networks(family, SHAPES[0], of_classes(CLASSES), **options)
        players = networks(family, SHAPES[0], of_classes(CLASSES), **options)
        for role, shadow in shadows.items():
            assert all(parameter.is_meta for parameter in shadow.parameters())
            shapes = [{name: tensor.shape for name, tensor in network.state_dict().items()}
                      for network in (shadow, players[role])]  # fmt: skip
            assert shapes[0] == shapes[1]
        label = torch.arange(4) % CLASSES
        with torch.autocast("cpu", torch.bfloat16):
            images = players["generator"](torch.randn(4, 6), label)
            verdict = players["discriminator"](images, label)
        verdict.score.float().sum().backward()
        assert verdict.score.isfinite().all(), options
        for name, parameter in players["generator"].named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), f"{options}: {name}"


def test_dcgan_paper_is_the_figure_of_the_paper():
    """Radford et al. 2016, fig. 1: z uniform, 1024×4×4, 512×8×8, 256×16×16, 128×32×32, the image; D the other way."""
    conf: Any = OmegaConf.to_container(OmegaConf.load(Path(__file__).parents[3] / "conf/networks/dcgan_paper.yaml"))
    module, config = build.component("networks", conf)
    with torch.device("meta"):  # 25 million weights
        players = module.build(config, (3, 64, 64))
        shapes: dict[str, list[tuple[int, ...]]] = {}
        for role, network in players.items():
            for layer in network.modules():
                if isinstance(layer, nn.ReLU | nn.LeakyReLU):
                    layer.register_forward_hook(
                        lambda layer, _, out, role=role: shapes.setdefault(role, []).append(tuple(out.shape[1:])))
        players["discriminator"](players["generator"](torch.randn(2, 100)))
    assert shapes["generator"] == [(1024, 4, 4), (512, 8, 8), (256, 16, 16), (128, 32, 32)]
    assert shapes["discriminator"] == shapes["generator"][::-1]
    assert players["generator"].prior == "uniform"


@pytest.mark.parametrize("how", ["projection", "classifier", "code"])
@pytest.mark.parametrize("family", ["dcgan", "subpixel"])
def test_spectral_norm_begins_with_the_largest_singular_value_one(family, how):
    """Of every layer, at the first forward: the singular vectors are those of the weights that training begins with."""
    discriminator = networks(family, SHAPES[1], of_classes(CLASSES), discriminator_norm="spectral", conditioning=how,
                             width=32)["discriminator"]  # fmt: skip
    discriminator(torch.randn(2, *SHAPES[1]), torch.arange(2))
    normalised = [module for module in discriminator.modules() if hasattr(module, "parametrizations")]
    assert len(normalised) >= 4
    for module in normalised:
        assert torch.linalg.matrix_norm(module.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.08)


def test_spectral_norm_bounds_every_layer_to_the_largest_singular_value_one():
    discriminator = networks("dcgan", SHAPES[1], discriminator_norm="spectral")["discriminator"]
    for _ in range(200):  # power iterations
        discriminator(torch.randn(2, *SHAPES[1]))
    for module in discriminator.modules():
        if hasattr(module, "parametrizations"):
            largest = torch.linalg.matrix_norm(module.weight.flatten(1), 2).item()
            assert largest == pytest.approx(1, abs=1e-2)


@pytest.mark.parametrize(
    ("family", "shape", "message"),
    [
        ("dcgan", (1, 28, 30), "28×30"),
        ("dcgan", (1, 36, 36), "dataset.resolution=32"),
        ("subpixel", (1, 8, 8), "twice at least; write dataset.resolution=16"),
        ("subpixel", (1, 25, 25), "25×25"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(family, shape, message):
    with pytest.raises(ConfigError, match=message):
        networks(family, shape)


@pytest.mark.parametrize(
    ("family", "options", "message"),
    [
        ("mlp", {"conditioning": "projektion"}, "did you mean 'projection'"),
        ("mlp", {"latent": 2, "conditioning": "code"}, "networks.code_continuous: 2 codes leave no noise"),
        ("dcgan", {"code_classes": 1}, "networks.code_classes: 2 … 65,536 is needed, got 1"),
        ("subpixel", {"code_continuous": -1}, "networks.code_continuous: 0 … 65,536 is needed"),
        ("dcgan", {"generator_norm": "spectral"}, "networks.generator_norm: spectral is for the discriminator"),
        ("autoencoder", {"body": "mlp", "generator_norm": "batch"}, "generator_norm: the layers of mlp have no norms"),
        ("autoencoder", {"discriminator_norm": "virtual"}, "discriminator_norm: virtual is for dcgan and subpixel"),
    ],
)
def test_options_that_do_not_go_together_are_refused(family, options, message):
    with pytest.raises(ConfigError, match=message):
        networks(family, SHAPES[0], **options)
