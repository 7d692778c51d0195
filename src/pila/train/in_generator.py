"""What is trained inside a generator's forward pass: LoRA and full fine-tuning, the controls.

Unlike an adapter, which reads one finished prediction, these need the graph through the generator.
"""

import json
import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from diffusers import WanPipeline, WanTransformer3DModel
from diffusers.training_utils import cast_training_params
from torch import Tensor, nn

from pila.errors import InputError
from pila.files import whole_folder
from pila.flow import noised, velocity_target
from pila.pipelines.locate import find_model
from pila.prophy.branch import ProPhyBranch, attach, spread_places
from pila.train.adapter_task import AdapterTask
from pila.train.config import TrainConfig
from pila.train.kernels import kernels_for_training
from pila.train.loop import LOG_EVERY
from pila.train.optimizer import HIDDEN, inside_blocks
from pila.train.step_rng import StepRng

LORA_LAYERS = ("to_q", "to_k", "to_v", "to_out.0", "net.0.proj", "net.2")
"""Linear layers of a Wan block: attention to itself and to the text, and the feed-forward's two."""


class InsideTask(AdapterTask):
    """Flow matching on plausible clips through a generator of which a part learns.

    Raises:
        InputError: a generator of two denoisers; each would need a part of its own.
    """

    @property
    def transformer(self) -> WanTransformer3DModel:
        """The one denoiser."""
        if len(self.frozen.parts) != 1:
            raise InputError(
                f"{self.config.model} has two denoisers, and {self.config.task} trains inside one; "
                "use a model with one, such as Wan 2.1"
            )
        return self.frozen.parts[0]

    def build(self) -> nn.Module:
        """What learns, in its place; at first it changes nothing."""
        if self.config.start is not None and self.config.task != "prophy":
            raise InputError(
                f"start is {self.config.start}, but {self.config.task} begins anew; leave it out"
            )
        return add_trainable(self.transformer, self.config)

    def groups(self) -> list[dict]:
        """Matrices of whole blocks, and the rest, to which low-rank updates belong."""
        hidden, rest = [], []
        for name, p in self.module.named_parameters():
            (hidden if inside_blocks(name, p) else rest).append(p)
        found = [{"params": hidden, HIDDEN: True}, {"params": rest}]
        return [group for group in found if group["params"]]

    def loss(self, draws: StepRng) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The flow error [] and what `extra` adds, with the frozen generator's beside it."""
        batch = self.draw(draws)
        x_0, noise, sigma = batch["latents"], batch["noise"], batch["sigma"]
        x_t, target = noised(x_0, noise, sigma), velocity_target(x_0, noise)
        with self.kernels():
            v = self.frozen.velocity(x_t, sigma, batch["text"])
        flow = (v - target).square().mean()
        metrics = {"flow": flow.detach()}
        total, figures = self.extra(batch, draws)
        # The frozen pass is for the log alone, so only the rows that are logged pay for it.
        if draws.step % LOG_EVERY == 0:
            with torch.no_grad(), self.kernels():
                alone = self.alone(x_t, sigma, batch["text"])
            metrics["flow_frozen"] = (alone - target).square().mean()
            change = (v.detach() - alone).square().mean() / alone.square().mean()
            metrics["correction"] = change.sqrt()
        return flow + total, {**metrics, **figures}

    def kernels(self) -> AbstractContextManager[None]:
        """Those of a generator's training, except where the backward pass computes blocks anew.

        It would take others then, and find that they keep other things.
        """
        return nullcontext() if self.config.recompute else kernels_for_training(self.device)

    def extra(
        self, batch: Mapping[str, Tensor], draws: StepRng
    ) -> tuple[Tensor | float, Mapping[str, Tensor]]:
        """What is added to the flow error after the generator's pass, and its figures."""
        return 0.0, {}

    def alone(self, x_t: Tensor, sigma: Tensor, text: Tensor) -> Tensor:
        """The velocity of the generator without what is trained."""
        raise NotImplementedError


class Weights(nn.Module):
    """Some parameters of another module, under their own names, as one thing to train."""

    def __init__(self, parameters: Mapping[str, nn.Parameter]) -> None:
        super().__init__()
        self.names = tuple(parameters)
        # A name of a parameter may hold no dot.
        self.weights = nn.ParameterDict({n.replace(".", "|"): p for n, p in parameters.items()})


class LoraTask(InsideTask):
    """Low-rank updates of all linear layers (peft), as many parameters as a ProPhy branch has."""

    def alone(self, x_t: Tensor, sigma: Tensor, text: Tensor) -> Tensor:
        """The velocity with the updates switched off."""
        self.transformer.disable_lora()
        try:
            return self.frozen.velocity(x_t, sigma, text)
        finally:
            self.transformer.enable_lora()

    def export(self, folder: Path) -> Path:
        """Write the updates as diffusers does; the generator must be as it was."""
        from peft.utils import get_peft_model_state_dict

        with whole_folder(folder / "adapter") as beside:
            state: Any = get_peft_model_state_dict(self.transformer)
            WanPipeline.save_lora_weights(beside, transformer_lora_layers=state)
            self.transformer.unload_lora()
            parameters = sum(p.numel() for p in self.module.parameters())
            found = {"backbone_sha256": self.frozen.check_unchanged(), "parameters": parameters}
            (folder / "result.json").write_text(json.dumps(found))
        return folder / "adapter"


class FineTuneTask(InsideTask):
    """All of the generator's weights, on plausible clips: the ceiling, not an adapter."""

    def build(self) -> nn.Module:
        """The transformer itself."""
        # Kept for the log; the one that learns is the pass's own.
        self._before: Any = WanTransformer3DModel.from_config(self.transformer.config)
        self._before.load_state_dict(self.transformer.state_dict())
        self._before.eval().requires_grad_(False).to(self.device)
        return super().build()

    def alone(self, x_t: Tensor, sigma: Tensor, text: Tensor) -> Tensor:
        """The velocity that the weights had at first."""
        return self._before(x_t, sigma * 1000, text, return_dict=False)[0]

    def export(self, folder: Path) -> Path:
        """Write a whole Wan repository with this transformer and the other parts as they were."""
        source = find_model(self.config.model)
        with whole_folder(folder / "model") as beside:
            unweighted = shutil.ignore_patterns("*.safetensors*")
            shutil.copytree(source, beside, ignore=unweighted, dirs_exist_ok=True)
            for path in source.glob("*/*.safetensors*"):
                if path.parent.name != "transformer":
                    shutil.copy2(path, beside / path.parent.name / path.name)
            self.transformer.eval().save_pretrained(beside / "transformer")
        return folder / "model"


def add_trainable(transformer: WanTransformer3DModel, config: TrainConfig) -> nn.Module:
    """Attach what a recipe trains to a frozen transformer, and return it.

    Raises:
        InputError: peft is not installed, or options that cannot be.
    """
    if config.recompute:
        transformer.enable_gradient_checkpointing()
    match config.task:
        case "prophy":
            return attach(transformer, **branch_options(config, len(transformer.blocks)))
        case "fine-tune":
            return transformer.float()
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise InputError(
            "LoRA needs peft; install it with `pip install -c constraints.txt '.[lora]'`"
        ) from error
    rank = config.lora.rank or matching_rank(transformer, config)
    transformer.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=list(LORA_LAYERS)))
    # Beside weights in half precision they would be in half precision themselves, and most of
    # their updates too small to count.
    cast_training_params(transformer, torch.float32)
    return Weights({n: p for n, p in transformer.named_parameters() if p.requires_grad})


def matching_rank(transformer: WanTransformer3DModel, config: TrainConfig) -> int:
    """The rank at which LoRA comes nearest to the parameters of the recipe's branch."""
    layers = [
        m
        for name, m in transformer.named_modules()
        if isinstance(m, nn.Linear) and name.startswith("blocks") and name.endswith(LORA_LAYERS)
    ]
    each = sum(m.in_features + m.out_features for m in layers)
    with torch.device("meta"):
        empty: Any = WanTransformer3DModel.from_config(transformer.config)
        branch = ProPhyBranch.beside(empty, **branch_options(config, len(transformer.blocks)))
    return max(1, round(sum(p.numel() for p in branch.parameters()) / each))


def branch_options(config: TrainConfig, depth: int) -> dict[str, Any]:
    """Options of the branch that a recipe asks for, beside a transformer of `depth` blocks."""
    prophy = config.prophy
    names = ("num_semantic", "map_grid", "num_refinement", "top_k", "expert_rank")
    options = {name: getattr(prophy, name) for name in names}
    return options | {"places": prophy.places or spread_places(depth)}
