"""Maps as plain data: what a file holds of them, and the maps it may name."""

from collections.abc import Callable
from typing import Any

import numpy as np
from array_api_compat import is_torch_array

from ..arrays import Array
from .activations import ACTIVATIONS
from .base import Chain, Identity, Map, as_list
from .coupling import AffineCoupling
from .devices import as_numpy
from .drawn import KIND, by_seed, drawn_again, entries
from .fourier import Cosine, RandomFourier
from .linear import Linear, Scale

# The maps of this folder that need no PyTorch; those of others are in `Map.kinds`.
KINDS = (
    *(Identity, Linear, Scale, *ACTIVATIONS, Cosine, RandomFourier),
    *(AffineCoupling, Chain),
)

# Kinds and makers of maps that need it.
OF_TORCH = {"Conv2d", "Patches", "patch_features"}
# Where the arrays of an inner map are, unless under its own name.
PLACES = {"log_scale": "s", "shift": "t"}
# The first edition had a second family of maps, for PyTorch.
FIRST_EDITION = {"conv.Chain", "conv.Linear", "conv.LeakyReLU", "conv.Conv2d"}


def describe(
    phi: Any, place: str, arrays: dict[str, np.ndarray], *, map_arrays: bool = True
) -> Any:
    """A map as plain data; its weights are put into `arrays`, under names that begin
    with `place`.

    With ``map_arrays=False`` a map whose seed draws it again, bit for bit, is described
    by that, without arrays. TypeError for a map without a `kind` of its own.

    >>> from ddref.maps import LeakyReLU
    >>> describe(LeakyReLU(0.5), "map", {})
    {'kind': 'LeakyReLU', 'slope': 0.5}
    """
    if phi is None:
        return None
    kind = type(phi).__dict__.get("kind")
    if kind is None or Map.kinds.get(kind) is not type(phi):
        raise TypeError(
            f"a file holds maps with a `kind`, {', '.join(sorted(Map.kinds))}; not "
            f"{type(phi).__module__}.{type(phi).__name__}: give its class one (see "
            "ddref.maps.Map), or pass its features as X and save a set of those"
        )
    if not map_arrays and (drawn := by_seed(phi, _weights_of)) is not None:
        return drawn
    numbers, weights, parts = phi.written()
    found = {"kind": kind}
    for name, value in numbers.items():
        found[name] = list(value) if isinstance(value, tuple) else value
    for name, A in weights.items():
        if A is not None:
            arrays[f"{place}/{name}"] = np.ascontiguousarray(as_numpy(A))

    def inner(name, part):
        where = f"{place}/{PLACES.get(name, name)}"
        return describe(part, where, arrays, map_arrays=map_arrays)

    return found | _each(parts, inner)


def _each(parts, inner):
    """``inner(name, part)`` of each map, and of each in a list by its number."""
    return {
        name: [inner(i, each) for i, each in enumerate(part)]
        if isinstance(part, list)
        else inner(name, part)
        for name, part in parts.items()
    }


def _weights_of(phi):
    """A map as plain data, and its weights by name."""
    weights: dict[str, np.ndarray] = {}
    return describe(phi, "", weights), weights


def restore(
    found: Any,
    place: str,
    arrays: dict[str, np.ndarray],
    *,
    max_bytes: int | None = None,
) -> Any:
    """The map that `describe` described; its arrays are taken out of `arrays`.

    Maps with a convolution are of PyTorch, all others of NumPy. ValueError for kinds
    that are not known here: nothing else is ever made; and for maps to be drawn again
    that are larger than `max_bytes`.

    >>> restore({"kind": "LeakyReLU", "slope": 0.5}, "map", {})
    LeakyReLU(0.5)
    """
    asarray = _tensors() if _has_convolution(found) else np.asarray
    if max_bytes is not None and 8 * entries(found) > max_bytes:
        raise ValueError(
            f"the feature map, drawn again from its seed, has {8 * entries(found):,} "
            f"bytes, more than max_bytes = {max_bytes:,}; refused"
        )
    return _restored(found, place, arrays, asarray, 0)


def _restored(found, place, arrays, asarray, depth):
    if found is None:
        return None
    if not isinstance(found, dict) or depth > 20:
        raise ValueError("the feature map is damaged")
    if found["kind"] == KIND:
        return drawn_again(found, asarray, _weights_of)
    first = found["kind"] in FIRST_EDITION
    cls = _class_of(found["kind"])
    renamed = {"weight": "A", "bias": "b"} if first and "weight" in cls.arrays else {}
    options = {name: found[name] for name in cls.numbers if not first or name in found}
    for name in cls.arrays:
        A = arrays.pop(f"{place}/{renamed.get(name, name)}", None)
        options[name] = None if A is None else asarray(A)

    def inner(name, part):
        where = f"{place}/{PLACES.get(name, name)}"
        return _restored(part, where, arrays, asarray, depth + 1)

    return cls(**options, **_each({name: found[name] for name in cls.maps}, inner))


def _class_of(kind):
    name = kind.removeprefix("conv.") if kind in FIRST_EDITION else kind
    known = Map.kinds | {cls.kind: cls for cls in KINDS}
    if name not in known:
        raise ValueError(
            f"the feature map has a step {kind!r} that this ddref does not know; if it "
            "is your own, import the file that defines it"
        )
    return known[name]


def _has_convolution(found, depth=0):
    """Whether plain data name a map of PyTorch."""
    if depth > 50:
        raise ValueError("the feature map is damaged")
    if isinstance(found, dict):
        kind = found.get("kind")
        if kind in OF_TORCH or found.get("maker") in OF_TORCH or kind in FIRST_EDITION:
            return True
        found = list(found.values())
    return isinstance(found, list) and any(
        _has_convolution(each, depth + 1) for each in found
    )


def _tensors():
    try:
        import torch

        from .patches import Patches  # noqa: F401  imports conv: both kinds are known
    except ImportError as error:
        raise ValueError(
            "the feature map is a convolutional network: install torch to read it, or "
            "ddref with its extra 'torch'"
        ) from error
    return lambda A: torch.from_numpy(np.array(A))


def plain(phi: Any) -> Any:
    """A copy of a map as a file holds it: of NumPy, and with a convolution of PyTorch
    on the CPU.

    TypeError for a map without a `kind` of its own.

    >>> from ddref.maps import LeakyReLU
    >>> plain(LeakyReLU(0.5)).slope
    0.5
    """
    arrays: dict[str, np.ndarray] = {}
    copy = restore(describe(phi, "map", arrays), "map", arrays)
    _take_over_seeds(phi, copy)
    return copy


def _take_over_seeds(phi, copy):
    """Where the parts of a map were drawn from seeds, so were those of its copy."""
    if phi is None:
        return
    copy.drawn = phi.drawn
    for name in phi.maps:
        parts = (as_list(getattr(each, name)) for each in (phi, copy))
        for part, same in zip(*parts, strict=True):
            _take_over_seeds(part, same)


def with_arrays(phi: Any, asarray: Callable[[Any], Array]) -> Any:
    """A copy of a map whose arrays are what `asarray` makes of those of NumPy.

    >>> from ddref.maps import Linear
    >>> with_arrays(Linear(np.eye(2)), np.float32).A.dtype
    dtype('float32')
    """
    arrays: dict[str, np.ndarray] = {}
    return _restored(describe(phi, "map", arrays), "map", arrays, asarray, 0)


def on_rows(phi: Any, rows: np.ndarray) -> np.ndarray:
    """Features of rows of NumPy in the dtype of the rows, whatever library the map has.

    >>> from ddref.maps import LeakyReLU
    >>> on_rows(LeakyReLU(0.5), np.array([[-2.0]]))
    array([[-1.]])
    """
    if getattr(phi, "like", None) is None or not is_torch_array(phi.like):
        return phi(rows)
    import torch

    return as_numpy(phi(torch.from_numpy(np.array(rows))))
