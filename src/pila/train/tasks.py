"""From a config to its task."""

from pila.train.config import TrainConfig
from pila.train.loop import Task


def build_task(config: TrainConfig) -> Task:
    """Build the task that `config.task` names."""
    match config.task:
        case "vae":
            from pila.train.vae import VaeTask

            return VaeTask(config)
        case "text":
            from pila.train.text import TextTask

            return TextTask(config)
        case "generator":
            from pila.train.generator import GeneratorTask

            return GeneratorTask(config)
        case "couple":
            from pila.train.couple import CoupleTask

            return CoupleTask(config)
    raise AssertionError(config.task)
