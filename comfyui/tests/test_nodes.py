"""The nodes against ComfyUI's contract, and their numbers against `PilaWanPipeline`."""

import copy
import inspect
import shutil
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import torch
from comfyui.tests import standin
from tests.pipelines import tiny
from tests.pipelines.conftest import small_adapter

from pila.errors import InputError
from pila.pipelines.wan import PilaWanPipeline

FOLDER = Path(__file__).parents[1]
OWN_TYPES = {"PILA_ADAPTER", "PILA_RECORD"}
PLAIN_TYPES = {"MODEL", "LATENT", "IMAGE", "STRING", "INT", "FLOAT"}


@pytest.fixture
def pack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, adapter_folder: Path) -> Any:
    """The folder, loaded as ComfyUI loads a custom node: from its path, under another name."""
    shutil.copytree(adapter_folder, tmp_path / "models" / "pila" / "ball")
    standin.install(monkeypatch, tmp_path / "models")
    name = f"{tmp_path}/custom_nodes/pila"
    spec = spec_from_file_location(name, FOLDER / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def nodes(pack: Any) -> dict[str, Any]:
    return pack.NODE_CLASS_MAPPINGS


def test_names(pack: Any):
    assert set(pack.NODE_DISPLAY_NAME_MAPPINGS) == set(pack.NODE_CLASS_MAPPINGS)
    assert all(name.startswith("Pila") for name in pack.NODE_CLASS_MAPPINGS)  # global in ComfyUI
    shown = list(pack.NODE_DISPLAY_NAME_MAPPINGS.values())
    assert len(set(shown)) == len(shown)


@pytest.mark.parametrize("name", ["PilaLoadAdapter", "PilaCategories", "PilaApply", "PilaExplain"])
def test_contract(nodes: dict[str, Any], name: str):
    node = nodes[name]
    inputs = node.INPUT_TYPES()
    assert set(inputs) <= {"required", "optional", "hidden"}
    parameters = inspect.signature(getattr(node(), node.FUNCTION)).parameters
    assert set(parameters) == {key for group in inputs.values() for key in group}
    for key in inputs.get("optional", {}):
        assert parameters[key].default is not inspect.Parameter.empty
    for group in inputs.values():
        for kind, *more in group.values():
            assert isinstance(kind, list) or kind in OWN_TYPES | PLAIN_TYPES
            options = more[0] if more else {}
            if "min" in options:
                assert options["min"] <= options.get("default", options["min"]) <= options["max"]
    assert set(node.RETURN_TYPES) <= OWN_TYPES | PLAIN_TYPES
    assert len(node.RETURN_NAMES) == len(node.RETURN_TYPES)
    assert node.CATEGORY
    assert node.DESCRIPTION
    validate = getattr(node, "VALIDATE_INPUTS", None)
    if validate is not None:
        assert set(inspect.signature(validate).parameters) <= set(parameters)


def test_load(nodes: dict[str, Any], tmp_path: Path):
    load = nodes["PilaLoadAdapter"]
    assert load.INPUT_TYPES()["required"]["adapter"] == (["ball"],)
    (adapter,) = load().load("ball")
    assert type(adapter).__name__ == "PilaAdapter"
    assert not adapter.training
    before = load.IS_CHANGED("ball")
    assert load.IS_CHANGED("ball") == before
    small_adapter().save_pretrained(tmp_path / "models" / "pila" / "ball")
    assert load.IS_CHANGED("ball") != before


def test_load_refuses_a_pickle(nodes: dict[str, Any], tmp_path: Path):
    folder = tmp_path / "models" / "pila" / "ball"
    (folder / "diffusion_pytorch_model.safetensors").rename(folder / "model.bin")
    with pytest.raises(InputError, match="pickled weights"):
        nodes["PilaLoadAdapter"]().load("ball")


def test_categories(nodes: dict[str, Any]):
    names, evidence = nodes["PilaCategories"]().find("two steel balls collide", "offline")
    assert "collision" in names.split(", ")
    assert "parser: offline" in evidence
    assert nodes["PilaApply"].VALIDATE_INPUTS(names) is True


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", True), (None, True), ("fluid, Rigid Body", True), ("fluids", "did you mean fluid")],
)
def test_validation_of_categories(nodes: dict[str, Any], text: str | None, expected: Any):
    found = nodes["PilaApply"].VALIDATE_INPUTS(text)
    assert found is True if expected is True else expected in found


class Wan:
    """A tiny Wan model as diffusers' pipeline and as a MODEL, with the same noise and text."""

    def __init__(self) -> None:
        self.parts = tiny.components() | {"scheduler": tiny.scheduler("euler")}
        self.model = standin.ModelPatcher(standin.Model(self.parts["transformer"]))
        self.noise = torch.randn(2, 16, 3, 4, 4, generator=torch.Generator().manual_seed(5))
        pipeline = PilaWanPipeline(**self.parts)
        embeds, negative = pipeline.encode_prompt(
            tiny.PROMPT, max_sequence_length=16, device=torch.device("cpu")
        )
        assert negative is not None
        self.positive = standin.conditioning(embeds)
        self.negative = standin.conditioning(negative)
        pipeline.scheduler.set_timesteps(3)
        self.sigmas = pipeline.scheduler.sigmas.clone()

    def expected(self, adapter: Any, **options: Any) -> torch.Tensor:
        return tiny.latents(
            PilaWanPipeline(**self.parts, adapter=adapter),
            latents=self.noise,
            num_videos_per_prompt=2,
            **options,
        )

    def found(self, model: Any, cfg: float = 4.0) -> torch.Tensor:
        return standin.sample(model, self.noise, self.sigmas, self.positive, self.negative, cfg)


@pytest.fixture(scope="module")
def wan() -> Wan:
    return Wan()


@pytest.fixture
def adapter(nodes: dict[str, Any]) -> Any:
    return nodes["PilaLoadAdapter"]().load("ball")[0]


def apply(nodes: dict[str, Any], model: Any, adapter: Any, **options: Any) -> tuple[Any, Any]:
    given: dict[str, Any] = {"categories": "", "strength": 1.0}
    given |= {"start_percent": 0.0, "end_percent": 1.0} | options
    return nodes["PilaApply"]().apply(model, adapter, **given)


@pytest.mark.parametrize(
    ("node", "call"),
    [
        ({}, {}),
        ({"categories": "fluid", "top_k": 1}, {"categories": ["fluid"], "top_k": 1}),
        ({"strength": 2.0}, {"adapter_scale": 2.0}),
        ({"velocity_source": "cond"}, {"velocity_source": "cond"}),
        ({"start_percent": 0.2}, {"step_window": (2, 3)}),
        ({"end_percent": 0.5}, {"step_window": (1, 2)}),
    ],
    ids=str,
)
def test_same_latents_as_the_pipeline(
    nodes: dict[str, Any], wan: Wan, adapter: Any, node: dict[str, Any], call: dict[str, Any]
):
    found = wan.found(apply(nodes, wan.model, adapter, **node)[0])
    expected = wan.expected(adapter, **call)
    frozen = wan.expected(None)
    # ComfyUI hands on x0_hat, so v comes back from it by a division: equal up to rounding.
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert (expected - frozen).abs().max() > 100 * (found - expected).abs().max()


def test_without_guidance(nodes: dict[str, Any], wan: Wan, adapter: Any):
    found = wan.found(apply(nodes, wan.model, adapter)[0], cfg=1.0)
    expected = wan.expected(adapter, guidance_scale=1.0)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_untrained_adapter_and_no_strength_change_no_bit(
    nodes: dict[str, Any], wan: Wan, adapter: Any, strength: float
):
    chosen = small_adapter() if strength else adapter
    model, _ = apply(nodes, wan.model, chosen, strength=strength)
    assert torch.equal(wan.found(model), wan.found(wan.model))


def test_the_model_itself_and_clones_of_the_corrected_one(
    nodes: dict[str, Any], wan: Wan, adapter: Any
):
    model, _ = apply(nodes, wan.model, adapter)
    assert not wan.model.wrappers
    assert "sampler_post_cfg_function" not in wan.model.model_options
    again = model.clone()  # as a LoRA node behind this one does
    assert torch.equal(wan.found(again), wan.found(model))
    (function,) = again.model_options["sampler_post_cfg_function"]
    assert copy.deepcopy(function) is function  # else every clone would copy the adapter


def test_explain(nodes: dict[str, Any], wan: Wan, adapter: Any):
    model, record = apply(nodes, wan.model, adapter, categories="collision", start_percent=0.2)
    explain = nodes["PilaExplain"]()
    with pytest.raises(InputError, match="no step was corrected"):
        explain.explain(record, {})
    for _ in range(2):  # a second sampling replaces the record of the first
        latents = wan.found(model)
    pictures, report = explain.explain(record, {"samples": latents})
    assert pictures.ndim == 4
    assert len(pictures) == 4  # routing, bank, correction, where
    assert pictures.shape[-1] == 3
    assert pictures.dtype == torch.float32
    assert 0 <= pictures.min() < pictures.max() <= 1
    assert "categories: collision" in report
    assert "corrected: 2 evaluations, sigma 0.751 to 0.009" in report
    assert "routing: " in report
    assert list(record.recorder.steps) == [2, 3]


def test_explain_without_a_router(
    nodes: dict[str, Any], wan: Wan, plain_adapter_folder: Path, tmp_path: Path
):
    shutil.copytree(plain_adapter_folder, tmp_path / "models" / "pila" / "plain")
    (plain,) = nodes["PilaLoadAdapter"]().load("plain")
    model, record = apply(nodes, wan.model, plain)
    wan.found(model)
    pictures, report = nodes["PilaExplain"]().explain(record, {})
    assert len(pictures) == 2
    assert "routing: " not in report


def test_given_frames_are_read_clean_and_not_written(nodes: dict[str, Any], wan: Wan, adapter: Any):
    """Wan 2.2 5B: ComfyUI keeps given frames clean in x_t and passes a mask that is 0 on them."""
    mask = torch.ones(1, 1, 3, 1, 1)
    mask[:, :, 0] = 0
    positive = standin.conditioning(wan.positive[0]["cross_attn"], denoise_mask=mask)
    inputs: list[torch.Tensor] = []
    handle = adapter.register_forward_pre_hook(lambda module, args: inputs.extend(args[:2]))
    outputs = []
    for model in (wan.model, apply(nodes, wan.model, adapter)[0]):
        sigmas = wan.sigmas[:2]
        latents = standin.sample(model, wan.noise, sigmas, positive, wan.negative)
        outputs.append(latents)
    handle.remove()
    x_t, v = inputs
    assert torch.equal(x_t, wan.noise)
    assert not v[:, :, 0].any()
    assert torch.equal(outputs[0][:, :, 0], outputs[1][:, :, 0])
    assert not torch.equal(outputs[0][:, :, 1:], outputs[1][:, :, 1:])


def test_evaluations_between_the_levels_count_to_their_step(
    nodes: dict[str, Any], wan: Wan, adapter: Any
):
    """Samplers of higher order look between two noise levels of the schedule."""
    model, record = apply(nodes, wan.model, adapter)
    run = next(iter(model.wrappers[standin.SAMPLER_SAMPLE].values()))[0]
    middle = (wan.sigmas[1] + wan.sigmas[2]) / 2

    def inner(guider: Any, sigmas: torch.Tensor, *rest: Any) -> None:
        for sigma in (wan.sigmas[1], middle):
            standin.predict(model, wan.noise, sigma.expand(2), wan.positive, wan.negative, 1.0)

    run(inner, None, wan.sigmas)
    assert record.sigmas == [float(wan.sigmas[1]), float(middle)]
    assert record.recorder.first_step == 2


def test_a_failed_sampling_leaves_nothing_behind(nodes: dict[str, Any], wan: Wan, adapter: Any):
    model, _ = apply(nodes, wan.model, adapter)
    before = wan.found(model)
    run = next(iter(model.wrappers[standin.SAMPLER_SAMPLE].values()))[0]

    def stop(*args: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(stop, None, wan.sigmas)
    assert torch.equal(wan.found(model), before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: setattr(m, "model_sampling", standin.Eps()), "not a Wan flow model"),
        (lambda m: delattr(m.diffusion_model, "text_dim"), "not a Wan flow model"),
        (lambda m: setattr(m.diffusion_model, "text_dim", 64), "embeddings are 64 wide"),
        (lambda m: setattr(m.latent_format, "latent_channels", 48), "denoises 48 latent channels"),
    ],
)
def test_models_that_do_not_fit_are_refused(
    nodes: dict[str, Any], wan: Wan, adapter: Any, change: Any, message: str
):
    inner = standin.Model(wan.parts["transformer"])
    change(inner)
    with pytest.raises(InputError, match=message):
        apply(nodes, standin.ModelPatcher(inner), adapter)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start_percent": 0.6, "end_percent": 0.4}, "start_percent is 0.6"),
        ({"categories": "fluids"}, "did you mean fluid"),
    ],
)
def test_wrong_options_are_refused(
    nodes: dict[str, Any], wan: Wan, adapter: Any, options: dict[str, Any], message: str
):
    with pytest.raises(InputError, match=message):
        apply(nodes, wan.model, adapter, **options)
