"""From a config to its task."""

import torch

from pila import plugins
from pila.train.config import TrainConfig
from pila.train.loop import Task


def build_task(
    config: TrainConfig,
    device: torch.device | str = "cpu",
    backbone: torch.nn.Module | None = None,
) -> Task:
    """Build the task that `config.task` names; clips and a frozen generator go to `device`.

    Args:
        config: the run.
        device: where generator and clips are.
        backbone: the generator of stages A to C in place of the model's own.
    """
    match config.task:
        case "observe":
            from pila.train.observe import ObserveTask

            return ObserveTask(config, device, backbone)
        case "recover":
            from pila.train.recover import RecoverTask

            return RecoverTask(config, device, backbone)
        case "couple":
            from pila.train.couple import CoupleTask

            return CoupleTask(config, device, backbone)
        case "prophy":
            from pila.train.prophy import ProPhyTask

            return ProPhyTask(config, device)
        case "lora":
            from pila.train.in_generator import LoraTask

            return LoraTask(config, device)
        case "fine-tune":
            from pila.train.in_generator import FineTuneTask

            return FineTuneTask(config, device)
        case other:
            return plugins.load("pila.training_tasks", other)(config, device)
