"""ProPhy's training: flow matching, and the two alignments of its experts with physics.

Loss: |v - (eps - x_0)|^2 + 0.1 L_coarse + 0.02 L_fine + 0.01 L_balance. L_fine's maps are a
vision-language model's attention (`pila data maps`) where the latent cache has them; for clips of
the simulated world they come from the true fields, which is a substitution and said so in results.
"""

from collections.abc import Mapping
from typing import Any

import torch
from accelerate import PartialState
from torch import Tensor

from pila.data.shards import Shards
from pila.data.sources import clip_maker
from pila.prophy.branch import check_branch_fit
from pila.prophy.losses import absolute_alignment, balance, relative_alignment, token_alignment
from pila.prophy.maps import Maps, to_tokens, write_maps
from pila.train.config import TrainConfig
from pila.train.in_generator import InsideTask
from pila.train.step_rng import StepRng


class ProPhyTask(InsideTask):
    """A branch of physics experts beside a frozen transformer."""

    def __init__(self, config: TrainConfig, device: torch.device | str = "cpu") -> None:
        super().__init__(config, device)
        self.maps = self._open_maps() if self._aligns_tokens else None

    def check_start(self, start: Mapping[str, Any], transformer: Mapping[str, Any]) -> None:
        """As for an adapter."""
        check_branch_fit(start, transformer)

    @property
    def needs_targets(self) -> bool:
        """Clips come from a latent cache, beside which their maps lie."""
        return self._aligns_tokens

    @property
    def _aligns_tokens(self) -> bool:
        prophy = self.config.prophy
        return bool(prophy.num_refinement and prophy.fine_weight)

    def extra(
        self, batch: Mapping[str, Tensor], draws: StepRng
    ) -> tuple[Tensor | float, Mapping[str, Tensor]]:
        """The weighted alignments and the balance, each where its experts are there."""
        prophy, routing = self.config.prophy, self.module.routing
        losses: dict[str, Tensor] = {}
        figures: dict[str, Tensor] = {}
        if routing.semantic is not None and prophy.coarse_weight:
            held = relative_alignment if prophy.coarse == "relative" else absolute_alignment
            expressed, labels = routing.expressed, batch["labels"]
            if len(draws.rows) < draws.batch:
                # Similarities are those of the step's captions, however few a forward holds: the
                # router reads captions alone, and those of the other rows cost next to nothing.
                said = self.captions(draws)
                expressed, labels = self.module.expressed(said["text"]), said["labels"]
            # Labels of a sample without a caption are none: a router that reads nothing.
            losses["coarse"] = held(expressed.float(), labels)
        if routing.refinement is not None:
            if prophy.fine_weight:
                maps, mask = self._token_maps(batch)
                losses["fine"] = token_alignment(routing.told.float(), maps, mask)
                figures["mapped"] = mask.float().mean()
            if prophy.balance_weight:
                losses["balance"] = balance(routing.refinement, routing.acting)
        for name, weights in (("semantic", routing.semantic), ("refinement", routing.refinement)):
            if weights is not None:
                use = weights.detach().flatten(0, -2).mean(0)
                figures[f"{name}_entropy"] = -(use * use.clamp_min(1e-9).log()).sum()
        total = sum(getattr(prophy, f"{name}_weight") * loss for name, loss in losses.items())
        return total, figures | {name: loss.detach() for name, loss in losses.items()}

    def alone(self, x_t: Tensor, sigma: Tensor, text: Tensor) -> Tensor:
        """The velocity with the branch switched off."""
        with self.module.disabled():
            return self.frozen.velocity(x_t, sigma, text)

    def _token_maps(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Maps [b, n, 8] at the tokens' size, and the mask: annotated category, positive map."""
        assert self.maps is not None
        found = self.maps.batch(batch["indices"].tolist())
        # What is below 0 drew less attention than without the question: no phenomenon there.
        maps = to_tokens(found["maps"].clamp_min(0), self.transformer.config["patch_size"])
        maps = maps.flatten(2).transpose(1, 2).to(self.device)
        return maps, batch["flags"][:, None] & (maps > 0)

    def _open_maps(self) -> Maps:
        """The maps beside the clips; those of the simulated world are made first, once."""
        assert isinstance(self.clips, Shards)
        if self.config.data is None:
            write_maps(self.clips.folder, clip_maker(self.config.world).activity_maps())
            PartialState().wait_for_everyone()  # each process makes its share
        return Maps(self.clips)
