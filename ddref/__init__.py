"""Provable dataset distillation for kernel ridge regression.

Every module is a room of its own: it can be copied alone into another project. Rows are samples,
`lam` is added to the diagonal as given, and results keep the library, dtype and device of the inputs.

Modules are loaded on first use, so that ``import ddref`` needs neither PyTorch nor scikit-learn.
"""

from importlib import import_module

__version__ = "0.1.0"
__all__ = [
    "conv",
    "datasets",
    "deep_linear",
    "distill",
    "fourier",
    "frontier",
    "gauge",
    "intercept",
    "krr",
    "labels_only",
    "maps",
    "measure",
    "nearest",
    "recipe",
]


def __getattr__(name):
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *__all__])
