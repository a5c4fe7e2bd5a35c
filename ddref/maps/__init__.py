"""Feature maps with exact right inverses: compositions of steps that can be undone.

A map is called on rows, ``Phi = phi(X)``, and where it is onto,
``phi(phi.preimage(Phi)) = Phi``: a distilled set of features can be pulled back to
inputs. Every map has `input_dim` and `output_dim` (None where any width will do),
`is_onto()`, `range_scale(Phi)`, `to(dtype=, device=)`, and can be saved. NumPy and
PyTorch alike; convolutions and `from_torch` need PyTorch and load it when first used.
So do `Patches`, convolutional features for photographs, which have no inverse.
"""

from importlib import import_module

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


def __getattr__(name: str) -> object:
    if name in _WITH_TORCH:
        try:
            return getattr(import_module(f"{__name__}.{_WITH_TORCH[name]}"), name)
        except ModuleNotFoundError as error:
            raise ImportError(
                f"maps.{name} needs PyTorch: install torch, or ddref with its extra "
                "'torch'"
            ) from error
    if name in ("conv", "patches", "sequential", "written"):
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
