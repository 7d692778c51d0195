# pyright: reportMissingImports=false
"""The nodes: Load PILA Adapter, PILA Categories, Apply PILA, Explain PILA."""

import tempfile
from pathlib import Path
from typing import Any

FOLDER = "pila"
"""Adapters lie in `models/pila/`, a folder each."""
GROUP = "model_patches/pila"


def adapter_folders() -> dict[str, Path]:
    """Saved adapters by their folder's name; `extra_model_paths.yaml` may add places."""
    import folder_paths

    folder_paths.add_model_folder_path(FOLDER, str(Path(folder_paths.models_dir) / FOLDER))
    found = {}
    for place in map(Path, folder_paths.get_folder_paths(FOLDER)):
        for config in sorted(place.glob("*/config.json")):
            found.setdefault(config.parent.name, config.parent)
    return found


class PilaLoadAdapter:
    """Load an adapter from models/pila/. Only safetensors are read."""

    DESCRIPTION = __doc__
    CATEGORY = GROUP
    FUNCTION = "load"
    RETURN_TYPES = ("PILA_ADAPTER",)
    RETURN_NAMES = ("adapter",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """ComfyUI's contract: the inputs, read anew whenever the page asks."""
        return {"required": {"adapter": (sorted(adapter_folders()),)}}

    @classmethod
    def IS_CHANGED(cls, adapter: str) -> str:
        """Load again when the weights differ."""
        from pila.provenance import weights_hash

        return weights_hash(adapter_folders()[adapter])

    def load(self, adapter: str) -> tuple[Any]:
        """The adapter of that name."""
        from pila.pipelines.locate import load_adapter

        return (load_adapter(adapter_folders()[adapter]),)


class PilaCategories:
    """Find the physical categories that a prompt is about, for Apply PILA."""

    DESCRIPTION = __doc__
    CATEGORY = GROUP
    FUNCTION = "find"
    RETURN_TYPES = ("STRING", "STRING")
    RETURN_NAMES = ("categories", "evidence")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """ComfyUI's contract; `auto` asks a language model where PILA_LLM_MODEL names one."""
        return {
            "required": {
                "prompt": ("STRING", {"multiline": True}),
                "parser": (["auto", "offline", "llm"],),
            }
        }

    def find(self, prompt: str, parser: str) -> tuple[str, str]:
        """Categories separated by commas, and the words that decided, a line each."""
        from pila.labels.parser import make_parser

        parse = make_parser(parser)(prompt).to_dict()  # type: ignore[arg-type]
        lines = [f"parser: {parse['parser']}" + (f" ({parse['note']})" if parse["note"] else "")]
        lines += [f"{name}: {', '.join(words)}" for name, words in parse["evidence"].items()]
        return ", ".join(parse["categories"]), "\n".join(lines)


class PilaApply:
    """Correct the motion of a Wan model's samplings with an adapter.

    Put it behind LoRA and shift nodes. Of several positive conditionings the first one's text is
    read. Wan 2.2's two models take a node each.
    """

    DESCRIPTION = __doc__
    CATEGORY = GROUP
    FUNCTION = "apply"
    RETURN_TYPES = ("MODEL", "PILA_RECORD")
    RETURN_NAMES = ("model", "record")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """ComfyUI's contract."""
        percent = {"min": 0.0, "max": 1.0, "step": 0.01}
        return {
            "required": {
                "model": ("MODEL",),
                "adapter": ("PILA_ADAPTER",),
                "categories": (
                    "STRING",
                    {"default": "", "tooltip": "Separated by commas; empty for no prior."},
                ),
                "strength": (
                    "FLOAT",
                    {"default": 1.0, "min": -10.0, "max": 10.0, "step": 0.05},
                ),
                "start_percent": ("FLOAT", {"default": 0.0} | percent),
                "end_percent": ("FLOAT", {"default": 1.0} | percent),
            },
            "optional": {
                "top_k": (
                    "INT",
                    {"default": -1, "min": -1, "max": 8, "tooltip": "-1: the adapter's own."},
                ),
                "velocity_source": (
                    ["cond", "guided"],
                    {"tooltip": "The velocity that the adapter reads."},
                ),
            },
        }

    @classmethod
    def VALIDATE_INPUTS(cls, categories: str | None) -> bool | str:
        """ComfyUI's contract: True, or what is wrong; a linked input comes as None."""
        from pila.errors import InputError

        try:
            _categories(categories or "")
        except InputError as error:
            return str(error)
        return True

    def apply(
        self,
        model: Any,
        adapter: Any,
        categories: str,
        strength: float,
        start_percent: float,
        end_percent: float,
        top_k: int = -1,
        velocity_source: str = "cond",
    ) -> tuple[Any, Any]:
        """A corrected clone of the model, and a record that its samplings fill.

        Raises:
            InputError: the model does not fit, an unknown category, or an empty window.
        """
        from pila.errors import InputError

        from .sampling import SamplingRecord, Settings, corrected

        if start_percent > end_percent:
            raise InputError(
                f"start_percent is {start_percent} and end_percent {end_percent}; use a start "
                "that is not behind the end"
            )
        sampling = model.get_model_object("model_sampling")
        names = _categories(categories)
        record = SamplingRecord(categories=names)
        settings = Settings(
            categories=names,
            top_k=None if top_k < 0 else top_k,
            strength=strength,
            velocity_source=velocity_source,
            first_sigma=float(sampling.percent_to_sigma(start_percent)),
            last_sigma=float(sampling.percent_to_sigma(end_percent)),
        )
        return corrected(model, adapter, settings, record), record


class PilaExplain:
    """Show what the adapter did: routing, bank, and where and when the correction acted."""

    DESCRIPTION = __doc__
    CATEGORY = GROUP
    FUNCTION = "explain"
    RETURN_TYPES = ("IMAGE", "STRING")
    RETURN_NAMES = ("pictures", "report")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """ComfyUI's contract; the sampled latents are asked for so that sampling comes first."""
        return {"required": {"record": ("PILA_RECORD",), "samples": ("LATENT",)}}

    def explain(self, record: Any, samples: Any) -> tuple[Any, str]:
        """A batch of pictures, filled up with white to one size, and a text.

        Raises:
            InputError: no step was corrected.
        """
        from PIL import Image

        from pila.errors import InputError
        from pila.generate.pictures import draw

        from .sampling import picture_batch

        recorder = record.recorder
        if recorder is None or not recorder.frame_rms:
            raise InputError(
                "no step was corrected; give this node the record of the model that was sampled, "
                "a strength other than 0, and a window of percents that the sampling enters"
            )
        with tempfile.TemporaryDirectory() as folder:
            paths = draw(recorder, Path(folder), labels=record.categories)
            pictures = [Image.open(path) for path in paths]
            batch = picture_batch(pictures)
            for picture in pictures:
                picture.close()
        lines = [
            f"categories: {', '.join(record.categories) or 'none, routing goes without a prior'}",
            f"corrected: {len(record.sigmas)} evaluations, sigma {record.sigmas[0]:.3f} to "
            f"{record.sigmas[-1]:.3f}",
            f"correction: {recorder.correction_rms:.4f} RMS (latents have about 1)",
        ]
        routed = sorted(recorder.routing.items(), key=lambda item: -item[1])
        lines += [f"routing: {name} {weight:.2f}" for name, weight in routed if weight > 0]
        return batch, "\n".join(lines)


def _categories(text: str) -> tuple[str, ...]:
    from pila.labels.parser import parse_categories

    return tuple(map(str, parse_categories(text))) if text.strip() else ()


NODE_CLASS_MAPPINGS: dict[str, type] = {
    "PilaLoadAdapter": PilaLoadAdapter,
    "PilaCategories": PilaCategories,
    "PilaApply": PilaApply,
    "PilaExplain": PilaExplain,
}
NODE_DISPLAY_NAME_MAPPINGS: dict[str, str] = {
    "PilaLoadAdapter": "Load PILA Adapter",
    "PilaCategories": "PILA Categories",
    "PilaApply": "Apply PILA",
    "PilaExplain": "Explain PILA",
}
