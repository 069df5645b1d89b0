"""Unrolled steps against torch's own optimizers and finite differences."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ganlib.collectives import mean
from ganlib.objectives.base import Optimizer
from ganlib.objectives.unroll import unrolled
from ganlib.training import optimizers
from ganlib.verdict import Verdict

OPTIMIZERS = {
    "sgd": Optimizer("sgd", lr=0.1),
    "rmsprop": Optimizer("rmsprop", lr=0.01),
    "adam": Optimizer("adam", lr=0.01, betas=(0.5, 0.9)),
}


class Discriminator(nn.Module):
    """Two layers, and a unit that never fires."""

    mixes_batch = False

    def __init__(self, norm: nn.Module | None = None):
        super().__init__()
        torch.manual_seed(0)
        self.hidden, self.norm, self.out = nn.Linear(3, 5), norm or nn.Identity(), nn.Linear(6, 1)
        self.dead, self.unused = nn.Linear(3, 1), nn.Linear(2, 2)
        with torch.no_grad():
            self.dead.bias.fill_(-100)

    def forward(self, images: Tensor, label: Tensor | None = None) -> Verdict:
        hidden = torch.cat([self.norm(self.hidden(images)).tanh(), self.dead(images).relu()], 1)
        return Verdict(self.out(hidden).squeeze(1))


def samples(seed: int, count: int = 4) -> Tensor:
    return torch.randn(count, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def game(real: Tensor, fake: Tensor) -> Any:
    return lambda play: (softplus(-play(real, None).score) + softplus(play(fake).score)).mean()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_steps_go_on_where_the_optimizer_is(name):
    discriminator = Discriminator().double()
    optimizer = optimizers.build(OPTIMIZERS[name], discriminator.parameters())

    def step(seed: int) -> None:
        optimizer.zero_grad()
        game(samples(seed), samples(2))(discriminator).backward()
        optimizer.step()

    for seed in (3, 4, 5):
        step(seed)
    optimizer.param_groups[0]["lr"] *= 0.5
    ahead = unrolled(discriminator, game(samples(1), samples(2)), OPTIMIZERS[name], 2, optimizer)
    for _ in range(2):
        step(1)
    torch.testing.assert_close(ahead(samples(9)).score, discriminator(samples(9)).score, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("steps", [0, 1, 5])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_steps_are_those_of_torchs_optimizers(name, steps):
    discriminator = Discriminator().double()
    ahead = unrolled(discriminator, game(samples(1), samples(2)), OPTIMIZERS[name], steps)
    trained = copy.deepcopy(discriminator)
    optimizer = optimizers.build(OPTIMIZERS[name], trained.parameters())
    for _ in range(steps):
        optimizer.zero_grad()
        game(samples(1), samples(2))(trained).backward()
        optimizer.step()
    assert torch.allclose(ahead(samples(3)).score, trained(samples(3)).score, rtol=0, atol=1e-6)
    if steps:
        assert not torch.allclose(ahead(samples(3)).score, discriminator(samples(3)).score, rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_generators_gradient_goes_through_all_steps(name):
    """By finite differences; and it is not that of a discriminator which is held where it has come."""
    discriminator = Discriminator().double().requires_grad_(False)

    def outer(fake: Tensor, shown: Tensor) -> Tensor:
        ahead = unrolled(discriminator, game(samples(1), fake), OPTIMIZERS[name], 3)
        return softplus(-ahead(shown).score).mean()

    fake = samples(2).requires_grad_()
    assert torch.autograd.gradcheck(lambda fake: outer(fake, fake), fake)
    (through,) = torch.autograd.grad(outer(fake, fake), fake)
    (held,) = torch.autograd.grad(outer(fake.detach(), fake), fake)
    assert (through - held).abs().max() > 1e-4


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_discriminator_stays_as_it_is(name, frozen):
    discriminator = Discriminator(nn.BatchNorm1d(5)).double().requires_grad_(not frozen)
    before = copy.deepcopy(discriminator.state_dict())
    fake = samples(2).requires_grad_()
    unrolled(discriminator, game(samples(1), fake), OPTIMIZERS[name], 3)(fake).score.sum().backward()
    assert fake.grad.isfinite().all()
    assert all(torch.equal(value, before[key]) for key, value in discriminator.state_dict().items())
    assert all(p.grad is None and p.requires_grad != frozen for p in discriminator.parameters())


def test_it_answers_as_the_discriminator_does():
    ahead = unrolled(Discriminator(), game(samples(1), samples(2)), OPTIMIZERS["sgd"], 1)
    assert ahead.mixes_batch is False
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = ahead.no_such_thing


def test_under_autocast_the_steps_are_taken_in_float32():
    real, fake = samples(1).float(), samples(2).float()
    ahead = unrolled(Discriminator(), game(real, fake), OPTIMIZERS["sgd"], 3)
    with torch.autocast("cpu", torch.bfloat16):
        again = unrolled(Discriminator(), game(real, fake), OPTIMIZERS["sgd"], 3)
        assert again(fake.bfloat16()).score.dtype == torch.bfloat16
    assert torch.equal(again(fake).score, ahead(fake).score)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_two_workers_are_one(name, on_workers):
    discriminator = Discriminator().double().requires_grad_(False)

    def move(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        fake = fake.requires_grad_()
        loss = softplus(-unrolled(discriminator, game(real, fake), OPTIMIZERS[name], 3)(fake).score).mean()
        loss.backward()
        return mean(loss.detach()), fake.grad

    loss, gradient = move(samples(1), samples(2))
    shares = on_workers(lambda rank: move(*(samples(seed)[2 * rank : 2 * rank + 2].clone() for seed in (1, 2))), 2)
    for share_loss, _ in shares:
        assert share_loss.item() == pytest.approx(loss.item(), abs=1e-6)
    # Each worker's loss is the mean of its half: the gradient of the whole mean is half of theirs.
    assert torch.allclose(torch.cat([share for _, share in shares]) / 2, gradient, rtol=0, atol=1e-6)
