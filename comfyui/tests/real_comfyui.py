# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
"""Runs the nodes inside a real ComfyUI checkout; a process of its own, since ComfyUI takes over.

    COMFYUI_PATH=/path/to/ComfyUI python comfyui/tests/real_comfyui.py WORKPLACE

Prints one JSON object with what was found. Models are ComfyUI's own classes with tiny random
weights; no checkpoint is read.
"""

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch

ROOT = Path(__file__).parents[2]
COMFYUI = Path(os.environ["COMFYUI_PATH"])
PACK = ROOT / "comfyui"
TEXT_WIDTH = 32


def start(workplace: Path) -> None:
    """Import ComfyUI for the CPU, with its models folder in the workplace."""
    import diffusers  # before the places below are taken, which diffusers looks at
    import transformers

    assert diffusers.__version__
    assert transformers.__version__
    for name in ("torchvision", "torchvision.transforms", "torchaudio"):
        try:
            __import__(name)
        except (ImportError, RuntimeError):  # models that are not used here import it
            sys.modules[name] = ModuleType(name)
    sys.modules["torchvision"].transforms = sys.modules["torchvision.transforms"]  # type: ignore
    sys.path.insert(0, str(ROOT))
    import tests.pipelines.conftest  # ComfyUI has a package `tests`, too

    assert tests.pipelines.conftest
    sys.path.insert(0, str(COMFYUI))
    sys.argv = ["main.py", "--cpu", "--base-directory", str(workplace)]
    import comfy.options

    comfy.options.enable_args_parsing()


def tiny_wan(**unet: Any) -> tuple[Any, Any]:
    """The same random weights as a ComfyUI MODEL and as diffusers' transformer."""
    import comfy.model_management
    import comfy.model_patcher
    import comfy.supported_models
    from diffusers import WanTransformer3DModel
    from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers

    sizes = {"dim": 32, "ffn_dim": 32, "freq_dim": 32, "num_heads": 2, "num_layers": 1}
    config = comfy.supported_models.WAN21_T2V(
        {"image_model": "wan2.1", "model_type": "t2v", "text_dim": TEXT_WIDTH} | sizes | unet
    )
    config.set_inference_dtype(torch.float32, None)
    base = config.get_model({})
    torch.manual_seed(0)
    for parameter in base.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    state = {k: v.clone() for k, v in base.diffusion_model.state_dict().items()}
    transformer = WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        text_dim=TEXT_WIDTH,
        freq_dim=32,
        ffn_dim=32,
        num_layers=1,
        cross_attn_norm=True,
        rope_max_seq_len=32,
    )
    transformer.load_state_dict(convert_wan_transformer_to_diffusers(state))
    cpu = torch.device("cpu")
    patcher = comfy.model_patcher.ModelPatcher(base, load_device=cpu, offload_device=cpu)
    return patcher, transformer.eval()


def largest(difference: torch.Tensor) -> float:
    return float(difference.abs().max())


def compare(nodes: Any, found: dict[str, Any]) -> None:
    """Latents of ComfyUI's Euler sampler beside those of `PilaWanPipeline`."""
    import comfy.sample
    import comfy.samplers
    from tests.pipelines import tiny

    from pila.pipelines.wan import PilaWanPipeline

    model, transformer = tiny_wan()
    parts = tiny.components() | {"scheduler": tiny.scheduler("euler"), "transformer": transformer}
    pipeline = PilaWanPipeline(**parts)
    embeds, negative = pipeline.encode_prompt(
        tiny.PROMPT, max_sequence_length=16, device=torch.device("cpu")
    )
    pipeline.scheduler.set_timesteps(3)
    sigmas = pipeline.scheduler.sigmas.clone()
    noise = torch.randn(1, 16, 3, 4, 4, generator=torch.Generator().manual_seed(5))
    (adapter,) = nodes["PilaLoadAdapter"]().load("ball")

    def sampled(patcher: Any, sampler: str = "euler") -> torch.Tensor:
        with torch.inference_mode():
            out = comfy.sample.sample_custom(
                patcher,
                noise.clone(),
                4.0,
                comfy.samplers.sampler_object(sampler),
                sigmas,
                [[embeds, {}]],
                [[negative, {}]],
                torch.zeros_like(noise),
                disable_pbar=True,
            )
            # A LATENT is in the VAE's scale; back to the normalised one that was denoised.
            return patcher.model.process_latent_in(out)

    def applied(patcher: Any = model, **options: Any) -> Any:
        given: dict[str, Any] = {"categories": "collision", "strength": 1.0}
        given |= {"start_percent": 0.0, "end_percent": 1.0} | options
        return nodes["PilaApply"]().apply(patcher, given.pop("adapter", adapter), **given)

    frozen = sampled(model)
    cases: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
        ("whole", {}, {}),
        ("cond", {"velocity_source": "cond"}, {"velocity_source": "cond"}),
        ("window", {"start_percent": 0.5, "strength": 2.0}, {"adapter_scale": 2.0}),
    )
    for name, node, call in cases:
        corrected, record = applied(**node)
        result = sampled(corrected)
        if name == "window":
            first = next(i for i, s in enumerate(sigmas.tolist()) if s <= record.sigmas[0]) + 1
            call["step_window"] = (first, 3)
            found["window_steps"] = [first, 3]
        expected = tiny.latents(
            PilaWanPipeline(**parts, adapter=adapter),
            latents=noise,
            guidance_scale=4.0,
            categories=["collision"],
            **call,
        )
        found[name] = {
            "difference": largest(result - expected),
            "effect": largest(result - frozen),
        }
    plain = tiny.latents(PilaWanPipeline(**parts), latents=noise, guidance_scale=4.0)
    found["frozen"] = largest(frozen - plain)

    from tests.pipelines.conftest import small_adapter

    found["untrained_bits"] = torch.equal(sampled(applied(adapter=small_adapter())[0]), frozen)
    found["strength_0_bits"] = torch.equal(sampled(applied(strength=0.0)[0]), frozen)
    found["clone"] = torch.equal(sampled(applied()[0].clone()), sampled(applied()[0]))
    found["model_untouched"] = torch.equal(sampled(model), frozen)
    found["other_samplers"] = {
        name: largest(sampled(applied()[0], name) - sampled(model, name))
        for name in ("heun", "dpmpp_2m", "uni_pc")
    }
    try:
        applied(adapter=small_adapter(text_dim=64))
    except ValueError as error:
        found["unfit"] = str(error)


class TestWan:
    """A node that gives what a workflow's loaders would: MODEL, two CONDITIONINGs, LATENT."""

    FUNCTION = "make"
    CATEGORY = "tests"
    RETURN_TYPES = ("MODEL", "CONDITIONING", "CONDITIONING", "LATENT")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {}}

    def make(self) -> tuple[Any, ...]:
        model, _ = tiny_wan()
        words = torch.randn(2, 1, 16, TEXT_WIDTH, generator=torch.Generator().manual_seed(6))
        latents = {"samples": torch.zeros(1, 16, 3, 4, 4)}
        return model, [[words[0], {}]], [[words[1], {}]], latents


def workflow(**apply: Any) -> dict[str, Any]:
    """A graph in ComfyUI's API form, through its own KSampler and PreviewImage."""
    options = {"strength": 1.0, "start_percent": 0.0, "end_percent": 1.0, "categories": ["c", 0]}
    return {
        "wan": {"class_type": "TestWan", "inputs": {}},
        "a": {"class_type": "PilaLoadAdapter", "inputs": {"adapter": "ball"}},
        "c": {
            "class_type": "PilaCategories",
            "inputs": {"prompt": "two steel balls collide", "parser": "offline"},
        },
        "p": {
            "class_type": "PilaApply",
            "inputs": {"model": ["wan", 0], "adapter": ["a", 0]} | options | apply,
        },
        "k": {
            "class_type": "KSampler",
            "inputs": {
                "model": ["p", 0],
                "positive": ["wan", 1],
                "negative": ["wan", 2],
                "latent_image": ["wan", 3],
                "seed": 0,
                "steps": 3,
                "cfg": 4.0,
                "sampler_name": "euler",
                "scheduler": "simple",
                "denoise": 1.0,
            },
        },
        "e": {"class_type": "PilaExplain", "inputs": {"record": ["p", 1], "samples": ["k", 0]}},
        "show": {"class_type": "PreviewImage", "inputs": {"images": ["e", 0]}},
    }


def run_workflow(found: dict[str, Any]) -> None:
    """Validate and execute a graph as ComfyUI's server would."""
    import execution
    import nodes

    nodes.NODE_CLASS_MAPPINGS["TestWan"] = TestWan

    def validate(graph: dict[str, Any]) -> Any:
        return asyncio.run(execution.validate_prompt("test", graph, None))

    found["valid"] = bool(validate(workflow())[0])
    wrong = {"unknown category": {"categories": "fluids"}, "strength": {"strength": 99.0}}
    wrong |= {"adapter": {"adapter": ["c", 0]}}
    found["refused"] = {
        name: json.dumps(validate(workflow(**change))[3]) for name, change in wrong.items()
    }
    server = SimpleNamespace(client_id=None, last_node_id=None, send_sync=lambda *a: None)
    executor = execution.PromptExecutor(server)
    executor.execute(workflow(), "test", {}, ["show"])
    found["executed"] = executor.success
    images = executor.history_result["outputs"].get("show", {}).get("images", [])
    found["pictures"] = len(images)
    if not executor.success:
        found["messages"] = [str(m) for m in executor.status_messages]


def main() -> None:
    workplace = Path(sys.argv[1])
    models = workplace / "models" / "pila"
    start(workplace)
    from tests.pipelines import tiny
    from tests.pipelines.conftest import small_adapter

    adapter = small_adapter(latent_channels=tiny.LATENT_CHANNELS, gate="quadratic")
    torch.nn.init.normal_(adapter.decoder.out.weight, std=0.2)
    adapter.save_pretrained(models / "ball")

    import nodes

    place = workplace / "custom_nodes" / "pila"
    shutil.copytree(PACK, place, ignore=shutil.ignore_patterns("tests", "__pycache__"))
    found: dict[str, Any] = {"loaded": asyncio.run(nodes.load_custom_node(str(place)))}
    import comfyui_version

    found["version"] = comfyui_version.__version__
    mine = {k: v for k, v in nodes.NODE_CLASS_MAPPINGS.items() if k.startswith("Pila")}
    found["nodes"] = sorted(mine)
    compare(mine, found)
    run_workflow(found)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
