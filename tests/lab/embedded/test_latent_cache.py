"""Cached latents: made on demand, read without encoding, and never of another VAE."""

from dataclasses import replace

import pytest
import torch
from tests.pipelines import tiny

from pila.data.corpus import CorpusConfig
from pila.data.latents import normalise
from pila.errors import InputError
from pila.lab.embedded import latent_cache
from pila.lab.embedded.latent_cache import SHARD, LatentCache
from pila.lab.world.corpus import canvas_of, item_of, make
from pila.physics.bank import Category
from pila.provenance import weights_hash

WORLD = CorpusConfig(
    clips=2 * SHARD + 5, size=64, scenes=("thrown_ball", "ball_collision", "hot_spot")
)


@pytest.fixture(scope="module")
def vae_folder(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("vae")
    vae = tiny.vae()
    vae.register_to_config(latents_mean=[0.1] * 16, latents_std=[0.5] * 16)
    vae.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def cache(vae_folder, tmp_path_factory):
    """One cache for the file: a shard takes seconds to simulate and encode."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PILA_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield LatentCache(vae_folder, WORLD)


def items(indices):
    return [item_of(WORLD, i) for i in indices]


def test_whole_shards_only(cache):
    assert len(cache) == 2 * SHARD


def test_too_few_clips_are_refused(vae_folder):
    with pytest.raises(InputError, match=r"corpus\.clips is 15; clips are encoded 16 at a time"):
        LatentCache(vae_folder, replace(WORLD, clips=15))


def test_a_batch(cache):
    """Latents as the transformer sees them, with each clip's own caption and categories."""
    indices = [3, 0, 3]
    z, captions, flags = cache.batch(indices)
    assert sorted(p.name for p in cache.folder.iterdir()) == ["00000.safetensors"]
    assert z.shape == (3, 16, 9, 8, 8)
    assert z.dtype == torch.float32
    assert torch.equal(z[0], z[2])
    clips = [make(item, canvas_of(WORLD)) for item in items(indices)]
    assert captions == [clip.caption for clip in clips]
    assert flags.dtype == torch.bool
    named = [tuple(c for c, on in zip(Category, row, strict=True) if on) for row in flags.tolist()]
    assert named == [tuple(c for c in Category if c in clip.categories) for clip in clips]

    from diffusers import AutoencoderKLWan

    vae = AutoencoderKLWan.from_pretrained(cache.vae_folder).eval()
    frames = torch.from_numpy(clips[0].frames).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
    with torch.no_grad():
        raw = vae.encode(frames).latent_dist.mode()  # pyright: ignore[reportAttributeAccessIssue]
    expected = normalise(raw, [0.1] * 16, [0.5] * 16)[0]
    torch.testing.assert_close(z[0], expected, rtol=2e-3, atol=2e-3)  # kept in float16


def test_a_second_cache_reads_the_file(cache, vae_folder, monkeypatch):
    first = cache.batch([1, 2])
    monkeypatch.setenv("PILA_CACHE", str(cache.folder.parents[1]))
    monkeypatch.setattr(latent_cache, "_encode", _not_reached)
    second = LatentCache(vae_folder, WORLD).batch([1, 2])
    assert torch.equal(first[0], second[0])
    assert first[1] == second[1]
    assert torch.equal(first[2], second[2])


def _not_reached(*args):
    raise AssertionError("a shard that lies on disk was encoded again")


def test_another_vae_or_corpus_starts_another_cache(cache, vae_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("PILA_CACHE", str(cache.folder.parents[1]))
    torch.manual_seed(1)
    tiny.vae().save_pretrained(tmp_path / "vae")
    assert weights_hash(tmp_path / "vae") != weights_hash(vae_folder)
    folders = {
        LatentCache(vae_folder, WORLD).folder,
        LatentCache(tmp_path / "vae", WORLD).folder,
        *(
            LatentCache(vae_folder, replace(WORLD, **changed)).folder
            for changed in (
                {"violated": 0.25},
                {"first_seed": 2_000_000},
                {"size": 96},
                {"scenes": ("thrown_ball", "hot_spot")},
            )
        ),
    }
    assert len(folders) == 6
    assert cache.folder in folders


def test_plausible_clips_break_no_law(cache):
    expected = [item.violation is None for item in items(range(12))]
    assert [cache.plausible(i) for i in range(12)] == expected
    assert 0 < sum(expected) < 12
