"""What an adapter must offer a backbone, and a backbone an adapter."""

from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from pila.errors import InputError
from pila.types import Latent, Sigma


@runtime_checkable
class Backbone(Protocol):
    """A frozen flow-matching generator of latent videos, as training and evaluation see it."""

    latent_channels: int
    """Channels of the latents, and of the velocity, that it denoises."""
    text_width: int
    """Width of the prompt embeddings that condition it."""

    def velocity(self, x_t: Latent, sigma: Sigma, prompt_embeds: Tensor) -> Latent:
        """Predict v = eps - x_0 at x_t [b, c, t, h, w] and sigma [b] under embeddings [b, n, d]."""
        ...


@runtime_checkable
class VelocityAdapter(Protocol):
    """A correction of a backbone's velocity; `config` holds `latent_channels` and `text_dim`."""

    config: Any

    def __call__(
        self,
        x_t: Latent,
        v: Latent,
        sigma: Sigma,
        text: Tensor,
        category_mask: Tensor | None = None,
        *,
        top_k: int | None = None,
        return_details: bool = False,
    ) -> Any:
        """Correction dv [b, c, t, h, w]; with `return_details` an object with `.correction`."""
        ...


def check_fit(adapter: Any, transformer: Any) -> None:
    """Refuse an adapter whose latent channels or text width are not the transformer's.

    Either argument is a model with a `config`, or such a config itself (a mapping).

    Raises:
        InputError: with both numbers.
    """
    mine, theirs = _config(adapter), _config(transformer)
    for key in ("latent_channels", "text_dim"):
        if mine.get(key) is None:
            raise InputError(
                f"{type(adapter).__name__} has no {key} in its config, so it is not a velocity "
                "adapter; pass a PilaAdapter"
            )
    # diffusers leaves out_channels empty where it equals in_channels; image-to-video denoisers
    # take extra condition channels in, so only the outputs count.
    channels = theirs.get("out_channels") or theirs.get("in_channels")
    if mine["latent_channels"] != channels:
        raise InputError(
            f"the adapter's latent_channels is {mine['latent_channels']}, but the transformer "
            f"denoises {channels} latent channels; use an adapter trained on this VAE's latents"
        )
    if mine["text_dim"] != theirs.get("text_dim"):
        raise InputError(
            f"the adapter's text_dim is {mine['text_dim']}, but the transformer's prompt "
            f"embeddings are {theirs.get('text_dim')} wide; use an adapter trained with this text "
            "encoder"
        )


def _config(model: Any) -> dict[str, Any]:
    config = model if isinstance(model, dict) else getattr(model, "config", None)
    return dict(config) if config is not None else {}
