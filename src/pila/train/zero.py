"""DeepSpeed's ZeRO: set up from the config, brought together for checkpoints, spread again.

ZeRO keeps optimizer states and full-precision weights in pieces, one a process. Checkpoints hold
them whole, so that any number of processes, with or without ZeRO, goes on from any checkpoint.
Written against DeepSpeed 0.15 to 0.19.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pila.errors import InputError
from pila.train.config import OptimConfig

STATES = ("exp_avg", "exp_avg_sq")
"""AdamW's tensors of a parameter."""


def is_used() -> bool:
    """Whether the launcher asks for DeepSpeed (`accelerate launch --use_deepspeed`)."""
    return os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true"


def set_up(accelerator: Any, optim: OptimConfig, micro: int) -> None:
    """Give DeepSpeed what it would otherwise ask a data loader and a config file for.

    Raises:
        InputError: a stage of ZeRO over 2, or averaged weights in half precision.
    """
    plugin = accelerator.state.deepspeed_plugin
    if plugin is None:
        raise InputError(
            "ACCELERATE_USE_DEEPSPEED is true, but accelerate has not set DeepSpeed up; unset "
            "ACCELERATE_USE_CPU, which rules it out (on CPUs, DS_ACCELERATOR=cpu is enough)"
        )
    if plugin.zero_stage > 2:
        raise InputError(
            f"zero_stage is {plugin.zero_stage}; use at most 2, which spreads gradients and "
            "optimizer states: adapters are small"
        )
    if optim.ema and optim.precision != "no":
        raise InputError(
            f"optim.ema is {optim.ema} and optim.precision {optim.precision}; under DeepSpeed "
            "weights are then in half precision and cannot be averaged: set one of them off"
        )
    if optim.optimizer != "adamw":
        raise InputError(
            f"optim.optimizer is {optim.optimizer!r}; DeepSpeed spreads AdamW alone: use adamw"
        )
    plugin.deepspeed_config |= {
        "train_micro_batch_size_per_gpu": micro,
        "gradient_accumulation_steps": accelerator.gradient_accumulation_steps,
        "gradient_clipping": optim.clip,
        # PyTorch's own AdamW everywhere: nothing is compiled, and numbers stay the same.
        "zero_force_ds_cpu_optimizer": False,
        "zero_allow_untested_optimizer": True,
    }


def gather(optimizer: Any, parameters: Sequence[nn.Parameter]) -> dict[str, Tensor]:
    """The optimizer's tensors, whole, named as `checkpoint.pack_optimizers` names them.

    All processes must call it. Empty before the first step.

    Args:
        optimizer: as `accelerator.prepare` returns it.
        parameters: all trained ones, in the order of the optimizer's groups.
    """
    from deepspeed.utils import safe_get_full_optimizer_state  # pyright: ignore[reportMissingImports]

    inner = optimizer.optimizer.optimizer
    steps = [state["step"] for state in inner.state.values() if "step" in state]
    if not steps:
        return {}
    optimizer.optimizer._lazy_init_hp_params_optimizer_state()
    step = torch.as_tensor(steps[0]).float().cpu()
    tensors = {}
    for index, parameter in enumerate(parameters):
        tensors[f"optim.{index}.step"] = step
        for state in STATES:
            tensors[f"optim.{index}.{state}"] = safe_get_full_optimizer_state(parameter, state)
    return tensors


def resting(module: nn.Module, trained: Sequence[nn.Parameter]) -> dict[str, Tensor]:
    """Copies, in full precision, of parameters that no optimizer holds.

    DeepSpeed rounds the module's own; called before it does.
    """
    held = {id(p) for p in trained}
    return {
        name: p.detach().to("cpu", copy=True)
        for name, p in module.named_parameters()
        if id(p) not in held
    }


def full_weights(module: nn.Module, resting: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parameters in full precision, by name; all processes must call it.

    Args:
        module: as DeepSpeed has rounded it.
        resting: what `resting` has copied.
    """
    from deepspeed.utils import safe_get_full_fp32_param  # pyright: ignore[reportMissingImports]

    # Whether one learns at this step does not matter: an encoder that rests is held all the same.
    held = {
        name: safe_get_full_fp32_param(p)
        for name, p in module.named_parameters()
        if hasattr(p, "_hp_mapping")
    }
    return {**resting, **held}


def spread(optimizer: Any, parameters: Sequence[nn.Parameter], tensors: dict[str, Tensor]) -> None:
    """Give each process its pieces of a checkpoint's optimizer tensors."""
    from deepspeed.utils import safe_set_full_optimizer_state  # pyright: ignore[reportMissingImports]

    if not any(name.startswith("optim.") for name in tensors):
        return
    zero = optimizer.optimizer
    for flat in zero.single_partition_of_fp32_groups:
        zero.optimizer.state[flat] = {"step": tensors["optim.0.step"].clone()} | {
            state: torch.zeros_like(flat) for state in STATES
        }
    zero._lazy_init_hp_params_optimizer_state()
    for index, parameter in enumerate(parameters):
        for state in STATES:
            whole = tensors[f"optim.{index}.{state}"].to(parameter.device)
            safe_set_full_optimizer_state(parameter, whole, state)
