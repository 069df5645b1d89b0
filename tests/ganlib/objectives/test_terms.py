"""Terms against the closed forms of their papers."""

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

from ganlib import build
from ganlib.condition import of_classes
from ganlib.datasets.table import Table
from ganlib.losses import LOSSES
from ganlib.objectives.base import Batch, Fakes, Noise, Phase
from ganlib.objectives.terms.base import Move
from ganlib.objectives.terms.consistency import jitter
from ganlib.objectives.terms.pull_away import pull_away
from ganlib.objectives.two_player import Config, TwoPlayer
from ganlib.verdict import Verdict

N, CLASSES = 4, 3
D, G = (Phase(name, (role,), lambda networks, batch: (torch.zeros(()), {})) for name, role in
        (("D", "discriminator"), ("G", "generator")))  # fmt: skip


def term(name: str, **options: Any):
    module = build.module("objectives.terms", name)
    return module.build(module.Config(**options))


class Told(nn.Module):
    """A discriminator with a table of scores by label: D(x, y) = w[y]·mean(x)."""

    mixes_batch, energy, told, classes = False, False, of_classes(3), 0

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, -2.0, 3.0]))

    def forward(self, images, label=None):
        return Verdict(self.weight[label] * images.flatten(1).mean(1))


class Painter(nn.Module):
    """G(z) = the first four numbers of z as a 2×2 image."""

    latent, classes, labels_are_codes = 6, CLASSES, True

    def forward(self, z, label=None):
        return z[:, :4].view(-1, 1, 2, 2)

    def code(self, z):
        return z[:, 4:]


def move(real: Verdict | None = None, fake: Verdict | None = None, **fields: Any) -> Move:
    label = torch.tensor([0, 1, 2, 0])
    z = torch.linspace(-1, 1, N * 6).view(N, 6)
    batch = Batch(torch.arange(N * 4.0).view(N, 1, 2, 2), label, Noise(0, N))
    fakes = Fakes(z[:, :4].view(N, 1, 2, 2), z, torch.tensor([2, 2, 1, 0]))
    given = {"networks": {"generator": Painter(), "discriminator": Told()}, "batch": batch, "fakes": fakes,
             "real": real, "fake": fake or Verdict(torch.zeros(N)), "adversarial": LOSSES["hinge"].discriminator,
             "stats": {}}  # fmt: skip
    return Move(**(given | fields))


def test_pull_away_of_orthonormal_codes_is_0_and_of_equal_codes_1():
    assert pull_away(3 * torch.eye(5)) == 0
    assert pull_away(torch.ones(5, 7) * torch.arange(1, 6)[:, None]).item() == pytest.approx(1)
    codes = torch.tensor([[1.0, 0.0], [1.0, 1.0]])  # cos² 45° = ½
    value = term("pull_away", weight=0.1).generator(move(fake=Verdict(torch.zeros(2), embedding=codes)))
    assert value.item() == pytest.approx(0.05)


def test_equilibrium_moves_k_until_the_fakes_cost_gamma_times_the_reals():
    balance = term("equilibrium", gamma=0.5, rate=0.1)
    for fake, expected in ((0.2, 0.03), (0.5, 0.03), (0.7, 0.01), (5.0, 0.0)):  # k₀ = 0, clipped at 0
        balance.advance(D, {}, {"D/real_score": torch.tensor(1.0), "D/fake_score": torch.tensor(fake)}, 0)
        assert balance.k.item() == pytest.approx(expected)
    balance.advance(G, {}, {}, 0)
    balance.k.fill_(0.999)
    balance.advance(D, {}, {"D/real_score": torch.tensor(9.0), "D/fake_score": torch.tensor(0.0)}, 0)
    assert balance.k == 1 and balance.loss_options() == {"k": balance.k}
    here = move(real=Verdict(torch.full((N,), 2.0)), fake=Verdict(torch.full((N,), 1.5)))
    assert balance.discriminator(here) is None
    assert here.stats["D/convergence"].item() == pytest.approx(2 + abs(0.5 * 2 - 1.5))


def test_classification_is_the_cross_entropy_of_the_label_that_was_told():
    sure = 1e3 * torch.eye(CLASSES)
    right, guess = sure[[0, 1, 2, 0]], torch.zeros(N, CLASSES)
    here = move(Verdict(torch.zeros(N), label=right), Verdict(torch.zeros(N), label=guess))
    both = term("auxiliary_classifier", weight=2.0, generator_weight=3.0)
    assert both.discriminator(here).item() == pytest.approx(2 * math.log(3))  # reals right, fakes a guess of three
    assert both.generator(here).item() == pytest.approx(3 * math.log(3))
    assert here.stats["D/real_accuracy"] == 1


def test_mutual_information_is_log_k_when_the_code_is_read_off_and_0_when_it_cannot_be():
    information = term("mutual_information", categorical=1.0, continuous=0.5)
    right = 1e3 * torch.eye(CLASSES)[[2, 2, 1, 0]]
    here = move()
    means = here.fakes.z[:, 4:] + torch.tensor([1.0, 2.0])  # off by 1 and 2: ½(1 + 4)
    here = move(fake=Verdict(torch.zeros(N), label=right, posterior=means))
    assert information.generator(here).item() == pytest.approx(0.5 * 0.5 * 5)
    assert here.stats["mutual_information"].item() == pytest.approx(math.log(3))
    blind = move(fake=Verdict(torch.zeros(N), label=torch.zeros(N, CLASSES), posterior=here.fakes.z[:, 4:]))
    assert information.discriminator(blind).item() == pytest.approx(math.log(3))
    assert blind.stats["mutual_information"].item() == pytest.approx(0, abs=1e-6)


def test_matching_aware_is_real_plus_half_of_wrong_and_fake():
    """Algorithm 1 of Reed et al. for a loss of separate terms; and no wrong label is a right one."""
    here = move()
    discriminator, seen = here.networks["discriminator"], []
    real = discriminator(here.batch.real, here.batch.condition)
    fake = discriminator(here.fakes.images, here.fakes.condition)
    discriminator.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[1]))
    here = move(real, fake, networks=here.networks)
    total = here.adversarial(real.score, fake.score).mean() + term("matching_aware").discriminator(here)
    (wrong,) = seen
    assert (wrong != here.batch.condition).all() and ((wrong >= 0) & (wrong < CLASSES)).all()
    on_wrong = discriminator(here.batch.real, wrong).score
    relu = torch.relu
    expected = relu(1 - real.score).mean() + 0.5 * (relu(1 + on_wrong).mean() + relu(1 + fake.score).mean())
    torch.testing.assert_close(total, expected)


def test_few_labels_with_the_sum_of_exponents_as_score_is_a_classifier_of_one_class_more():
    """D(x) = Z/(Z + 1): sp(−log Z) = −log Z/(Z + 1), the K + 1-class softmax with a logit of 0 for fakes."""
    logits = torch.randn(6, 4, dtype=torch.float64)
    with_fake = torch.cat([logits, torch.zeros(6, 1, dtype=torch.float64)], 1).log_softmax(1)
    score = logits.logsumexp(1)
    torch.testing.assert_close(softplus(-score), -with_fake[:, :4].logsumexp(1))
    torch.testing.assert_close(softplus(score), -with_fake[:, 4])

    class Classifier(nn.Linear):
        def forward(self, images, label=None):
            return Verdict(score, label=logits.float())

    few = term("few_labels", weight=2.0, labels_per_class=2)
    told = torch.tensor([0, 0, 0, 1, 2, 3, 1, 2, 3])
    networks = {"discriminator": Classifier(1, 1)}
    few.bind(networks, Table.from_arrays(torch.arange(9, dtype=torch.uint8).view(9, 1, 1, 1), told))
    assert few.label.tolist() == [0, 0, 1, 2, 3, 1, 2, 3]  # the third image of class 0 is not among them
    here = move(networks=networks, batch=Batch(torch.zeros(6, 1, 1, 1), None, Noise(0, 6)))
    label = few.label[here.batch.noise.stream("few").integers(8)]
    value = few.discriminator(here)
    torch.testing.assert_close(value.double(), -2 * logits.log_softmax(1)[torch.arange(6), label].mean())


def test_feature_matching_is_the_distance_of_the_means():
    features = torch.tensor([[1.0, 0.0], [3.0, 4.0]])
    here = move(Verdict(torch.zeros(2), features=features), Verdict(torch.zeros(2), features=features.flip(0)))
    assert term("feature_matching").generator(here) == 0
    here = move(here.real, Verdict(torch.zeros(2), features=features + torch.tensor([2.0, -4.0])))
    assert term("feature_matching", weight=0.5).generator(here).item() == pytest.approx(0.5 * 3)


def test_historical_averaging_is_the_squared_distance_from_the_mean_of_the_past():
    networks = {role: nn.Linear(1, 1, bias=False) for role in ("generator", "discriminator")}
    past = term("historical_averaging", weight=10.0)
    past.bind(networks, Table.from_arrays(torch.zeros(1, 1, 2, 2, dtype=torch.uint8)))
    weight = networks["discriminator"].weight
    assert past.discriminator(move(networks=networks)) == 0  # it has no past yet
    for value in (1.0, 2.0, 6.0):
        weight.data.fill_(value)
        past.advance(D, networks, {}, 0)
    assert past.discriminator(move(networks=networks)).item() == pytest.approx(10 * (6 - 3) ** 2)
    assert past.generator(move(networks=networks)) == 0
    weight.data.fill_(5.0)
    (gradient,) = torch.autograd.grad(past.discriminator(move(networks=networks)), weight)
    assert gradient.item() == pytest.approx(10 * 2 * (5 - 3))


def test_lecam_pulls_each_side_to_the_average_of_the_other():
    anchor = term("lecam", weight=2.0, decay=0.5, start=100)
    here = move(Verdict(torch.full((N,), 3.0)), Verdict(torch.full((N,), -1.0)))
    assert anchor.discriminator(here) == 0
    for _ in range(2):
        anchor.advance(D, {}, {"D/real_score": torch.tensor(4.0), "D/fake_score": torch.tensor(-4.0)}, 200)
    # α = 0 → 2 → 3: reals at 3 are 6 from α_F = −3, fakes at −1 are 4 from α_R = 3
    assert anchor.discriminator(here).item() == pytest.approx(2 * (36 + 16))


def test_top_k_keeps_the_best_of_the_batch_and_their_weight():
    best = term("top_k", least=0.5, decay=0.5, images=10)
    score = torch.tensor([3.0, -1.0, 2.0, 5.0])
    assert torch.equal(best.weigh(score), torch.ones(4))
    best.advance(D, {}, {}, 9)
    assert best.share == 1
    best.advance(D, {}, {}, 30)
    assert best.share == 0.5  # not 0.125
    assert torch.equal(best.weigh(score), torch.tensor([2.0, 0.0, 0.0, 2.0]))
    assert torch.equal(best.weigh(torch.ones(4)), torch.ones(4))  # all are the best, and 1 on average


def test_the_best_of_an_energy_are_the_lowest():
    game = TwoPlayer(Config(loss="energy_margin", terms={"top_k": {}}))
    game.terms["top_k"].share.fill_(0.5)
    loss = game._generator_loss(torch.tensor([1.0, 9.0, 3.0, 8.0]), None)
    assert loss.item() == pytest.approx(2.0)


def test_jitter_only_moves_and_mirrors():
    images = torch.arange(64 * 5 * 6.0).view(64, 1, 5, 6)
    moved = jitter(images, Noise(0, 64), 1)
    assert moved.shape == images.shape and not torch.equal(moved, images)
    assert torch.equal(jitter(images, Noise(0, 64), 0).sort(3).values, images)  # flips alone
    assert torch.equal(jitter(images, Noise(0, 64), 0, flips=False), images)
    padded = nn.functional.pad(images, (1, 1, 1, 1), mode="reflect")
    possible = [view[:, :, top : top + 5, left : left + 6] for top in range(3) for left in range(3)
                for view in (padded, nn.functional.pad(images.flip(3), (1, 1, 1, 1), mode="reflect"))]
    matches = torch.stack([(view == moved).flatten(1).all(1) for view in possible])
    assert matches.any(0).all() and matches.any(1).all()  # each is one of these, and all of these occur


def test_consistency_is_nothing_for_a_score_that_does_not_change_and_the_squared_change_else():
    class Left(Told):
        def forward(self, images, label=None):
            return Verdict(images[:, 0, 0, 0])

    here = move(Verdict(torch.zeros(N)), networks={"discriminator": Told(), "generator": Painter()})
    flat = torch.ones(N, 1, 2, 2)
    here.batch.real = flat
    here = here._replace(real=here.networks["discriminator"](flat, here.batch.condition))
    assert term("consistency", real=10.0).discriminator(here) == 0
    here = move(Verdict(torch.zeros(N)), networks={"discriminator": Left(), "generator": Painter()})
    changed = jitter(here.batch.real, Noise(0, N), 4)[:, 0, 0, 0]
    torch.testing.assert_close(term("consistency", real=10.0).discriminator(here), 10 * changed.square().mean())


def test_balanced_consistency_weighs_reals_and_fakes_each_by_its_own():
    class Left(Told):
        def forward(self, images, label=None):
            return Verdict(images[:, 0, 0, 0])

    networks, noise = {"discriminator": Left(), "generator": Painter()}, Noise(0, N)
    here = move(networks=networks)
    changed = [jitter(images, noise, 4)[:, 0, 0, 0].square().mean() for images in (here.batch.real, here.fakes.images)]
    here = move(Verdict(torch.zeros(N)), Verdict(torch.zeros(N)), networks=networks)
    value = term("consistency", real=10.0, fake=3.0).discriminator(here)
    torch.testing.assert_close(value, 10 * changed[0] + 3 * changed[1])


def test_latent_consistency_holds_the_score_and_spreads_the_images():
    """G(z) shows z: |G(z) − G(z + Δ)|² is Δ² where it is seen."""
    zcr = term("consistency", real=0.0, latent=20.0, latent_generator=0.5, radius=0.1)
    here = move(Verdict(torch.zeros(N)))
    delta = 0.1 * Noise(0, N).normal(6)[:, :4]
    torch.testing.assert_close(zcr.generator(here), -0.5 * delta.square().mean())
    change = here.networks["discriminator"](here.fakes.images + delta.view(N, 1, 2, 2), here.fakes.condition).score
    here = move(Verdict(torch.zeros(N)), Verdict(torch.zeros(N)))
    torch.testing.assert_close(zcr.discriminator(here), 20 * change.square().mean())


@pytest.mark.parametrize("distance", ["l1", "l2"])
def test_reconstruction_is_the_distance_to_the_image_of_the_pair(distance):
    """Differences of ½, ½, 0 and 2."""
    here = move()
    real = torch.tensor([0.5, 0.0, 1.0, -1.0]).view(N, 1, 1, 1).expand(N, 1, 2, 2)
    drawn = torch.tensor([1.0, 0.5, 1.0, 1.0]).view(N, 1, 1, 1).expand(N, 1, 2, 2)
    here.batch.real = real
    here = here._replace(fakes=here.fakes._replace(images=drawn))
    value = term("reconstruction", weight=10.0, distance=distance).generator(here)
    scale = {"l1": (0.5 + 0.5 + 2) / 4, "l2": (0.25 + 0.25 + 4) / 4}[distance]
    assert value.item() == pytest.approx(10 * scale)


def test_a_wrong_text_is_that_of_the_next_sample_of_the_global_batch(on_workers):
    texts = torch.arange(8.0).view(8, 1)

    def wrong(rank: int, workers: int = 2) -> torch.Tensor:
        share = slice(rank * 8 // workers, (rank + 1) * 8 // workers)
        here = move(networks={"generator": Painter(), "discriminator": Told()})
        here.networks["generator"].classes = 0
        return term("matching_aware")._wrong(here, texts[share])

    assert wrong(0, 1).flatten().tolist() == [1, 2, 3, 4, 5, 6, 7, 0]
    assert torch.equal(torch.cat(on_workers(wrong, 2)), wrong(0, 1))
