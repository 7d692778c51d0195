"""The embedded generator's training: its noise levels, its steps, and the repository it leaves."""

import math
from dataclasses import replace

import pytest
import torch
from diffusers import WanPipeline

from pila.errors import InputError
from pila.lab.embedded.generator import (
    GeneratorTask,
    TokenPositionHead,
    TwoDenoisers,
    build_transformer,
    noise_levels,
)
from pila.lab.world.corpus import scenes_of
from pila.pipelines.locate import EMBEDDED_MODEL
from pila.pipelines.vae import load_vae
from pila.provenance import weights_hash
from pila.recipes import RECIPES
from pila.train.config import GeneratorConfig
from pila.train.loop import fit
from pila.train.step_rng import StepRng


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """One cache for the file: its clips are simulated and encoded once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PILA_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def task(cache):
    return GeneratorTask(config())


def config():
    recipe = RECIPES["embedded-generator"]()
    return replace(
        recipe,
        optim=replace(recipe.optim, steps=2, batch=4, warmup=1),
        world=replace(recipe.world, clips=16, scenes=("thrown_ball", "ball_collision", "hot_spot")),
        generator=GeneratorConfig(layers=1, ffn=64, frame_noise_every=2, high_noise=0.25),
    )


def test_a_step_sees_all_ranges_of_noise():
    sigma = noise_levels(16, 3.0, torch.Generator().manual_seed(0))
    u = sigma / (3.0 - 2.0 * sigma)  # the shift undone
    torch.testing.assert_close(u.sort().values.diff(), torch.full((15,), 1 / 16))


def test_frames_have_levels_of_their_own_in_every_other_step(task):
    rng = torch.Generator().manual_seed(0)
    before = task.frame_levels(4, 9, 0, rng)
    assert (before == before[:, :1]).all()
    levels = task.frame_levels(4, 9, 1, rng)
    apart = (levels != levels[:, :1]).any(1)
    assert apart.sum() == 3
    # One of four is nearly noise alone.
    assert (levels[~apart][:, 0] >= 0.9).sum() >= 1
    # Always a clear frame to read the others off, and a noisy one to be read.
    assert (levels[apart].amin(1) < 0.3).all()
    assert (levels[apart].amax(1) > 0.9).all()


def test_noise_levels_are_trained_on_by_a_shift_of_their_own(task):
    one = replace(task.config.generator, high_noise=0.0, frame_noise_every=0)
    medians = []
    for shift in (None, 1.0):
        task.config = replace(task.config, generator=replace(one, trained_shift=shift))
        levels = task.frame_levels(64, 9, 0, torch.Generator().manual_seed(0))
        medians.append(levels[:, 0].median().item())
    task.config = config()
    assert medians == pytest.approx([0.75, 0.5], abs=0.02)


@pytest.mark.parametrize("name", ["shift", "trained_shift"])
def test_a_shift_below_zero_is_refused(name):
    with pytest.raises(InputError, match=rf"generator.{name} is -1.0; it must be over 0"):
        replace(GeneratorConfig(), **{name: -1.0})


def test_errors_are_counted_by_what_they_do_to_the_picture(cache):
    chosen = config()
    plain = GeneratorTask(chosen)
    shown = GeneratorTask(replace(chosen, generator=replace(chosen.generator, pixels=1 - 1e-6)))
    shown.module.load_state_dict(plain.module.state_dict())
    assert plain.root is None
    assert shown.root is not None
    metric = shown.root.T @ shown.root
    assert metric.trace() == pytest.approx(16, rel=1e-3)
    # Nearly all that shows lies in a few directions of the embedded VAE's latents.
    sizes = torch.linalg.eigvalsh(metric)
    assert sizes[-6:].sum() > 0.9 * sizes.sum()
    # The decoder itself agrees: a step along the most visible one changes more than the least.
    vae = load_vae(EMBEDDED_MODEL / "vae")
    latents, _, _ = shown.cache.batch([0])
    mean, std = (
        torch.tensor(v).view(1, -1, 1, 1, 1)
        for v in (vae.config.latents_mean, vae.config.latents_std)
    )
    seen, axes = [], torch.linalg.eigh(metric).eigenvectors
    with torch.no_grad():
        before = vae.decode(latents * std + mean).sample
        for axis in (axes[:, -1], axes[:, 0]):
            step = 0.1 * torch.randn(latents.shape[2:], generator=torch.Generator().manual_seed(1))
            moved = latents + torch.einsum("c,thw->cthw", axis, step)
            seen.append((vae.decode(moved * std + mean).sample - before).square().mean().item())
    assert seen[0] > 20 * seen[1]
    draws = StepRng(seed=0, step=0, batch=4, rows=range(4))
    losses = [task.loss(draws) for task in (plain, shown)]
    assert losses[0][0].item() != pytest.approx(losses[1][0].item(), rel=1e-3)
    assert losses[0][1]["whereabouts"] == losses[1][1]["whereabouts"]


def test_timesteps_by_token_say_the_same_as_one_for_all(task):
    torch.manual_seed(0)
    x, text = torch.randn(2, 16, 9, 8, 8), torch.randn(2, 32, 64)
    levels = torch.tensor([[0.4], [0.9]]).repeat(1, 9)
    tokens = (levels * 1000).repeat_interleave(16, dim=1)
    with torch.no_grad():
        one = task.module.generator(x, levels[:, 0] * 1000, text, return_dict=False)[0]
        each = task.module.generator(x, tokens, text, return_dict=False)[0]
    torch.testing.assert_close(one, each, rtol=1e-4, atol=1e-5)


def test_it_trains_and_leaves_a_wan_repository(task, tmp_path):
    before = {k: v.clone() for k, v in task.module.generator.state_dict().items()}
    folder = fit(task, config(), tmp_path, progress=False)
    assert folder is not None
    pipeline = WanPipeline.from_pretrained(folder)
    assert pipeline.scheduler.config.shift == 3.0
    after = pipeline.transformer.state_dict()
    assert any(not torch.equal(after[k], before[k]) for k in before)


def test_a_stopped_run_with_both_optimizers_goes_on_bit_for_bit(cache, tmp_path):
    chosen = config()
    assert chosen.optim.optimizer == "muon"
    straight = fit(GeneratorTask(chosen), chosen, tmp_path / "straight", progress=False)
    stopped = fit(GeneratorTask(chosen), chosen, tmp_path / "stopped", max_steps=1, progress=False)
    assert stopped is None
    resumed = fit(GeneratorTask(chosen), chosen, tmp_path / "stopped", progress=False)
    assert straight is not None
    assert resumed is not None
    assert weights_hash(straight / "transformer") == weights_hash(resumed / "transformer")


def test_two_denoisers_train_and_leave_wan_22s_layout(tmp_path):
    chosen = config()
    chosen = replace(chosen, generator=replace(chosen.generator, boundary=0.875))
    two = GeneratorTask(chosen)
    before = {k: v.clone() for k, v in two.module.generator.state_dict().items()}
    folder = fit(two, chosen, tmp_path, progress=False)
    assert folder is not None
    pipeline = WanPipeline.from_pretrained(folder)
    assert pipeline.config["boundary_ratio"] == 0.875
    for name in ("transformer", "transformer_2"):
        after = getattr(pipeline, name).state_dict()
        assert any(not torch.equal(v, before[f"{name}.{k}"]) for k, v in after.items())


def test_what_is_written_names_no_folder_of_this_machine(task, tmp_path):
    source = fit(task, config(), tmp_path, progress=False)
    assert source is not None
    for path in source.rglob("*.json"):
        assert str(EMBEDDED_MODEL.parent) not in path.read_text(), path


def test_denoisers_begin_as_the_model_that_they_start_from(task, tmp_path):
    source = fit(task, config(), tmp_path, progress=False)
    assert source is not None
    chosen = replace(config(), start=str(source))
    chosen = replace(chosen, generator=replace(chosen.generator, boundary=0.875))
    two = GeneratorTask(chosen).module.generator
    trained = WanPipeline.from_pretrained(source).transformer.state_dict()
    for denoiser in (two.transformer, two.transformer_2):
        # Written in float16; what is read is that, bit for bit.
        torch.testing.assert_close(
            denoiser.state_dict(), trained, rtol=0, atol=0, check_dtype=False
        )
    with pytest.raises(InputError, match=r"tensors differ in name or shape, blocks\.0\.attn1"):
        GeneratorTask(replace(chosen, generator=replace(chosen.generator, heads=2)))


def test_a_deeper_generator_begins_as_the_one_that_it_starts_from(task, tmp_path):
    source = fit(task, config(), tmp_path, progress=False)
    assert source is not None
    chosen = replace(config(), start=str(source))
    deeper = replace(chosen.generator, layers=chosen.generator.layers + 2)
    ours = GeneratorTask(replace(chosen, generator=deeper)).module.generator
    theirs = GeneratorTask(chosen).module.generator
    given = (torch.randn(2, 16, 9, 8, 8), torch.tensor([300.0, 900.0]), torch.randn(2, 32, 64))
    with torch.no_grad():
        x, y = (m.eval()(*given, return_dict=False)[0] for m in (ours, theirs))
    assert len(ours.blocks) == len(theirs.blocks) + 2
    torch.testing.assert_close(x, y)
    with pytest.raises(InputError, match=r"tensors differ in name or shape, blocks\."):
        GeneratorTask(
            replace(chosen, start=str(source), generator=replace(chosen.generator, layers=0))
        )


def test_what_is_exported_may_hold_a_share_of_the_start(task, tmp_path):
    source = fit(task, config(), tmp_path / "start", progress=False)
    assert source is not None
    chosen = replace(config(), start=str(source))
    left = {}
    for blend in (0.0, 0.5, 1.0):
        mixed = replace(chosen, generator=replace(chosen.generator, blend=blend))
        place = fit(GeneratorTask(mixed), mixed, tmp_path / str(blend), progress=False)
        assert place is not None
        left[blend] = WanPipeline.from_pretrained(place).transformer.state_dict()
    start = WanPipeline.from_pretrained(source).transformer.state_dict()
    for name, p in start.items():
        torch.testing.assert_close(left[1.0][name], p, rtol=0, atol=0, msg=name)
        middle = (left[0.0][name].float() + p.float()) / 2
        torch.testing.assert_close(left[0.5][name].float(), middle, rtol=1e-3, atol=1e-4)
    assert any(not torch.equal(left[0.0][name], p) for name, p in start.items())


def test_scenes_that_are_favoured_come_twice_as_often():
    named = scenes_of(config().world)
    chosen = replace(config(), generator=replace(config().generator, favoured=named[:1]))
    drawn = GeneratorTask(chosen)._clips(6000, torch.Generator().manual_seed(0))
    share = (drawn % len(named) == 0).float().mean().item()
    assert share == pytest.approx(2 / (len(named) + 1), abs=0.03)
    assert drawn.max() < len(GeneratorTask(chosen).cache)
    with pytest.raises(InputError, match=r"generator\.favoured has volcano; the corpus has"):
        GeneratorTask(replace(chosen, generator=replace(chosen.generator, favoured=("volcano",))))


def test_each_sample_goes_to_the_denoiser_of_its_noise():
    high, low = (build_transformer(config().generator, 64).eval() for _ in range(2))
    both = TwoDenoisers(high, low, 0.875)
    torch.manual_seed(0)
    x, text = torch.randn(2, 16, 9, 8, 8), torch.randn(2, 32, 64)
    t = torch.tensor([875.0, 874.0])
    with torch.no_grad():
        (v,) = both(x, t, text)
        parts = [(x[i : i + 1], t[i : i + 1], text[i : i + 1]) for i in (0, 1)]
        expected = [
            m(*part, return_dict=False)[0] for m, part in zip((high, low), parts, strict=True)
        ]
    torch.testing.assert_close(v, torch.cat(expected), rtol=1e-4, atol=1e-5)


def test_a_share_out_of_bounds_is_named():
    with pytest.raises(InputError, match=r"generator.high_noise is 1.5; a share is in \[0, 1\]"):
        GeneratorConfig(high_noise=1.5)
    with pytest.raises(InputError, match=r"frame_noise_every is -1; it must be 0 or more"):
        GeneratorConfig(frame_noise_every=-1)


def test_tokens_learn_where_they_are_and_the_head_stays_behind(tmp_path):
    torch.manual_seed(0)
    transformer = build_transformer(config().generator, 64)
    where = TokenPositionHead(transformer, (9, 4, 4))
    optimizer = torch.optim.Adam([*transformer.parameters(), *where.parameters()], lr=2e-3)
    text, losses = torch.zeros(2, 32, 64), []
    assert not where.was_asked
    for _ in range(40):
        transformer(torch.randn(2, 16, 9, 8, 8), torch.full((2,), 1000.0), text)
        assert where.was_asked
        loss = where()
        assert not where.was_asked
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    chance = (math.log(9) + 2 * math.log(4)) / 3
    assert losses[0] == pytest.approx(chance, abs=0.3)
    assert losses[-1] < losses[0] - 0.05  # out of pure noise
