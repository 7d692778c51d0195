"""Shape aliases. Axes: b batch, c channels, t latent frames, h height (y), w width (x).

Vectors are (x, y) = (width, height); symmetric tensors are (xx, yy, xy).
"""

from jaxtyping import Float
from torch import Tensor

Latent = Float[Tensor, "b c t h w"]
"""Latents, flow-matching velocities and any other grid of c channels."""
Scalar = Float[Tensor, "b 1 t h w"]
Vector = Float[Tensor, "b 2 t h w"]
SymTensor = Float[Tensor, "b 3 t h w"]
Field = Float[Tensor, "b c t h w"]
"""A canonical field of any width: Scalar, Vector or SymTensor."""
AnyField = Float[Tensor, "b _ t h w"]
BankTensor = Float[Tensor, "b 32 t h w"]
"""The packed attribute bank (Eq. 12): ten slots in `pila.physics.Slot` order."""
Sigma = Float[Tensor, " b"]
"""Noise level of flow matching in [0, 1]; 1 is pure noise."""
FrameSigma = Float[Tensor, "b t"]
"""A noise level for each latent frame."""
