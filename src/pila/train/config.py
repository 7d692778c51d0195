"""Training configuration: frozen dataclasses that a recipe fills in completely."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from pila.data.corpus import CorpusConfig
from pila.errors import InputError
from pila.json_files import read_object, short
from pila.options import check_options
from pila.physics.residual import Family
from pila.pipelines.locate import whole_path


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimConfig:
    """The optimizer, with a linear warm-up and a decay to `final_lr` x lr."""

    optimizer: Literal["adamw", "muon"] = "adamw"
    """AdamW for all parameters, or Muon for matrices and kernels inside blocks, a generator's
    or an adapter's in stage C. Muon computes in bfloat16: slow on processors without it."""
    lr: float = 1e-3
    muon_scale: float = 1.0
    """Muon's rate over `lr`, which is AdamW's."""
    decay: Literal["cosine", "tail"] = "cosine"
    """From the first step on as a cosine, or linear over the last quarter of the steps: then a run
    that was stopped earlier can be given more steps."""
    final_lr: float = 0.02
    warmup: int = 100
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0
    ema: float = 0.995
    """Decay of the averaged weights that are exported; 0 exports the last ones."""
    steps: int = 1000
    batch: int = 16
    """Samples of a step, over all processes and micro-batches."""
    micro_batch: int | None = None
    """Samples in one forward of one process; the rest of its share is accumulated. None: all."""
    precision: Literal["no", "bf16", "fp16"] = "no"
    """Of the forward pass; weights and averages stay in float32."""

    def __post_init__(self) -> None:
        for name in ("lr", "muon_scale", "steps", "batch", "clip"):
            if not getattr(self, name) > 0:
                raise InputError(f"optim.{name} is {getattr(self, name)}; it must be over 0")
        if self.micro_batch is not None and self.micro_batch < 1:
            raise InputError(f"optim.micro_batch is {self.micro_batch}; it must be at least 1")
        if not 0 <= self.ema < 1:
            raise InputError(f"optim.ema is {self.ema}; it must be in [0, 1)")

    def held(self, processes: int) -> int:
        """Samples that one forward holds, where so many processes share the batch."""
        return self.micro_batch or max(1, self.batch // processes)


@dataclass(frozen=True, slots=True, kw_only=True)
class VaeConfig:
    """The embedded AutoencoderKLWan: patch 2, 8x in space, 4x in time, 16 channels."""

    base_dim: int = 16
    decoder_base_dim: int = 24
    crop: int = 32
    frames: int = 9
    kl: float = 1e-5
    image_steps: int = 1500
    """First steps on single frames, `images_each` for each sample; video goes on from there."""
    images_each: int = 4
    encoder_steps: int = 5200
    """The encoder is frozen after this step, so that latents can be cached while the decoder
    goes on learning."""
    object_share: float = 0.8
    """Share of crops that are placed on something coloured; most others show bare ground."""
    object_weight: float = 4.0
    """Extra weight of coloured pixels: objects are small, and laws are read off them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextConfig:
    """The embedded UMT5 encoder, trained to tell a caption's attributes, then frozen."""

    width: int = 64
    layers: int = 2
    heads: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorConfig:
    """The embedded WanTransformer3DModel and its flow-matching training."""

    patch: int = 2
    """Latent cells a token holds in space; its 16 x 4 numbers must fit the width with room."""
    heads: int = 4
    head_dim: int = 64
    layers: int = 6
    ffn: int = 1024
    boundary: float | None = None
    """Noise level from which on a denoiser of its own is trained, as Wan 2.2 has two; None: one."""
    shift: float = 3.0
    """Flow shift of sampling, and of the noise levels trained on unless `trained_shift` is set."""
    trained_shift: float | None = None
    """Flow shift of the noise levels trained on, where it differs from the one of sampling."""
    sampling_steps: int = 8
    guidance_scale: float = 2.0
    """What the finished model is sampled with unless told otherwise (its `pila.json`)."""
    high_noise: float = 0.1
    """Share of each batch at noise levels of 0.9 to 1, where the caption alone tells what is where,
    beside those that the schedule puts there. Large shares starve levels of 0.5 to 0.9, where
    motion is decided."""
    frame_noise_every: int = 8
    """Every so many steps, the samples that are not nearly noise alone have a noise level of its
    own for each frame, so that the model learns to read one frame off another; in all others frames
    have one level, as in sampling, which is cheaper. 0 is never."""
    balance: float = 0.5
    """A clip's loss counts (change within the mean clip / change within its scene's)^balance, a
    third to threefold, change being the variance over time: else scenes of small things on still
    ground hardly count beside those that fill the picture. The weight depends on the scene alone,
    so that the best prediction stays the same."""
    favoured: tuple[str, ...] = ()
    """Scenes that are drawn twice as often as the others: those that are behind."""
    pixels: float = 0.0
    """Share of the loss that counts errors by what they do to the picture (`pixel_metric`), not
    all channels alike. The best prediction stays the same."""
    moving: float = 0.0
    """Share of the loss that follows the change over time of the clean estimate (`motion_weight`):
    the precision of moving things, which laws are read off, beside that of texture at rest."""
    blend: float = 0.0
    """Share of the weights that the training started from in those that are exported: a mean of
    both may be better than either (docs/decisions.md)."""
    whereabouts: float = 0.1
    """Weight of the auxiliary loss that asks each token for its place; see `TokenPositionHead`."""
    drop_text: float = 0.1
    """Share of captions replaced by the empty one, for guidance."""
    compiled: bool = False
    """Train the blocks through torch.compile, which takes a C++ compiler on CPUs."""

    def __post_init__(self) -> None:
        for name in ("high_noise", "pixels", "moving", "drop_text", "blend"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"generator.{name} is {getattr(self, name)}; a share is in [0, 1]")
        if self.frame_noise_every < 0:
            raise InputError(
                f"generator.frame_noise_every is {self.frame_noise_every}; it must be 0 or more"
            )
        for name in ("shift", "trained_shift"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"generator.{name} is {value}; it must be over 0")
        if self.boundary is not None and not 0 < self.boundary < 1:
            raise InputError(f"generator.boundary is {self.boundary}; a noise level is in (0, 1)")


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterConfig:
    """What a recipe sets of a PilaAdapter; the rest are its defaults."""

    latent_channels: int = 16
    hidden_width: int = 64
    top_k: int = 4
    label_prior: float = 2.0
    router_temperature: float = 2.0
    gate: str = "none"
    field_estimator: str = "anchored"
    encoder_blocks: int = 4
    encoder_sees_motion: bool = True
    decoder_blocks: int = 2
    conv: str = "factorised"
    expert_width: int | None = 16
    """Units of each of the eight operators; as wide as the rest they are half of all parameters."""
    experts_see_feature: bool = True
    decoder_sees_feature: bool = True
    """Off in the paper: the bank is the only way from the estimate to the correction."""
    decoder_scales_bank: bool = False
    default_scale: float = 1.0
    """Factor on the finished adapter's correction in sampling: as guidance does for prompts, it
    goes beyond what was learnt of plausible clips. Training knows nothing of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObserveConfig:
    """Stage A: what u is held against, and at which noise."""

    clips: int = 1536
    """Simulated clips that targets are made for; stage B sees the same."""
    ranges: tuple[float, ...] = (0.10, 0.25, 0.50)
    """The last parts of the sampling schedule that noise levels are drawn from, one after another
    for equal shares of the steps."""
    targets: Literal["flow", "true"] = "flow"
    """Optical flow, or the simulator's own velocity (simulated clips only)."""
    motion_weight: float = 1.0
    displacement_weight: float = 0.1
    strain_weight: float = 0.5

    def __post_init__(self) -> None:
        if not self.ranges or not all(0 < r <= 1 for r in self.ranges):
            raise InputError(f"observe.ranges is {self.ranges}; name shares in (0, 1]")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoverConfig:
    """Stage B: when the weak slots wake, and what they are tied to."""

    phase: float = 800 / 2600
    temperature: float = 800 / 2600
    impulse: float = 1500 / 2600
    wave: float = 2100 / 2600
    """Shares of the steps after which each slot is awake."""
    ramp: float = 150 / 2600
    """Share of the steps over which a slot's losses grow to their full weight."""
    observable_weight: float = 0.1
    calibrated: bool = False
    """Tie slots to the simulator's true fields instead of to what is seen; simulated clips only."""

    def __post_init__(self) -> None:
        order = (self.phase, self.temperature, self.impulse, self.wave)
        if list(order) != sorted(order) or not order[0] >= 0 or order[-1] > 1:
            raise InputError(
                f"recover wakes phase, temperature, impulse and wave at {order}; these are shares "
                "of the steps in 0..1, none before the one named before it"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class CoupleConfig:
    """Stage C. Defaults are the embedded model's; docs/decisions.md says how they were found."""

    kind: str = "pila"
    """`pila`, or `plain`: the control of equal size without bank, experts and residuals."""
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    plausible_only: bool = True
    """Train on true clips only, as WISA-80K is curated; off is the control for extra denoising."""
    labels: Literal["annotated", "random", "none"] = "annotated"
    """What the router is told: the clip's categories, as many drawn at random, or nothing."""
    residual_weight: float = 0.003
    """Lambda."""
    families: tuple[Family, ...] = tuple(Family)
    """Families of relations that L_phys holds; ablations leave one out."""
    residual_form: str = "relative"
    residual_warmup: int = 300
    condition_warmup: int = 50
    mask_warmup: int = 100
    encoder_freeze: int = 0
    """Steps for which the encoder rests; without stages A and B it has nothing to keep."""
    encoder_lr_scale: float = 1.0
    anchor_weight: float = 0.0
    """Of stage A's loss on u (motion alone), kept on while coupling; it takes clips with motion
    targets, as a latent cache has them. Noise levels are those of stage A's widest range."""
    slot_weight: float = 0.0
    """Of stage B's anchors of the slots beside u, kept on while coupling; with `recover.calibrated`
    the clips must bring true fields."""
    moving: float = 0.0
    """Share of the flow error that follows the change over time of the frozen generator's clean
    estimate (`motion_weight`), for any kind of adapter."""
    correction_penalty: float = 0.01
    detach_bank: bool = True
    """The residual loss trains the operators alone, not the bank under them."""

    def __post_init__(self) -> None:
        if self.kind not in ("pila", "plain"):
            raise InputError(f"couple.kind is {self.kind!r}; choose pila or plain")
        if not self.families:
            raise InputError(
                "couple.families is empty; set couple.residual_weight to 0 to leave L_phys out"
            )
        for name in ("residual_weight", "anchor_weight", "slot_weight", "correction_penalty"):
            if getattr(self, name) < 0:
                raise InputError(f"couple.{name} is {getattr(self, name)}; it must be 0 or more")
        if not 0 <= self.moving <= 1:
            raise InputError(f"couple.moving is {self.moving}; a share is in [0, 1]")
        for name in ("anchor_weight", "slot_weight"):
            if self.kind == "plain" and getattr(self, name):
                raise InputError(
                    f"couple.{name} is {getattr(self, name)}; a plain adapter has no bank: set it "
                    "to 0"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProPhyConfig:
    """ProPhy's branch and what its experts are held to. What is not known of it is ours."""

    places: tuple[int, ...] | None = None
    """The transformer's blocks with a physical block beside them; None: a fourth of them."""
    num_semantic: int = 16
    map_grid: tuple[int, int, int] = (5, 6, 6)
    num_refinement: int = 8
    top_k: int = 2
    expert_rank: int = 32
    coarse_weight: float = 0.1
    fine_weight: float = 0.02
    balance_weight: float = 0.01
    coarse: Literal["relative", "absolute"] = "relative"
    """Similarities of the batch against those of its labels, or cross-entropy against labels."""

    def __post_init__(self) -> None:
        for name in ("coarse_weight", "fine_weight", "balance_weight"):
            if getattr(self, name) < 0:
                raise InputError(f"prophy.{name} is {getattr(self, name)}; it must be 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraConfig:
    """Low-rank updates of all of the transformer's linear layers: the control without experts."""

    rank: int | None = None
    """None: as many parameters as the recipe's ProPhy branch has."""

    def __post_init__(self) -> None:
        if self.rank is not None and self.rank < 1:
            raise InputError(f"lora.rank is {self.rank}; it must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """One whole run: what is trained, on what, how."""

    task: str
    model: str = "embedded"
    """The model folder that finished parts are read from; `embedded` is the shipped one."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    world: CorpusConfig = field(default_factory=CorpusConfig)
    vae: VaeConfig = field(default_factory=VaeConfig)
    text: TextConfig = field(default_factory=TextConfig)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    observe: ObserveConfig = field(default_factory=ObserveConfig)
    recover: RecoverConfig = field(default_factory=RecoverConfig)
    couple: CoupleConfig = field(default_factory=CoupleConfig)
    prophy: ProPhyConfig = field(default_factory=ProPhyConfig)
    lora: LoraConfig = field(default_factory=LoraConfig)
    data: str | None = None
    """A latent cache (`pila data cache`) for the adapter's stages; None: the simulated world."""
    held_out: float = 0.02
    """Share of the clips, the last ones, that is kept for validation and never trained on."""
    noise_draws: int | None = None
    """Noise and noise levels drawn for each clip of the coupling stage, whose predictions by the
    frozen generator are kept on disk and read in later epochs; None draws and predicts anew."""
    backbone_precision: Literal["no", "bf16"] | None = None
    """Of the frozen generator; None takes bfloat16 where `optim.precision` does, else float32."""
    recompute: bool = False
    """Of a task inside the generator: keep no activations of its blocks, and compute them anew in
    the backward pass. At Wan's size they would take some hundred GB."""
    start: str | None = None
    """Folder of the adapter that a stage goes on from; for a generator or a VAE the model
    (`embedded`, or a folder) whose transformer or VAE it begins as. None begins untrained."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.noise_draws is not None and self.noise_draws < 1:
            raise InputError(f"noise_draws is {self.noise_draws}; it must be at least 1, or None")

    def as_saved(self) -> dict[str, Any]:
        """As a run's `config.json` is read back: of JSON's types alone."""
        return json.loads(json.dumps(asdict(self)))


OPTIONS = ("held_out", "noise_draws", "backbone_precision", "recompute")
"""Options of a run that belong to no group, and are not given by themselves."""


def changed(config: TrainConfig, changes: Mapping[str, Any]) -> TrainConfig:
    """The configuration with some options changed, by names such as `optim.batch`.

    Args:
        config: a recipe's.
        changes: values by name; texts are read as JSON where they can be (`32`, `0.5`, `null`).

    Raises:
        InputError: an unknown name, a value of another type, or one out of its bounds.
    """
    if not changes:
        return config
    options = asdict(config)
    for name, value in changes.items():
        *path, last = name.split(".")
        place: Any = options
        for part in path:
            place = place.get(part) if isinstance(place, dict) else None
        # A group of options is none, nor is what a run is given by itself.
        here = place if isinstance(place, dict) else options
        some = [k for k, v in here.items() if (here is options) == isinstance(v, dict)]
        if last not in (some if here is not options else OPTIONS) or here is not place:
            group = f"{'.'.join(path)} has" if here is not options else "groups of them are"
            raise InputError(
                f"{name} is no option that can be set; {group} {', '.join(some)}: write one as "
                "optim.batch=32"
            )
        place[last] = _read_as_json(value)
    try:
        made = TypeAdapter(TrainConfig).validate_python(options)
    except ValidationError as error:
        first = error.errors()[0]
        cause = first.get("ctx", {}).get("error")
        if isinstance(cause, InputError):
            raise cause from error
        name = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{name} is {short(first['input'])}: {first['msg']}") from error
    check_options(made)
    return made


def _read_as_json(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def config_diff(folder: Path, config: TrainConfig) -> set[str]:
    """Options of the training in a folder that are not this configuration's; none without one.

    Options that only one of both has are not compared.
    """
    path = folder / "config.json"
    if not path.is_file():
        return set()
    was = read_object(path, remedy="delete it, or train into another folder")
    return _differing(with_whole_model(was), config.as_saved())


def _differing(was: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> set[str]:
    """Names of the options that two saved configurations both have, and not alike."""
    found: set[str] = set()
    for name in was.keys() & now.keys():
        if isinstance(was[name], Mapping) and isinstance(now[name], Mapping):
            found |= _differing(was[name], now[name], f"{prefix}{name}.")
        elif was[name] != now[name]:
            found.add(prefix + name)
    return found


def with_whole_model(saved: Mapping[str, Any]) -> dict[str, Any]:
    """A saved configuration that names a local model by its whole path, as older ones do not."""
    model = saved.get("model")
    return {**saved, "model": whole_path(model)} if isinstance(model, str) else dict(saved)


INSIDE_TASKS = ("prophy", "lora", "fine-tune")
"""Tasks that train something inside a finished generator's forward pass: ProPhy and controls."""
STAGE_TASKS = ("observe", "recover", "couple")
"""PILA's stages A, B and C in the order in which they are trained; any backbone takes them, while
other tasks reach into Wan's blocks."""
ADAPTER_TASKS = (*STAGE_TASKS, *INSIDE_TASKS)
"""Tasks that start from a finished generator: PILA's stages A, B and C, and those inside it."""

Stages = dict[str, TrainConfig]
"""Runs in a row by name; each goes on from the adapter that the one before it has left."""
