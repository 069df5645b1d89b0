"""Normalisation layers."""

import pytest
import torch
from torch import nn
from torch.nn.functional import batch_norm

from ganlib.condition import of_classes
from ganlib.layers.norms import SyncBatchNorm2d, norm2d
from ganlib.layers.virtual import SIZE, Reference, VirtualBatchNorm2d


def test_virtual_batch_norm_is_batch_norm_of_the_reference_and_one_image():
    torch.manual_seed(0)
    reference, images = 2 + 3 * torch.randn(SIZE, 4, 5, 5), -1 + torch.randn(3, 4, 5, 5)
    out = VirtualBatchNorm2d(4)(torch.cat([reference, images]))
    torch.testing.assert_close(out[:SIZE], batch_norm(reference, None, None, training=True), rtol=1e-4, atol=1e-5)
    for image, normalized in zip(images, out[SIZE:], strict=True):
        expected = batch_norm(torch.cat([reference, image[None]]), None, None, training=True)[-1]
        torch.testing.assert_close(normalized, expected, rtol=1e-4, atol=1e-5)


def test_virtual_batch_norm_of_an_image_far_away():
    """At distance d of a constant reference, mean and deviation are d/17 and 4d/17: (d − d/17) / (4d/17) = 4."""
    images = torch.cat([torch.zeros(SIZE, 1, 2, 2), torch.full((1, 1, 2, 2), 1e4), torch.zeros(1, 1, 2, 2)])
    far, near = VirtualBatchNorm2d(1)(images)[SIZE:]
    torch.testing.assert_close(far, torch.full((1, 2, 2), 4.0))
    assert torch.equal(near, torch.zeros(1, 2, 2))


def test_the_reference_batch_goes_before_the_images_and_is_dropped_after():
    reference = Reference(torch.full((SIZE, 1), 7.0), of_classes(3))
    seen = []

    def network(inputs, label):
        seen.extend([inputs, label])
        return 10 * inputs

    out = reference(network, torch.tensor([[1.0], [2]]), torch.tensor([5, 6]))
    assert torch.equal(out, torch.tensor([[10.0], [20]]))
    assert seen[0].shape == (SIZE + 2, 1) and (seen[0][:SIZE] == 7).all()
    assert seen[1].tolist() == [0, 1, 2] * 5 + [0, 5, 6]


@pytest.mark.parametrize(("channels", "groups"), [(32, 4), (8, 1), (4, 1), (12, 3), (3, 3)])
def test_groups_are_of_eight_channels_or_the_most_that_divide_them(channels, groups):
    images = 5 + 2 * torch.randn(2, channels, 6, 6)
    out = norm2d("group", channels)(images).view(2, groups, -1)
    torch.testing.assert_close(out.mean(2), torch.zeros(2, groups), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.var(2, correction=0), torch.ones(2, groups), atol=1e-4, rtol=0)


def test_synchronised_batch_norm_over_two_workers_with_and_without_scale(on_workers):
    torch.manual_seed(0)
    images = 3 + torch.randn(8, 2, 4, 4)

    def run(rank: int) -> list[torch.Tensor]:
        layers = [SyncBatchNorm2d(2, affine=affine) for affine in (True, False)]
        return [layer(images[rank * 4 : rank * 4 + 4]) for layer in layers] + [layers[0].running_var]

    expected = batch_norm(images, None, None, training=True)
    (first, bare, variance), (second, *_) = on_workers(run, 2)
    torch.testing.assert_close(torch.cat([first, second]), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(bare, first)
    torch.testing.assert_close(variance, 0.9 + 0.1 * images.var((0, 2, 3)))


@pytest.mark.parametrize("affine", [True, False])
def test_instance_norm_is_the_same_in_either_memory_format_with_its_derivatives(affine):
    torch.manual_seed(0)
    norm = norm2d("instance", 3, affine).double()
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    images = 5 + 2 * torch.randn(2, 3, 4, 5, dtype=torch.float64)
    last = images.to(memory_format=torch.channels_last)
    torch.testing.assert_close(norm(last), norm(images))
    variance, mean = torch.var_mean(images, (2, 3), correction=0, keepdim=True)
    expected = (images - mean) / (variance + 1e-5).sqrt()
    if affine:
        expected = expected * norm.weight.view(-1, 1, 1) + norm.bias.view(-1, 1, 1)
    torch.testing.assert_close(norm(last), expected)
    assert norm(last).is_contiguous(memory_format=torch.channels_last)
    assert torch.autograd.gradgradcheck(norm, last.requires_grad_())
    assert norm(torch.randn(2, 3, 1, 1, dtype=torch.float64)).shape == (2, 3, 1, 1)
