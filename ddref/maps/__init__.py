"""Feature maps with exact right inverses: compositions of steps that can be undone.

A map is called on rows, ``Phi = phi(X)``, and where it is onto,
``phi(phi.preimage(Phi)) = Phi``: a distilled set of features can be pulled back to
inputs. Every map has `input_dim` and `output_dim` (None where any width will do),
`is_onto()`, `range_scale(Phi)`, `to(dtype=, device=)`, and can be saved. NumPy and
PyTorch alike; convolutions and `from_torch` need PyTorch and load it when first used.
So do `Patches`, convolutional features for photographs, which have no inverse.
"""

from ..lazy import lazily
from .activations import Activation, Asinh, LeakyReLU, ReLU, Sigmoid, Tanh
from .base import Chain, Identity, Map
from .coupling import AffineCoupling
from .fourier import (
    Cosine,
    CubeSet,
    RandomFourier,
    gaussian_features,
    into_cube,
    orthogonal_features,
)
from .linear import Affine, Linear, Scale
from .networks import flow, leaky_relu_network

_WITH_TORCH = {
    "Conv2d": "conv",
    "small_cnn": "conv",
    "from_torch": "sequential",
    "Patches": "patches",
    "patch_features": "patches",
}
__all__ = [
    "Activation",
    "Affine",
    "AffineCoupling",
    "Asinh",
    "Chain",
    "Cosine",
    "CubeSet",
    "Identity",
    "LeakyReLU",
    "Linear",
    "Map",
    "RandomFourier",
    "ReLU",
    "Scale",
    "Sigmoid",
    "Tanh",
    "flow",
    "gaussian_features",
    "into_cube",
    "leaky_relu_network",
    "orthogonal_features",
]
__all__ += [*_WITH_TORCH]

__getattr__ = lazily(
    __name__, _WITH_TORCH, ("conv", "patches", "sequential", "written")
)
