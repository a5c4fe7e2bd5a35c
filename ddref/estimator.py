"""Distil your own data: scikit-learn estimators that carry an exact distilled set.

`DistilledRidge` and `DistilledRidgeClassifier` fit ridge regression (on the columns, or on the features of a map of
`ddref.maps`, `ddref.fourier`, `ddref.conv`) and hold a small set that trains the same model: handed to scikit-learn's
own `Ridge(alpha=lam_s_, fit_intercept=...)`, it gives `coef_` and `intercept_`. `Distiller` is what the two share.

Two classes and not one that looks at `y`: whole numbers can be classes or measurements, and only you know which.
"""

import math
import numbers
import operator
from typing import NamedTuple

import numpy as np
from array_api_compat import array_namespace
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from ddref import files, intercept, krr, recipe
from ddref.datasets import one_hot
from ddref.distill import labels, minimal_points
from ddref.fourier import orthogonal_features
from ddref.gauge import orthonormal
from ddref.maps import leaky_relu_network
from ddref.measure import check_lam, relative_error, tolerance, verify
from ddref.nearest import nearest, nearest_lower_bound
from ddref.statistics import Statistics

__all__ = ["Distiller", "DistilledRidge", "DistilledRidgeClassifier", "DistillerCertificate", "Images"]

CHUNK = 8192  # rows at a time, where the centred features are not kept
GOAL = {"float64": 2e-10, "float32": 2e-5}  # relative error asked for; a better conditioned set is taken until it holds


class DistillerCertificate(NamedTuple):
    """What training on the distilled set, as stored, gave. Errors and distances are relative."""

    relative_error: float  # of the coefficients, or of the intercept where that is larger
    condition: float  # ||Phi_S||_2 over the smallest singular value that training needs (of the centred rows)
    tolerance: float  # errors up to this are what 50 roundings of each value of X_S and Y_S explain
    exact: bool  # relative_error <= tolerance <= 1e-2; a set for which it is False is not returned
    distance: float | None  # ||Phi_S - Phi_0|| / ||Phi_0||, Phi_0 the features of the samples the set started from
    lower_bound: float | None  # no exact set with as many points is nearer to them
    input_distance: float | None  # ||X_S - X_0|| / ||X_0||, scaled as the model scales them
    prediction_error: float  # of the predictions on the training samples: ||P_S - P|| / ||P||
    decisions_changed: int | None  # training samples that get another class; None in regression
    samples: int  # training samples


class Images(NamedTuple):
    """Distilled points as images to look at, and how to get back from a shade to a value."""

    images: np.ndarray  # (m, *image_shape) of uint8
    low: float  # value shown as 0
    high: float  # value shown as 255
    clipped: float  # fraction of the values beyond low or high
    mapping: str


class Distiller(BaseEstimator):
    """What `DistilledRidge` and `DistilledRidgeClassifier` share: parameters, attributes, `as_images`, `save`.

    Parameters
    ----------
    n_points : int, optional
        Number of distilled points. Default: the fewest, rank(W) and one more with an intercept: k for k classes with
        an intercept, 2 for one regression target.
    feature_map : optional
        None for the columns themselves; a map with a pre-image (`ddref.maps`, `ddref.fourier`, `ddref.conv`);
        "fourier" for d orthogonal random Fourier features, their bandwidth the root mean squared distance of two
        samples; "network" for one orthogonal LeakyReLU layer of width d. Features of an encoder of your own: pass them
        as X.
    lam : float, sequence of float or "auto"
        Regularisation, added to the diagonal as given (`alpha` of scikit-learn's `Ridge`). Of several values `select`
        chooses; "auto" are 25 values from 1e-10 to 100 times the largest eigenvalue of the features.
    select : {"gcv", "loo", "validation"}
        Generalised cross-validation, exact leave-one-out (both: squared error), or a fifth of the samples held out
        (squared error, or errors of classification). The largest of the best values is taken; then all samples count.
    lam_s : float, optional
        Regularisation to train on the distilled set with. Default: 1e-3 times the largest times the smallest singular
        value of the centred distilled features: scikit-learn's `Ridge` is accurate then, and labels stay close to the
        model's predictions. With 0 they are the predictions; train with `LinearRegression` then.
    init : {"real", "noise", "orthonormal"} or array (m, d)
        What the points are near to: samples, drawn evenly over classes or targets; Gaussian noise; nothing, the best
        conditioned set; or rows of your own, in units of X.
    fit_intercept : bool
        Whether the model has an unpenalised intercept.
    scaling : {None, "columns", "global"}
        What the penalty and the distances are measured in: X as it is; each column minus its mean, over its standard
        deviation; or all by one mean and one deviation (images). The set is in units of X again, and training on it
        begins with the same scaling, `mean_` and `scale_`.
    image_shape : tuple of int, optional
        (height, width) or (height, width, channels) of a row, for `as_images`.
    random_state : int, RandomState or None
        Draws the samples, the noise, the weights of a map.
    dtype : {"float64", "float32"}
        The distilled set is stored in it, and its labels are computed after rounding. The model is always trained in
        float64.
    device : str, optional
        "cpu" or "cuda" for PyTorch; a map with PyTorch weights needs it. Default: NumPy.

    Attributes
    ----------
    X_distilled_ : ndarray (m, d)
        In units of X.
    y_distilled_ : ndarray (m,) or (m, k)
        Labels: a column a target, or a column a class, in the order of `classes_`, with values near 0 and 1.
    lam_, lam_s_ : float
        Of the original training, and of the training on the set.
    coef_, intercept_ : ndarray
        (k, p) and (k,), as scikit-learn's `Ridge` gives them, of the features where there is a feature map or scaling;
        a row a class, also for two. (p,) and a number where y has one dimension and holds targets.
    certificate_ : DistillerCertificate
        Error after training on the set again, condition number, distance to the samples and the bound no set can
        beat, decisions changed.
    mean_, scale_ : ndarray (d,)
        Scaling of the columns: 0 and 1 without.
    lams_, lam_scores_ : ndarray
        Where lam was chosen: the values tried and their scores, smaller is better.
    feature_map_, seed_, n_points_, n_features_in_, data_range_, classes_ (classes only)

    Raises
    ------
    TypeError
        When made itself: take one of the two.
    ValueError
        In `fit`: fewer points than the model needs, a set that is not exact as stored, unusable parameters.

    Notes
    -----
    Book: thm-intercept, thm-nearest, eq-certificate. The certificate is for the arrays as returned, after scaling is
    undone and after rounding to `dtype`. Where a set has a larger error than 2e-10 (2e-5 in float32), a better
    conditioned one, a little farther from the samples, is taken.

    Examples
    --------
    >>> Distiller()
    Traceback (most recent call last):
        ...
    TypeError: Distiller is what two estimators share: take DistilledRidge for real-valued targets,
    DistilledRidgeClassifier for classes
    """

    def __init__(
        self,
        n_points=None,
        *,
        feature_map=None,
        lam=1.0,
        select="gcv",
        lam_s=None,
        init="real",
        fit_intercept=True,
        scaling=None,
        image_shape=None,
        random_state=0,
        dtype="float64",
        device=None,
    ):
        if type(self) is Distiller:
            raise TypeError(
                "Distiller is what two estimators share: take DistilledRidge for real-valued targets, "
                "DistilledRidgeClassifier for classes"
            )
        self.n_points = n_points
        self.feature_map = feature_map
        self.lam = lam
        self.select = select
        self.lam_s = lam_s
        self.init = init
        self.fit_intercept = fit_intercept
        self.scaling = scaling
        self.image_shape = image_shape
        self.random_state = random_state
        self.dtype = dtype
        self.device = device

    # ------------------------------------------------------------------------------------------ fitting

    def _distil(self, X, Y, y):
        """Fit and distil: X (n, d) and Y (n, k) in float64; y the classes, or None."""
        dtype, shape = self._checked(X)
        rng = check_random_state(self.random_state)
        self.mean_, self.scale_ = self._scaling(X)
        self.image_shape_, self.data_range_ = shape, (float(X.min()), float(X.max()))
        self.seed_ = int(self.random_state) if isinstance(self.random_state, numbers.Integral) else None
        self.feature_map_ = phi = self._map(X, int(rng.randint(2**31 - 1)))
        self._report("features")
        Phi, Y_ = self._features(X), self._array(Y)
        if Phi.shape[0] != Y_.shape[0]:
            raise ValueError(f"the feature map gave {Phi.shape[0]} rows for {Y_.shape[0]} samples")
        self._report("statistics")
        W, b = self._train(Phi, Y_, y, rng)
        self._report("distilling")
        X_0, m = self._start(rng, X, Y, y, minimal_points(W))
        best = None
        for limit in (1e6, 1e5, 1e4, 1e3, 1e2, 1e1) if dtype == "float64" else (1e3, 1e2, 1e1):
            found = self._candidate(phi, Phi, W, b, X_0, m, limit, dtype)
            if best is None or found[-1] < best[-1]:
                best = found
            if found[-1] <= GOAL[dtype] or X_0 is None or np.array_equal(best[0], X_0):
                break  # good enough, or a smaller limit changes nothing
        X_S, Y_S, lam_s, _ = best
        self._report("checking")
        self.certificate_ = self._certify(X_S, Y_S, lam_s, W, b, Phi, X_0, dtype, y is not None)
        if not self.certificate_.exact:
            found = self.certificate_
            raise ValueError(
                f"the set found is not exact: training on it gives a model {found.relative_error:.3g} away, where at "
                f"most {min(found.tolerance, 1e-2):.2g} is allowed (condition number {found.condition:.3g}); use "
                "scaling='columns', dtype='float64', a larger lam, or a better conditioned feature map"
            )
        self.X_distilled_, self.y_distilled_, self.lam_s_, self.n_points_ = X_S, Y_S, lam_s, m
        self.coef_, self.intercept_ = _numpy(W).T.copy(), _numpy(b)[0]
        return self

    def _checked(self, X):
        """Parameters that need no data, checked; the dtype of the set and the shape of an image."""
        dtype = np.dtype(self.dtype).name if self.dtype is not None else ""
        if dtype not in GOAL:
            raise ValueError(f"dtype = {self.dtype!r} must be float64 or float32")
        if self.scaling not in (None, "columns", "global"):
            raise ValueError(f"scaling = {self.scaling!r} must be None, 'columns' or 'global'")
        if self.select not in ("gcv", "loo", "validation"):
            raise ValueError(f"select = {self.select!r} must be 'gcv', 'loo' or 'validation'")
        if self.lam_s is not None:
            check_lam(self.lam_s, "lam_s")
        if isinstance(self.init, str) and self.init not in ("real", "noise", "orthonormal"):
            raise ValueError(f"init = {self.init!r} must be 'real', 'noise', 'orthonormal' or an array (m, d)")
        if self.image_shape is None:
            return dtype, None
        shape = tuple(operator.index(side) for side in self.image_shape)
        if len(shape) not in (2, 3) or min(shape) < 1 or math.prod(shape) != X.shape[1]:
            raise ValueError(
                f"image_shape = {self.image_shape!r} must be (height, width) or (height, width, channels) with "
                f"{X.shape[1]} values, the columns of X"
            )
        return dtype, shape

    def _scaling(self, X):
        """What is subtracted from each column, and what each is divided by; a constant column is divided by 1."""
        if self.scaling is None:
            return np.zeros(X.shape[1]), np.ones(X.shape[1])
        if self.scaling == "global":
            mean, std = float(X.mean()), float(X.std())
            return np.full(X.shape[1], mean), np.full(X.shape[1], std if np.ptp(X) > 0 and std > 0 else 1.0)
        std = X.std(axis=0)
        return X.mean(axis=0), np.where((np.ptp(X, axis=0) > 0) & (std > 0), std, 1.0)

    def _map(self, X, seed):
        """The feature map to use; of the strings, the ones described in the docstring."""
        phi, d = self.feature_map, X.shape[1]
        if isinstance(phi, str):
            like = None if self.device is None else self._array(np.zeros((1, 1)))
            if phi == "fourier":
                spread = 2 * float((X.var(axis=0) / self.scale_**2).sum())  # mean squared distance of two samples
                return orthogonal_features(d, d, math.sqrt(spread) or 1.0, seed=seed, like=like)
            if phi == "network":
                return leaky_relu_network([d, d], seed=seed, like=like)
            raise ValueError(f"feature_map = {phi!r} must be None, 'fourier', 'network', or a map with a preimage")
        if phi is not None and not (callable(phi) and hasattr(phi, "preimage")):
            raise TypeError(
                f"feature_map must be None, 'fourier', 'network' or a map with a preimage (ddref.maps, ddref.fourier, "
                f"ddref.conv), got {type(phi).__name__}; of a frozen encoder pass the features themselves as X"
            )
        return phi

    def _features(self, X):
        """phi of the scaled rows, in the library and on the device of the algebra; the rows themselves if not scaled"""
        scaled = (X - self.mean_) / self.scale_ if self.scaling is not None else X
        A = self._array(scaled)
        if self.feature_map_ is None:
            return A
        try:
            return self.feature_map_(A)
        except TypeError as error:
            hint = "; a map of PyTorch needs device='cpu' or 'cuda'" if self.device is None else ""
            raise TypeError(f"feature_map: {error}{hint}") from error

    def _array(self, A):
        """A NumPy array for the algebra: NumPy, or PyTorch on `device`; float64 whatever the set is stored in."""
        A = np.ascontiguousarray(A, dtype=np.float64)
        if self.device is None:
            return A
        import torch

        return torch.from_numpy(A.copy() if not A.flags.writeable else A).to(self.device)

    def _train(self, Phi, Y, y, rng):
        """Ridge regression: W (p, k) and b (1, k); chooses lam where several are given."""
        grid = isinstance(self.lam, str) or hasattr(self.lam, "__iter__")
        model = _Ridge(Phi, Y, self.fit_intercept, self._report)
        if grid:
            self.lams_ = model.grid() if isinstance(self.lam, str) else np.array([check_lam(a) for a in self.lam])
            if isinstance(self.lam, str) and self.lam != "auto":
                raise ValueError(f"lam = {self.lam!r} must be a number, a sequence of numbers, or 'auto'")
            if not len(self.lams_):
                raise ValueError("lam is an empty sequence")
            if self.select == "validation":
                self.lam_scores_ = _validation(Phi, Y, y, self.lams_, self.fit_intercept, rng)
            else:
                self.lam_scores_ = model.scores(self.lams_, leave_one_out=self.select == "loo")
            if not np.isfinite(self.lam_scores_).any():
                raise ValueError(f"{self.select} has no finite score for any of lam = {self.lams_}; use larger values")
            self.lam_ = float(max(lam for lam, s in zip(self.lams_, self.lam_scores_, strict=True)
                                  if s == self.lam_scores_.min()))  # fmt: skip
        else:
            self.lam_ = check_lam(self.lam)
        return model.fit(self.lam_, classes=y is not None)

    # -------------------------------------------------------------------------------- choosing the points

    def _start(self, rng, X, Y, y, rank):
        """Rows X_0 (m, d) of the points to stay near, or None for orthonormal features; sets the number of points."""
        least = max(rank + bool(self.fit_intercept), 1)
        own = None if isinstance(self.init, str) else np.asarray(self.init, dtype=np.float64)
        if own is not None and (own.ndim != 2 or own.shape[1] != X.shape[1] or not np.isfinite(own).all()):
            raise ValueError(f"init must be a finite array (m, {X.shape[1]}), its shape is {own.shape}")
        m = len(own) if own is not None and self.n_points is None else self.n_points
        m = least if m is None else m
        if isinstance(m, bool) or not isinstance(m, numbers.Integral):
            raise TypeError(f"n_points must be an integer, got {m!r}")
        if own is not None and len(own) != m:
            raise ValueError(f"n_points = {m}, but init has {len(own)} rows")
        if m < least:
            why = " and an intercept" if self.fit_intercept else ""
            raise ValueError(
                f"n_points = {m} is too small: a model of rank {rank}{why} needs at least {least}; pass n_points="
                f"{least} or None, or see ddref.frontier for the best model of lower rank"
            )
        m = int(m)
        if own is not None:
            return own, m
        if self.init == "orthonormal":
            return None, m
        if self.init == "noise":
            spread = self.scale_ if self.scaling is not None else np.maximum(X.std(axis=0), 1e-3 * (X.std() or 1.0))
            return X.mean(axis=0) + spread * rng.standard_normal((m, X.shape[1])), m
        if m > len(X):
            raise ValueError(f"n_points = {m}, but there are only {len(X)} samples to start from; use init='noise'")
        rows = _by_class(rng, y, m) if y is not None else _by_target(rng, Y, m)
        if m > 1 and not np.ptp(X[rows], axis=0).any():  # copies of one sample
            rows[-1] = int(np.argmax(((X - X[rows[0]]) ** 2).sum(axis=1)))
        return X[rows], m

    def _candidate(self, phi, Phi, W, b, X_0, m, limit, dtype):
        """A set whose features have at most the condition number `limit`, as stored, and its error."""
        Phi_0 = None if X_0 is None else self._features(X_0)
        Z_0 = None if X_0 is None or phi is None else self._array((X_0 - self.mean_) / self.scale_)
        if phi is not None and not self.fit_intercept and X_0 is not None:
            Z_S = recipe.distill(phi, W, near=Z_0, max_condition=limit).X_S
        else:
            Phi_S = self._exact(Phi, W, b, Phi_0, m, limit)
            Z_S = Phi_S if phi is None else phi.preimage(_into_range(phi, Phi_S), Z_0)
        Z_S = _numpy(Z_S)
        X_S = Z_S * self.scale_ + self.mean_ if self.scaling is not None else Z_S
        if X_0 is not None:  # what has not moved keeps its bits
            X_S = np.where(Z_S == (X_0 - self.mean_) / self.scale_, X_0, X_S)
        X_S = X_S.astype(dtype)
        if not np.isfinite(X_S).all():
            raise ValueError(f"the distilled points overflow {dtype}; use dtype='float64' or scaling='columns'")
        Phi_S = self._features(X_S)
        lam_s = self._regularisation(Phi_S)
        if self.fit_intercept:
            Y_S = intercept.labels(Phi_S, W, b, lam_s, span_tol=2.0)  # what the rows miss, the certificate measures
        else:
            Y_S = labels(Phi_S, W, lam_s, span_tol=2.0)
        Y_S = _numpy(Y_S).astype(dtype)
        error, W_S, b_S = self._refit(X_S, Y_S, lam_s, W, b)
        some = Phi[:CHUNK, :]
        return X_S, Y_S, lam_s, max(error, relative_error(some @ W_S + b_S, some @ W + b))

    def _exact(self, Phi, W, b, Phi_0, m, limit):
        """Exact features (m, p): the nearest to Phi_0, or orthonormal ones at the distance samples have."""
        if Phi_0 is not None and not self.fit_intercept:
            return nearest(Phi_0, W, max_condition=limit)
        if Phi_0 is not None:
            floor = _number(array_namespace(Phi_0).linalg.svdvals(Phi_0)[0]) / limit

            def choose(A, W):  # differences far below the mean row would be rounding of it
                return _raised(nearest(A, W, max_condition=limit), floor)

            return intercept.exact_set(Phi_0, W, b, choose=choose).Phi_S
        xp = array_namespace(Phi)
        mean, some = xp.mean(Phi, axis=0, keepdims=True), Phi[:CHUNK, :]
        size = _norm(some - mean if self.fit_intercept else some) / len(some) ** 0.5 or 1.0
        if not self.fit_intercept:
            return size * orthonormal(W, m)
        Phi_0 = xp.concat([mean] * m, axis=0)
        return intercept.exact_set(Phi_0, W, b, choose=lambda A, W: size * orthonormal(W, A.shape[0])).Phi_S

    def _regularisation(self, Phi_S):
        """lam_s as given, or what keeps scikit-learn's solvers accurate and labels close to predictions."""
        if self.lam_s is not None:
            return check_lam(self.lam_s, "lam_s")
        t, _ = _singular_values(Phi_S, self.fit_intercept)
        return 1e-3 * t[0] * t[-1] if len(t) else 1.0

    # ------------------------------------------------------------------------------------------- checking

    def _refit(self, X_S, Y_S, lam_s, W, b):
        """Train on the set as stored: relative error, and the model."""
        Phi_S, Y_S = self._features(X_S), self._array(Y_S)
        xp = array_namespace(Phi_S)
        if self.fit_intercept:
            W_S, b_S = intercept.fit(Phi_S, Y_S, lam_s)
            if len(Phi_S) > 1:
                error = verify(intercept.contrasts(Phi_S), intercept.contrasts(Y_S), lam_s, W).relative_error
            else:
                error = relative_error(W_S, W)
            size = _norm(b) + _norm(xp.mean(Phi_S, axis=0)) * _norm(W)  # b is what is left of their difference
            error = max(error, _norm(b_S - b) / size if size else 0.0)
        else:
            error, W_S, b_S = verify(Phi_S, Y_S, lam_s, W).relative_error, krr.fit(Phi_S, Y_S, lam_s), 0 * b
        return error, W_S, b_S

    def _certify(self, X_S, Y_S, lam_s, W, b, Phi, X_0, dtype, classes):
        error, W_S, b_S = self._refit(X_S, Y_S, lam_s, W, b)
        xp, Phi_S = array_namespace(Phi), self._features(X_S)
        t, size = _singular_values(Phi_S, self.fit_intercept)
        condition = max(size / t[-1], 1.0) if len(t) else 1.0
        rounding = recipe._rounding(np, self._features, X_S, Phi_S)  # of the features, from that of X_S as stored
        both = condition * rounding / float(np.finfo(dtype).eps)
        if len(t) and _norm(W):  # W comes from differences of labels, which may be small beside the labels
            both += _norm(self._array(Y_S)) / (t[-1] * _norm(W))
        limit = tolerance(max(both, 1.0), np.dtype(dtype))
        P, P_S = Phi @ W + b, Phi @ W_S + b_S
        distance = bound = inputs = None
        if X_0 is not None and not (isinstance(self.init, str) and self.init == "noise"):
            Phi_0 = self._features(X_0)
            distance = relative_error(Phi_S, Phi_0)
            rows = intercept.contrasts(Phi_0) if self.fit_intercept and len(X_0) > 1 else Phi_0
            if len(X_0) > bool(self.fit_intercept):
                bound = nearest_lower_bound(rows, W) / (_norm(Phi_0) or 1.0)
            inputs = relative_error((X_S - self.mean_) / self.scale_, (X_0 - self.mean_) / self.scale_)
        changed = None
        if classes:
            changed = int(xp.sum(xp.astype(xp.argmax(P, axis=1) != xp.argmax(P_S, axis=1), xp.int64)))
        return DistillerCertificate(
            error, condition, limit, error <= limit <= 1e-2, distance, bound, inputs,
            relative_error(P_S, P), changed, len(Phi),
        )  # fmt: skip

    # --------------------------------------------------------------------------------------------- using

    def _scores(self, X):
        """Predictions (n, k) of the model."""
        check_is_fitted(self, "X_distilled_")
        X = validate_data(self, X, reset=False, dtype=np.float64)
        return _numpy(self._features(X)) @ np.atleast_2d(self.coef_).T + np.atleast_1d(self.intercept_)

    def transform_distilled(self):
        """The rows that ridge regression is trained on: ``phi((X_distilled_ - mean_) / scale_)``, as an array (m, p).

        `X_distilled_` itself where there is neither a feature map nor scaling. With `y_distilled_`, `lam_s_` and
        `fit_intercept` any solver of ridge regression gives `coef_` and `intercept_`:
        ``Ridge(alpha=lam_s_, fit_intercept=..., solver="svd")``, or for ``lam_s=0`` ``LinearRegression``.
        """
        check_is_fitted(self, "X_distilled_")
        if self.feature_map_ is None and self.scaling is None:
            return self.X_distilled_
        return _numpy(self._features(self.X_distilled_))

    def as_images(self, image_shape=None, *, value_range=None):
        """The distilled points as grey or colour images of bytes, with the mapping between values and shades.

        Parameters
        ----------
        image_shape : tuple of int, optional
            (height, width) or (height, width, channels). Default: the parameter `image_shape`.
        value_range : (low, high), optional
            Values shown as 0 and as 255; what is beyond is clipped, and its fraction reported. ``data_range_`` shows
            them as the data would be. Default: the smallest and largest value of all points, so that none is clipped.

        Returns
        -------
        Images
            `images` of uint8 (first axis: points), `low`, `high`, `clipped` and the sentence `mapping`.

        Raises
        ------
        ValueError
            When no shape is known, or it has another number of values than a point.
        """
        check_is_fitted(self, "X_distilled_")
        return displayed(self.X_distilled_, image_shape or self.image_shape_, value_range)

    def save(self, path, *, class_names=None, overwrite=False):
        """Write the distilled set to one `.npz` file, see `ddref.files`: all a colleague needs, and no pickle.

        `class_names` are words for the classes, in the order of `classes_`; default: the classes themselves.
        """
        check_is_fitted(self, "X_distilled_")
        files.save(path, self._saved(class_names), overwrite=overwrite)

    def _saved(self, class_names=None):
        classes = getattr(self, "classes_", None)
        if classes is not None and class_names is None:
            class_names = [str(c) for c in classes]
        Y_S = self.y_distilled_
        return files.Saved(
            X_S=self.X_distilled_,
            Y_S=Y_S.reshape(len(Y_S), -1),
            lam_S=float(self.lam_s_),
            lam=float(self.lam_),
            fit_intercept=bool(self.fit_intercept),
            mean=self.mean_,
            scale=self.scale_,
            scaling=self.scaling or "none",
            feature_map=files.plain(self.feature_map_),
            image_shape=self.image_shape_,
            value_range=self.data_range_,
            task="regression" if classes is None else "classification",
            classes=None if classes is None else np.asarray(classes),
            class_names=None if classes is None else tuple(map(str, class_names)),
            seed=self.seed_,
            certificate=self.certificate_._asdict(),
        )

    def _report(self, stage, done=None, total=None):
        """Called at each stage of a fit with its name, and how far it is; the command shows it."""


class DistilledRidge(RegressorMixin, Distiller):
    """Ridge regression and an exact distilled set of it: for real-valued targets, one or several.

    Parameters and attributes: `Distiller`.

    Notes
    -----
    Book: thm-intercept, thm-nearest.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> X, y = np.array([[0.0], [1.0], [2.0]]), np.array([1.0, 3.0, 5.0])
    >>> model = DistilledRidge(lam=2.0).fit(X, y)
    >>> small = Ridge(alpha=model.lam_s_).fit(model.X_distilled_, model.y_distilled_)
    >>> model.coef_.round(9), small.coef_.round(9), small.intercept_.round(9) == model.intercept_.round(9)
    (array([1.]), array([1.]), np.True_)
    """

    def fit(self, X, y):
        """Train on X (n, d) and y (n,) or (n, k), and distil."""
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True, multi_output=True)
        y = np.asarray(y, dtype=np.float64)
        self._distil(X, y.reshape(len(y), -1), None)
        if y.ndim == 1:
            self.coef_, self.intercept_ = self.coef_[0], self.intercept_[0]
            self.y_distilled_ = self.y_distilled_[:, 0]
        return self

    def predict(self, X):
        """Predictions (n,) or (n, k)."""
        scores = self._scores(X)
        return scores[:, 0] if self.coef_.ndim == 1 else scores

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


class DistilledRidgeClassifier(ClassifierMixin, Distiller):
    """Ridge regression on one-hot targets, the class of the largest score, and an exact distilled set of it.

    Parameters and attributes: `Distiller`.

    Notes
    -----
    Book: thm-intercept, thm-nearest.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = DistilledRidgeClassifier().fit(X, y)
    >>> model.X_distilled_.shape, model.certificate_.exact, model.certificate_.decisions_changed
    ((3, 4), True, 0)
    """

    def fit(self, X, y):
        """Train on X (n, d) and the classes y (n,), numbers or words, and distil."""
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_, y = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"at least 2 classes are needed, y has 1 class: {self.classes_[0]!r}")
        self._distil(X, one_hot(y, len(self.classes_)), y)
        return self

    def decision_function(self, X):
        """Scores (n, k); for two classes (n,), positive for the second."""
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X):
        """Classes (n,)."""
        scores = self._scores(X)
        return self.classes_[np.argmax(scores, axis=1)]


# ------------------------------------------------------------------------------------------------- training


def trained(Phi, Y, lam, fit_intercept=True, *, classes=False):
    """The model that the estimators train: W (p, k) and b (1, k), in few passes and without a copy of large data.

    Parameters
    ----------
    Phi : array (n, p)
        Features in float64, rows are samples.
    Y : array (n, k)
        Targets.
    lam : float
        Regularisation, added to the diagonal as given.
    fit_intercept : bool
        Whether b, which is not penalised, is fitted or zero.
    classes : bool
        Whether the rows of Y are one-hot: with an intercept the columns of W then sum to zero.

    Returns
    -------
    (W, b) : array (p, k), array (1, k)

    Raises
    ------
    ValueError, TypeError
        As `ddref.krr.fit`.

    Notes
    -----
    Book: thm-intercept.

    Examples
    --------
    >>> import numpy as np
    >>> W, b = trained(np.array([[1.0], [3.0]]), np.array([[5.0], [9.0]]), 0.0)
    >>> W.round(12), b.round(12)
    (array([[2.]]), array([[3.]]))
    """
    return _Ridge(Phi, Y, fit_intercept).fit(lam, classes=classes)


class _Ridge:
    """Ridge regression of one data set for any lam: an SVD for small data, else sums over chunks of centred rows."""

    def __init__(self, Phi, Y, centred, report=None):
        xp = self.xp = array_namespace(Phi)
        self.Phi, self.Y, self.centred, (self.n, self.p) = Phi, Y, centred, Phi.shape
        zero = xp.zeros_like(Phi[:1, :]), xp.zeros_like(Y[:1, :])
        self.mean, self.mean_Y = (_mean(xp, Phi), _mean(xp, Y)) if centred else zero
        self.small = self.p > self.n or self.n * self.p <= krr.SMALL
        if not self.small:
            self.sums = Statistics(self.p, Y.shape[1])
            for Phi_c, Y_c in self.chunks():
                self.sums.update(Phi_c, Y_c)
                if report is not None:
                    report("statistics", self.sums.n, self.n)

    def chunks(self):
        """Centred features and targets, CHUNK rows at a time."""
        for start in range(0, self.n, CHUNK):
            rows = slice(start, min(start + CHUNK, self.n))
            yield self.Phi[rows, :] - self.mean, self.Y[rows, :] - self.mean_Y

    def fit(self, lam, *, classes=False):
        """W (p, k) and b (1, k)."""
        W = krr.fit(self.Phi - self.mean, self.Y - self.mean_Y, lam) if self.small else self.sums.solve(lam)
        if classes and self.centred:  # one-hot rows sum to 1, so W 1 = 0: not to rounding, but exactly
            W = W - self.xp.mean(W, axis=1, keepdims=True)
        return W, self.mean_Y - self.mean @ W

    def spectrum(self):
        """Eigenvalues w of the Gram matrix, its eigenvectors V (p, q), and ``V^T B``; computed once."""
        if not hasattr(self, "_spectrum"):
            xp = self.xp
            if self.small:
                U, t, Vh = xp.linalg.svd(self.Phi - self.mean, full_matrices=False)
                w, V, VtB = t**2, Vh.mT, t[:, None] * (U.mT @ (self.Y - self.mean_Y))
            else:
                w, V = xp.linalg.eigh(self.sums.G)
                VtB = V.mT @ self.sums.B
            keep = np.flatnonzero(_numpy(w) > max(self.n, self.p) * np.finfo(float).eps * float(xp.max(w)))
            keep = xp.asarray(keep)
            self._spectrum = w[keep], V[:, keep], VtB[keep, :]
        return self._spectrum

    def grid(self):
        """25 values from 1e-10 to 100 times the largest eigenvalue."""
        w = self.spectrum()[0]
        return (float(self.xp.max(w)) if len(w) else 1.0) * np.logspace(-10, 2, 25)

    def models(self, lams):
        """W (p, k) for each lam, without directions whose eigenvalue is rounding."""
        w, V, VtB = self.spectrum()
        return [V @ (VtB / (w + lam)[:, None]) for lam in lams]

    def scores(self, lams, *, leave_one_out):
        """Mean squared error by generalised cross-validation or by leave-one-out, for each lam; inf where undefined.

        Those of `Statistics` know no intercept, which takes one more degree of freedom and 1/n of leverage.
        """
        w, V, VtB = (_numpy(A) for A in self.spectrum())
        lams = np.asarray(lams, dtype=np.float64)
        kept = w / (w + lams[:, None]) if len(w) else np.zeros((len(lams), 0))  # (len(lams), q)
        if leave_one_out:
            return self._leave_one_out(w, V, VtB, kept)
        c = (VtB**2).sum(axis=1) / w
        total = sum(float(self.xp.sum(Y_c**2)) for _, Y_c in self.chunks())
        rest = max(total - c.sum(), 0.0) + ((1 - kept) ** 2 @ c)  # residual sum of squares
        freedom = self.n - kept.sum(axis=1) - self.centred
        safe = np.where(freedom > 1e-9 * self.n, freedom, np.inf)
        return np.where(np.isfinite(safe), self.n * rest / safe**2, np.inf)

    def _leave_one_out(self, w, V, VtB, kept):
        """Mean of (residual / (1 - leverage))^2: what leaving out each sample in turn and fitting again would give."""
        total = np.zeros(len(kept))
        for Phi_c, Y_c in self.chunks():
            U = (_numpy(Phi_c) @ V) / np.sqrt(w)
            for i, gain in enumerate(kept):
                residual = _numpy(Y_c) - (U * gain) @ (VtB / np.sqrt(w)[:, None])
                room = 1 - (U**2) @ gain - self.centred / self.n
                safe = np.where(room > 1e-9, room, np.nan)
                total[i] += np.sum((residual / safe[:, None]) ** 2)
        return np.where(np.isfinite(total), total / self.n, np.inf)


def _validation(Phi, Y, y, lams, centred, rng):
    """For each lam the error on a fifth of the samples, of the model trained on the others."""
    xp, n = array_namespace(Phi), Phi.shape[0]
    order = rng.permutation(n)
    if y is not None:
        order = order[np.argsort(y[order], kind="stable")]  # every fifth of each class
    held = np.zeros(n, dtype=bool)
    held[order[::5]] = True
    if not 2 <= held.sum() <= n - 2:
        raise ValueError(f"{n} samples are too few to hold some out; use select='gcv' or 'loo'")
    rest, out = (xp.asarray(np.flatnonzero(which)) for which in (~held, held))
    model = _Ridge(Phi[rest, :], Y[rest, :], centred)
    scores = []
    for W in model.models(lams):
        P = _numpy((Phi[out, :] - model.mean) @ W + model.mean_Y)
        if y is None:
            scores.append(float(np.mean((P - _numpy(Y[out, :])) ** 2)))
        else:
            scores.append(float(np.mean(np.argmax(P, axis=1) != y[held])))
    return np.array(scores)


# --------------------------------------------------------------------------------------------------- points


def _by_class(rng, y, m):
    """Rows of m samples, as many of each class as can be, class after class."""
    ranks = np.empty(len(y))
    for c in range(int(y.max()) + 1):
        members = np.flatnonzero(y == c)
        ranks[rng.permutation(members)] = np.arange(len(members))
    rows = np.lexsort((y, ranks))[:m]
    return rows[np.argsort(y[rows], kind="stable")]


def _by_target(rng, Y, m):
    """Rows of m samples, one from each m-th part in the order of the target (of several: of their main direction)."""
    Y_c = Y - Y.mean(axis=0)
    order = np.argsort(Y_c @ np.linalg.svd(Y_c.T @ Y_c)[2][0], kind="stable")
    return np.array([rng.choice(part) for part in np.array_split(order, m)])


def _into_range(phi, Phi_S):
    """Features moved towards their mean row until phi reaches them; spans of centred rows stay."""
    if not hasattr(phi, "range_scale"):
        return Phi_S
    xp = array_namespace(Phi_S)
    mean, c = xp.mean(Phi_S, axis=0, keepdims=True), 1.0
    while c > 1e-6:
        moved = mean + c * (Phi_S - mean)
        if _number(xp.min(phi.range_scale(moved))) >= 1:
            return moved
        c = 0.9 * c
    return _number(xp.min(phi.range_scale(Phi_S))) * Phi_S


def displayed(X, image_shape, value_range=None):
    """Rows as images of bytes; see `Distiller.as_images`."""
    if image_shape is None:
        raise ValueError("no image shape is known: pass image_shape=(height, width) or (height, width, channels)")
    shape = tuple(operator.index(side) for side in image_shape)
    if math.prod(shape) != X.shape[1]:
        raise ValueError(f"image_shape = {shape} has {math.prod(shape)} values, a point has {X.shape[1]}")
    low, high = (float(X.min()), float(X.max())) if value_range is None else map(float, value_range)
    if value_range is None and low == high:
        high = low + 1.0
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"value_range = ({low}, {high}) must be two finite numbers, the smaller first")
    clipped = float(np.mean((X < low) | (X > high)))
    shades = np.rint(255 * (np.clip(X.astype(np.float64), low, high) - low) / (high - low)).astype(np.uint8)
    mapping = (
        f"value = {low:.6g} + shade * {(high - low) / 255:.6g}, shades 0 to 255, one mapping for all points; values "
        f"from {float(X.min()):.6g} to {float(X.max()):.6g} in units of X, {clipped:.1%} of them clipped"
    )
    return Images(shades.reshape(len(X), *shape), low, high, clipped, mapping)


# ------------------------------------------------------------------------------------------------ small parts


def _raised(A, floor):
    """Rows with the same singular vectors, singular values below `floor` raised to it (zero ones excepted)."""
    xp = array_namespace(A)
    U, t, Vh = xp.linalg.svd(A, full_matrices=False)
    low = (t < floor) & (t > 1e-14 * t[0])
    return A + (U * xp.where(low, floor - t, xp.zeros_like(t))) @ Vh if bool(xp.any(low)) else A


def _singular_values(Phi_S, centred):
    """Singular values that training uses, as floats, and the largest of the rows before centring."""
    xp = array_namespace(Phi_S)
    size = _number(xp.linalg.svdvals(Phi_S)[0])
    if centred and len(Phi_S) < 2:
        return [], size
    t = [float(a) for a in xp.linalg.svdvals(intercept.contrasts(Phi_S) if centred else Phi_S)]
    cut = max(Phi_S.shape) * float(xp.finfo(Phi_S.dtype).eps) * size
    return [a for a in t if a > cut], size


def _mean(xp, A):
    """Mean row, corrected by the mean of what is left, so that a large mean leaves no trace."""
    mean, n = xp.mean(A, axis=0, keepdims=True), A.shape[0]
    rest = sum(xp.sum(A[i : i + CHUNK, :] - mean, axis=0, keepdims=True) for i in range(0, n, CHUNK))
    return mean + rest / n


def _norm(A):
    return math.sqrt(float(array_namespace(A).sum(A**2)))


def _numpy(A):
    return A if isinstance(A, np.ndarray) else A.detach().cpu().numpy()


def _number(A):
    return float(A)
