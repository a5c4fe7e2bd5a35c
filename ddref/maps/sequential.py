"""Maps from networks of PyTorch."""

import math
from typing import Any

import torch

from ..npz import shortened
from .activations import ACTIVATIONS
from .base import OTHERWISE, Chain, Map, row_norms
from .conv import Conv2d, input_sizes
from .linear import Linear, Scale

# Activations that are not onto, by their range; those of this folder say it themselves.
RANGES = {
    "ReLU6": "[0, 6]",
    "ELU": "(-alpha, inf)",
    "CELU": "(-alpha, inf)",
    "SELU": "(-1.76, inf)",
    "GELU": "[-0.17, inf)",
    "SiLU": "[-0.28, inf)",
    "Mish": "[-0.31, inf)",
    "Softplus": "(0, inf)",
    "LogSigmoid": "(-inf, 0)",
    "Softsign": "(-1, 1)",
    "Hardtanh": "bounded",
    "Hardsigmoid": "[0, 1]",
    "Hardswish": "[-0.375, inf)",
    "Softmax": "the simplex",
    "LogSoftmax": "(-inf, 0]",
}
SUPPORTED = (
    "Linear, Conv2d, LeakyReLU, PReLU of one slope, Flatten, Unflatten, and in eval() "
    "BatchNorm, Dropout"
)
WORDS = 60  # letters of a layer in a message
DROPOUT = (
    *("Dropout", "Dropout1d", "Dropout2d", "Dropout3d"),
    *("AlphaDropout", "FeatureAlphaDropout"),
)


def from_torch(network: torch.nn.Sequential, input_shape: Any) -> Chain:
    """The feature map of a `torch.nn.Sequential` whose every layer is onto.

    Parameters
    ----------
    network : torch.nn.Sequential
        Of Linear, Conv2d, Flatten, Unflatten, Identity, Sequential, the activations of
        `ddref.maps` (LeakyReLU, PReLU with one slope) and your own maps, by their
        `torch_modules`; of batch normalisation and dropout after `network.eval()`.
        Modules used twice count twice. Weights are copied.
    input_shape : (c, h, w) or (d,)
        Of one input.

    Returns
    -------
    Chain
        On rows; it gives what the network gives, flattened.

    Raises
    ------
    ValueError
        Names the first layer that is not onto, with its rank or range, or that is not
        supported; or says by how much the map differs from the network on random
        points: a map that is returned agrees.
    TypeError
        When `network` is not a Sequential.

    Notes
    -----
    Book: thm-surjective, prop-convolution.

    Examples
    --------
    >>> layer = torch.nn.Conv2d(1, 4, 2, stride=2)
    >>> network = torch.nn.Sequential(layer, torch.nn.GELU())
    >>> from_torch(network, (1, 4, 4))
    Traceback (most recent call last):
        ...
    ValueError: layer 1, GELU(approximate='none'), is not onto: its range is [-0.17,
    inf); use LeakyReLU; otherwise ddref.nonsurjective.solve, or feature_map=net
    (PyTorch) in an estimator
    """
    if not isinstance(network, torch.nn.Sequential):
        raise TypeError(
            f"network must be a torch.nn.Sequential, got {type(network).__name__}; "
            f"{OTHERWISE}"
        )
    sizes = shape = input_sizes(input_shape)
    steps: list[Map] = []
    for name, layer in _layers_as_applied(network, "the network"):
        where = f"layer {name}, {shortened(str(layer), WORDS)},"
        try:
            step, shape = _as_map(layer, shape)
        except ValueError as error:
            raise ValueError(f"{where} {error}; {OTHERWISE}") from error
        if step is not None and step.obstacle is not None:
            found = step.obstacle.partition(" is not onto: ")[2] or step.obstacle
            raise ValueError(f"{where} is not onto: {found}; {OTHERWISE}")
        steps += [] if step is None else [step]
    if not steps:
        raise ValueError("network has no layer that computes anything")
    phi = Chain(steps)
    _check_same(phi, network, sizes)
    return phi


def _layers_as_applied(network, where, prefix=""):
    """Every layer each time that `forward` comes to it, with its name."""
    _check_plain(network, where)
    if type(network).forward is not torch.nn.Sequential.forward:
        raise ValueError(
            f"{where}, a {type(network).__name__}, has a forward of its own, which is "
            f"not supported; {OTHERWISE}"
        )
    for name, layer in zip(network._modules, network, strict=True):
        if isinstance(layer, torch.nn.Sequential):
            inner = f"layer {prefix}{name}"
            yield from _layers_as_applied(layer, inner, f"{prefix}{name}.")
        else:
            words = shortened(str(layer), WORDS)
            _check_plain(layer, f"layer {prefix}{name}, {words},")
            yield prefix + name, layer


def _check_plain(layer, where):
    """Refuse what makes a module compute something else than its kind does."""
    hooks = ("_forward_hooks", "_forward_pre_hooks")
    if any(getattr(layer, name) for name in hooks) or "forward" in vars(layer):
        raise ValueError(
            f"{where} has hooks or a forward that was replaced: take them off first "
            f"(torch.nn.utils.remove_weight_norm, remove_spectral_norm); {OTHERWISE}"
        )
    if torch.nn.utils.parametrize.is_parametrized(layer):
        raise ValueError(
            f"{where} has parametrised weights: fix them first with "
            "torch.nn.utils.parametrize.remove_parametrizations(layer, 'weight'); "
            f"{OTHERWISE}"
        )


def _as_map(layer, shape):
    """The map of a layer (None where rows do not change) and the shape after it."""
    name = type(layer).__name__
    ours = getattr(torch.nn, name, None) is type(layer)
    if ours and name in CONVERSIONS:
        return CONVERSIONS[name](layer, shape)
    for kind in {*ACTIVATIONS, *Map.kinds.values()}:
        known = (
            getattr(torch.nn, m) if isinstance(m, str) else m
            for m in kind.torch_modules
        )
        if type(layer) in known:
            return kind.from_torch(layer), shape
    if ours and name in RANGES:
        raise ValueError(f"is not onto: its range is {RANGES[name]}; use LeakyReLU")
    raise ValueError(f"is not supported; supported are {SUPPORTED}")


def _unchanged(layer, shape):
    return None, shape


def _dropout(layer, shape):
    if layer.training and layer.p > 0:
        raise ValueError("is in training mode, where it is random: call net.eval()")
    return None, shape


def _flatten(layer, shape):
    if layer.start_dim != 1 or layer.end_dim not in (-1, len(shape)):
        raise ValueError("is not supported: it must flatten all of an image, Flatten()")
    return None, (math.prod(shape),)


def _unflatten(layer, shape):
    sizes = tuple(layer.unflattened_size)
    numbers = all(isinstance(n, int) and n > 0 for n in sizes)
    if layer.dim not in (1, -1) or len(shape) != 1 or len(sizes) != 3 or not numbers:
        raise ValueError(
            "is not supported: it must give (channels, height, width) to a row, no -1"
        )
    if math.prod(sizes) != math.prod(shape):
        raise ValueError(f"does not fit its input of {math.prod(shape)} features")
    return None, sizes


def _linear(layer, shape):
    if len(shape) != 1:
        raise ValueError(f"gets images of shape {shape}: put Flatten() before it")
    if shape[0] != layer.in_features:
        raise ValueError(f"takes {layer.in_features} features and gets {shape[0]}")
    bias = None if layer.bias is None else layer.bias.detach()
    return Linear(layer.weight.detach().mT, bias), (layer.out_features,)


def _batch_norm(layer, shape):
    if (name := type(layer).__name__) != ("BatchNorm1d", "BatchNorm2d")[
        len(shape) // 3
    ]:
        raise ValueError(f"does not fit its input, {shape}: {name} is for other shapes")
    if layer.num_features != shape[0]:
        raise ValueError(f"takes {layer.num_features} features and gets {shape[0]}")
    return Scale.from_torch(layer).repeated(math.prod(shape[1:])), shape


def _convolution(layer, shape):
    if layer.groups != 1 or layer.dilation != (1, 1) or layer.padding_mode != "zeros":
        raise ValueError(
            "is not supported: groups and dilation must be 1, padding_mode 'zeros'"
        )
    if len(shape) != 3:
        raise ValueError(
            f"gets rows of {shape[0]} features: pass input_shape=(c, h, w), or "
            "Unflatten them"
        )
    padding = 0 if layer.padding == "valid" else layer.padding
    if padding == "same":
        if not all(side % 2 for side in layer.kernel_size):
            raise ValueError(
                "is not supported: padding 'same' with a kernel of even size is not "
                "symmetric"
            )
        padding = tuple(side // 2 for side in layer.kernel_size)
    options = {"input_shape": shape, "stride": layer.stride, "padding": padding}
    try:
        step = Conv2d(layer.weight, layer.bias, **options)
    except ValueError as error:
        raise ValueError(f"does not fit its input: {error}") from error
    return step, step.output_shape


# Layers that depend on the shape of what they get, or do nothing.
CONVERSIONS = {
    "Linear": _linear,
    "Conv2d": _convolution,
    "BatchNorm1d": _batch_norm,
    "BatchNorm2d": _batch_norm,
    "Flatten": _flatten,
    "Unflatten": _unflatten,
    "Identity": _unchanged,
    **dict.fromkeys(DROPOUT, _dropout),
}


@torch.no_grad()
def _check_same(phi, network, sizes):
    """Refuse a map that differs from its network on a few random points."""
    weights = phi.like
    if weights is None:
        weights = torch.zeros(1, 1, dtype=torch.float64)
    random = torch.Generator().manual_seed(0)
    X = torch.randn(5, math.prod(sizes), dtype=torch.float64, generator=random)
    X = X.to(weights.device, weights.dtype)
    found = phi(X)
    wanted = network(X.clone().reshape(-1, *sizes)).flatten(1)
    eps = torch.finfo(weights.dtype).eps
    allowed = phi.rounding(X, found)
    allowed = eps**0.5 * row_norms(wanted) if allowed is None else allowed * eps * 2**52
    if found.shape != wanted.shape or not bool(
        (row_norms(found - wanted) <= allowed).all()
    ):
        difference = float(row_norms(found - wanted).max() / row_norms(wanted).max())
        raise ValueError(
            f"the map differs from the network, by {difference:.3g} relative to its "
            f"features on random points: it computes something else; {OTHERWISE}"
        )
