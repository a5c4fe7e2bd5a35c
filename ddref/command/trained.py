"""Files of ``python -m ddref.statistics``: a model, or sums of samples, no data."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..npz import load_npz, shortened
from .report import aligned

MODEL = "W lam n lams scores classes phi".split()
SUMS = "format shape numbers products note".split()
# What a model settles: options of a training, and their defaults.
SETTLED = {
    "lam": ["auto"],
    "select": "gcv",
    "scaling": "auto",
    "map": None,
    "map_arrays": False,
    "epsilon": None,
}


class Trained(NamedTuple):
    """A model of ridge regression without an intercept."""

    W: np.ndarray  # (p, k)
    lam: float
    n: int  # samples
    tried: int  # values of lam
    classes: bool | None  # whether the targets were one-hot; None: not known
    phi: str  # MODULE:FUNCTION of the feature map, "" for none


def read_trained(path: str | Path, max_bytes: int) -> Trained | str | None:
    """A model, or what sums of samples are, in words; None for any other file."""
    path = Path(path).expanduser()
    if path.suffix.lower() != ".npz" or not path.is_file():
        return None
    found = load_npz(path, max_bytes=max_bytes, only=["header", *MODEL, *SUMS])
    if set(SUMS) <= set(found) and not {"header", "W"} & set(found):
        p, k, n = (int(size) for size in found["shape"].ravel()[:3])
        note = f", of {shortened(str(found['note']), 60)!r}" if found["note"] else ""
        return f"sums over {n:,} samples: {p:,} features, {k:,} targets{note}"
    if "header" in found or not {"W", "lam", "n"} <= set(found):
        return None
    try:
        return _checked(found)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: W (p, k), lam and n are not those of a model"
        ) from error


def _checked(found):
    """A model from the arrays of its file."""
    W, lam, n = found["W"], float(found["lam"]), int(found["n"])
    plain = W.ndim == 2 and 0 not in W.shape and W.dtype.kind == "f"
    if not (plain and np.isfinite(W).all() and 0 <= lam < np.inf and n > 0):
        raise ValueError
    classes = int(found["classes"]) if "classes" in found else None
    return Trained(
        W.astype(np.float64),
        lam,
        n,
        np.size(found.get("lams", 0.0)),
        None if classes is None else classes > 0,
        str(found.get("phi", "")),
    )


def described(found: Trained | str) -> str:
    """What such a file holds, as lines of text."""
    if isinstance(found, str):
        model = "ddref.DistilledRidge(lam=..., init='orthonormal', fit_intercept=False)"
        sums = ".fit_statistics(ddref.statistics.Statistics.load(FILE))"
        return aligned({"statistics": found, "a set of them": model, "": sums})
    p, k = found.W.shape
    kind = {True: "classes", False: "targets", None: "targets or classes"}
    reads = f"features of {found.phi}" if found.phi else "columns"
    tried = f", chosen from {found.tried}" if found.tried > 1 else ""
    lines = {
        "model": "ridge regression without an intercept, by ddref.statistics",
        "reads": f"{p:,} {reads}",
        "predicts": f"{k:,} {kind[found.classes]}",
        "lam": f"{found.lam:.6g}{tried}",
        "training samples": f"{found.n:,}",
        "a set of it": "ddref distill FILE --out OUT.npz",
    }
    return aligned(lines)


def distilled(
    found: Trained, options: argparse.Namespace, note: Callable[[str], None]
) -> Any:
    """The estimator that carries the set of a model."""
    from ..estimator import from_model

    _check_options(found, options)
    k = found.W.shape[1]
    classes = found.classes if options.task is None else options.task != "regression"
    if classes is None:
        note("task: regression (of classes, say --task classification)")
    if found.phi:
        note(f"points are rows of features, those of {found.phi}")
    model = from_model(
        found.W,
        classes=np.arange(max(k, 2)) if classes else None,
        n_points=options.points,
        lam_s=options.lam_s,
        dtype=options.dtype,
        image_shape=options.image_shape,
        random_state=options.seed,
        device=options.device,
    )
    model.lam_ = found.lam
    return model


def _check_options(found, options):
    """Refuse what a model that is trained settles."""
    given = [
        name for name, default in SETTLED.items() if vars(options)[name] != default
    ]
    if given:
        raise ValueError(
            f"--{given[0].replace('_', '-')} belongs to a training, and the model of "
            f"{options.input} is trained: leave it out"
        )
    if options.init not in (None, "orthonormal"):
        raise ValueError(
            f"--init {options.init} needs samples, and {options.input} holds a model: "
            "pass --init orthonormal, or distil the data"
        )
    task = "classification" if found.classes else "regression"
    if found.classes is not None and options.task not in (None, task):
        raise ValueError(
            f"--task {options.task}: {options.input} holds a model for {task}"
        )
    if options.task == "multilabel":
        raise ValueError("--task multilabel: say regression, and take scores above 0.5")
