"""What is refused before anything is loaded, and what loads."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import WanPipeline
from tests.pipelines import tiny
from tests.pipelines.conftest import small_adapter

from pila.adapter import PilaAdapter, PlainAdapter
from pila.errors import InputError
from pila.pipelines import locate as embedded
from pila.pipelines.locate import find_adapter, find_model, load_pipeline
from pila.pipelines.repository import check_model_folder, check_wan_repository
from pila.pipelines.wan import PilaWanPipeline


@pytest.fixture(scope="session")
def saved_model(components: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    WanPipeline(**components).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def saved_adapter(live: PilaAdapter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "adapter"
    live.save_pretrained(folder)
    return folder


@pytest.fixture
def model(saved_model: Path, tmp_path: Path) -> Path:
    return shutil.copytree(saved_model, tmp_path / "model")


@pytest.fixture
def adapter(saved_adapter: Path, tmp_path: Path) -> Path:
    return shutil.copytree(saved_adapter, tmp_path / "adapter")


@pytest.fixture
def nothing_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails a test in which a model is loaded although its input is wrong."""

    def loaded(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(PilaWanPipeline, "from_pretrained", loaded)
    monkeypatch.setattr(PilaAdapter, "from_pretrained", loaded)


def test_loads_a_folder_and_an_adapter(saved_model: Path, saved_adapter: Path, live: PilaAdapter):
    pipeline = load_pipeline(saved_model, str(saved_adapter))
    assert isinstance(pipeline, PilaWanPipeline)
    assert isinstance(pipeline.adapter, PilaAdapter)
    assert not pipeline.adapter.training
    corrected, frozen = tiny.latents(pipeline), tiny.latents(pipeline, adapter_scale=0.0)
    assert not torch.equal(corrected, frozen)
    for none in (None, "none"):
        torch.testing.assert_close(tiny.latents(load_pipeline(saved_model, none)), frozen)
    # Close, not equal: weights on a mapped file are aligned otherwise than those in memory.
    attached = tiny.latents(load_pipeline(saved_model, live))
    torch.testing.assert_close(attached, corrected, rtol=1e-4, atol=1e-5)


def test_dtype_is_the_denoisers_but_not_the_vaes_or_the_adapters(
    saved_model: Path, saved_adapter: Path
):
    pipeline = load_pipeline(saved_model, saved_adapter, dtype=torch.bfloat16)
    parts = pipeline.components
    assert parts["transformer"].dtype == parts["text_encoder"].dtype == torch.bfloat16
    assert parts["vae"].dtype == parts["adapter"].dtype == torch.float32
    assert tiny.latents(pipeline).isfinite().all()


def test_plain_adapter_loads_too(saved_model: Path, tmp_path: Path):
    PlainAdapter.matching(small_adapter()).save_pretrained(tmp_path)
    assert isinstance(load_pipeline(saved_model, tmp_path).adapter, PlainAdapter)


def test_saved_corrected_pipeline_loads_with_another_or_no_adapter(
    components: dict[str, Any], live: PilaAdapter, tmp_path: Path
):
    PilaWanPipeline(**components, adapter=live).save_pretrained(tmp_path)
    assert load_pipeline(tmp_path, None).adapter is None
    assert isinstance(load_pipeline(tmp_path, tmp_path / "adapter").adapter, PilaAdapter)


def test_embedded_names_the_assets(monkeypatch: pytest.MonkeyPatch, model: Path, adapter: Path):
    monkeypatch.setattr(embedded, "EMBEDDED_MODEL", model)
    monkeypatch.setattr(embedded, "EMBEDDED_ADAPTER", adapter)
    assert (find_model("embedded"), find_adapter("embedded")) == (model, adapter)
    monkeypatch.setattr(embedded, "EMBEDDED_MODEL", model / "absent")
    with pytest.raises(InputError, match="the embedded model is not in this installation"):
        find_model("embedded")


@pytest.mark.usefixtures("nothing_loads")
class TestRefused:
    def refused(self, message: str, model: Any, adapter: Any = None, **options: Any) -> None:
        with pytest.raises(InputError, match=message) as caught:
            load_pipeline(model, adapter, **options)
        assert "\n" not in str(caught.value)

    def test_missing_folder(self, tmp_path: Path):
        self.refused(
            "there is no model .*absent; pass 'embedded', the folder of", tmp_path / "absent"
        )

    def test_missing_adapter(
        self, model: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        self.refused(
            "there is no adapter absent; pass 'embedded', 'none', the folder", model, "absent"
        )
        # Adapters that were trained here are named, and no model is.
        shutil.copytree(adapter, tmp_path / "runs" / "mine" / "adapter")
        monkeypatch.chdir(tmp_path)
        with pytest.raises(InputError, match=r"trained adapter such as runs/mine/adapter") as error:
            find_adapter("absent")
        assert "Wan-AI" not in str(error.value)

    def test_a_model_for_an_adapter_and_the_other_way_round(self, model: Path, adapter: Path):
        self.refused("is a model, not an adapter; pass 'embedded', 'none'", model, model)
        self.refused(r"is an adapter, not a model \(--adapter takes it\)", adapter)

    def test_hub_id_without_network(self):
        message = (
            "nobody/nothing is no folder here, is not in the cache, and HF_HUB_OFFLINE is set; "
            "connect to the network, pass a local folder, or use --model embedded"
        )
        self.refused(message, "nobody/nothing")

    def test_folder_without_an_index(self, tmp_path: Path):
        self.refused("has no model_index.json, so it is not a diffusers repository", tmp_path)

    def test_another_pipeline(self, model: Path):
        self.edit_index(model, _class_name="StableDiffusionPipeline")
        self.refused("holds a StableDiffusionPipeline, not a Wan pipeline", model)

    def test_index_without_a_component(self, model: Path):
        self.edit_index(model, vae=[None, None], transformer=[None, None])
        self.refused("names no vae, transformer; pass a complete repository", model)

    def test_unreadable_index(self, model: Path):
        (model / "model_index.json").write_text("{")
        self.refused("model_index.json is not readable JSON", model)

    def test_missing_component_folder(self, model: Path):
        shutil.rmtree(model / "vae")
        self.refused("lacks the folder vae/", model)

    def test_missing_config(self, model: Path):
        (model / "transformer" / "config.json").unlink()
        self.refused(r"transformer has no config\.json", model)

    def test_truncated_weights(self, model: Path):
        path = model / "transformer" / "diffusion_pytorch_model.safetensors"
        path.write_bytes(path.read_bytes()[:-100])
        self.refused("is not a complete safetensors file .* download or copy it again", model)

    @pytest.mark.parametrize("content", [b"", b"not safetensors at all"])
    def test_unreadable_weights(self, model: Path, content: bytes):
        (model / "text_encoder" / "model.safetensors").write_bytes(content)
        self.refused("is not a complete safetensors file", model)

    def test_missing_shard(self, model: Path):
        shards = {"weight_map": {"a": "x-00001-of-00002.safetensors"}}
        path = model / "transformer" / "diffusion_pytorch_model.safetensors.index.json"
        path.write_text(json.dumps(shards))
        self.refused("lacks x-00001-of-00002.safetensors", model)

    @pytest.mark.parametrize("suffix", [".bin", ".pt", ".ckpt"])
    def test_pickle(self, model: Path, adapter: Path, suffix: str):
        path = adapter / "diffusion_pytorch_model.safetensors"
        path.rename(path.with_suffix(suffix))
        self.refused("holds pickled weights .* never loaded: convert them", model, adapter)
        self.refused("is a pickle; .* never loaded: pass", model, path.with_suffix(suffix))

    def test_no_weights(self, model: Path, adapter: Path):
        (adapter / "diffusion_pytorch_model.safetensors").unlink()
        self.refused(r"has no \*.safetensors weights", model, adapter)

    def test_single_file(self, model: Path, adapter: Path):
        path = adapter / "diffusion_pytorch_model.safetensors"
        self.refused("is a file; pass a folder", model, path)
        self.refused("is a file; pass a diffusers Wan repository", path)

    def test_a_denoiser_as_adapter(self, model: Path):
        self.refused("of a WanTransformer3DModel; pass an adapter", model, model / "transformer")

    def test_unfit_adapter(self, model: Path, tmp_path: Path):
        small_adapter(latent_channels=48).save_pretrained(tmp_path / "unfit")
        self.refused("latent_channels is 48, but the transformer", model, tmp_path / "unfit")

    def test_device_and_offload(self, model: Path):
        self.refused("unknown device 'gpu'", model, device="gpu")
        self.refused("offload is 'disk'; use one of none, model", model, offload="disk")
        self.refused("offload=model needs an accelerator", model, offload="model")

    @pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
    def test_absent_device(self, model: Path):
        self.refused(r"device cuda is not available here \(cpu only\)", model, device="cuda")

    def edit_index(self, model: Path, **values: Any) -> None:
        path = model / "model_index.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_sound_folders_pass(model: Path, adapter: Path):
    assert check_wan_repository(model)["_class_name"] == "WanPipeline"
    assert check_model_folder(adapter)["latent_channels"] == tiny.LATENT_CHANNELS
    (model / "transformer" / "stray.bin").write_bytes(b"pickle")  # beside safetensors: never read
    check_wan_repository(model)
