"""Stage C, couple: the adapter learns to correct a frozen generator on plausible clips.

Loss: |v' - (eps - x_0)|^2 + lambda L_phys + 0.01 |dv|^2 (App. B). Against evasion of L_phys
(trial.md, lesson 3) it is normalised over the labels, so that the router cannot lower it; the
bank under the experts is detached and its own sizes are the denominators, so that neither an
inflated nor a collapsed bank can.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from diffusers import WanTransformer3DModel
from torch import Tensor, nn

from pila.adapter import AdapterOutput, PilaAdapter, PlainAdapter, pool_text
from pila.data.latents import LatentCache
from pila.flow import clean_estimate, noised, velocity_target
from pila.physics import Calculus, Coefficients, read_fields, recipe, residual_loss
from pila.physics.bank import Category, Slot
from pila.train.config import TrainConfig
from pila.train.generator import CaptionEncoder, draw_batch, noise_levels
from pila.train.masks import blended, bootstrap_mask, physical_mask


def build_adapter(config: TrainConfig, text_dim: int) -> nn.Module:
    """The adapter that a recipe asks for: PILA's, or the plain one of equal size."""
    couple = config.couple
    pila = PilaAdapter(text_dim=text_dim, **asdict(couple.adapter))
    if couple.kind == "pila":
        return pila
    return PlainAdapter.matching(pila)


def module_hash(module: nn.Module) -> str:
    """SHA-256 over a module's weights: equal before and after a run that leaves it alone."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


class CoupleTask:
    """An adapter on a frozen transformer, over cached latents; one frozen forward a step."""

    def __init__(self, config: TrainConfig) -> None:
        from pila.backbones.embedded import find_model

        self.config = config
        folder = find_model(config.model)
        self.captions = CaptionEncoder(folder)
        self.cache = LatentCache(folder / "vae", config.world)
        self.transformer = WanTransformer3DModel.from_pretrained(folder / "transformer")
        self.transformer.eval().requires_grad_(False)
        self.frozen_hash = module_hash(self.transformer)
        torch.manual_seed(config.seed)
        self.module: Any = build_adapter(config, self.captions.encoder.config.d_model)
        self.calculus, self.coefficients = Calculus(), Coefficients()

    def groups(self) -> list[dict]:
        """All parameters; the encoder of a PilaAdapter at its own share of the learning rate."""
        if self.config.couple.kind == "plain":
            return [{"params": self.module.parameters()}]
        encoder = list(self.module.encoder.parameters())
        ids = {id(p) for p in encoder}
        rest = [p for p in self.module.parameters() if id(p) not in ids]
        scale = self.config.couple.encoder_lr_scale
        return [{"params": rest}, {"params": encoder, "lr_scale": scale}]

    def loss(self, step: int, rng: torch.Generator) -> tuple[Tensor, Mapping[str, float]]:
        """Flow error of v + dv, penalty on dv and, for PILA's adapter, L_phys; see the file's head.

        Returns:
            The loss [], and the flow errors with and without correction, RMS of dv over v, and
            each residual term by name.
        """
        couple = self.config.couple
        if couple.kind == "pila":
            self.module.encoder.requires_grad_(step >= couple.encoder_freeze)
        _, x_0, text, flags = draw_batch(
            self.cache, self.captions, self.config, rng, plausible_only=couple.plausible_only
        )
        sigma = noise_levels(len(x_0), self.config.generator.shift, rng)
        noise = torch.randn(x_0.shape, generator=rng)
        x_t = noised(x_0, noise, sigma)
        target = velocity_target(x_0, noise)
        with torch.no_grad():
            v = self.transformer(x_t, sigma * 1000, text, return_dict=False)[0]
        condition = pool_text(text) * ramp(step, couple.condition_warmup)
        # A dropped caption has no labels either: the parser would have nothing to read.
        labels = flags & (text.abs().sum((1, 2)) > 0)[:, None]
        physics = couple.kind == "pila" and couple.residual_weight > 0
        out = self.module(x_t, v, sigma, condition, labels, return_details=physics)
        dv = out.correction if physics else out
        error = (v + dv - target).square().mean((1, 2, 3, 4))
        frozen = (v - target).square().mean((1, 2, 3, 4))
        metrics = {
            "flow": error.mean().item(),
            "flow_frozen": frozen.mean().item(),
            "correction": (dv.square().mean() / v.square().mean()).sqrt().item(),
        }
        total = error.mean() + couple.correction_penalty * dv.square().mean()
        if physics:
            residual, report = self.residual(out, clean_estimate(x_t, v, sigma), flags, step)
            weight = couple.residual_weight * ramp(step, couple.residual_warmup)
            total = total + weight * residual
            routed = (out.route.weights * flags).sum(1).mean().item()
            spread = {f"std_{s}": out.bank[:, s.channels].std().item() for s in Slot}
            metrics |= {"residual": residual.item(), "routed_label_weight": routed}
            metrics |= spread | report
        return total, metrics

    def residual(
        self, out: AdapterOutput, x0_hat: Tensor, flags: Tensor, step: int
    ) -> tuple[Tensor, dict[str, float]]:
        """L_phys: the labels' losses on their experts' banks A_k, mean over labels and samples."""
        couple = self.config.couple
        # The reading of u is the anchor's; residuals must not move it.
        anchor = self.module.fields.velocity.weight.detach()

        def head(slot: Tensor) -> Tensor:
            return torch.einsum("oc,bcthw->bothw", anchor, slot)

        with torch.no_grad():
            before = read_fields(out.bank, head)
            mask = blended(
                bootstrap_mask(out.velocity, x0_hat, self.calculus),
                physical_mask(before, self.calculus),
                step,
                couple.mask_warmup,
            )
        # Operators alone: what they read is constant, so that no bank can be bent to their ease.
        banks = self.expert_banks(out) if couple.detach_bank else out.expert_banks()
        losses, report = [], {}
        for index, category in enumerate(Category):
            chosen = flags[:, index]
            if not chosen.any():
                continue
            # Plain A for a sample whose label was not routed: its residual then trains nothing.
            here = (out.route.indices == index)[:, :, None, None, None, None]
            routed = here.any(1)
            bank = torch.where(routed, (banks * here).sum(1), out.bank.detach())
            after = read_fields(bank[chosen], head)
            needed = recipe(category)
            options = {"form": couple.residual_form, "mask": mask[chosen]}
            with torch.no_grad():
                reference = residual_loss(
                    {s: before[s][chosen] for s in needed},
                    category,
                    self.calculus,
                    self.coefficients,
                    **options,
                ).denominators
            scored = residual_loss(
                {s: after[s] for s in needed},
                category,
                self.calculus,
                self.coefficients,
                denominators=reference,
                **options,
            )
            share = 1.0 / flags[chosen].sum(1)
            losses.append(scored.total * share)
            report |= {f"{category}.{name}": x for name, x in scored.report().items()}
        return torch.cat(losses).sum() / len(flags), report

    def expert_banks(self, out: AdapterOutput) -> Tensor:
        """A_k of the selected experts [b, k, 32, t, h, w], a function of the operators only."""
        refinement = self.module.experts(
            out.bank.detach(),
            out.feature.detach(),
            out.condition.detach(),
            out.route,
            return_updates=True,
        )
        return out.bank.detach().unsqueeze(1) + refinement.updates

    def export(self, folder: Path) -> Path:
        """Write the adapter as safetensors and JSON; the backbone must be as it was."""
        if module_hash(self.transformer) != self.frozen_hash:
            raise AssertionError("the frozen backbone changed during training")
        beside, final = folder / ".adapter.partial", folder / "adapter"
        shutil.rmtree(beside, ignore_errors=True)
        self.module.eval().save_pretrained(beside)
        (folder / "result.json").write_text(
            json.dumps(
                {
                    "backbone_sha256": self.frozen_hash,
                    "parameters": sum(p.numel() for p in self.module.parameters()),
                }
            )
        )
        shutil.rmtree(final, ignore_errors=True)
        return beside.rename(final)


def ramp(step: int, warmup: int) -> float:
    """0 to 1 over `warmup` steps; 1 where there is none."""
    return min(1.0, step / warmup) if warmup else 1.0
