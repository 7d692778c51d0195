"""What the three stages of the adapter's training share: clips, generator, adapter, export."""

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pila.adapter import PilaAdapter, PlainAdapter
from pila.adapter.base import require_finite
from pila.data.shard_files import read_header
from pila.errors import InputError
from pila.files import whole_folder
from pila.pipelines.backbone import check_fit
from pila.pipelines.locate import find_adapter, find_model
from pila.pipelines.repository import check_model_folder
from pila.train.clips import Clips, open_clips
from pila.train.config import TrainConfig
from pila.train.frozen import FrozenGenerator, Prediction, WanBackbone
from pila.train.noise import noise_levels, shifted
from pila.train.prediction_cache import FixedDraws, KeptPredictions
from pila.train.step_rng import Prefetcher, StepRng, on_device, pinned, rows_of

VALIDATION_BATCHES = 2
VALIDATION_SEED = 7
MOST_REPEATS = 4
"""How often a kept prediction may be learnt from. After twenty times an adapter had an error 9 %
below the frozen generator's on these draws, and 6 % above it on others (results/LOG.md)."""

log = logging.getLogger(__name__)


class AdapterTask:
    """A stage: some parts of an adapter learn on estimates of a frozen generator.

    Args:
        config: the run.
        device: where generator and clips are; the loop moves the adapter there.
        backbone: what is frozen in place of the model's own denoiser; it takes the same latents
            and embeddings (`pila.pipelines.backbone.Backbone`), whose VAE and text encoder stay.

    Raises:
        InputError: a start that is not there or does not fit, or no clip to train on.
    """

    def __init__(
        self,
        config: TrainConfig,
        device: torch.device | str = "cpu",
        backbone: nn.Module | None = None,
    ) -> None:
        self.config, self.device = config, torch.device(device)
        # A cache holds what VAE and text encoder have to say: they need not be there.
        parts = () if config.data is None else ("transformer", "transformer_2")
        folder = find_model(config.model, parts=parts)
        start = find_adapter(config.start)
        if start is not None:
            self.check_start(check_model_folder(start), check_model_folder(folder / "transformer"))
        if backbone is not None:
            self._check_backbone(backbone, check_model_folder(folder / "transformer"))
        self.clips: Clips = open_clips(config, folder, targets=self.needs_targets)
        self._check_clips(folder)
        self.training, self.held_out = self._split()
        if backbone is None:
            precision = config.backbone_precision or config.optim.precision
            dtype = torch.bfloat16 if precision == "bf16" else torch.float32
            backbone = WanBackbone(folder, device=device, dtype=dtype)
        self.frozen = FrozenGenerator(backbone.to(self.device))
        self.kept = self._keeping()
        self._ahead = Prefetcher(partial(self._drawn, self.training), self.device)
        self._validating = False
        # Whether values are looked at on the way, which waits for an accelerator; see `explain`.
        self.checking = False
        torch.manual_seed(config.seed)
        self.module: Any = self.build()
        if start is not None:
            begun = type(self.module).from_pretrained(start).state_dict()
            # The gate is stage C's alone: stages A and B need not have been trained with it.
            own = {k: w for k, w in self.module.state_dict().items() if k.startswith("sigma_gate.")}
            self.module.load_state_dict(own | begun)
        self.module.train().requires_grad_(False)
        for part in self.trained():
            part.requires_grad_(True)

    def build(self) -> nn.Module:
        """What is trained, as it begins; the generator and the clips are there."""
        return build_adapter(self.config, self.clips.empty.shape[-1])

    def check_start(self, start: Mapping[str, Any], transformer: Mapping[str, Any]) -> None:
        """Refuse what cannot be gone on from, by its config and the transformer's.

        Raises:
            InputError: it does not fit.
        """
        check_fit(dict(start), dict(transformer))

    def trained(self) -> list[nn.Module]:
        """The parts that learn in this stage."""
        return [self.module]

    def groups(self) -> list[dict]:
        """One group of all that learns."""
        return [{"params": [p for part in self.trained() for p in part.parameters()]}]

    def loss(self, draws: StepRng) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The stage's loss [] on the drawn rows, and figures for the log."""
        raise NotImplementedError

    @torch.no_grad()
    def validate(self) -> float | None:
        """The same loss on held-out clips, always with the same noise and as at the end.

        One process computes it, of no more samples at once than a forward of the training holds.
        """
        if not len(self.held_out):
            return None
        optim = self.config.optim
        processes = int(os.environ.get("WORLD_SIZE", "1"))
        micro = optim.held(processes)
        self._validating, losses = True, []
        for part in range(VALIDATION_BATCHES):
            seed, step = VALIDATION_SEED + part, optim.steps - 1
            for draws in rows_of(seed, step, optim.batch, process=0, processes=1, micro=micro):
                losses.append(self.loss(draws)[0] * len(draws.rows) / optim.batch)
        self._validating = False
        return torch.stack(losses).sum().item() / VALIDATION_BATCHES

    @torch.no_grad()
    def predicted(self, draws: StepRng) -> tuple[dict[str, Tensor], Prediction]:
        """The rows' clips as `draw` has them, and what the frozen generator says of them noised.

        With `noise_draws`, predictions are read from disk where they are kept.
        """
        if self.kept is not None:
            return self._kept(draws, draws.shared(), self.kept)
        batch = self.draw(draws)
        given = [batch[name] for name in ("latents", "noise", "sigma", "text")]
        return batch, self.frozen.predict(*given)

    def draw(self, draws: StepRng) -> dict[str, Tensor]:
        """The rows' clips, on the device: `latents`, `text`, `flags`, `labels`, targets.

        With the noise, `noise` and `sigma`, and on the host `indices` and `categories` (the flags).
        A tenth of the captions (`generator.drop_text`) is empty; such a sample has no labels
        either, as a parser would have nothing to read.
        """
        if self._validating:
            drawn = self._ahead.once(partial(self._drawn, self.held_out), draws)
        else:
            drawn = self._ahead(draws)
        return self._placed(drawn)

    def _drawn(self, clips: Tensor, draws: StepRng) -> dict[str, Tensor]:
        """What the rows draw of some clips, on the host."""
        rng = draws.shared()
        chosen, dropped = self._chosen(clips, draws, rng)
        batch = self._batch(draws, rng, draws.take(chosen), draws.take(dropped))
        batch["sigma"] = self.levels(draws, rng)
        batch["noise"] = draws.normal(tuple(batch["latents"].shape[1:]))
        return pinned(batch, self.device)

    def _chosen(self, clips: Tensor, draws: StepRng, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Of the whole step the clips [batch], and which of them lose their caption."""
        chosen = clips[torch.randint(len(clips), (draws.batch,), generator=rng)]
        return chosen, torch.rand(draws.batch, generator=rng) < self.config.generator.drop_text

    def captions(self, draws: StepRng) -> dict[str, Tensor]:
        """`text` and `labels` of all rows of the step, on the device, whichever rows are drawn."""
        whole = replace(draws, rows=range(draws.batch))
        rng, clips = draws.shared(), self.held_out if self._validating else self.training
        chosen, dropped = self._chosen(clips, whole, rng)
        batch = self.clips.prompts(chosen.tolist())
        return on_device(self._said(batch, whole, rng, dropped), self.device)

    def _placed(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """A batch on the device, but for what is read on the host."""
        here = {name: batch[name] for name in ("indices", "categories")}
        return on_device({n: x for n, x in batch.items() if n not in here}, self.device) | here

    def _kept(
        self, draws: StepRng, rng: torch.Generator, kept: KeptPredictions
    ) -> tuple[dict[str, Tensor], Prediction]:
        config = self.config
        of = config.noise_draws or 1
        clips = self.held_out if self._validating else self.training
        chosen = clips[torch.randint(len(clips), (draws.batch,), generator=rng)]
        which = torch.randint(of, (draws.batch,), generator=rng)
        fixed = FixedDraws(config.seed, draws.take(chosen), draws.take(which), of)
        empty = fixed.dropped(config.generator.drop_text)
        batch = self._placed(self._batch(draws, rng, fixed.indices, empty))
        sigma = shifted(fixed.uniform(), config.generator.shift).to(self.device)
        noise = fixed.normal(tuple(batch["latents"].shape[1:])).to(self.device)
        new = kept.missing(fixed.rows)
        if new.any():
            there = new.to(self.device)
            said = self.frozen.predict(
                batch["latents"][there], noise[there], sigma[there], batch["text"][there]
            )
            rows = [row for row, missing in zip(fixed.rows, new.tolist(), strict=True) if missing]
            kept.keep(rows, said.v)
        v = kept.read(fixed.rows).to(self.device)
        return batch, self.frozen.given(batch["latents"], noise, sigma, v)

    def _batch(
        self, draws: StepRng, rng: torch.Generator, mine: Tensor, empty: Tensor
    ) -> dict[str, Tensor]:
        batch = self.clips.batch(mine.tolist(), true=self.needs_truth)
        batch = self._said(batch, draws, rng, empty)
        return batch | {"indices": mine, "categories": batch["flags"]}

    def _said(
        self, batch: dict[str, Tensor], draws: StepRng, rng: torch.Generator, empty: Tensor
    ) -> dict[str, Tensor]:
        """A batch with its empty captions, and with the labels that go with each."""
        text = torch.where(empty[:, None, None], self.clips.empty, batch["text"])
        told = self._told(batch["flags"], draws, rng)
        return batch | {"text": text, "labels": told & ~empty[:, None]}

    def _told(self, flags: Tensor, draws: StepRng, rng: torch.Generator) -> Tensor:
        """The labels that the router is given, bool [b, 8]."""
        match self.config.couple.labels:
            case "none":
                return torch.zeros_like(flags)
            case "random":
                order = torch.rand(draws.batch, flags.shape[1], generator=rng).argsort(1)
                return flags.gather(1, draws.take(order))
        return flags

    @property
    def needs_targets(self) -> bool:
        """Whether clips must bring motion targets."""
        return False

    @property
    def needs_truth(self) -> bool:
        """Whether true fields are read; simulated clips only."""
        return False

    def levels(self, draws: StepRng, rng: torch.Generator) -> Tensor:
        """Noise levels of the rows [b], as the sampler's schedule spreads them."""
        shift = self.config.generator.shift
        return draws.take(noise_levels(draws.batch, shift, rng))

    @torch.no_grad()
    def explain(self, draws: StepRng) -> str:
        """Where a value of the rows' loss stops being finite, and their clips, for a message."""
        batch, p = self.predicted(draws)
        pairs = zip(batch["indices"].tolist(), p.sigma.tolist(), strict=True)
        said = "clips " + ", ".join(f"{self.clips.names[i]} at sigma {s:.3f}" for i, s in pairs)
        self.checking = True
        try:
            require_finite({"the clips": batch["latents"], "the generator's prediction": p.v})
            self.loss(draws)
        except FloatingPointError as error:
            return f"{error}; {said}"
        finally:
            self.checking = False
        return said

    def export(self, folder: Path) -> Path:
        """Write the adapter as safetensors and JSON; the generator must be as it was."""
        frozen = self.frozen.check_unchanged()
        with whole_folder(folder / "adapter") as beside:
            self.module.eval().save_pretrained(beside)
            parameters = sum(p.numel() for p in self.module.parameters())
            (folder / "result.json").write_text(
                json.dumps({"backbone_sha256": frozen, "parameters": parameters})
            )
        return folder / "adapter"

    def _keeping(self) -> KeptPredictions | None:
        """Where predictions of these clips by this generator are kept, if they are to be."""
        config, of = self.config, self.config.noise_draws
        if of is None:
            return None
        if config.task != "couple":
            raise InputError(
                f"noise_draws is {of} in {config.task}, whose noise levels change with the step; "
                "only couple keeps predictions"
            )
        repeats = config.optim.steps * config.optim.batch / (of * len(self.training))
        if repeats > MOST_REPEATS:
            log.warning(
                "%d clips with %d draws of noise each would be seen %.0f times, and learnt by "
                "heart: noise is drawn anew, noise_draws ignored",
                len(self.training),
                of,
                repeats,
            )
            return None
        noise = [config.seed, of, config.generator.shift, config.generator.drop_text]
        identity = [self.clips.identity, self.frozen.hash(), noise]
        shape = tuple(self.clips.batch([0])["latents"].shape[1:])
        return KeptPredictions(identity, len(self.clips) * of, shape)

    def _check_clips(self, folder: Path) -> None:
        """Refuse clips that another model's VAE or text encoder has encoded."""
        if self.config.data is None:
            return
        config = check_model_folder(folder / "transformer")
        cache = read_header(Path(self.config.data))
        facts = {
            "latent channels": (cache.latent_shape[0], config.get("in_channels")),
            "numbers in a token's embedding": (cache.text_width, config.get("text_dim")),
        }
        for what, (there, here) in facts.items():
            if there != here:
                raise InputError(
                    f"{self.config.data} holds {there} {what}, but {self.config.model} takes "
                    f"{here}; make the cache with --model {self.config.model}"
                )

    def _check_backbone(self, backbone: Any, transformer: Mapping[str, Any]) -> None:
        """Refuse a backbone that takes other latents or embeddings than the model's denoiser."""
        for name, here in (
            ("latent_channels", transformer.get("in_channels")),
            ("text_width", transformer.get("text_dim")),
        ):
            there = getattr(backbone, name, None)
            if there != here:
                raise InputError(
                    f"the backbone's {name} is {there}, but the latents and embeddings of "
                    f"{self.config.model} have {here}; use one that denoises these"
                )

    def _split(self) -> tuple[Tensor, Tensor]:
        """Indices of the clips that are trained on, and of those held out."""
        usable = torch.ones(len(self.clips), dtype=torch.bool)
        if self.config.couple.plausible_only:
            usable &= self.clips.plausible
        found = usable.nonzero()[:, 0]
        kept = round(self.config.held_out * len(found))
        training, held_out = found[: len(found) - kept], found[len(found) - kept :]
        if not len(training):
            raise InputError(
                f"{len(self.clips)} clips leave none to train on (held_out is "
                f"{self.config.held_out}): use more clips"
            )
        return training, held_out


def build_adapter(config: TrainConfig, text_dim: int) -> nn.Module:
    """The adapter that a recipe asks for: PILA's, or the plain one of equal size."""
    pila = PilaAdapter(text_dim=text_dim, **asdict(config.couple.adapter))
    return pila if config.couple.kind == "pila" else PlainAdapter.matching(pila)
