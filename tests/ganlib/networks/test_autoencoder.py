"""The autoencoder as a discriminator: its score is what it fails to reconstruct."""

import pytest
import torch

from ganlib import build

SHAPES = {"subpixel": (1, 28, 28), "mlp": (2, 1, 1)}


def networks(body: str, error: str = "l1", **options):
    values = {"name": "autoencoder", "body": body, "width": 4, "latent": 6, "hidden": 5, "error": error} | options
    module, config = build.component("networks", values)
    torch.manual_seed(0)
    return module.build(config, SHAPES[body], 10)


@pytest.mark.parametrize("body", SHAPES)
def test_the_energy_is_the_error_of_the_reconstruction(body):
    images = torch.rand(3, *SHAPES[body]) * 2 - 1
    for error in ("l1", "l2"):
        discriminator = networks(body, error)["discriminator"]
        verdict = discriminator(images)
        difference = (images - discriminator.decoder(verdict.embedding)).flatten(1)
        expected = difference.abs().mean(1) if error == "l1" else difference.norm(dim=1)
        torch.testing.assert_close(verdict.score, expected)
        assert discriminator.energy and verdict.embedding.shape == (3, 5) and verdict.features is verdict.embedding


@pytest.mark.parametrize("error", ["l1", "l2"])
def test_a_perfect_reconstruction_has_energy_zero_and_a_finite_gradient(error):
    discriminator = networks("mlp", error)["discriminator"]
    torch.nn.init.zeros_(discriminator.decoder.out.weight)
    torch.nn.init.zeros_(discriminator.decoder.out.bias)
    images = torch.zeros(3, 2, 1, 1, requires_grad=True)
    score = discriminator(images).score
    score.sum().backward()
    assert score.abs().max() <= 1e-6
    assert images.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in discriminator.parameters())


@pytest.mark.parametrize("body", SHAPES)
def test_the_decoder_is_a_generator_but_for_the_length_of_its_input(body):
    players = networks(body)
    shapes = [[parameter.shape for parameter in network.parameters()]
              for network in (players["generator"], players["discriminator"].decoder)]  # fmt: skip
    assert shapes[0][1:] == shapes[1][1:] and (shapes[0][0][1], shapes[1][0][1]) == (6, 5)


def test_the_uniform_prior_is_the_generators_not_the_codes():
    players = networks("mlp", prior="uniform")
    z = torch.randn(2, 6)
    assert players["generator"].tell(z, None).abs().max() <= 1
    assert torch.equal(players["discriminator"].decoder.tell(z[:, :5], None), z[:, :5])


@pytest.mark.parametrize("body", SHAPES)
def test_finite_under_bfloat16_and_buildable_without_memory(body):
    with torch.device("meta"):
        assert all(parameter.is_meta for parameter in networks(body)["discriminator"].parameters())
    players = networks(body, "l2")
    with torch.autocast("cpu", torch.bfloat16):
        score = players["discriminator"](players["generator"](torch.randn(3, 6))).score
    score.sum().backward()
    assert score.dtype == torch.float32 and score.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in players["generator"].parameters())
