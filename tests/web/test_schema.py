"""What comes over the network: types, limits, and names of what is on offer."""

from pathlib import Path

import pytest

from pila.errors import InputError
from pila.web.models import served_models
from pila.web.schema import asked, to_request

OUT = Path("results/token/pila.mp4")
PROMPT = "two balls collide"


@pytest.fixture(scope="module")
def models():
    return served_models([], [])


def request(models, **values):
    return to_request(asked({"prompt": PROMPT} | values), models, output=OUT, device="cpu")


def test_the_least(models):
    made = request(models)
    assert (made.prompt, made.model, made.adapter) == (PROMPT, "embedded", "embedded")
    assert made.categories is None
    assert made.compare
    assert made.output == OUT
    assert made.explain == OUT.parent / "explain"
    assert made.steps == 8


def test_everything(models):
    made = request(
        models,
        categories=["fluid", "thermal"],
        seed=9,
        steps=50,
        guidance_scale=2,
        adapter_scale=-0.5,
        step_window=" 2-4 ",
        top_k=0,
        height=64,
        width=48,
        num_frames=33,
        negative_prompt="a blur",
    )
    assert made.categories == "fluid,thermal"
    assert (made.seed, made.steps, made.guidance_scale) == (9, 50, 2.0)
    assert (made.adapter_scale, made.step_window, made.top_k) == (-0.5, "2-4", 0)
    assert (made.height, made.width, made.num_frames) == (64, 48, 33)
    assert made.negative_prompt == "a blur"
    assert request(models, categories=[], step_window="  ").categories == "none"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"prompt": None}, "prompt is None"),
        ({"prompt": "x" * 2_001}, "2,001 characters; use at most 2,000"),
        ({"negative_prompt": "x" * 2_001}, "the negative_prompt has 2,001"),
        ({"output": "/etc/passwd"}, "output is '/etc/passwd': Extra inputs"),
        ({"device": "cuda"}, "device is 'cuda': Extra inputs"),
        ({"steps": "many"}, "steps is 'many': Input should be a valid integer"),
        ({"steps": 51}, "steps is 51, over this page's limit; use at most 50"),
        ({"height": 112}, "height is 112, over"),
        ({"width": 10**300}, "width is 1000"),
        ({"num_frames": 37}, "num_frames is 37, over"),
        ({"guidance_scale": 31}, "guidance_scale is 31"),
        ({"guidance_scale": float("nan")}, "guidance_scale is nan"),
        ({"adapter_scale": -11}, "adapter_scale is 11"),
        ({"seed": None}, "seed is None"),
        ({"categories": "fluid"}, "categories is 'fluid'"),
        ({"categories": [1]}, "categories is 1"),
        ({"model": "/etc"}, "model '/etc' is not on offer here; use embedded"),
        ({"model": "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"}, "not on offer"),
        ({"adapter": "none"}, "adapter 'none' is not on offer"),
        ({"adapter": "embedded+embedded"}, "not on offer"),
        ({"prompt": {"path": "/etc/passwd"}}, "prompt is {'path'"),
    ],
)
def test_refusals(models, values, message):
    with pytest.raises(InputError) as refused:
        request(models, **values)
    assert message in str(refused.value)
    assert len(str(refused.value)) < 600
