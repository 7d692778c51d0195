"""ProPhy's physical branch: beside a Wan transformer, attached by hooks, never inside its weights.

X enters the first matching block. The branch takes the same X, adds the semantic experts' maps,
runs it through its own copies of the matching blocks, and each copy's output is added, through a
zero-initialised layer, to the transformer's hidden states after the matching block. Untrained it
adds zeros: the generator stays as it was, bit for bit.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any, Self

import torch
from diffusers import WanTransformer3DModel
from diffusers.configuration_utils import register_to_config
from diffusers.models.transformers.transformer_wan import WanTransformerBlock
from torch import Tensor, nn

from pila.adapter.base import SafetensorsModel
from pila.adapter.condition import pool_text
from pila.errors import InputError
from pila.physics.layout import Category
from pila.pipelines.attachments import branch_on
from pila.prophy.experts import RefinementExperts, SemanticExperts, check_experts
from pila.prophy.physical import PhysicalBlock, Routing

NUM_CATEGORIES = len(Category)
_BLOCK = (
    "num_attention_heads",
    "attention_head_dim",
    "ffn_dim",
    "text_dim",
    "qk_norm",
    "cross_attn_norm",
    "eps",
    "added_kv_proj_dim",
)
"""What of a transformer's config its blocks depend on; the branch has the same."""


class ProPhyBranch(SafetensorsModel):
    """Semantic experts, physical blocks and refinement experts for one Wan transformer.

    Make one with `attach`, or load one with `from_pretrained` and attach it.

    Args:
        num_attention_heads: the transformer's, as all of the following up to `added_kv_proj_dim`.
        attention_head_dim: see there.
        ffn_dim: see there.
        text_dim: see there.
        qk_norm: see there.
        cross_attn_norm: see there.
        eps: see there.
        added_kv_proj_dim: see there.
        places: the transformer's blocks that have a physical block beside them, in order.
        num_semantic: semantic experts; 0 leaves their block out.
        map_grid: frames, rows and columns of a basis map.
        num_refinement: refinement experts; 0 leaves their block out.
        top_k: refinement experts that act on a token.
        expert_rank: rank of a refinement expert.
        router_width: of the semantic router's hidden layer.

    Raises:
        InputError: numbers out of their bounds.
    """

    @register_to_config
    def __init__(
        self,
        num_attention_heads: int,
        attention_head_dim: int,
        ffn_dim: int,
        text_dim: int,
        qk_norm: str | None = "rms_norm_across_heads",
        cross_attn_norm: bool = True,
        eps: float = 1e-6,
        added_kv_proj_dim: int | None = None,
        places: Sequence[int] = (0, 1),
        num_semantic: int = 16,
        map_grid: tuple[int, int, int] = (5, 6, 6),
        num_refinement: int = 8,
        top_k: int = 2,
        expert_rank: int = 32,
        router_width: int = 128,
    ) -> None:
        super().__init__()
        _check_places(places)
        check_experts(num_semantic=num_semantic, num_refinement=num_refinement, top_k=top_k)
        width = num_attention_heads * attention_head_dim
        self.semantic = self.to_labels = self.to_categories = refinement = None
        if num_semantic:
            self.semantic = SemanticExperts(
                text_dim=text_dim,
                width=width,
                num_experts=num_semantic,
                grid=(map_grid[0], map_grid[1], map_grid[2]),
                router_width=router_width,
            )
            self.to_labels = nn.Linear(num_semantic, NUM_CATEGORIES)
        if num_refinement:
            refinement = RefinementExperts(
                width=width, num_experts=num_refinement, top_k=top_k, rank=expert_rank
            )
            self.to_categories = nn.Sequential(
                nn.Linear(num_refinement, 4 * NUM_CATEGORIES),
                nn.SiLU(),
                nn.Linear(4 * NUM_CATEGORIES, NUM_CATEGORIES),
            )
        last = len(places) - 1
        self.blocks = nn.ModuleList(
            PhysicalBlock(
                WanTransformerBlock(
                    width,
                    ffn_dim,
                    num_attention_heads,
                    # Annotated in diffusers with the type of its default alone.
                    qk_norm,  # pyright: ignore[reportArgumentType]
                    cross_attn_norm,
                    eps,
                    added_kv_proj_dim,
                ),
                refinement if i == last else None,
            )
            for i in range(len(places))
        )
        outs = [nn.Linear(width, width) for _ in places]
        for out in outs:
            nn.init.zeros_(out.weight)
            nn.init.zeros_(out.bias)
        self.outs = nn.ModuleList(outs)
        self.scale = 1.0
        """Factor on what is added; 0 is the generator alone."""
        self.inverted = False
        """Route by the opposite of the routers' logits: expert inversion, a diagnostic."""
        self.routing: Routing | None = None
        """Of the last forward pass in which it acted."""
        self.record: list[Routing] | None = None
        """Set to a list, it receives every forward pass's routing."""
        self._handles: list[Any] = []
        self._text: Tensor | None = None
        self._size = (0, 0, 0)
        # Inputs of the physical blocks by place: gradient checkpointing runs blocks anew, last
        # one first.
        self._inputs: dict[int, Tensor] = {}

    @classmethod
    def beside(cls, transformer: WanTransformer3DModel, **options: Any) -> Self:
        """A new branch for a transformer, its physical blocks copies of the matching ones.

        Args:
            transformer: a Wan transformer.
            options: of the branch; `places` are spread evenly by default, a fourth of the blocks.

        Raises:
            InputError: an unknown option, or numbers out of their bounds.
        """
        unknown = set(options) - set(_OPTIONS)
        if unknown:
            raise InputError(
                f"unknown option {', '.join(sorted(unknown))}; a branch has {', '.join(_OPTIONS)}"
            )
        depth = len(transformer.blocks)
        options.setdefault("places", spread_places(depth))
        _check_places(options["places"], depth)
        config = transformer.config
        branch = cls(**{name: config[name] for name in _BLOCK}, **options)
        for mine, place in zip(branch.blocks, branch.config["places"], strict=True):
            state = transformer.blocks[place].state_dict()
            mine.get_submodule("block").load_state_dict(
                {k: v.detach().float().clone() for k, v in state.items()}
            )
        return branch

    @property
    def attached(self) -> bool:
        """Whether it acts on a transformer."""
        return bool(self._handles)

    @staticmethod
    def check_fit(branch: Mapping[str, Any], transformer: Mapping[str, Any]) -> None:
        """Refuse a branch for a transformer of other blocks, by their configs; an InputError."""
        check_branch_fit(branch, transformer)

    def attach(self, transformer: WanTransformer3DModel) -> Self:
        """Act on this transformer from now on.

        Raises:
            InputError: it acts on one already, the transformer has a branch, or does not fit.
        """
        if self.attached:
            raise InputError("this branch is attached already; detach() it first")
        if branch_on(transformer) is not None:
            raise InputError("the transformer has a ProPhy branch already; detach() that one first")
        check_branch_fit(self.config, transformer.config, len(transformer.blocks))
        handles = [transformer.register_forward_pre_hook(self._begin, with_kwargs=True)]
        for index, place in enumerate(self.config["places"]):
            hook = _Beside(self, index)
            handles.append(transformer.blocks[place].register_forward_hook(hook))
        self._handles = handles
        return self

    def detach(self) -> Self:
        """Leave the transformer as it was before `attach`; without one, do nothing."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._forget()
        return self

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """The generator alone, while this lasts."""
        scale, self.scale = self.scale, 0.0
        try:
            yield
        finally:
            self.scale = scale

    def __deepcopy__(self, memo: dict[int, Any]) -> "ProPhyBranch":
        """A copy that is attached to nothing."""
        handles, self._handles = self._handles, []
        try:
            made = self.__class__.__new__(self.__class__)
            memo[id(self)] = made
            made.__dict__.update(copy.deepcopy(self.__dict__, memo))
        finally:
            self._handles = handles
        return made

    def _forget(self) -> None:
        self._inputs, self._text, self.routing = {}, None, None

    def _begin(self, transformer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before the transformer: what its blocks do not see."""
        if self.scale == 0:  # a pass before may still want its state, to compute blocks anew
            return
        self._forget()
        latents = args[0] if args else kwargs["hidden_states"]
        text = args[2] if len(args) > 2 else kwargs["encoder_hidden_states"]
        t, h, w = (n // p for n, p in zip(latents.shape[2:], _patch(transformer), strict=True))
        if self.device != latents.device:  # it follows where the pipeline went
            self.to(latents.device)
        self._size = (t, h, w)
        self._text = pool_text(text.float())
        self.routing = Routing(size=self._size)

    def _after_block(self, index: int, given: tuple[Any, ...], output: Tensor) -> Tensor:
        """After the matching block: the physical block's output, added."""
        if self.scale == 0 or self._text is None:
            return output
        block: Any = self.blocks[index]
        dtype = self.outs[index].weight.dtype
        # Weights that are trained stay in float32; beside a transformer in half precision they
        # compute in its own. A CPU gains nothing by that.
        half = output.dtype in (torch.bfloat16, torch.float16) and output.device.type == "cuda"
        mixed = half and dtype == torch.float32
        # Not entered otherwise: the meta device, on which costs are counted, knows no autocast.
        with torch.autocast(output.device.type, output.dtype) if mixed else nullcontext():
            tokens = self._enter(given[0].to(dtype)) if index == 0 else self._inputs[index]
            block.inverted = self.inverted
            tokens = block(tokens, given[1].to(dtype), *given[2:])
            self._inputs[index + 1] = tokens
            if index == len(self.blocks) - 1:
                self._leave(block)
            added = self.outs[index](tokens)
        return output + (self.scale * added).to(output.dtype)

    def _enter(self, tokens: Tensor) -> Tensor:
        if self.semantic is None or self._text is None:
            return tokens
        tokens, weights = self.semantic(tokens, self._text, self._size, inverted=self.inverted)
        assert self.routing is not None
        expressed = self._expressed(weights)
        self.routing = replace(self.routing, semantic=weights, expressed=expressed)
        return tokens

    def expressed(self, text: Tensor) -> Tensor:
        """What the semantic router says of captions alone, as `Routing.expressed`, [b, categories].

        Args:
            text: token embeddings [b, n, d].

        Raises:
            InputError: a branch without semantic experts.
        """
        if self.semantic is None:
            raise InputError("num_semantic is 0; a branch without semantic experts expresses none")
        return self._expressed(self.semantic.route(pool_text(text.float())))

    def _expressed(self, weights: Tensor) -> Tensor:
        assert self.to_labels is not None
        return self.to_labels(weights.to(self.to_labels.weight.dtype))

    def _leave(self, last: Any) -> None:
        assert self.routing is not None
        if self.to_categories is not None:
            told = self.to_categories(last.weights.to(self.to_categories[0].weight.dtype))
            self.routing = replace(
                self.routing, refinement=last.weights, acting=last.acting, told=told
            )
        if self.record is not None:
            self.record.append(self.routing.detached())


class _Beside:
    """The hook after one matching block; a class, so that a branch is found on its transformer."""

    def __init__(self, branch: ProPhyBranch, index: int) -> None:
        self.branch, self.index = branch, index

    def __call__(self, block: nn.Module, given: tuple[Any, ...], output: Tensor) -> Tensor:
        return self.branch._after_block(self.index, given, output)


_OPTIONS = (
    "places",
    "num_semantic",
    "map_grid",
    "num_refinement",
    "top_k",
    "expert_rank",
    "router_width",
)


def attach(
    transformer: WanTransformer3DModel, branch: ProPhyBranch | None = None, **options: Any
) -> ProPhyBranch:
    """Put a branch beside a Wan transformer; `.detach()` takes it away again.

    Args:
        transformer: any `WanTransformer3DModel`; neither edited nor wrapped. Of Wan 2.2's two,
            each takes a branch of its own.
        branch: a trained one; None makes a new one, which changes nothing until it is trained.
        options: of a new branch, see `ProPhyBranch`.

    Raises:
        InputError: an unknown option, a branch that does not fit, or one that is there already.
    """
    if branch is None:
        branch = ProPhyBranch.beside(transformer, **options)
        # diffusers annotates `to` in a way that hides its self.
        nn.Module.to(branch, transformer.device)
    elif options:
        raise InputError(
            f"{', '.join(sorted(options))} given with a branch; options are for a new one"
        )
    return branch.attach(transformer)


def check_branch_fit(
    branch: Mapping[str, Any], transformer: Mapping[str, Any], depth: int | None = None
) -> None:
    """Refuse a branch for a transformer of other blocks, by their configs.

    Raises:
        InputError: with both numbers.
    """
    for name in _BLOCK:
        if branch[name] != transformer.get(name):
            raise InputError(
                f"the branch's {name} is {branch[name]}, the transformer's "
                f"{transformer.get(name)}; use a branch that was trained beside this model"
            )
    _check_places(branch["places"], depth or transformer["num_layers"])


def spread_places(depth: int) -> tuple[int, ...]:
    """A fourth of a transformer's blocks, at least two, evenly from the first on (a guess)."""
    count = min(depth, max(2, depth // 4))
    return tuple(i * depth // count for i in range(count))


def _check_places(places: Sequence[int], depth: int | None = None) -> None:
    most = "" if depth is None else f" below {depth}"
    if not places or list(places) != sorted(set(places)) or places[0] < 0:
        raise InputError(f"places is {tuple(places)}; name blocks{most} in ascending order")
    if depth is not None and places[-1] >= depth:
        raise InputError(
            f"places is {tuple(places)}, but the transformer has {depth} blocks; use 0..{depth - 1}"
        )


def _patch(transformer: Any) -> tuple[int, int, int]:
    return tuple(transformer.config["patch_size"])
