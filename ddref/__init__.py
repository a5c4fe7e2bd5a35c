"""Provable dataset distillation for kernel ridge regression.

Files are the paper, one subject each, folders what surrounds it; all stand on `arrays`.
Rows are samples, `lam` is added to the diagonal as given, and results keep the library,
dtype and device of the inputs. ``ddref copy NAME`` writes a function with all it needs
into one file.

Modules are loaded on first use: ``import ddref`` needs neither PyTorch nor
scikit-learn.
"""

from importlib import import_module

__version__ = "0.2.0"
# Names of the module estimator.
_ESTIMATORS = ("DistilledRidge", "DistilledRidgeClassifier", "Distiller", "from_model")
__all__ = [
    *_ESTIMATORS,
    "load",
    "arrays",
    "book",
    "datasets",
    "deep_linear",
    "distill",
    "estimator",
    "exercises",
    "files",
    "frontier",
    "gauge",
    "intercept",
    "kernel_points",
    "kip",
    "krr",
    "labels_only",
    "maps",
    "measure",
    "nearest",
    "nonsurjective",
    "npz",
    "privacy",
    "recipe",
    "spectrum",
    "statistics",
    "tables",
]
_MOVED = ("conv", "distributed", "fourier")  # their files say where to


def __getattr__(name):
    if name in _ESTIMATORS:
        return getattr(import_module(f"{__name__}.estimator"), name)
    if name == "load":
        return import_module(f"{__name__}.files").load
    if name in __all__ or name in _MOVED:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *__all__])
