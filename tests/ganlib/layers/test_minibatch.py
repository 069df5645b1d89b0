"""What a discriminator sees of its batch."""

import pytest
import torch

from ganlib.layers.minibatch import MinibatchDiscrimination, MinibatchStd


def layer(features: int = 3, kernels: int = 4, dimensions: int = 2) -> MinibatchDiscrimination:
    torch.manual_seed(0)
    return MinibatchDiscrimination(features, kernels, dimensions)


def test_equal_samples_have_a_neighbour_in_each_of_the_others_and_far_ones_none():
    features = torch.randn(1, 3).expand(5, -1)
    assert torch.equal(layer()(features)[:, :3], features)
    torch.testing.assert_close(layer()(features)[:, 3:], torch.full((5, 4), 4.0))
    far = 1e4 * torch.arange(1.0, 6)[:, None].expand(-1, 3)
    torch.testing.assert_close(layer()(far)[:, 3:], torch.zeros(5, 4))


def test_nearness_is_the_papers_sum():
    discrimination, features = layer(), torch.randn(6, 3)
    projected = torch.einsum("na,abc->nbc", features, discrimination.weight)
    expected = torch.zeros(6, 4)
    for i in range(6):
        for j in set(range(6)) - {i}:
            expected[i] += torch.exp(-(projected[i] - projected[j]).abs().sum(1))
    torch.testing.assert_close(discrimination(features)[:, 3:], expected)


def test_deviation_is_that_of_four_neighbours_averaged_over_the_features():
    signs = torch.tensor([1.0, -1, 1, -1])
    same, spread = torch.ones(4, 2), torch.stack([3 * signs, 5 * signs], 1)
    out = MinibatchStd()(torch.cat([same, spread]))
    assert torch.equal(out[:, :2], torch.cat([same, spread]))
    assert out[:4, 2].max() < 2e-4  # the small number under the root
    torch.testing.assert_close(out[4:, 2], torch.full((4,), 4.0))


def test_deviation_of_batches_that_four_does_not_divide():
    features = torch.tensor([[1.0], [3], [7], [7], [0], [8]])
    torch.testing.assert_close(MinibatchStd()(features)[:, 1], torch.tensor([1.0, 1, 0, 0, 4, 4]), atol=2e-4, rtol=0)
    assert MinibatchStd()(features[:5])[:, 1].max() < 2e-4  # nobody to be compared with


@pytest.mark.parametrize("beside", [layer(), MinibatchStd()], ids=["discrimination", "std"])
def test_gradients_at_equal_samples_are_finite(beside):
    features = torch.ones(4, 3, requires_grad=True)
    beside(features).square().sum().backward()
    assert features.grad.isfinite().all()


@pytest.mark.parametrize("beside", [layer(), MinibatchStd()], ids=["discrimination", "std"])
def test_two_workers_see_the_batch_of_one(beside, on_workers):
    """Outputs, and gradients averaged over the workers, first and second (a gradient penalty's)."""
    torch.manual_seed(1)
    features, weight = torch.randn(8, 3), torch.randn(8, 1)

    def run(rank: int, workers: int) -> list[torch.Tensor]:
        mine = slice(rank * 8 // workers, (rank + 1) * 8 // workers)
        scale = torch.ones(3, requires_grad=True)  # stands for the layers before
        inputs = features[mine].clone().requires_grad_()
        out = beside(inputs * scale)
        (slope,) = torch.autograd.grad((out * weight[mine]).sum(), inputs, create_graph=True)
        loss = (out.square().sum(1) + slope.square().sum(1)).mean()
        gradients = torch.autograd.grad(loss, [scale, *beside.parameters()])
        if workers > 1:
            for gradient in gradients:
                torch.distributed.all_reduce(gradient)
                gradient /= workers
        return [out.detach(), slope.detach(), *gradients]

    alone, shared = run(0, 1), on_workers(lambda rank: run(rank, 2), 2)
    for index, expected in enumerate(alone):
        parts = [result[index] for result in shared]
        together = torch.cat(parts) if index < 2 else parts[0]
        torch.testing.assert_close(together, expected, rtol=1e-4, atol=1e-5)
        assert expected.abs().max() > 1e-3
