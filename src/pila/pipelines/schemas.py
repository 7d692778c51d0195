"""What the JSON files of a model's folder must hold, before anything is built from them.

The bounds lie far above every model of the field. They are there so that a number that is wrong
by orders of magnitude is named, and not allocated.
"""

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from pila.json_files import Strict

WAN_PIPELINES = (
    "WanPipeline",
    "WanImageToVideoPipeline",
    "PilaWanPipeline",
    "PilaWanImageToVideoPipeline",
)
MAX_STEPS = 1_000
"""Training's own number of noise levels; more steps repeat them."""
FPS_RANGE = (0.01, 240.0)
"""Frame rates that files are written with."""
MAX_SIDE = 65_536
"""Pixels, and positions along an axis."""
MAX_NAME = 128
"""Bytes of a component's name, which is its folder's."""
MAX_TOKENS = 8_192
"""Of a prompt; Wan's authors take 512."""

Width = Annotated[int, Field(ge=1, le=131_072)]
Depth = Annotated[int, Field(ge=1, le=256)]
Channels = Annotated[int, Field(ge=1, le=4_096)]
Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
Grid = Annotated[int, Field(ge=1, le=256)]
Factor = Annotated[int, Field(ge=1, le=64)]
Positive = Annotated[float, Field(gt=0, le=1e6)]
Finite = Annotated[float, Field(ge=-1e6, le=1e6)]
Share = Annotated[float, Field(ge=0, le=1)]

_CLASSES = {
    "transformer": ("WanTransformer3DModel",),
    "transformer_2": ("WanTransformer3DModel",),
    "vae": ("AutoencoderKLWan",),
    "text_encoder": ("UMT5EncoderModel", "T5EncoderModel"),
    "image_encoder": ("CLIPVisionModel", "CLIPVisionModelWithProjection"),
    "adapter": ("PilaAdapter", "PlainAdapter"),
}
"""The classes that each component with weights may be of."""
_LIBRARIES = {"tokenizer": "transformers", "image_processor": "transformers"}
_LIBRARIES |= {"scheduler": "diffusers"}


class PipelineIndex(Strict):
    """`model_index.json` of a diffusers Wan repository."""

    class_name: str = Field(alias="_class_name")
    boundary_ratio: Share | None = None
    """Noise level above which the first of two denoisers works."""
    expand_timesteps: bool = False

    @model_validator(mode="after")
    def _known_components(self) -> Self:
        for name, value in (self.model_extra or {}).items():
            if not isinstance(value, list):
                continue
            if len(value) != 2 or [type(v) for v in value] not in ([str, str], [type(None)] * 2):
                raise ValueError(f"{name} is no pair of a library and a class")
            library, cls = value
            if library is None:
                continue
            if not (name.isidentifier() and len(name.encode()) <= MAX_NAME):
                raise ValueError(
                    f"{name[:20]!r} is no component's name; one has letters, digits and "
                    f"underscores, {MAX_NAME} bytes at most"
                )
            if cls not in _CLASSES.get(name, (cls,)):
                raise ValueError(f"{name} is a {cls}; use a {' or a '.join(_CLASSES[name])}")
            if library != _LIBRARIES.get(name, library):
                raise ValueError(f"{name} is of {library}; use one of {_LIBRARIES[name]}")
        return self


class OwnSettings(Strict):
    """`pila.json`: what a model says of itself."""

    height: Side | None = None
    width: Side | None = None
    num_frames: Side | None = None
    fps: Annotated[float, Field(ge=FPS_RANGE[0], le=FPS_RANGE[1])] | None = None
    steps: Annotated[int, Field(ge=1, le=MAX_STEPS)] | None = None
    guidance_scale: Annotated[float, Field(ge=0, le=1e4)] | None = None
    max_sequence_length: Annotated[int, Field(ge=1, le=MAX_TOKENS)] | None = None
    scenes: Annotated[list[str], Field(max_length=10_000)] = Field(default=[])
    """Scenes of the simulated world that it was trained on."""

    @model_validator(mode="before")
    @classmethod
    def _without_null(cls, values: Any) -> Any:
        empty = [k for k, v in values.items() if v is None] if isinstance(values, dict) else []
        if empty:
            raise ValueError(f"{empty[0]} is null; give a value or leave it out")
        return values


class WanTransformerConfig(Strict):
    """Of diffusers' WanTransformer3DModel."""

    patch_size: Annotated[list[Factor], Field(min_length=3, max_length=3)] = Field(
        default=[1, 2, 2]
    )
    num_attention_heads: Annotated[int, Field(ge=1, le=1_024)]
    attention_head_dim: Annotated[int, Field(ge=2, le=4_096)]
    in_channels: Channels
    out_channels: Channels | None = None
    text_dim: Width
    freq_dim: Width = 256
    ffn_dim: Width
    num_layers: Depth
    cross_attn_norm: bool = True
    qk_norm: str | None = None
    eps: Positive = 1e-6
    image_dim: Width | None = None
    added_kv_proj_dim: Width | None = None
    rope_max_seq_len: Side = 1_024
    pos_embed_seq_len: Side | None = None


class WanVaeConfig(Strict):
    """Of diffusers' AutoencoderKLWan."""

    base_dim: Channels = 96
    decoder_base_dim: Channels | None = None
    z_dim: Channels
    dim_mult: Annotated[list[Factor], Field(min_length=1, max_length=8)] = Field(
        default=[1, 2, 4, 4]
    )
    num_res_blocks: Annotated[int, Field(ge=0, le=64)] = 2
    attn_scales: Annotated[list[Finite], Field(max_length=64)] = Field(default=[])
    temperal_downsample: list[bool] = Field(default=[False, True, True])
    dropout: Share = 0.0
    latents_mean: list[Finite] | None = None
    latents_std: list[Positive] | None = None
    is_residual: bool = False
    in_channels: Channels = 3
    out_channels: Channels = 3
    patch_size: Factor | None = None
    scale_factor_temporal: Factor = 4
    scale_factor_spatial: Factor = 8

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if len(self.temperal_downsample) != len(self.dim_mult) - 1:
            raise ValueError(
                f"temperal_downsample has {len(self.temperal_downsample)} entries, and dim_mult "
                f"{len(self.dim_mult)} asks for one fewer than it has"
            )
        for name in ("latents_mean", "latents_std"):
            values = getattr(self, name)
            if values is not None and len(values) != self.z_dim:
                raise ValueError(f"{name} has {len(values)} entries, and z_dim is {self.z_dim}")
        return self


class TextEncoderConfig(Strict):
    """Of transformers' UMT5EncoderModel and T5EncoderModel."""

    d_model: Width
    d_kv: Annotated[int, Field(ge=1, le=4_096)]
    d_ff: Width
    num_layers: Depth
    num_heads: Annotated[int, Field(ge=1, le=1_024)]
    vocab_size: Annotated[int, Field(ge=1, le=4_194_304)]
    relative_attention_num_buckets: Annotated[int, Field(ge=2, le=65_536)] = 32
    relative_attention_max_distance: Annotated[int, Field(ge=2, le=65_536)] = 128
    layer_norm_epsilon: Positive = 1e-6
    dropout_rate: Share = 0.0


class ImageEncoderConfig(Strict):
    """Of transformers' CLIPVisionModel."""

    hidden_size: Width
    intermediate_size: Width
    num_hidden_layers: Depth
    num_attention_heads: Annotated[int, Field(ge=1, le=1_024)]
    image_size: Annotated[int, Field(ge=1, le=8_192)] = 224
    patch_size: Annotated[int, Field(ge=1, le=8_192)] = 32
    projection_dim: Width = 512


class SchedulerConfig(Strict):
    """`scheduler_config.json`; which schedulers are taken is asked of the scheduler itself."""

    class_name: str = Field(alias="_class_name")
    num_train_timesteps: Annotated[int, Field(ge=1, le=100_000)] = 1_000
    shift: Positive | None = None
    flow_shift: Positive | None = None


class TokenizerConfig(Strict):
    """`tokenizer_config.json`: of its many entries the one that says how many tokens are made."""

    extra_ids: Annotated[int, Field(ge=0, le=100_000)] = 0


class _Adapter(Strict):
    latent_channels: Channels
    text_dim: Width
    hidden_width: Annotated[int, Field(ge=1, le=8_192)] = 128
    gate: str = "quadratic"
    gate_floor: Share = 0.05
    conv: str = "factorised"
    default_scale: Positive = 1.0


class PilaAdapterConfig(_Adapter):
    """Of `PilaAdapter`."""

    top_k: Annotated[int, Field(ge=0, le=8)] = 4
    label_prior: Finite = 2.0
    router_temperature: Positive = 2.0
    field_estimator: str = "anchored"
    encoder_blocks: Annotated[int, Field(ge=0, le=256)] = 4
    decoder_blocks: Annotated[int, Field(ge=0, le=256)] = 2
    encoder_sees_motion: bool = True
    expert_width: Annotated[int, Field(ge=1, le=8_192)] | None = None
    experts_see_feature: bool = True
    decoder_sees_feature: bool = False
    decoder_scales_bank: bool = False


class PlainAdapterConfig(_Adapter):
    """Of `PlainAdapter`."""

    num_blocks: Depth


class BranchConfig(Strict):
    """Of `ProPhyBranch`; its block's entries are compared with the transformer's."""

    num_attention_heads: Annotated[int, Field(ge=1, le=1_024)]
    attention_head_dim: Annotated[int, Field(ge=2, le=4_096)]
    ffn_dim: Width
    text_dim: Width
    qk_norm: str | None
    cross_attn_norm: bool
    eps: Positive
    added_kv_proj_dim: Width | None
    places: Annotated[list[Annotated[int, Field(ge=0, le=1_023)]], Field(max_length=256)]
    num_semantic: Annotated[int, Field(ge=0, le=1_024)] = 16
    map_grid: Annotated[list[Annotated[int, Field(ge=1, le=256)]], Field(min_length=3)] = Field(
        default=[5, 6, 6]
    )
    num_refinement: Annotated[int, Field(ge=0, le=1_024)] = 8
    top_k: Annotated[int, Field(ge=0, le=1_024)] = 2
    expert_rank: Annotated[int, Field(ge=1, le=8_192)] = 32
    router_width: Annotated[int, Field(ge=1, le=65_536)] = 128


CONFIGS: dict[str, type[Strict]] = {
    "WanTransformer3DModel": WanTransformerConfig,
    "AutoencoderKLWan": WanVaeConfig,
    "UMT5EncoderModel": TextEncoderConfig,
    "T5EncoderModel": TextEncoderConfig,
    "CLIPVisionModel": ImageEncoderConfig,
    "CLIPVisionModelWithProjection": ImageEncoderConfig,
    "PilaAdapter": PilaAdapterConfig,
    "PlainAdapter": PlainAdapterConfig,
    "ProPhyBranch": BranchConfig,
}
"""The schema of `config.json` by the class that is built from it."""
