"""Stage C, couple: the adapter learns to correct a frozen generator on plausible clips.

Loss: |v' - (eps - x_0)|^2 + lambda L_phys + 0.01 |dv|^2 (App. B). Against evasion of L_phys
(trial.md, lesson 3) it is normalised over the labels, so that the router cannot lower it; the
bank under the experts is detached and its own sizes are the denominators, so that neither an
inflated nor a collapsed bank can.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pila.adapter import AdapterOutput, pool_text
from pila.adapter.blocks import ResidualBlock
from pila.physics import TERMS, Calculus, Coefficients, Form, read_fields, residual_loss
from pila.physics.bank import Category, Slot
from pila.train.adapter_task import AdapterTask
from pila.train.config import TrainConfig
from pila.train.masks import blended, bootstrap_mask, motion_weight, physical_mask
from pila.train.noise import masked_mean, shifted
from pila.train.observe import balanced, distance
from pila.train.optimizer import HIDDEN
from pila.train.recover import slot_anchors
from pila.train.step_rng import StepRng, on_device, pinned
from pila.types import Vector


class CoupleTask(AdapterTask):
    """An adapter on a frozen generator; one frozen forward a step."""

    def __init__(
        self,
        config: TrainConfig,
        device: torch.device | str = "cpu",
        backbone: nn.Module | None = None,
    ) -> None:
        super().__init__(config, device, backbone)
        self.calculus, self.coefficients = Calculus(), Coefficients()
        self.start = self._spread_at_start() if config.couple.kind == "pila" else {}

    def groups(self) -> list[dict]:
        """What residual blocks multiply by, and the rest; a PilaAdapter's encoder by itself.

        The encoder learns at its own share of the learning rate.
        """
        encoder = getattr(self.module, "encoder", None)
        taught = set() if encoder is None else set(encoder.parameters())
        blocks = [part for part in self.module.modules() if isinstance(part, ResidualBlock)]
        hidden = {p for block in blocks for p in block.parameters() if p.ndim >= 2}
        found = []
        for scale, mine in ((1.0, False), (self.config.couple.encoder_lr_scale, True)):
            some = [p for p in self.module.parameters() if (p in taught) == mine]
            rest = [p for p in some if p not in hidden]
            within = [p for p in some if p in hidden]
            found.append({"params": rest, "lr_scale": scale})
            found.append({"params": within, "lr_scale": scale, HIDDEN: True})
        return [group for group in found if group["params"]]

    def loss(self, draws: StepRng) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Flow error of v + dv, penalty on dv and, for PILA's adapter, L_phys; see the file's head.

        Returns:
            The loss [], and the flow errors with and without correction, RMS of dv over v (also for
            the upper and lower noise levels), and each residual term by name.
        """
        couple, step = self.config.couple, draws.step
        self._rest_encoder(step)
        batch, p = self.predicted(draws)
        self.module.condition.text_share = ramp(step, couple.condition_warmup)
        condition = pool_text(batch["text"])
        weights = (couple.residual_weight, couple.anchor_weight, couple.slot_weight)
        physics = couple.kind == "pila" and max(weights) > 0
        given = (p.x_t, p.v, p.sigma, condition, batch["labels"])
        out = self.module(*given, return_details=physics, check_finite=self.checking)
        dv = out.correction if physics else out
        off = (p.v + dv - p.target).square()
        error = off.mean((1, 2, 3, 4))
        off_frozen = (p.v - p.target).square()
        frozen = off_frozen.mean((1, 2, 3, 4))
        metrics = {"flow": error.detach().mean(), "flow_frozen": frozen.mean()}
        metrics |= _correction_sizes(dv, p.v, p.sigma)
        counted = error
        if couple.moving:
            weight = motion_weight(p.x0_hat, couple.moving)
            before = (off_frozen * weight).mean()
            counted = (off * weight).mean((1, 2, 3, 4))
            metrics |= {"moving": counted.detach().mean(), "moving_frozen": before}
        total = counted.mean() + couple.correction_penalty * dv.square().mean()
        if physics:
            residual, report = self.residual(out, p.x0_hat, batch["categories"], step)
            weight = couple.residual_weight * ramp(step, couple.residual_warmup)
            total = total + weight * residual
            metrics |= {"residual": residual.detach()} | report
            metrics |= self._bank_report(out, batch["flags"])
            if couple.slot_weight > 0:
                held = slot_anchors(
                    out.estimate.fields, p.x0_hat, batch, calibrated=self.config.recover.calibrated
                )
                total = total + couple.slot_weight * torch.stack([*held.values()]).sum()
                metrics |= {f"anchor_{slot}": lost.detach() for slot, lost in held.items()}
            if couple.anchor_weight > 0:
                anchor = self.anchor(out.velocity, batch, p.sigma)
                total = total + couple.anchor_weight * anchor
                metrics["anchor"] = anchor.detach()
        return total, metrics

    @property
    def needs_targets(self) -> bool:
        """Whether clips must bring motion targets or true fields."""
        return self.config.couple.anchor_weight > 0 or self.needs_truth

    @property
    def needs_truth(self) -> bool:
        """Whether slots are held to true fields."""
        return self.config.couple.slot_weight > 0 and self.config.recover.calibrated

    def anchor(self, u: Vector, batch: Mapping[str, Tensor], sigma: Tensor) -> Tensor:
        """Stage A's error of motion [] on the samples whose noise stage A has seen, else 0."""
        widest = torch.tensor(max(self.config.observe.ranges))
        seen = sigma <= shifted(widest, self.config.generator.shift).item()
        share = balanced(batch["flow"], batch["confidence"]) * seen[:, None, None, None, None]
        # A mean over all samples, so that micro-batches add up to the whole batch.
        return distance(u, batch["flow"], share)

    def _rest_encoder(self, step: int) -> None:
        """Keep the encoder as earlier stages left it for its first steps."""
        couple = self.config.couple
        if couple.kind == "pila":
            self.module.encoder.requires_grad_(step >= couple.encoder_freeze)

    def _bank_report(self, out: AdapterOutput, flags: Tensor) -> dict[str, Tensor]:
        """Std of every slot against its start, routed label weight, and the experts' use."""
        spread, weights = spreads(out), out.route.weights.detach()
        report = {"routed_label_weight": (weights * flags).sum(1).mean()}
        report |= {f"std_{s}": std for s, std in spread.items()}
        report |= {f"kept_{s}": (std / max(self.start[s], 1e-9)) ** 2 for s, std in spread.items()}
        return report | {f"use_{c}": u for c, u in zip(Category, weights.mean(0), strict=True)}

    @torch.no_grad()
    def _spread_at_start(self) -> dict[Slot, float]:
        """Each slot's std before the first step, against which collapse shows; also on resuming."""
        draws = StepRng(seed=self.config.seed, step=0, batch=4, rows=range(4))
        batch = self._placed(self._drawn(self.training, draws))
        p = self.frozen.predict(*(batch[n] for n in ("latents", "noise", "sigma", "text")))
        module = self.module.to(self.device)
        condition = pool_text(batch["text"])
        out = module(p.x_t, p.v, p.sigma, condition, return_details=True)
        module.decoder.set_bank_scale(out.refined.std((0, 2, 3, 4)))
        return {slot: std.item() for slot, std in spreads(out).items()}

    def residual(
        self, out: AdapterOutput, x0_hat: Tensor, flags: Tensor, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """L_phys: the labels' losses on their experts' banks A_k, mean over labels and samples.

        Args:
            out: the adapter's output.
            x0_hat: the frozen generator's clean estimate.
            flags: which categories are at work in each clip, bool [b, 8], on the host.
            step: of the training, for the masks' warm-up.
        """
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
        relative = couple.residual_form == Form.RELATIVE
        losses, report = [], {}
        for index, category in enumerate(Category):
            rows = flags[:, index].nonzero()[:, 0]
            terms = [term for term in TERMS[category] if term.family in couple.families]
            if not (terms and len(rows)):
                continue
            # By index, not by mask: the host knows how many they are, and need not wait to ask.
            share = 1.0 / flags[rows].sum(1)
            on_host = pinned({"rows": rows, "share": share}, self.device)
            chosen, share = on_device(on_host, self.device).values()
            # Plain A for a sample whose label was not routed: its residual then trains nothing.
            here = (out.route.indices == index)[:, :, None, None, None, None]
            routed = here.any(1)
            bank = torch.where(routed, (banks * here).sum(1), out.bank.detach())
            after = read_fields(bank[chosen], head)
            needed = {slot for term in terms for slot in term.reads}
            # The paper's plain form is held against nothing.
            baseline_fields = {slot: before[slot][chosen] for slot in needed} if relative else None
            scored = residual_loss(
                {slot: after[slot] for slot in needed},
                terms,
                self.calculus,
                self.coefficients,
                form=couple.residual_form,
                mask=mask[chosen],
                baseline_fields=baseline_fields,
                check_finite=self.checking,
            )
            losses.append(scored.total * share)
            report |= {f"{category}.{name}": x for name, x in scored.means.items()}
        if not losses:
            return out.correction.new_zeros(()), report
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


def spreads(out: AdapterOutput) -> dict[Slot, Tensor]:
    """Standard deviation [] of each slot of the bank before the experts."""
    return {s: out.bank[:, s.channels].detach().std() for s in Slot}


def _correction_sizes(dv: Tensor, v: Tensor, sigma: Tensor) -> dict[str, Tensor]:
    """RMS of dv over v: of all samples, and of those above and below sigma 0.8."""
    sizes = (dv.square().mean((1, 2, 3, 4)) / v.square().mean((1, 2, 3, 4))).detach().sqrt()
    parts = {"": sigma >= 0, "_high": sigma > 0.8, "_low": sigma <= 0.8}
    return {f"correction{name}": masked_mean(sizes, part) for name, part in parts.items()}


def ramp(step: int, warmup: int) -> float:
    """0 to 1 over `warmup` steps; 1 where there is none."""
    return min(1.0, step / warmup) if warmup else 1.0
