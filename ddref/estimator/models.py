"""Any trained linear model as a distilled set: nothing in the theorem asks that W came
from ridge regression.
"""

import inspect
import warnings
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils.validation import check_array

from ..maps.devices import as_numpy
from .estimators import DistilledRidge, DistilledRidgeClassifier

LINEAR = 1e-5  # how far predictions may be from linear ones, relative to their size
TRAINING = (
    *("lam", "select", "scaling", "fit_intercept", "class_weight", "missing"),
    *("epsilon", "delta", "clip", "bound"),
)


class LinearModel(NamedTuple):
    """Scores are ``X @ W + b``."""

    W: np.ndarray  # (p, k) in float64
    b: np.ndarray | None  # (k,), None without an intercept
    flat: bool  # whether there is one score a sample, without an axis for it
    classes: np.ndarray | None


def from_model(
    model: Any, X: Any = None, *, classes: Any = None, **parameters: Any
) -> DistilledRidge | DistilledRidgeClassifier:
    """The distilled set on which ridge regression trains a model that you have.

    Parameters
    ----------
    model : fitted linear model of scikit-learn, torch.nn.Linear, or arrays
        What has `coef_`, and predictions (of a classifier: scores of
        `decision_function`) that are linear in X: Ridge, Lasso, LogisticRegression,
        LinearSVC, SGDClassifier, PLSRegression, LinearDiscriminantAnalysis and others.
        Or ``(W, b)``, or W alone without an intercept: W (p, k) or (p,), the transpose
        of `coef_`.
    X : array (n, d), optional
        Samples: the points start from some of them, and predictions on them are
        compared. Default: none, and the best conditioned set is taken.
    classes : sequence, optional
        Of a torch layer or of arrays: what the k scores are of, or the two classes of
        a single score, of which it is positive for the second. Default: targets.
    parameters
        Of `Distiller`: n_points, feature_map (of the features that the model reads),
        init, lam_s, dtype, random_state, image_shape, device.

    Returns
    -------
    DistilledRidge or DistilledRidgeClassifier
        Fitted: `X_distilled_`, `y_distilled_`, `lam_s_`, `certificate_`, `save`.
        ``Ridge(alpha=lam_s_, fit_intercept=...)`` on the set has the model's `coef_`
        and `intercept_`, in their shapes. Labels are scores, not classes.

    Raises
    ------
    TypeError, ValueError
        For models that are not linear, fitted or finite, parameters of a training, X
        that does not fit.

    Notes
    -----
    Book: thm-characterisation, thm-intercept.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression, Ridge
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LogisticRegression(max_iter=1000).fit(X, y)
    >>> small = from_model(model, X)
    >>> ridge = Ridge(alpha=small.lam_s_).fit(small.X_distilled_, small.y_distilled_)
    >>> small.n_points_, bool(abs(ridge.coef_ - model.coef_).max() < 1e-9)
    (3, True)
    """
    _check_names(parameters)
    linear = _linear_model(model, classes)
    if linear.classes is None:
        estimator: Any = DistilledRidge(**parameters)
    else:
        estimator = DistilledRidgeClassifier(**parameters)
    init = parameters.get("init", "orthonormal" if X is None else "real")
    estimator.set_params(init=init, fit_intercept=linear.b is not None)
    names = None  # of features: X has others
    if estimator.feature_map is None:
        names = getattr(model, "feature_names_in_", None)
    estimator._hold(linear, _samples(names, X, estimator))
    if names is not None:
        estimator.feature_names_in_ = np.array(names)
    return estimator


def _check_names(parameters):
    """Refuse parameters that are not those of a set."""
    known = set(inspect.signature(DistilledRidgeClassifier).parameters)
    for name in parameters:
        if name in TRAINING:
            raise TypeError(f"{name} belongs to a training, and the model is trained")
        if name not in known:
            raise TypeError(
                f"from_model has no parameter {name!r}; it takes X, classes and "
                f"{', '.join(sorted(known - set(TRAINING)))}"
            )


def _samples(names, X, estimator):
    """X (n, d) in float64, or None, with columns in the order of names, or as it is."""
    if X is None:
        if isinstance(estimator.init, str) and estimator.init != "orthonormal":
            raise ValueError(
                f"init = {estimator.init!r} needs samples: pass X, or init="
                "'orthonormal', or an array (m, d)"
            )
        return None
    if names is not None and hasattr(X, "columns"):
        missing = [name for name in names if name not in X.columns]
        if missing:
            raise ValueError(f"X lacks the columns {missing[:5]} of the model")
        X = X[list(names)]
    return check_array(X, dtype=np.float64, input_name="X")


def _linear_model(model, classes):
    """Weights and intercept of whatever was handed in."""
    if hasattr(model, "coef_"):
        if classes is not None:
            raise TypeError("classes are those of the model: leave the argument out")
        return _of_scikit_learn(model)
    if hasattr(model, "weight") and hasattr(model, "bias"):  # torch.nn.Linear
        if getattr(model.weight, "ndim", 0) != 2:
            raise TypeError(
                f"{type(model).__name__} has weights of shape "
                f"{tuple(model.weight.shape)}: only linear layers are read"
            )
        return _checked(_array(model.weight).T, model.bias, False, classes)
    if isinstance(model, tuple | list) and len(model) == 2:
        return _of_arrays(*model, classes)
    if hasattr(model, "shape"):
        return _of_arrays(model, None, classes)
    raise TypeError(
        f"{type(model).__name__} is no linear model: pass one with coef_ (fitted; of a "
        "Pipeline the last step, with what the others make of X), a torch.nn.Linear, "
        "or (W, b)"
    )


def _of_scikit_learn(model):
    """From `coef_` and predictions, which say what the intercept is."""
    coef = model.coef_
    coef = _array(coef.toarray() if hasattr(coef, "toarray") else coef)
    classes = model.classes_ if is_classifier(model) else None
    flat = coef.ndim == 1
    W = np.atleast_2d(coef).T
    rows = np.random.default_rng(0).standard_normal((5, len(W)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of columns without names
        scores = model.decision_function if classes is not None else model.predict
        b, P = (
            np.asarray(scores(A), np.float64).reshape(len(A), -1)
            for A in (0 * rows[:1], rows)
        )
        indicators = classes is not None and np.ndim(model.predict(rows)) > 1
    if indicators:
        raise TypeError(
            "the model predicts several labels a sample: pass (coef_.T, intercept_), "
            "whose scores are positive where a label is present"
        )
    if P.shape[1] != W.shape[1] or not np.allclose(
        rows @ W + b, P, rtol=LINEAR, atol=LINEAR * (np.abs(P).max() + 1e-300)
    ):
        raise TypeError(
            f"what {type(model).__name__} predicts is not X @ coef_.T + intercept_; "
            "for its linear part pass (coef_.T, intercept_)"
        )
    absent = not getattr(model, "fit_intercept", True) and not b.any()
    return _checked(W, None if absent else b[0], flat, classes)


def _of_arrays(W, b, classes):
    W = _array(W)
    return _checked(W[:, None] if W.ndim == 1 else W, b, W.ndim == 1, classes)


def _checked(W, b, flat, classes):
    """A `LinearModel` of finite numbers that fit."""
    if W.ndim != 2 or 0 in W.shape:
        raise ValueError(f"W must be (p, k), its shape is {W.shape}")
    k = W.shape[1]
    b = None if b is None else np.ravel(_array(b))
    if b is not None and b.shape != (k,):
        raise ValueError(
            f"W has shape {W.shape} and b {b.shape}: b must have k = {k} values; is W "
            "transposed? It is (p, k), rows are features"
        )
    if not (np.isfinite(W).all() and (b is None or np.isfinite(b).all())):
        raise ValueError("the model contains NaN or Inf")
    if classes is not None:
        classes = np.asarray(classes)
        if len(classes) != (k if k > 1 else 2):
            raise ValueError(
                f"the model has {k} score(s) and there are {len(classes)} classes"
            )
    return LinearModel(W, b, flat, classes)


def _array(A):
    """Numbers in float64, of NumPy or PyTorch."""
    return np.array(as_numpy(A), dtype=np.float64)
