"""The embedded generator: a WanTransformer3DModel trained by flow matching on the mixed corpus."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    WanPipeline,
    WanTransformer3DModel,
)
from torch import Tensor, nn

from pila.errors import InputError
from pila.files import whole_folder
from pila.flow import clean_estimate, noised, velocity_target
from pila.lab.embedded.latent_cache import LatentCache
from pila.lab.embedded.pixel_metric import pixel_metric
from pila.lab.embedded.text import MAX_TOKENS, CaptionEncoder, vary
from pila.lab.world.caption_data import write_captions
from pila.lab.world.corpus import scenes_of
from pila.lab.world.scene import FRAME_RATE, NUM_FRAMES
from pila.pipelines.loading import load_model
from pila.pipelines.locate import find_model
from pila.pipelines.vae import load_vae
from pila.train.config import GeneratorConfig, TrainConfig
from pila.train.kernels import kernels_for_training
from pila.train.masks import motion_weight
from pila.train.noise import evenly, masked_mean, noise_levels
from pila.train.optimizer import HIDDEN, inside_blocks
from pila.train.step_rng import Prefetcher, StepRng, on_device, pinned

HIGH_NOISE = 0.9
"""Noise level above which a clip says next to nothing about itself."""
SHARES = 8
"""Clips of each scene that its weight is read off."""


def build_transformer(config: GeneratorConfig, text_width: int) -> WanTransformer3DModel:
    """An untrained Wan transformer for 16 latent channels and text embeddings of that width."""
    return WanTransformer3DModel(
        patch_size=(1, config.patch, config.patch),
        num_attention_heads=config.heads,
        attention_head_dim=config.head_dim,
        in_channels=16,
        out_channels=16,
        text_dim=text_width,
        freq_dim=128,
        ffn_dim=config.ffn,
        num_layers=config.layers,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        rope_max_seq_len=64,
    )


class TwoDenoisers(nn.Module):
    """Wan 2.2's layout: `transformer` from a noise level upwards, `transformer_2` below it."""

    def __init__(
        self, high: WanTransformer3DModel, low: WanTransformer3DModel, boundary: float
    ) -> None:
        super().__init__()
        self.transformer, self.transformer_2, self.boundary = high, low, boundary

    def forward(
        self, x_t: Tensor, timestep: Tensor, text: Tensor, return_dict: bool = False
    ) -> tuple[Tensor]:
        """Velocity (v [b, c, t, h, w],); a sample goes to one denoiser by its first frame's level.

        Args:
            x_t: noisy latents [b, c, t, h, w].
            timestep: [b], or [b, tokens] where frames differ.
            text: token embeddings [b, n, d].
            return_dict: as diffusers has it; a tuple is returned in both cases.
        """
        first = timestep if timestep.ndim == 1 else timestep[:, 0]
        above = first >= self.boundary * 1000
        v = torch.zeros_like(x_t)
        for denoiser, mine in ((self.transformer, above), (self.transformer_2, ~above)):
            if mine.any():
                v[mine] = denoiser(x_t[mine], timestep[mine], text[mine], return_dict=False)[0].to(
                    v.dtype
                )
        return (v,)


class TokenPositionHead(nn.Module):
    """Asks the tokens half way through a transformer for their row, column and frame.

    Wan knows places by rotary embeddings alone, which are relative: in pure noise a token finds its
    place only from where its neighbours end, layer by layer. Captions say where things are, so a
    small model reads layouts off the noise until it has learned that. This head teaches it, and is
    not exported.
    """

    def __init__(self, transformer: WanTransformer3DModel, grid: tuple[int, int, int]) -> None:
        super().__init__()
        self.grid = grid
        width = transformer.config["num_attention_heads"] * transformer.config["attention_head_dim"]
        self.head = nn.Linear(width, sum(grid))
        self._seen: Tensor | None = None
        middle = transformer.blocks[(len(transformer.blocks) - 1) // 2]
        middle.register_forward_hook(self._see)

    def _see(self, block: nn.Module, given: Any, out: Tensor) -> None:
        self._seen = out

    @property
    def was_asked(self) -> bool:
        """Whether its transformer has been called since the last answer."""
        return self._seen is not None

    def forward(self) -> Tensor:
        """Mean cross-entropy [] of the places of the last forward pass's tokens."""
        assert self._seen is not None
        b = len(self._seen)
        places = torch.meshgrid(*(torch.arange(n) for n in self.grid), indexing="ij")
        answers = self.head(self._seen).split(self.grid, dim=-1)
        self._seen = None
        losses = [
            nn.functional.cross_entropy(
                answer.flatten(0, 1), place.flatten().repeat(b).to(answer.device)
            )
            for answer, place in zip(answers, places, strict=True)
        ]
        return torch.stack(losses).mean()


class Taught(nn.Module):
    """What is trained: one generator or two denoisers, and the heads that are left behind."""

    def __init__(self, generator: Any, grid: tuple[int, int, int]) -> None:
        super().__init__()
        self.generator = generator
        parts = [generator]
        if isinstance(generator, TwoDenoisers):
            parts = [generator.transformer, generator.transformer_2]
        self.whereabouts = nn.ModuleList(TokenPositionHead(part, grid) for part in parts)


class GeneratorTask:
    """Flow matching at shifted uniform noise levels; a tenth of the captions is dropped.

    Args:
        config: the run.
        device: where it computes; the loop moves the generator there.

    Raises:
        InputError: a start that does not fit.
    """

    def __init__(self, config: TrainConfig, device: torch.device | str = "cpu") -> None:
        self.config, self.device = config, torch.device(device)
        named, favoured = scenes_of(config.world), config.generator.favoured
        if unknown := set(favoured) - set(named):
            raise InputError(
                f"generator.favoured has {', '.join(sorted(unknown))}; the corpus has "
                f"{', '.join(named)}"
            )
        self.shares = torch.tensor([2.0 if name in favoured else 1.0 for name in named])
        self.parts = find_model(config.model)
        self.captions = CaptionEncoder(self.parts, self.device)
        self.cache = LatentCache(self.parts / "vae", config.world)
        self.cache.prepare()
        self.weights = scene_weights(self.cache, config.generator.balance)
        self.root = self._root()
        self._drawn = Prefetcher(self.draw, self.device)
        torch.manual_seed(config.seed)
        self._start: dict[str, Tensor] = {}
        self.module: Any = self._denoiser()
        if config.generator.boundary is not None:
            self.module = TwoDenoisers(self.module, self._denoiser(), config.generator.boundary)
        side = config.world.size // 8 // config.generator.patch
        self.module = Taught(self.module, ((NUM_FRAMES - 1) // 4 + 1, side, side))

    @staticmethod
    def untrained(config: TrainConfig, text_dim: int) -> WanTransformer3DModel:
        """What such a run trains, for an estimate of its size; no clips are made."""
        return build_transformer(config.generator, text_dim)

    def _denoiser(self) -> WanTransformer3DModel:
        """An untrained transformer, or the one that the recipe starts from."""
        made = build_transformer(self.config.generator, self.captions.encoder.config.d_model)
        if self.config.generator.compiled:
            for block in made.blocks:
                # Their `forward` alone, so that hooks stay outside.
                block.forward = torch.compile(block.forward)
        if self.config.start is None:
            return made
        start: WanTransformer3DModel = load_model(find_model(self.config.start) / "transformer")
        theirs = start.state_dict()
        blocks: Any = made.blocks
        for index in range(len(start.blocks), len(blocks)):
            block = blocks[index]
            # A block that the start has not begins by passing on what it is given.
            for out in (block.attn1.to_out[0], block.attn2.to_out[0], block.ffn.net[2]):
                nn.init.zeros_(out.weight)
                nn.init.zeros_(out.bias)
            theirs |= {f"blocks.{index}.{name}": p for name, p in block.state_dict().items()}
        # Of weights alone: a shape that differs names itself, whatever option it comes from.
        ours = made.state_dict()
        apart = [
            name
            for name in sorted(theirs.keys() | ours.keys())
            if name not in theirs or name not in ours or theirs[name].shape != ours[name].shape
        ]
        if apart:
            raise InputError(
                f"{self.config.start} cannot be the start of this generator: {len(apart)} of its "
                f"tensors differ in name or shape, {apart[0]} the first; start from a model of the "
                "recipe's own size"
            )
        made.load_state_dict(theirs)
        if self.config.generator.blend:
            self._start = {name: p.clone() for name, p in made.state_dict().items()}
        return made

    def _root(self) -> Tensor | None:
        """R [c, c] with R^T R the metric that errors are counted by; None: all channels alike."""
        share = self.config.generator.pixels
        if not share:
            return None
        scenes = len(scenes_of(self.cache.world))
        latents, _, _ = self.cache.batch(list(range(min(len(self.cache), 2 * scenes))))
        vae = load_vae(self.parts / "vae").to(self.device)
        metric = pixel_metric(vae, latents.to(self.device)).cpu()
        plain = torch.eye(len(metric))
        root = torch.linalg.cholesky((1 - share) * plain + share * metric).T
        return root.contiguous().to(self.device)

    def groups(self) -> list[dict]:
        """Matrices decay; biases, scales and norms do not."""
        hidden, matrices, vectors = [], [], []
        for name, p in self.module.named_parameters():
            inside = inside_blocks(name, p)
            (hidden if inside else matrices if p.ndim >= 2 else vectors).append(p)
        return [
            {"params": hidden, HIDDEN: True},
            {"params": matrices},
            {"params": vectors, "weight_decay": 0.0},
        ]

    def loss(self, draws: StepRng) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Mean squared error of the velocity [], and the same for sigma above and below 0.8."""
        drawn = on_device(self._drawn(draws), self.device)
        x_0, noise, levels = drawn["x_0"], drawn["noise"], drawn["levels"]
        text = self.captions.encode(drawn["tokens"], drawn["mask"])
        x_t = noised(x_0, noise, levels)
        with kernels_for_training(x_t.device):
            v = self.module.generator(x_t, drawn["timestep"], text, return_dict=False)[0]
        asked = [head() for head in self.module.whereabouts if head.was_asked]
        where = torch.stack(asked).mean()
        off = v - velocity_target(x_0, noise)
        error = off.square().mean((1, 2, 3, 4))
        if self.root is not None:
            off = torch.einsum("dc,bcthw->bdthw", self.root.to(off), off)
        counted = off.square()
        if self.config.generator.moving:
            x0_hat = clean_estimate(x_t, v, levels)
            counted = counted * motion_weight(x0_hat, self.config.generator.moving)
        counted = counted.mean((1, 2, 3, 4))
        sigma = levels[:, 0]
        alike = (levels == sigma[:, None]).all(1)
        split = {
            f"loss_{name}": masked_mean(error.detach(), alike & part)
            for name, part in (("high", sigma > 0.8), ("low", sigma <= 0.8))
        }
        split["whereabouts"] = where.detach()
        total = (drawn["weights"] * counted).mean() + self.config.generator.whereabouts * where
        return total, split

    def draw(self, draws: StepRng) -> dict[str, Tensor]:
        """What the rows of a step draw, on the host.

        Returns:
            `x_0` and `noise` [b, 16, t, h, w], `levels` of latent frames [b, t], `timestep` [b] or
            by token [b, n], `tokens` and `mask` of the captions [b, 32], some of them empty, and
            `weights` of the samples' losses [b].
        """
        rng, batch = draws.shared(), draws.batch
        clips = self._clips(batch, rng)
        dropped = torch.rand(batch, generator=rng) < self.config.generator.drop_text
        mine = draws.take(clips)
        x_0, captions, _ = self.cache.batch(mine.tolist())
        draw = np.random.default_rng(mine.tolist())
        said = [
            "" if drop else vary(caption, draw)
            for caption, drop in zip(captions, draws.take(dropped), strict=True)
        ]
        tokens, mask = self.captions.tokenise(said)
        levels = draws.take(self.frame_levels(batch, x_0.shape[2], draws.step, rng))
        drawn = {
            "x_0": x_0,
            "noise": draws.normal(tuple(x_0.shape[1:])),
            "levels": levels,
            "timestep": self._timestep(levels, x_0),
            "tokens": tokens,
            "mask": mask,
            "weights": self.weights[mine % len(self.weights)],
        }
        return pinned(drawn, self.device)

    def _clips(self, count: int, rng: torch.Generator) -> Tensor:
        """Indices of clips [count], their scenes drawn by their shares."""
        scenes = len(self.shares)
        which = torch.multinomial(self.shares, count, replacement=True, generator=rng)
        return which + scenes * torch.randint(len(self.cache) // scenes, (count,), generator=rng)

    def sampling(self) -> dict[str, Any]:
        """What `pila.json` tells of the model: sizes, steps, guidance, and the scenes it knows."""
        world, generator = self.config.world, self.config.generator
        return {
            "height": world.size,
            "width": world.size,
            "num_frames": NUM_FRAMES,
            "fps": FRAME_RATE,
            "steps": generator.sampling_steps,
            "guidance_scale": generator.guidance_scale,
            "max_sequence_length": MAX_TOKENS,
            "scenes": list(scenes_of(world)),
        }

    def frame_levels(self, batch: int, frames: int, step: int, rng: torch.Generator) -> Tensor:
        """Noise levels of latent frames, [batch, frames]: one a sample, for some one a frame.

        A share of the samples is nearly noise alone.

        Where each frame has its own, they are spread evenly and shuffled, so that there is always
        a clear frame to read the noisy ones off.
        """
        generator = self.config.generator
        shift = generator.trained_shift or generator.shift
        levels = noise_levels(batch, shift, rng)[:, None].repeat(1, frames)
        order = torch.randperm(batch, generator=rng)
        high = order[: round(generator.high_noise * batch)]
        levels[high] = (1 - (1 - HIGH_NOISE) * evenly(len(high), rng))[:, None]
        every = generator.frame_noise_every
        if every and (step + 1) % every == 0:
            for row in order[len(high) :]:
                own = noise_levels(frames, shift, rng)
                levels[row] = own[torch.randperm(frames, generator=rng)]
        return levels

    def _timestep(self, levels: Tensor, x_0: Tensor) -> Tensor:
        """Timesteps [b], or by token [b, tokens] where frames differ, as Wan 2.2 TI2V has them."""
        if (levels == levels[:, :1]).all():
            return levels[:, 0] * 1000
        patch = self.config.generator.patch
        tokens = (x_0.shape[3] // patch) * (x_0.shape[4] // patch)
        return (levels * 1000).repeat_interleave(tokens, dim=1)

    def _halved(self, denoiser: WanTransformer3DModel) -> WanTransformer3DModel:
        """A copy in float16, half the size; it is finer than the bfloat16 of the training steps.

        Of the weights that the training began with it holds the share `generator.blend`.
        """
        made = build_transformer(self.config.generator, self.captions.encoder.config.d_model)
        weights = denoiser.state_dict()
        if self._start:
            blend = self.config.generator.blend
            weights = {name: p.lerp(self._start[name].to(p), blend) for name, p in weights.items()}
        made.load_state_dict(weights)
        return made.half().eval()

    def validate(self) -> None:
        """None: what a generator is judged by are its clips."""

    def export(self, folder: Path) -> Path:
        """Write a whole Wan repository: this transformer with the parts that it was trained on."""
        # Few steps of first order: with more, or with UniPC, fewer clips obey (results/LOG.md).
        scheduler = FlowMatchEulerDiscreteScheduler(shift=self.config.generator.shift)
        vae = load_model(self.parts / "vae")
        # Else it names the folder that it came from, on this machine.
        vae.register_to_config(_name_or_path="")
        one, two = self.module.generator, None
        if isinstance(one, TwoDenoisers):
            one, two = one.transformer, one.transformer_2
        pipeline = WanPipeline(
            tokenizer=self.captions.tokenizer,
            text_encoder=self.captions.encoder,
            vae=vae,
            scheduler=scheduler,
            transformer=self._halved(one),
            transformer_2=None if two is None else self._halved(two),
            boundary_ratio=self.config.generator.boundary,
        )
        with whole_folder(folder / "model") as beside:
            pipeline.save_pretrained(beside)
            (beside / "pila.json").write_text(json.dumps(self.sampling()))
            write_captions(beside, scenes_of(self.config.world))
        return folder / "model"


def scene_weights(cache: LatentCache, balance: float) -> Tensor:
    """Weight of each scene's loss [scenes], mean 1; see `GeneratorConfig.balance`."""
    scenes = len(scenes_of(cache.world))
    latents, _, _ = cache.batch(list(range(min(len(cache), SHARES * scenes))))
    within = latents.var(2).mean((1, 2, 3))
    by_scene = torch.stack([within[scene::scenes].mean() for scene in range(scenes)])
    weights = ((by_scene.mean() / by_scene) ** balance).clamp(1 / 3, 3)
    return weights / weights.mean()
