"""How labels enter networks."""

import pytest
import torch
from torch import nn

from ganlib.layers.labels import ConditionalNorm2d, Projection, Sequence, with_label
from ganlib.layers.norms import norm2d


def test_the_label_stands_beside_vectors_and_as_planes_beside_images():
    label = torch.tensor([2, 0])
    flat = with_label(torch.full((2, 1), 9.0), label, 3)
    assert flat.tolist() == [[9, 0, 0, 1], [9, 1, 0, 0]]
    images = with_label(torch.full((2, 1, 4, 5), 9.0), label, 3)
    assert torch.equal(images, flat[:, :, None, None].expand(-1, -1, 4, 5))


@pytest.mark.parametrize("norm", ["none", "batch", "sync_batch", "layer", "group", "instance"])
def test_conditional_norm_differs_between_classes_by_scale_and_shift_alone(norm):
    torch.manual_seed(0)
    conditional, images = ConditionalNorm2d(norm, 4, 3), torch.randn(2, 4, 3, 3)
    plain = norm2d(norm, 4, affine=False)(images)
    torch.testing.assert_close(conditional(images, torch.tensor([0, 2])), plain)  # to begin with
    with torch.no_grad():
        conditional.scale.normal_()
        conditional.shift.normal_()
    for label in range(3):
        out = conditional(images, torch.tensor([label, label]))
        scale, shift = (rows[label].view(1, 4, 1, 1) for rows in (conditional.scale, conditional.shift))
        torch.testing.assert_close(out, plain * scale + shift)


def test_a_sequence_tells_the_conditional_layers_alone():
    sequence = Sequence(nn.Identity(), ConditionalNorm2d("none", 1, 2), nn.ReLU())
    with torch.no_grad():
        sequence[1].shift.copy_(torch.tensor([[-5.0], [5.0]]))
    out = sequence(torch.ones(2, 1, 1, 1), torch.tensor([0, 1]))
    assert out.flatten().tolist() == [0, 6]


def test_projection_is_the_inner_product_with_the_row_of_the_label():
    projection = Projection(2, 3)
    with torch.no_grad():
        projection.weight.copy_(torch.tensor([[1.0, 0, 2], [0, 10, 0]]))
    assert projection(torch.tensor([[1.0, 2, 3], [1, 2, 3]]), torch.tensor([0, 1])).tolist() == [7, 20]
