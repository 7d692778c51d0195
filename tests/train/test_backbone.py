"""An adapter is trained on any module that is a Backbone; what is none is refused."""

import json

import pytest
import torch
from torch import nn

from pila.errors import InputError
from pila.pipelines.backbone import Backbone
from pila.pipelines.locate import EMBEDDED_MODEL
from pila.recipes import RECIPES
from pila.recipes.run import run
from pila.train.couple import CoupleTask
from pila.train.frozen import FrozenGenerator, WanBackbone


class Scaled(nn.Module):
    """Predicts a multiple of the noisy latents."""

    def __init__(self, *, channels: int = 16, width: int = 64) -> None:
        super().__init__()
        self.latent_channels, self.text_width = channels, width
        self.factor = nn.Parameter(torch.tensor(0.5))

    def velocity(self, x_t, sigma, prompt_embeds):
        """As `Backbone`."""
        return self.factor * x_t


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("PILA_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def test_wans_own_is_a_backbone():
    wan = WanBackbone(EMBEDDED_MODEL)
    assert isinstance(wan, Backbone)
    assert (wan.latent_channels, wan.text_width) == (16, 64)


def test_the_given_backbone_predicts_and_rests():
    given = Scaled()
    frozen = FrozenGenerator(given)
    x_0, noise = torch.randn(2, 1, 16, 3, 4, 4)
    said = frozen.predict(x_0, noise, torch.tensor([0.25]), torch.zeros(1, 2, 64))
    torch.testing.assert_close(said.v, 0.5 * (0.75 * x_0 + 0.25 * noise))
    assert not given.factor.requires_grad
    frozen.check_unchanged()
    with torch.no_grad():
        given.factor.add_(1)
    with pytest.raises(AssertionError, match="changed"):
        frozen.check_unchanged()


def test_what_is_no_backbone_is_refused():
    with pytest.raises(InputError, match="the backbone is a Linear"):
        FrozenGenerator(nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Scaled(channels=48), "latent_channels is 48, but .* have 16"),
        (Scaled(width=4096), "text_width is 4096, but .* have 64"),
    ],
)
def test_a_backbone_of_other_latents_or_texts_is_refused(given, message):
    with pytest.raises(InputError, match=message):
        CoupleTask(RECIPES["embedded-couple"](), backbone=given)


def test_only_stages_of_the_adapter_take_a_backbone(tmp_path):
    with pytest.raises(InputError, match="embedded-lora trains lora"):
        run("embedded-lora", tmp_path, backbone=Scaled())
    assert list(tmp_path.iterdir()) == []


def test_steps_set_the_length_of_the_schedule(tmp_path, capsys):
    run("embedded-couple", tmp_path, steps=7, dry_run=True, json=True)
    assert json.loads(capsys.readouterr().out)["optim"]["steps"] == 7
    with pytest.raises(InputError, match="steps is 0"):
        run("embedded", tmp_path, steps=0)
