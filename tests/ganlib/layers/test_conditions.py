"""How conditions enter networks."""

import pytest
import torch
from torch import nn

from ganlib.condition import Condition, of_classes
from ganlib.layers.conditions import ConditionalNorm2d, Projection, Sequence, resized, with_condition
from ganlib.layers.norms import norm2d


def test_the_label_stands_beside_vectors_and_as_planes_beside_images():
    label = torch.tensor([2, 0])
    flat = with_condition(torch.full((2, 1), 9.0), label, 3)
    assert flat.tolist() == [[9, 0, 0, 1], [9, 1, 0, 0]]
    images = with_condition(torch.full((2, 1, 4, 5), 9.0), label, 3)
    assert torch.equal(images, flat[:, :, None, None].expand(-1, -1, 4, 5))


@pytest.mark.parametrize("norm", ["none", "batch", "sync_batch", "layer", "group", "instance"])
def test_conditional_norm_differs_between_classes_by_scale_and_shift_alone(norm):
    torch.manual_seed(0)
    conditional, images = ConditionalNorm2d(norm, 4, of_classes(3)), torch.randn(2, 4, 3, 3)
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
    sequence = Sequence(nn.Identity(), ConditionalNorm2d("none", 1, of_classes(2)), nn.ReLU())
    with torch.no_grad():
        sequence[1].shift.copy_(torch.tensor([[-5.0], [5.0]]))
    out = sequence(torch.ones(2, 1, 1, 1), torch.tensor([0, 1]))
    assert out.flatten().tolist() == [0, 6]


def test_projection_is_the_inner_product_with_the_row_of_the_label():
    projection = Projection(of_classes(2), 3)
    with torch.no_grad():
        projection.weight.copy_(torch.tensor([[1.0, 0, 2], [0, 10, 0]]))
    assert projection(torch.tensor([[1.0, 2, 3], [1, 2, 3]]), torch.tensor([0, 1])).tolist() == [7, 20]


TEXT = Condition("text", 3)


def test_a_text_stands_beside_vectors_as_it_is_and_an_image_at_the_size_of_the_inputs():
    text = torch.tensor([[0.5, -1.0, 2.0]])
    assert with_condition(torch.full((1, 1), 9.0), text, 3).tolist() == [[9, 0.5, -1, 2]]
    planes = with_condition(torch.zeros(1, 1, 2, 2), text, 3)
    assert torch.equal(planes[:, 1:], text[:, :, None, None].expand(-1, -1, 2, 2))
    image = torch.arange(16.0).view(1, 1, 4, 4)
    assert torch.equal(with_condition(torch.zeros(1, 2, 4, 4), image, 1)[:, 2:], image)
    halved = with_condition(torch.zeros(1, 2, 2, 2), image, 1)[:, 2:]
    assert halved.shape == (1, 1, 2, 2) and halved.mean().item() == pytest.approx(7.5)
    assert torch.equal(halved, resized(image, torch.zeros(1, 1, 2, 2)))


def test_a_one_hot_text_is_its_class_in_norms_and_projections():
    """The embedding of a vector is the sum of rows that it weighs."""
    torch.manual_seed(0)
    label, one_hot = torch.tensor([2, 0]), torch.eye(3)[[2, 0]]
    of_class, of_text = Projection(of_classes(3), 5), Projection(TEXT, 5)
    of_text.load_state_dict(of_class.state_dict())
    features = torch.randn(2, 5)
    torch.testing.assert_close(of_text(features, one_hot), of_class(features, label))
    by_class, by_text = ConditionalNorm2d("none", 4, of_classes(3)), ConditionalNorm2d("none", 4, TEXT)
    images = torch.randn(2, 4, 3, 3)
    torch.testing.assert_close(by_text(images, torch.randn(2, 3)), images)  # to begin with
    with torch.no_grad():
        by_class.scale.normal_()
        by_class.shift.normal_()
        by_text.scale.copy_(by_class.scale - 1)
        by_text.shift.copy_(by_class.shift)
    torch.testing.assert_close(by_text(images, one_hot), by_class(images, label))


def test_the_projection_of_long_texts_begins_as_large_as_that_of_classes():
    torch.manual_seed(0)
    features, text = torch.randn(200, 64), torch.randn(200, 400)  # of norm √D, as captions are kept
    of_text = Projection(Condition("text", 400), 64)(features, text)
    of_class = Projection(of_classes(400), 64)(features, torch.arange(200))
    assert 0.8 < (of_text.std() / of_class.std()).item() < 1.25
