"""Fits that are differentially private: of the samples nothing but noisy sums is taken.

Rows of features and targets are clipped to public bounds and summed, `privacy.release`
adds noise to the sums, and everything else is computed from that: the model, the set,
its certificate. Whatever would look at the samples a second time is refused.
"""

import math
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin

from ..arrays import check_lam
from ..datasets import one_hot
from ..distill import minimal_points
from ..privacy.accounting import noise_scale
from ..privacy.mechanism import ClippedStatistics, Release, release
from ..statistics.rows import parts
from ..tables.frames import is_frame
from .points import dense_rows, plain_rows

RELATION = "add or remove one sample"  # what neighbouring data sets differ by
ONLY_HERE = ("delta", "clip", "classes", "bound")  # parameters that belong to epsilon


def generator() -> np.random.Generator:
    """The source of the noise, seeded by the operating system.

    `random_state` never is: whoever knows a seed can take the noise away. Tests that
    need the same noise twice put another function in the place of this one.
    """
    return np.random.default_rng()


def is_private(model: Any) -> bool:
    """Whether a fit has to be private.

    ValueError for a parameter that has no meaning without `epsilon`.
    """
    if model.epsilon is not None:
        return True
    for name in ONLY_HERE:
        if getattr(model, name, None) is not None:
            raise ValueError(
                f"{name} is for a private fit, and without epsilon nothing is private: "
                f"pass epsilon, or leave {name} out"
            )
    return False


def refuse(model: Any, method: str) -> None:
    """ValueError for a method that is not private, where a fit has to be."""
    if is_private(model):
        raise ValueError(
            f"{method} is not private, and epsilon is set: sum clipped rows with "
            "privacy.ClippedStatistics, and pass privacy.release(...).solve() to "
            "estimator.from_model"
        )


def fit(model: Any, X: Any, y: Any, sample_weight: Any) -> Any:
    """Fit an estimator to rows X (n, d) and y, privately, and distil."""
    _refuse_first(_looks_of_data(X, sample_weight))
    X, y = model._validated(X, y, y_numeric=not isinstance(model, ClassifierMixin))
    return fit_rows(model, X, y)


def fit_rows(model: Any, X: Any, y: np.ndarray) -> Any:
    """The same of rows that are read and checked; they may be those of a file."""
    _refuse_looks(model)
    Y, bound = _targets(model, y)
    rng = model._begin(np.zeros((1, X.shape[1])), None)
    model.data_range_ = None
    model._report("statistics")
    made = _released(model, X, Y, bound)
    model.privacy_ = _spent(made)
    model.lam_ = made.lam if model.lam is None else check_lam(model.lam)
    W = made.solve(model.lam_)
    model._report("distilling")
    X_0, m = model._start(rng, None, None, None, None, minimal_points(W), None)
    model._distil_model(W, 0 * W[:1, :], X_0, m, None, False)
    if y.ndim == 1 and not isinstance(model, ClassifierMixin):
        model._flatten()
    return model


def _released(model: Any, X: Any, Y: np.ndarray, bound: float) -> Release:
    """Noisy sums over samples X (n, d) with targets Y (n, k)."""
    clip = 1.0 if model.clip is None else model.clip
    own = set() if isinstance(model.init, str) else _bytes(plain_rows(model.init))
    sums = None
    for part in parts(*X.shape):
        rows = dense_rows(X, part)
        if own & _bytes(rows):
            raise ValueError(
                "init has rows that are samples, and points near them show them: pass "
                "'orthonormal', or points that do not come from the data"
            )
        Phi = model._features(rows)
        if sums is None:
            sizes = Phi.shape[1], Y.shape[1]
            sums = ClippedStatistics(*sizes, clip=clip, bound=bound, like=Phi)
        sums.update(Phi, model._array(Y[part]))
    assert sums is not None  # there are samples: X was checked
    return release(sums, model.epsilon, model.delta, generator())


def _bytes(A: Any) -> set[bytes]:
    """The rows of A, to be compared."""
    return {row.tobytes() for row in np.asarray(A, dtype=np.float64) + 0.0}


def _spent(made: Release) -> dict[str, Any]:
    """What a release cost, and the bounds it is for."""
    names = ("epsilon", "delta", "clip", "bound", "sigma")
    found: dict[str, Any] = {name: float(getattr(made, name)) for name in names}
    return {**found, "relation": RELATION}


# ------------------------------------------------------------------------- targets


def _targets(model: Any, y: np.ndarray) -> tuple[np.ndarray, float]:
    """Targets (n, k), and the most length of a row of them."""
    if not isinstance(model, ClassifierMixin):
        Y = np.asarray(y, dtype=np.float64)
        return Y.reshape(len(Y), -1), model.bound
    classes = np.unique(np.asarray(model.classes))
    model.classes_, model.multilabel_ = classes, False
    k = len(classes)
    return one_hot(_codes(y, classes), k) - 1 / k, math.sqrt(1 - 1 / k)


def _codes(y: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The numbers (n,) of the classes y."""
    if y.ndim == 2 and y.shape[1] > 1:
        raise ValueError(
            f"y has {y.shape[1]} columns, and a private classifier takes one class a "
            "sample; for labels pass y - 0.5 to DistilledRidge(bound=0.5 * k ** 0.5)"
        )
    number = {label: i for i, label in enumerate(classes.tolist())}
    codes = np.array([number.get(label, -1) for label in y.ravel().tolist()])
    if (codes < 0).any():
        strange = y.ravel()[codes < 0][:3].tolist()
        raise ValueError(
            f"y has {strange}, not among classes = {classes[:5].tolist()}: name all "
            "that there are to be, whether they occur or not"
        )
    return codes


# ------------------------------------------------------------------------- refusals


def _refuse_looks(model):
    """Refuse parameters with which a fit would not be private."""
    if model.delta is None:
        raise ValueError(
            "delta is needed beside epsilon: well below one over the number of "
            "samples, such as 1e-5 for some thousands"
        )
    noise_scale(model.epsilon, model.delta)  # refuses what is out of range
    _refuse_first(_looks(model))
    _refuse_first(_needed(model))
    if model.lam is not None:
        check_lam(model.lam)


def _refuse_first(cases):
    """ValueError for the first of the cases that is one."""
    for found, why in cases:
        if found:
            raise ValueError(f"epsilon is set, and {why}")


def _looks(model):
    """Whether a parameter looks at the samples, and what to do instead."""
    init, phi, lam = model.init, model.feature_map, model.lam
    weight = getattr(model, "class_weight", None)
    scaling = f"scaling = {model.scaling!r} is taken from the samples: pass None, and X"
    return (
        (
            isinstance(init, str) and init != "orthonormal",
            f"init = {init!r} looks at the samples: pass 'orthonormal', or an array of "
            "points that do not come from the data, as 0.1 * rng.normal(size=(m, d))",
        ),
        (
            bool(model.fit_intercept),
            "an intercept needs the means of the samples: pass fit_intercept=False",
        ),
        (
            model.scaling is not None,
            f"{scaling} in public units, as X / 255 - 0.5 (a FunctionTransformer)",
        ),
        (
            isinstance(phi, str) and phi == "fourier",
            "feature_map = 'fourier' takes its bandwidth from the samples: pass "
            "maps.fourier.orthogonal_features(d, p, bandwidth, seed=0)",
        ),
        (
            isinstance(lam, str) or hasattr(lam, "__iter__"),
            f"lam = {lam!r} is chosen on the samples: pass None, which takes it from "
            "the noise, or one number",
        ),
        (
            weight is not None,
            f"class_weight = {weight!r} lets a sample count for more than clip allows: "
            "pass None",
        ),
    )


def _looks_of_data(X, sample_weight):
    """The same of what `fit` is given."""
    return (
        (
            sample_weight is not None,
            "sample_weight lets a sample count for more than clip allows: leave it out",
        ),
        (
            is_frame(X),
            "what the columns of a data frame are is read from the samples: pass its "
            "numbers, frame.to_numpy(dtype=float), words coded by a public list",
        ),
    )


def _needed(model):
    """Whether a parameter is missing, and why it is needed."""
    if not isinstance(model, ClassifierMixin):
        return (
            (
                model.bound is None,
                "bound is missing: the most length of a row of targets, known without "
                "a look at them; longer ones are shortened to it",
            ),
        )
    given = () if model.classes is None else np.asarray(model.classes)
    return (
        (
            model.classes is None,
            "classes are missing: which ones occur in y tells of the samples; pass all "
            "that there are to be, as classes=range(10)",
        ),
        (
            np.ndim(given) != 1 or not 2 <= len(np.unique(given)) == len(given),
            f"classes = {model.classes!r} must be a list of at least 2, all different",
        ),
    )
