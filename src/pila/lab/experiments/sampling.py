"""Clips of a generator with something on it: the same prompts and noise for every method."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from pila.errors import InputError
from pila.lab.experiments.round_trip import decoded, encoded
from pila.lab.world import Canvas, Clip, simulate
from pila.physics.layout import Category
from pila.pipelines.attachments import denoisers_of
from pila.pipelines.locate import find_attachments, find_model
from pila.pipelines.repository import own_config, own_settings, read_json
from pila.provenance import weights_hash

HELD_OUT_SEED = 500_000
"""First seed of the evaluated prompts; training starts at 1,000,000."""
DEVELOPMENT_SEED = 600_000
"""First seed of the prompts that settings are chosen on, which no reported figure uses."""
CANDIDATES = 1000
"""Noise seeds between a clip's candidates, where the best of several is kept; the first candidate
is the clip that every other method makes."""
LABELS = ("parsed", "none", "random")
PRECISIONS = ("no", "bf16")


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """What is put on the generator, under a name, and how it is called."""

    name: str
    adapter: str | None = None
    """As `load_pipeline` takes it, several joined by "+"; or the folder of another generator with
    the same VAE and text encoder, such as a fine-tuned one."""
    adapter_scale: float = 1.0
    step_window: tuple[int, int] | None = None
    velocity_source: str = "cond"
    top_k: int | None = None
    """Routed experts; None takes the adapter's own."""
    labels: str = "parsed"
    """What the router is told: what the parser finds in the caption, nothing ("none"), or as many
    categories drawn at random."""
    best_of: int = 1
    """Noises tried for each clip; the one of the least residual score is kept."""
    scorer: str | None = None
    """The PILA adapter whose bank is scored (`score.residual_score`), where several are tried."""
    training_seed: int | None = None
    """Of what was trained, for the table."""

    def __post_init__(self) -> None:
        if self.labels not in LABELS:
            raise InputError(f"labels is {self.labels!r}; choose from {', '.join(LABELS)}")
        if self.best_of < 1 or (self.best_of > 1) != (self.scorer is not None):
            raise InputError(
                f"best_of is {self.best_of} with scorer {self.scorer}; several noises take the "
                "adapter that scores them, and one takes none"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """What is generated, the same for all methods."""

    model: str = "embedded"
    prompts: int = 96
    noise_seeds: int = 3
    first_seed: int = HELD_OUT_SEED
    steps: int | None = None
    """None takes the model's own default."""
    guidance_scale: float | None = None
    given_frames: int = 0
    """Latent frames of the true clip that each clip begins with and goes on from."""
    scenes_only: tuple[str, ...] = ()
    """Some of the model's scenes; none named stands for all."""
    out_of_range: bool = False
    """Clips of phyworld's worlds with speeds and sizes that no model was trained on."""
    device: str = "cpu"
    precision: str = "no"
    """Of the generator's weights as clips are made: float32 ("no"), or bfloat16 ("bf16") as Wan's
    mostly are, at two thirds of the cost on CPUs that compute in it. VAE and adapter keep float32.
    Probes of single predictions take float32."""

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise InputError(
                f"precision is {self.precision!r}; choose from {', '.join(PRECISIONS)}"
            )
        if self.noise_seeds < 1:
            raise InputError(f"noise_seeds is {self.noise_seeds}; take at least 1")
        unknown = set(self.scenes_only) - set(self.settings["scenes"])
        if unknown:
            raise InputError(
                f"{self.model} was not trained on {', '.join(sorted(unknown))}; its scenes are "
                f"{', '.join(self.settings['scenes'])}"
            )
        if self.prompts < len(self.scenes):
            raise InputError(
                f"prompts is {self.prompts}; take at least {len(self.scenes)}, one a scene"
            )
        latent_frames = (self.settings["num_frames"] - 1) // 4 + 1
        if not 0 <= self.given_frames < latent_frames:
            raise InputError(
                f"given_frames is {self.given_frames}; clips have {latent_frames} latent frames, "
                f"so use 0..{latent_frames - 1}"
            )

    @property
    def settings(self) -> dict[str, Any]:
        """The model's own sizes, steps and scenes (`pila.json`), with this protocol's changes."""
        settings = own_settings(find_model(self.model))
        if self.steps is not None:
            settings["steps"] = self.steps
        if self.guidance_scale is not None:
            settings["guidance_scale"] = self.guidance_scale
        return settings

    @property
    def facts(self) -> dict[str, Any]:
        """What results say of it."""
        return {
            "model": self.model,
            "prompts": self.prompts,
            "noise_seeds": self.noise_seeds,
            "first_seed": self.first_seed,
            "given_frames": self.given_frames,
            "device": self.device,
            "precision": self.precision,
            **self.settings,
            "scenes": list(self.scenes),
        }

    @property
    def first_frame(self) -> int:
        """The first frame that is generated; those before it are given."""
        return max(4 * self.given_frames - 3, 0)

    @property
    def scenes(self) -> tuple[str, ...]:
        """The scenes that are asked for."""
        return self.scenes_only or tuple(self.settings["scenes"])

    @property
    def seeds(self) -> range:
        """Seeds of a scene's prompts."""
        return range(self.first_seed, self.first_seed + self.prompts // len(self.scenes))

    def true_clips(self, scene: str, seeds: Sequence[int] | None = None) -> list[Clip]:
        """The true clip of every prompt of a scene (or of those seeds), with its held-out caption.

        It is as long as the model's clips.
        """
        settings = self.settings
        canvas = Canvas(size=settings["height"], num_frames=settings["num_frames"])
        chosen = self.seeds if seeds is None else seeds
        if self.out_of_range:
            from pila.lab.experiments.phyworld_clips import out_of_distribution

            return [out_of_distribution(scene, s, canvas) for s in chosen]
        return [simulate(scene, s, canvas=canvas, held_out=True) for s in chosen]


def own_world(folder: Path, model: str) -> dict[str, Any]:
    """A model's `pila.json`, which must name the scenes that it was trained on.

    Args:
        folder: the model's.
        model: its name, for the message.

    Raises:
        InputError: there is none, or it names none.
    """
    own = own_settings(folder)
    if not own.get("scenes"):
        raise InputError(
            f"{model} has no pila.json that names its scenes; this takes models trained "
            "on the simulated world, such as embedded"
        )
    return own


_pipelines: dict[str, Any] = {}


def pipeline(model: str, adapter: str | None, device: str = "cpu", precision: str = "no") -> Any:
    """The pipeline of a model with something on it; this process keeps the last one."""
    import torch

    from pila.pipelines.locate import load_pipeline

    key = f"{model}|{adapter}|{device}|{precision}"
    if key not in _pipelines:
        _pipelines.clear()
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        how: Any = {"device": device, "dtype": dtype}
        if is_generator(adapter):
            _pipelines[key] = load_pipeline(str(adapter), None, **how)
        else:
            _pipelines[key] = load_pipeline(model, adapter, **how)
        _pipelines[key].set_progress_bar_config(disable=True)
    return _pipelines[key]


def sampled(
    protocol: Protocol, method: Method, truths: Sequence[Clip], noise: int
) -> tuple[np.ndarray, np.ndarray]:
    """One clip for each true one, of the same prompt.

    Args:
        protocol: steps, guidance, given frames.
        method: what is on the generator; one name stands for all its noises.
        truths: true clips, whose captions (and given frames) are taken.
        noise: which noise seed.

    Returns:
        Frames [n, t, h, w, 3] uint8 and the latents that they were decoded from, [n, c, t, h, w].
    """
    kept, least = None, None
    for candidate in range(method.best_of):
        latents = _latents(protocol, method, truths, noise + CANDIDATES * candidate)
        if method.scorer is None:
            kept = latents
            continue
        import torch

        from pila.score.residual_score import residual_scores

        captions = [truth.caption for truth in truths]
        scores = residual_scores(
            latents, captions, adapter=method.scorer, model=protocol.model, device=protocol.device
        )
        if kept is None or least is None:
            kept, least = latents, scores
        else:
            better = scores < least
            kept = torch.where(better.view(-1, 1, 1, 1, 1), latents, kept)
            least = torch.minimum(scores, least)
    assert kept is not None
    pipe = pipeline(protocol.model, method.adapter, protocol.device, protocol.precision)
    return decoded(pipe.vae, kept.to(pipe.vae.device)), kept.numpy()


def noise_of(seeds: Sequence[int], noise: int) -> list[Any]:
    """A generator for each prompt's noise, its own whatever batch it is made in."""
    import torch

    return [torch.Generator().manual_seed(10_000 * noise + s) for s in seeds]


def told(method: Method, captions: Sequence[str], seeds: Sequence[int]) -> list[list[Category]]:
    """The labels of each prompt as the method has them."""
    from pila.labels.parser import make_parser

    if method.labels == "none":
        return [[] for _ in captions]
    parser = make_parser("offline")
    found = [list(parser(caption).categories) for caption in captions]
    if method.labels == "random":
        every = list(Category)
        return [
            [every[i] for i in np.random.default_rng([11, seed]).permutation(8)[: len(true)]]
            for true, seed in zip(found, seeds, strict=True)
        ]
    return found


def call_options(
    protocol: Protocol, method: Method, captions: Sequence[str], seeds: Sequence[int]
) -> dict[str, Any]:
    """Arguments of the pipeline's call but for prompts and noise."""
    settings = protocol.settings
    names = ("height", "width", "num_frames", "guidance_scale", "max_sequence_length")
    options = {name: settings[name] for name in names}
    options |= {"num_inference_steps": settings["steps"], "output_type": "latent"}
    if method.adapter is not None:
        options |= {
            "categories": told(method, captions, seeds),
            "adapter_scale": method.adapter_scale,
            "step_window": method.step_window,
            "velocity_source": method.velocity_source,
            "top_k": method.top_k,
        }
    return options


def _latents(protocol: Protocol, method: Method, truths: Sequence[Clip], noise: int) -> Any:
    """Final latents [n, c, t, h, w] on the CPU."""
    import torch

    pipe = pipeline(protocol.model, method.adapter, protocol.device, protocol.precision)
    captions = [truth.caption for truth in truths]
    seeds = [truth.parameters["seed"] for truth in truths]
    options = call_options(protocol, method, captions, seeds)
    count = protocol.given_frames
    given = None
    if count:
        given = torch.cat([encoded(pipe.vae, truth.frames)[:, :, :count] for truth in truths])
    with going_on_from(pipe, given):
        latents = pipe(
            prompt=captions,
            negative_prompt="",
            generator=noise_of(seeds, noise),
            **options,
        ).frames
    latents = latents.float().cpu()
    if given is not None:
        latents[:, :, :count] = given
    return latents


@contextmanager
def going_on_from(pipe: Any, given: Any) -> Iterator[None]:
    """Calls of the pipeline continue given latent frames, while this lasts.

    The denoiser sees them clean, at noise level 0 by token (as Wan 2.2 TI2V conditions on an
    image), and the adapter reads them clean and may not write there. It takes a generator that was
    trained with a noise level for each frame, as the embedded one was.

    Args:
        pipe: a corrected Wan pipeline.
        given: normalised latents [b, c, k, h, w]; None gives nothing.
    """
    if given is None:
        yield
        return
    import torch
    import torch.nn.functional as F

    count = given.shape[2]

    def show(denoiser: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        x, level = kwargs["hidden_states"].clone(), kwargs["timestep"]
        clean = given.to(x)
        x[:, :, :count] = clean
        t, h, w = (n // p for n, p in zip(x.shape[2:], denoiser.config.patch_size, strict=True))
        by_token = level.float()[:, None].repeat(1, t * h * w)
        by_token[:, : count * h * w] = 0
        if pipe._correction is not None and pipe._correction.frozen_frames is None:
            rest = x.shape[2] - count
            mask = torch.ones(1, 1, x.shape[2], 1, 1, device=x.device)
            mask[:, :, :count] = 0
            pipe._correction.frozen_frames = F.pad(clean.float(), (0, 0, 0, 0, 0, rest)), mask
        return args, kwargs | {"hidden_states": x, "timestep": by_token}

    handles = [d.register_forward_pre_hook(show, with_kwargs=True) for d in denoisers_of(pipe)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def method_key(method: Method) -> list[Any]:
    """Everything of a method that decides its clips; neither names nor places."""
    key = [
        weights_of(method.adapter),
        weights_of(method.scorer),
        is_generator(method.adapter),
        method.adapter_scale,
        method.step_window,
        method.velocity_source,
        method.top_k,
        method.labels if method.adapter else None,
        method.best_of,
        _parser_source() if method.adapter and method.labels != "none" else None,
    ]
    configs = [*_configs_of(method.adapter), *_configs_of(method.scorer)]
    return [*key, configs] if configs else key


@cache
def _parser_source() -> str:
    """Hash of what finds labels in captions: with another lexicon clips are others, too."""
    source = hashlib.sha256()
    for name in ("lexicon.toml", "lexicon.py", "keywords.py", "parser.py"):
        source.update((files("pila.labels") / name).read_bytes())
    return source.hexdigest()[:16]


def protocol_key(protocol: Protocol) -> list[Any]:
    """Everything of a protocol that decides a clip, but which clips are made."""
    model = find_model(protocol.model)
    settings = {k: v for k, v in protocol.settings.items() if k != "scenes"}
    parts = [
        part
        for part in ("vae", "text_encoder", "transformer", "transformer_2")
        if (model / part).is_dir()
    ]
    return [
        settings,
        [_hash_of(model / part) for part in parts],
        read_json(model / "scheduler" / "scheduler_config.json"),
        protocol.given_frames,
        protocol.out_of_range,
        protocol.device.partition(":")[0],
        *([protocol.precision] if protocol.precision != "no" else []),
    ]


def weights_of(place: str | None) -> str | list[str] | None:
    """Hash of what a method puts on the generator, or of each of several."""
    if is_generator(place):
        return _hash_of(Path(str(place)) / "transformer")
    found = [_hash_of(a.folder) for a in find_attachments(place)]
    return found if len(found) > 1 else found[0] if found else None


def _configs_of(place: str | None) -> list[dict[str, Any]]:
    """What attachments were built with, whose weights do not tell it all: how many experts, say."""
    folders = [] if is_generator(place) else [a.folder for a in find_attachments(place)]
    return [own_config(f) for f in folders if (f / "config.json").is_file()]


def _hash_of(folder: Path) -> str:
    """`weights_hash`, computed once while the files stay as they are: jobs are many."""
    there = sorted(folder.glob("*.safetensors"))
    stats = tuple((f.name, f.stat().st_mtime_ns, f.stat().st_size) for f in there)
    return _hashed(folder, stats)


@cache
def _hashed(folder: Path, stats: tuple[tuple[str, int, int], ...]) -> str:
    return weights_hash(folder)


def is_generator(place: str | None) -> bool:
    """Whether a method's place is a generator of its own."""
    return place is not None and (Path(place) / "model_index.json").is_file()
