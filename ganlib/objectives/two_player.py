"""One generator against one discriminator: an adversarial loss, penalties on the discriminator's gradient, terms."""

import dataclasses
import functools
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ganlib import build as components
from ganlib import collectives
from ganlib.config import ConfigError, parse, require, suggest, within
from ganlib.losses import LOSSES
from ganlib.objectives.augmented import looking_at
from ganlib.objectives.base import Batch, Fakes, Images, Networks, Objective, Optimizer, Optimizers, Phase, Stats
from ganlib.objectives.penalties import NEED_FAKES, PENALTIES, Penalty
from ganlib.objectives.penalties import penalty as penalty_of
from ganlib.objectives.schedules import wgan_warm_up
from ganlib.objectives.terms.base import Move, Term
from ganlib.objectives.unroll import unrolled
from ganlib.verdict import Verdict


@dataclass(frozen=True)
class Config:
    loss: str = "non_saturating"  # of ganlib/losses.py
    penalties: dict[str, Penalty] = field(default_factory=dict)  # gradient_penalty, dragan, r1, r2
    terms: dict[str, dict[str, Any]] = field(default_factory=dict)  # name in ganlib/objectives/terms/ → its options
    n_critic: int = 1  # discriminator steps per generator step, each on a new batch
    warm_up: bool = False  # WGAN's: 100 critic steps before each of the first 25 generator steps and every 500th
    clip: float | None = None  # c of the original WGAN: the critic's weights stay in [−c, c]
    unroll: int = 0  # discriminator steps that the generator looks ahead, differentiating through them
    real_target: float = 1.0  # below 1: one-sided label smoothing
    margin: float | None = None  # of energy_margin; null: the loss's own
    adversarial_weight: float = 1.0  # of the adversarial loss in the generator's; 0 leaves it to the terms
    adversarial_from: float = 0.0  # the share of the run in which the generator learns from terms alone, before
    optimizers: dict[str, Optimizer] = field(
        default_factory=lambda: {"generator": Optimizer(), "discriminator": Optimizer()}
    )

    def __post_init__(self) -> None:
        require(self.loss in LOSSES, f"loss: {self.loss!r} is not a choice{suggest(self.loss, LOSSES)}")
        loss = LOSSES[self.loss]
        for name in self.penalties:
            require(name in PENALTIES, f"penalties.{name}: there is no such penalty{suggest(name, PENALTIES)}")
        for name in self.terms:
            require(name in components.names(TERMS), f"terms.{name}: there is no such term"
                    f"{suggest(name, components.names(TERMS))}")
        self.parsed_terms()
        within(self, 1, 10**6, "n_critic")
        within(self, 0, 1_000, "unroll")  # 0 switches it off
        require(self.clip is None or self.clip > 0, f"clip: must be above 0, got {self.clip}; null switches it off")
        require(self.adversarial_weight >= 0,
                f"adversarial_weight: must not be negative, got {self.adversarial_weight:g}")
        require(0 <= self.adversarial_from < 1,
                f"adversarial_from: must lie in [0, 1), got {self.adversarial_from:g}; 0 is from the start")
        require(not (self.warm_up and self.adversarial_from), "warm_up: it counts from the start of the run, and "
                "adversarial_from begins later; take one of the two")
        require(0.5 < self.real_target <= 1, f"real_target: must lie in (0.5, 1], got {self.real_target:g}")
        require(self.real_target == 1 or "real_target" in loss.options,
                f"real_target: {self.loss} has no targets to smooth; write 1.0")
        require(self.margin is None or "margin" in loss.options, f"margin: {self.loss} has none; write null")
        require(self.margin is None or self.margin > 0, f"margin: must be above 0, got {self.margin}")
        require(("k" in loss.options) == ("equilibrium" in self.terms),
                "terms.equilibrium: it rules over the k of boundary_equilibrium; take both, or neither")
        require("top_k" not in self.terms or not loss.couples_samples,
                f"terms.top_k: under {self.loss} a sample has no loss of its own to leave out")
        lazy = any(penalty.every > 1 for penalty in self.penalties.values())
        unbounded = not self.clip and not self.penalties
        require(unbounded or not self.unroll, "unroll: the steps ahead know neither clip nor penalties; write 0")
        for role in TwoPlayer.roles:
            require(role in self.optimizers, f"optimizers.{role}: missing; each player needs an optimizer")
        require(not lazy or self.optimizers["discriminator"].name != "rmsprop",
                "penalties: lazy ones (every above 1) rescale the optimizer's memory, and rmsprop's is fixed; "
                "write every: 1")
        for role in self.optimizers:
            require(role in TwoPlayer.roles, f"optimizers.{role}: no such player{suggest(role, TwoPlayer.roles)}")

    def parsed_terms(self) -> dict[str, tuple[ModuleType, Any]]:
        """Name of each term → its module and its Config."""
        modules = {name: components.module(TERMS, name) for name in self.terms}
        return {name: (module, parse(module.Config, self.terms[name] or {}, f"terms.{name}"))
                for name, module in modules.items()}


TERMS = "objectives.terms"


def teaches_generator(term: Term) -> bool:
    """Whether it has a part in the generator's loss."""
    return type(term).generator is not Term.generator


def judge(discriminator: Any, real: Tensor, fake: Tensor, conditions: tuple[Tensor | None, Tensor | None]
          ) -> tuple[Verdict, Verdict]:
    """The verdicts on both halves: in one pass if the discriminator judges each image by itself, else in two, since
    batch statistics over reals and fakes together are not those of either. `conditions`: of the reals, of the fakes."""
    if discriminator.mixes_batch:
        at_real, at_fake = looking_at(discriminator, "real"), looking_at(discriminator, "fake")
        return at_real(real, conditions[0]), at_fake(fake, conditions[1])
    condition = torch.cat(conditions) if discriminator.told else None  # type: ignore[arg-type]
    both = looking_at(discriminator, "real", "fake")(torch.cat([real, fake]), condition)
    of_real, of_fake = zip(*((None, None) if output is None else output.chunk(2) for output in both), strict=True)
    return Verdict(*of_real), Verdict(*of_fake)


class TwoPlayer(Objective):
    """Moves: D (the adversarial loss, the terms, and the penalties of every batch), D_<penalty> (each lazy one), G; and
    before `adversarial_from` G_alone, of the terms that need no discriminator."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.loss = LOSSES[config.loss]
        self.reports_real_sign = self.loss.sign_tells
        smoothing = {} if config.real_target == 1 else {"real_target": config.real_target}
        self.options = smoothing | ({} if config.margin is None else {"margin": config.margin})
        active = {name: penalty for name, penalty in config.penalties.items() if penalty.weight > 0}
        self.prompt = {name: penalty for name, penalty in active.items() if penalty.every == 1}
        self.lazy = {name: penalty for name, penalty in active.items() if penalty.every > 1}
        self.optimizers = config.optimizers | {"discriminator": self._slowed(config.optimizers["discriminator"])}
        found = config.parsed_terms()
        self.terms = nn.ModuleDict({name: module.build(options) for name, (module, options) in found.items()})
        self.running: torch.optim.Optimizer | None = None  # the discriminator's, which `unroll` goes on from
        self.generator_needs_real = self.loss.needs_real or any(term.needs_real for term in self._terms.values())

    @property
    def _terms(self) -> dict[str, Term]:
        return dict(self.terms.items())  # type: ignore[arg-type]

    def _slowed(self, optimizer: Optimizer) -> Optimizer:
        """A lazy penalty makes k + 1 steps of k: lr and the betas become lr·c and βᶜ, c = k/(k + 1), so that k batches
        move the player as far as before. Karras et al. 2020, arXiv:1912.04958, appendix B."""
        share = 1 / (1 + sum(1 / penalty.every for penalty in self.lazy.values()))
        first, second = optimizer.betas
        return dataclasses.replace(optimizer, lr=share * optimizer.lr, betas=(first**share, second**share))

    def phases(self) -> tuple[Phase, ...]:
        start, n_critic = self.config.adversarial_from, self.config.n_critic
        game = (start, 1.0)
        lazy = [
            Phase(f"D_{name}", ("discriminator",), functools.partial(self.regularize, name), penalty.every, window=game)
            for name, penalty in self.lazy.items()
        ]
        schedule = wgan_warm_up(n_critic) if self.config.warm_up else None
        return (
            Phase("D", ("discriminator",), self.judge_step, window=game),
            *lazy,
            Phase("G", ("generator",), self.generate_step, n_critic, schedule, game),
            *([Phase("G_alone", ("generator",), self.terms_step, window=(0.0, start))] if start else []),
        )

    def check(self, networks: Networks) -> None:
        generator, discriminator = networks["generator"], networks["discriminator"]
        if (self.prompt or self.lazy) and not discriminator.own_gradients:
            name = next(iter(self.prompt | self.lazy))
            raise ConfigError(
                f"objective.penalties.{name}: a gradient penalty needs a discriminator that judges each image by "
                "itself, and batch norm mixes the batch, as minibatch discrimination does; set "
                "networks.discriminator_norm to layer, spectral or none, and networks.minibatch to std or none"
            )
        if self.loss.energy != discriminator.energy:
            raise ConfigError(f"objective.loss: {self.config.loss} " + (
                "needs a discriminator whose score is an energy; set networks=autoencoder" if self.loss.energy else
                "needs a discriminator that tells reals from fakes, and an autoencoder's score is an energy; "
                "set networks=subpixel, dcgan or mlp"))
        if hasattr(generator, "back"):
            raise ConfigError("networks.directions: this game trains one direction alone; write 1, or take "
                              "objective=cyclegan")
        if not discriminator.told.paired:
            raise ConfigError("networks.conditioning: concat shows the discriminator pairs, and this data has none; "
                              "write none, or take objective=cyclegan")
        for name, term in self._terms.items():
            term.check(networks)
            if self.config.unroll and type(term).discriminator is not Term.discriminator:
                raise ConfigError(f"objective.unroll: the steps ahead know nothing of {name}; write 0, or drop it")
        if discriminator.classes:
            teacher, game = "auxiliary_classifier", "acgan"
            if generator.labels_are_codes:
                teacher, game = "mutual_information", "infogan"
            elif not generator.classes:
                teacher, game = "few_labels", "semi_supervised"
            if teacher not in self.terms:
                raise ConfigError("networks.conditioning: the discriminator has a head to tell labels, and no term "
                                  f"that trains it; take objective={game}, or write none")
        teaches = any(teaches_generator(term) for term in self._terms.values())
        if not self.config.adversarial_weight and not teaches:
            raise ConfigError("objective.adversarial_weight: at 0 the generator learns from terms alone, and none of "
                              "these is for it; add feature_matching, or write 1")
        if self.config.adversarial_from and not self._terms_alone:
            raise ConfigError("objective.adversarial_from: until then the generator learns from terms that need no "
                              "discriminator, and there is none; add reconstruction, or write 0")

    def bind(self, networks: Networks, images: Images, optimizers: Optimizers) -> None:
        self.running = optimizers.get("discriminator")
        for term in self._terms.values():
            term.bind(networks, images)

    def fakes(self, networks: Networks, batch: Batch) -> Fakes:
        """Of the conditions of the reals, for a generator that is told them; of random codes for InfoGAN's."""
        generator = networks["generator"]
        z = batch.noise.normal(generator.latent)
        condition = batch.condition if generator.told else None
        if generator.labels_are_codes:
            condition = batch.noise.integers(generator.classes)
        return Fakes(generator(z, condition), z, condition)

    def judge_step(self, networks: Networks, batch: Batch) -> tuple[Tensor, Stats]:
        """The discriminator's loss, with the terms, and the penalties that are due on every batch."""
        fakes = self._detached_fakes(networks, batch)
        real, fake = judge(networks["discriminator"], batch.real, fakes.images, (batch.condition, fakes.condition))
        loss = self._adversarial(real.score.float(), fake.score.float()).mean()
        stats = {
            "D/loss": loss.detach(),
            "D/real_score": real.score.detach().float().mean(),
            "D/fake_score": fake.score.detach().float().mean(),
        }
        if self.reports_real_sign:
            stats["D/real_sign"] = real.score.detach().float().sign().mean()
        move = Move(networks, batch, fakes, real, fake, self._adversarial, stats)
        loss = loss + self._add_terms("discriminator", move)
        for name, penalty in self.prompt.items():
            value = penalty_of(name, networks["discriminator"], batch, fakes.images)
            stats[f"D/{name}"] = value.detach()
            loss = loss + penalty.weight * value
        return loss, stats

    def regularize(self, name: str, networks: Networks, batch: Batch) -> tuple[Tensor, Stats]:
        """One lazy penalty, weighted for the batches on which it was not due."""
        fake = self._detached_fakes(networks, batch).images if name in NEED_FAKES else None
        value = penalty_of(name, networks["discriminator"], batch, fake)
        penalty = self.lazy[name]
        return penalty.weight * penalty.every * value, {f"D/{name}": value.detach()}

    def generate_step(self, networks: Networks, batch: Batch) -> tuple[Tensor, Stats]:
        """The generator's loss, with the terms."""
        fakes = self.fakes(networks, batch) if batch.fakes is None else batch.fakes
        discriminator = self._opponent(networks, batch, fakes)
        fake = discriminator(fakes.images, fakes.condition)
        real = discriminator(batch.real, batch.condition) if self.generator_needs_real else None
        loss = self._generator_loss(fake.score.float(), None if real is None else real.score.float())
        stats = {"G/loss": loss.detach()}
        move = Move(networks, batch, fakes, real, fake, self._adversarial, stats)
        return self.config.adversarial_weight * loss + self._add_terms("generator", move), stats

    def terms_step(self, networks: Networks, batch: Batch) -> tuple[Tensor, Stats]:
        """The generator's terms that need no discriminator."""
        fakes = self.fakes(networks, batch) if batch.fakes is None else batch.fakes
        move = Move(networks, batch, fakes, None, Verdict(torch.empty(0)), self._adversarial, {})
        return self._add_terms("generator", move, self._terms_alone), move.stats

    @torch.no_grad()
    def advance(self, phase: Phase, networks: Networks, stats: Stats, images_seen: int) -> None:
        """Arjovsky et al. 2017, algorithm 1, line 7: w ← clip(w, −c, c) after each step of the critic. The terms."""
        if self.config.clip is not None and "discriminator" in phase.trains:
            for parameter in networks["discriminator"].parameters():
                parameter.clamp_(-self.config.clip, self.config.clip)
        for term in self._terms.values():
            term.advance(phase, networks, stats, images_seen)

    def _adversarial(self, real_score: Tensor, fake_score: Tensor) -> Tensor:
        """The discriminator's loss of each sample: of the global batch, if the loss couples its samples."""
        options: dict[str, Any] = dict(self.options)
        for term in self._terms.values():
            options |= term.loss_options()
        if self.loss.couples_samples:
            real_score, fake_score = collectives.gather(real_score), collectives.gather(fake_score)
        return self.loss.discriminator(real_score, fake_score, **options)

    def _generator_loss(self, fake_score: Tensor, real_score: Tensor | None) -> Tensor:
        if self.loss.couples_samples:
            assert real_score is not None
            fake_score, real_score = collectives.gather(fake_score), collectives.gather(real_score)
        loss = self.loss.generator(fake_score, real_score)
        realism = -fake_score if self.loss.energy else fake_score
        for term in self._terms.values():
            if (weights := term.weigh(realism)) is not None:
                loss = loss * weights
        return loss.mean()

    def _opponent(self, networks: Networks, batch: Batch, fakes: Fakes) -> Any:
        """The discriminator that the generator plays against: as it is, or `unroll` steps later."""
        if not self.config.unroll:
            return networks["discriminator"]

        def loss(play: Any) -> Tensor:
            real, fake = judge(play, batch.real, fakes.images, (batch.condition, fakes.condition))
            return self._adversarial(real.score.float(), fake.score.float()).mean()

        slowed, steps = self.optimizers["discriminator"], self.config.unroll
        return unrolled(networks["discriminator"], loss, slowed, steps, self.running)

    @property
    def _terms_alone(self) -> dict[str, Term]:
        return {name: term for name, term in self._terms.items() if teaches_generator(term) and not term.needs_verdict}

    def _add_terms(self, player: Literal["discriminator", "generator"], move: Move,
                   terms: dict[str, Term] | None = None) -> Tensor:
        total = torch.zeros((), device=move.batch.real.device)
        for name, term in (self._terms if terms is None else terms).items():
            if (value := getattr(term, player)(move)) is not None:
                move.stats[f"{player[0].upper()}/{name}"] = value.detach()
                total = total + value
        return total

    def _detached_fakes(self, networks: Networks, batch: Batch) -> Fakes:
        if batch.fakes is not None:
            return batch.fakes._replace(images=batch.fakes.images.detach())
        with torch.no_grad():  # the discriminator's move needs no graph of the generator
            return self.fakes(networks, batch)


def build(config: Config) -> TwoPlayer:
    return TwoPlayer(config)
