"""The two estimators, and what they share."""

import contextlib
import html
import inspect
import math
import numbers
import operator
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import (
    _check_feature_names_in,
    check_array,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from .. import files, intercept, krr, recipe
from ..arrays import Array, check_lam, norm, number
from ..datasets import one_hot
from ..distill import minimal_points
from ..maps import Identity, leaky_relu_network
from ..maps.devices import as_numpy, check_device
from ..maps.fourier import orthogonal_features
from ..measure import relative_error
from ..nearest import nearest_lower_bound
from ..statistics import Statistics
from ..statistics.rows import FileRows, Lazy, parts
from ..tables.cells import shown
from ..tables.encoder import TableEncoder
from ..tables.frames import as_frame, is_frame
from . import private
from .adding import Added, rows_alike
from .frozen import (
    FoundPoints,
    FrozenNetwork,
    enough_points,
    is_network,
    solved,
)
from .images import Images, displayed
from .points import (
    copies,
    dense_rows,
    noise,
    plain_rows,
    present_in_frame,
    samples_to_start_from,
    some_rows,
)
from .sparse import SparseTraining
from .streaming import StreamedTraining
from .training import Training, by_validation, trained
from .weights import (
    checked_weights,
    column_deviations,
    column_means,
    present,
    with_class_weight,
)

MANY = 1 << 21  # values of rows whose features are made in batches
# Relative error asked for: where rounding would exceed it, a better conditioned set is
# taken, a little farther from the samples.
GOAL = {"float64": 2e-10, "float32": 2e-5}
MEANS = 10_000  # numbers in a file that say what the classes of a table look like
LARGEST = 1e150  # of X: sums of squares stay in the range of float64


class ScaledMap:
    """``phi((X - mean) / scale)``, with the pre-image in the units of X."""

    def __init__(self, phi: Any, mean: Array, scale: Array) -> None:
        self.phi, self.mean, self.scale = phi, mean, scale
        self.output_dim = phi.output_dim

    def __call__(self, X: Array) -> Array:
        return self.phi((X - self.mean) / self.scale)

    def range_scale(self, Phi: Array) -> Array:
        """That of the map behind the scaling."""
        return (
            self.phi.range_scale(Phi)
            if hasattr(self.phi, "range_scale")
            else 1 + 0 * Phi[:, :1]
        )

    def preimage(self, Phi: Array, near: Array | None = None) -> Array:
        """Rows in the units of X; values that need not move keep their bits."""
        if near is None:
            return self.phi.preimage(Phi) * self.scale + self.mean
        start = (near - self.mean) / self.scale
        Z = self.phi.preimage(Phi, start)
        return array_namespace(Z).where(Z == start, near, Z * self.scale + self.mean)


class Distiller(BaseEstimator):
    """What the two estimators share: parameters, attributes, `as_images`, `save`.

    Parameters
    ----------
    n_points : int, optional
        Number of distilled points. Default: the fewest, rank(W) and one more with an
        intercept: k for k classes with an intercept, 2 for one regression target.
    feature_map : optional
        None for the columns themselves; a map with a pre-image (`ddref.maps`);
        "fourier" for d orthogonal random Fourier features, their bandwidth the root
        mean squared distance of two samples; "network" for one orthogonal LeakyReLU
        layer of width d; or a frozen network of PyTorch, whatever its layers: a copy in
        float64 and evaluation mode is used, with points from `nonsurjective.solve`,
        half more than its equations count. Or pass features of an encoder as X.
    lam : float, sequence of float or "auto", optional
        Regularisation, added to the diagonal as given (`alpha` of scikit-learn's
        `Ridge`), the same for all targets. Of several values `select` chooses; "auto"
        are 25 values from 1e-10 to 100 times the largest eigenvalue of the features.
        Default: 1, or with `epsilon` what the noise asks for, ``sigma sqrt(p) / 2``.
    select : {"gcv", "loo", "validation"}
        Generalised cross-validation, exact leave-one-out (both: squared error), or a
        fifth of the samples held out (squared error, or errors of classification). The
        largest of the best values is taken; then all samples count.
    lam_s : float, optional
        Regularisation to train on the distilled set with. Default: 1e-3 times the
        product of the largest and the smallest nonzero singular value of the centred
        distilled features: scikit-learn's `Ridge` is accurate then, and labels stay
        close to the model's predictions. With 0 they are the predictions; train with
        `LinearRegression` then.
    init : {"real", "noise", "orthonormal"} or array (m, d)
        What the points are near to: samples, drawn evenly over classes or targets;
        Gaussian noise; nothing, the best conditioned set; or rows of your own, in units
        of X.
    fit_intercept : bool
        Whether the model has an unpenalised intercept.
    scaling : {None, "columns", "global"}
        What the penalty and the distances are measured in: X as it is; each column
        minus its mean, over its standard deviation; or all by one mean and one
        deviation (images). The set is in units of X again, and training on it begins
        with the same scaling, `mean_` and `scale_`.
    image_shape : tuple of int, optional
        (height, width) or (height, width, channels) of a row, for `as_images`.
    random_state : int, RandomState or None
        Draws the samples, the noise, the weights of a map.
    dtype : {"float64", "float32"}
        The distilled set is stored in it, whatever the dtype of X, and its labels are
        computed after rounding. The model is trained, and predicts, in float64.
    device : str, optional
        "cpu", "cuda" or "cuda:0" for PyTorch, in float64 there ("mps" has none); a map
        with PyTorch weights needs it. Default: NumPy, or where a network of PyTorch
        is. Arrays come back in NumPy.
    missing : {None, "mean"}
        Of a data frame: missing values are refused, or numbers get the mean of their
        column, weighted by `sample_weight` (not by `class_weight`), and words have
        "missing" as one more word.

    verbose : bool
        Whether each step of a fit is named on the error stream as it begins.
    epsilon : float, optional
        Makes the fit (epsilon, delta)-private, see below; in nats.
    delta : float, optional
        Of a private fit: well below one over the number of samples.
    clip : float, optional
        Of a private fit: most length of a row of features, longer ones are shortened.
        Default: 1.

    Attributes
    ----------
    X_distilled_ : ndarray (m, d)
        In units of X.
    y_distilled_ : ndarray (m,) or (m, k)
        Labels: a column a target, or a column a class, in the order of `classes_`, with
        values near 0 and 1.
    lam_, lam_s_ : float
        Of the original training, and of the training on the set.
    coef_, intercept_ : ndarray
        (k, p) and (k,), as scikit-learn's `Ridge` gives them, of the features where
        there is a feature map or scaling; a row a class, also for two. (p,) and a
        number where y has one dimension and holds targets.
    certificate_ : Certificate of ddref.measure
        Error after training on the set again, condition number, distance to the samples
        and the bound no set can beat, decisions changed.
    sources_ : ndarray (m,), or None
        The row of X that each point started from, to lay side by side with it (with
        `partial_fit` counted over all batches). None where points start from no
        samples: another `init`, or sums.
    mean_, scale_ : ndarray (d,)
        Scaling of the columns: 0 and 1 without.
    lams_, lam_scores_ : ndarray
        Where lam was chosen: the values tried and their scores, smaller is better.
    table_ : TableEncoder of ddref.tables, or None
        How rows of a data frame became numbers: words one-hot, dates days, identifiers
        left out. `predict` does the same, and takes columns by their names.
    privacy_ : dict
        Of a private fit: epsilon, delta, the relation of neighbours, clip, bound, and
        the deviation sigma of the noise.
    feature_map_, seed_, n_points_, n_features_in_, data_range_, classes_ (classes only)

    Raises
    ------
    TypeError
        When made itself: take one of the two.
    ValueError
        In `fit`: fewer points than the model needs, a set that is not exact as stored,
        unusable parameters.

    Notes
    -----
    Book: thm-intercept, thm-nearest, eq-certificate, thm-release. The certificate is
    for the arrays as returned, after scaling is undone and after rounding to `dtype`.
    Where rounding could cost more than 2e-10 (2e-5 in float32), a better conditioned
    set, a little farther from the samples, is taken. X may be a sparse matrix of SciPy
    where there is neither a feature map nor scaling: sums over it are formed without a
    dense copy.

    With `epsilon` model, set and attributes are (epsilon, delta)-private, for data sets
    that differ by one sample. Public, and so not to be chosen by a look at the samples,
    are the parameters, the weights of a feature map, which treats each row on its own,
    the number of columns, the classes, and whatever was done to X before: a
    StandardScaler in a Pipeline is not private. What looks at the samples is refused.
    Each fit spends epsilon again (`privacy.gaussian_epsilon` adds up). The noise is
    NumPy's, seeded by the operating system, never by `random_state`; for another
    sampler see `privacy.release`, with `from_model`. Errors, warnings, and scores on
    the samples are your own look at them: they are not private.

    Examples
    --------
    >>> Distiller()
    Traceback (most recent call last):
        ...
    TypeError: Distiller is what two estimators share: take DistilledRidge for
    real-valued targets, DistilledRidgeClassifier for classes
    """

    def __init__(
        self,
        n_points: int | None = None,
        *,
        feature_map: Any = None,
        lam: float | Sequence[float] | str | None = None,
        select: str = "gcv",
        lam_s: float | None = None,
        init: str | np.ndarray = "real",
        fit_intercept: bool = True,
        scaling: str | None = None,
        image_shape: tuple[int, ...] | None = None,
        random_state: Any = 0,
        dtype: str = "float64",
        device: str | None = None,
        missing: str | None = None,
        verbose: bool = False,
        epsilon: float | None = None,
        delta: float | None = None,
        clip: float | None = None,
        bound: float | None = None,
    ) -> None:
        if type(self) is Distiller:
            raise TypeError(
                "Distiller is what two estimators share: take DistilledRidge for "
                "real-valued targets, DistilledRidgeClassifier for classes"
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
        self.missing = missing
        self.verbose = verbose
        self.epsilon = epsilon
        self.delta = delta
        self.clip = clip
        self.bound = bound

    # -------------------------------------------------------------------------- fitting

    def _forget(self):
        """Attributes of an earlier fit go, and the sums of one in batches."""
        for name in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, name)
        self._added = None

    def _validated(self, X, y, weights=None, **options):
        """X (n, d) in float64, and y. Sparse rows stay sparse where there are many of
        them, and are refused where what is asked for makes them dense. By the weights
        the means are formed that fill gaps of a data frame.
        """
        if hasattr(X, "toarray") and self._dense_for():
            raise TypeError(
                f"X is sparse, and {self._dense_for()} makes it dense: pass "
                "X.toarray() (or scale with sklearn's MaxAbsScaler, which keeps zeros)"
            )
        X, y = validate_data(
            self,
            self._matrix(X, weights),
            plain_rows(y, "y"),
            accept_sparse="csr",
            dtype=np.float64,
            multi_output=True,
            **options,
        )
        self._name_columns()
        if hasattr(X, "toarray") and math.prod(X.shape) <= krr.SMALL:
            X = X.toarray()
        return X, y

    def _matrix(self, X, weights):
        """The numbers of a data frame, and in `table_` how they are made; or X."""
        self.table_ = None
        if not is_frame(X):
            return plain_rows(X)
        X = as_frame(X)
        encoder = TableEncoder(missing=self.missing).fit(X, weights=weights)
        unnamed = not any(isinstance(name, str) for name in X.columns)
        if encoder.plain and unnamed:
            return X
        self.table_ = encoder
        for note in encoder.notes():
            if note.startswith("left out"):
                warnings.warn(f"columns {note}", UserWarning, stacklevel=3)
        return encoder.transform(X)

    def _name_columns(self):
        """Columns are those of the data frame, as everywhere in scikit-learn."""
        if self.table_ is not None:
            self.feature_names_in_ = np.array(self.table_.names, dtype=object)
            self.n_features_in_ = len(self.feature_names_in_)

    def _later_matrix(self, X):
        """Rows to predict: of a data frame by its names, or as the points are."""
        X = plain_rows(X)
        if self.table_ is None:
            kinds = False if self._dense_for() else "csr"
            return validate_data(
                self, X, reset=False, dtype=np.float64, accept_sparse=kinds
            )
        if is_frame(X):
            return self.table_.transform(as_frame(X))
        X = check_array(X, dtype=np.float64)
        names = self.table_.get_feature_names_out()
        if X.shape[1] != len(names):
            raise ValueError(
                f"X has {X.shape[1]} columns: pass a data frame with the columns "
                f"{shown(self.table_.names)}, or rows of {len(names)} numbers, as the "
                "points are"
            )
        return X

    def _dense_for(self):
        """The parameter for which rows have to be dense, in words; "" for none."""
        if self.feature_map is not None:
            return "a feature_map"
        if self.scaling is not None:
            return f"scaling = {self.scaling!r}, which subtracts means,"
        return "" if self.device is None else f"device = {self.device!r}"

    def _distil(self, X, Y, y, weights, rows):
        """Fit and distil: X (n, d) and Y (n, k) in float64; y the classes, or None;
        weights (n,) above 0, or None; rows (n,) their numbers among those given.
        """
        self.data_range_ = float(X.min()), float(X.max())
        largest = max(map(abs, self.data_range_))
        if largest > LARGEST:
            raise ValueError(
                f"X has values up to {largest:.3g}, whose squares float64 does not "
                "hold: take another unit"
            )
        rng = self._begin(X, weights)
        self._report("features")
        Phi, Y_ = self._features(X), self._targets(Y)
        if Phi.shape[0] != Y_.shape[0]:
            raise ValueError(
                f"the feature map gave {Phi.shape[0]} rows for {Y_.shape[0]} samples"
            )
        self._report("statistics")
        W, b = self._train(Phi, Y_, y, weights, rng)
        self._report("distilling")
        X_0, m = self._start(rng, X, Y, y, weights, minimal_points(W), rows)
        return self._distil_model(W, b, X_0, m, Phi, y is not None)

    def _fit_file(self, rows, y):
        """Fit and distil from rows of a file (n, d), which are read in blocks; y (n,)
        classes or (n, k) labels of a classifier, or targets (n,) or (n, k).
        """
        self._forget()
        self.n_features_in_, self.table_ = rows.shape[1], None
        if private.is_private(self):
            return private.fit_rows(self, rows, y)
        if isinstance(self, ClassifierMixin) and y.ndim == 2:
            self.classes_, self.multilabel_ = np.arange(y.shape[1]), True
        elif isinstance(self, ClassifierMixin):
            classes, codes = _codes_of(y)
            self.classes_, self.multilabel_ = classes, False
            Y = Lazy(codes, lambda some: one_hot(some, len(classes)), len(classes))
            return self._distil(rows, Y, codes, None, None)
        Y = np.asarray(y, dtype=np.float64)
        self._distil(rows, Y.reshape(len(Y), -1), None, None, None)
        if Y.ndim == 1:
            self._flatten()
        return self

    def _begin(self, X, weights):
        """Parameters are checked; scaling, seed and map are found. Returns the source
        of random numbers.
        """
        self._check_parameters(X.shape[1])
        rng = check_random_state(self.random_state)
        self.mean_, self.scale_ = self._scaling(X, weights)
        seeded = isinstance(self.random_state, numbers.Integral)
        self.seed_ = int(self.random_state) if seeded else None
        self.feature_map_ = self._map(X, weights, int(rng.randint(2**31 - 1)))
        return rng

    def _distil_sums(self, alike, n, d, starts):
        """Fit and distil from rows with the sums of n samples of d columns; starts (X,
        Y, y, rows) are samples to start from: X is None where there are none, y where
        they have no classes; rows are their numbers.
        """
        X, Y_0, y, rows = starts
        self.n_features_in_ = d
        several = isinstance(self.lam, str) or hasattr(self.lam, "__iter__")
        if several and self.select != "gcv":
            raise ValueError(
                f"select = {self.select!r} looks at the samples again, and only their "
                "sums are kept: use 'gcv'"
            )
        mapped = self.feature_map is not None
        rng = self._begin(np.zeros((1, d)) if mapped else alike.Phi, alike.weights)
        if isinstance(self.feature_map_, FrozenNetwork):
            self.feature_map_.output_dim = alike.Phi.shape[1]
        Phi = self._array(alike.Phi) if mapped else self._features(alike.Phi)
        W, b = self._train(Phi, self._array(alike.Y), y, alike.weights, rng)
        weights = None
        if not mapped and isinstance(self.init, str) and self.init == "noise":
            X, weights = alike.Phi, alike.weights  # of which it has mean and spread
        if X is None and isinstance(self.init, str) and self.init != "orthonormal":
            raise ValueError(
                f"init = {self.init!r}, and sums hold no samples to start from: pass "
                "init='noise' (without a feature map), 'orthonormal', or an array of "
                "points (m, d)"
            )
        X_0, m = self._start(rng, X, Y_0, y, weights, minimal_points(W), rows)
        self._distil_model(W, b, X_0, m, Phi, False)
        self.certificate_ = self.certificate_._replace(samples=n)

    def _distil_added(self, added):
        """Fit and distil from the samples that came and did not go."""
        alike = rows_alike(added.statistics, added.shift, True)
        starts = added.X, added.Y, added.codes, added.rows
        self._distil_sums(alike, added.statistics.n, added.X.shape[1], starts)
        self.data_range_ = added.range
        self._added = added
        if added.flat:
            self._flatten()

    def _flatten(self):
        """Arrays of one target without an axis for it."""
        self.coef_, self.intercept_ = self.coef_[0], self.intercept_[0]
        self.y_distilled_ = self.y_distilled_[:, 0]

    @contextlib.contextmanager
    def _all_or_nothing(self):
        """After an error everything is as it was."""
        before = dict(vars(self))
        try:
            yield
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    def _batch(self, X, y, sign, **options):
        """X (n, d) in float64, y, and what was added before (None: nothing yet)."""
        private.refuse(self, "partial_fit" if sign > 0 else "remove")
        added = getattr(self, "_added", None)
        if added is None and sign < 0:
            raise ValueError(
                "there are no sums to take samples from, fit keeps none: begin with "
                "partial_fit"
            )
        if added is None and hasattr(self, "X_distilled_"):
            warnings.warn(
                "fit keeps no sums: partial_fit begins anew, without the samples that "
                "fit had seen; begin with partial_fit to train in batches",
                stacklevel=4,
            )
        if isinstance(self.feature_map, str) or (
            self.feature_map is not None and self.scaling is not None
        ):
            raise ValueError(
                f"feature_map = {self.feature_map!r}, scaling = {self.scaling!r}: in "
                "batches the features must not depend on the samples; pass a map of "
                "ddref.maps and scaling=None"
            )
        X, y = validate_data(
            self,
            plain_rows(X),
            plain_rows(y, "y"),
            reset=added is None,
            dtype=np.float64,
            multi_output=True,
            **options,
        )
        self.table_ = None
        return X, y, added

    def _unscaled_features(self, X):
        """Features (n, p) of a batch, in NumPy."""
        if self.feature_map is None:
            return X
        self._check_parameters(X.shape[1])
        self.mean_, self.scale_ = np.zeros(X.shape[1]), np.ones(X.shape[1])
        self.feature_map_ = self._map(X, None, 0)
        return as_numpy(self._features(X))

    def _nothing_added(self, X, Y, weights, **options):
        """Sums to which the first batch can be added."""
        return Added(self._unscaled_features(X), Y, weights, **options)

    def _change(self, sign, X, Y, codes, weights, rows, added):
        """Add samples to those before, or take them away, and distil again; rows are
        their numbers (n,) in the batch, and its size.
        """
        Phi = self._unscaled_features(X)
        after = added.changed(sign, X, Phi, Y, codes, weights, *rows)
        names = getattr(self, "feature_names_in_", None)
        self._forget()
        self.table_ = None
        if names is not None:
            self.feature_names_in_ = names
        if after.classes is not None:
            self.classes_, self.multilabel_ = after.classes, False
        self._distil_added(after)
        return self

    def _fit_sums(self, statistics, classes):
        """Fit and distil from sums that are there already."""
        private.refuse(self, "fit_statistics")
        if not isinstance(statistics, Statistics):
            raise TypeError(
                f"statistics must be Statistics, got {type(statistics).__name__}"
            )
        self._forget()
        self.table_ = None
        ones = bool(self.fit_intercept) or self.scaling is not None
        p = statistics.p - ones
        last = number(statistics.G[-1, -1])
        if ones and not (p and abs(last - statistics.n) <= 1e-9 * statistics.n):
            raise ValueError(
                "an intercept or scaling needs means: sum rows [Phi, 1], a last column "
                f"of ones; that of these statistics has {last:.6g} as the sum of its "
                f"squares, and there are {statistics.n} samples"
            )
        if self.feature_map is not None and self.scaling is not None:
            raise ValueError("sums of features cannot be scaled: pass scaling=None")
        if classes is not None:
            self.classes_, self.multilabel_ = classes, False
        alike = rows_alike(statistics, np.zeros((1, p)), ones)
        d = self._width(np.zeros((p, 1)), None)
        codes = None if classes is None else np.zeros(0, dtype=int)
        self._distil_sums(alike, statistics.n, d, (None, None, codes, None))
        self.data_range_ = None
        return self

    def _distil_model(self, W, b, X_0, m, Phi, classes):
        """The set of a model W (p, k), b (1, k), near the rows X_0 or orthonormal; Phi
        are features of samples to compare predictions on, or None.
        """
        phi, near = self._scaled_map(), None if X_0 is None else self._array(X_0)
        if isinstance(self.feature_map_, FrozenNetwork):
            near = self._solved(phi, W, b, near)
            phi = FoundPoints(phi)
        found = recipe.distill(
            phi,
            W,
            m=m,
            near=near,
            lam_S=self.lam_s,
            intercept=b if self.fit_intercept else False,
            goal=GOAL[np.dtype(self.dtype).name],
            like=None if Phi is None else some_rows(Phi),
            dtype=np.dtype(self.dtype).name,
        )
        self._report("checking")
        self.certificate_ = self._compared(found, W, b, Phi, X_0, classes)
        self.X_distilled_ = as_numpy(found.X_S).astype(self.dtype)
        self.y_distilled_ = as_numpy(found.Y_S).astype(self.dtype)
        self.lam_s_, self.n_points_ = found.lam_S, m
        self.coef_, self.intercept_ = as_numpy(W).T.copy(), as_numpy(b)[0]
        return self

    def _solved(self, phi, W, b, X_0):
        """Points near X_0 that train the model through a network."""
        if X_0 is None:
            raise ValueError(
                "init = 'orthonormal' wants features of its own, and a network is not "
                "inverted: start from 'real' points, 'noise' or an array"
            )
        if norm(W) == 0:
            return X_0
        b = b if self.fit_intercept else None
        X_S, residual, steps = solved(phi, W, b, X_0, self._report)
        if residual > 1e-6:
            raise ValueError(
                f"the solver stopped {residual:.2g} away from the model after {steps} "
                f"steps from {len(X_0)} points: pass more (n_points="
                f"{min(2 * len(X_0), W.shape[0] + 1)}; with {W.shape[0] + 1} no point "
                "has to move), or another init or random_state"
            )
        return X_S

    def _hold(self, linear, X):
        """Carry the set of a model that was trained elsewhere, see `from_model`; X (n,
        d) are samples, or None.
        """
        self._forget()
        d = self._width(linear.W, X)
        self._check_parameters(d)
        rng = check_random_state(self.random_state)
        seeded = isinstance(self.random_state, numbers.Integral)
        self.seed_ = int(self.random_state) if seeded else None
        self.n_features_in_, self.table_ = d, None
        self.mean_, self.scale_ = np.zeros(d), np.ones(d)
        self.feature_map_ = self._map(np.zeros((1, d)), None, 0)
        self.data_range_ = None if X is None else (float(X.min()), float(X.max()))
        W = self._array(linear.W)
        b = 0 * W[:1, :] if linear.b is None else self._array(linear.b[None, :])
        Phi = Y = y = None
        if X is not None:
            Phi = self._features(X)
            if Phi.shape[1] != W.shape[0]:
                raise ValueError(
                    f"X has {Phi.shape[1]} features and the model reads {W.shape[0]}"
                )
            Y = as_numpy(Phi @ W + b)
        classification = linear.classes is not None
        if classification:
            self.classes_, self.multilabel_ = np.asarray(linear.classes), False
            y = None if Y is None else _decisions(Y).astype(int)
        X_0, m = self._start(rng, X, Y, y, None, minimal_points(W), None)
        self._distil_model(W, b, X_0, m, Phi, classification)
        if linear.flat:
            self._flatten()
        return self

    def _width(self, W, X):
        """Columns of the rows that a model W (p, k) reads through the feature map."""
        phi = self.feature_map
        if isinstance(phi, str):
            raise ValueError(
                f"feature_map = {phi!r} is drawn anew: pass the map that the model was "
                "trained with"
            )
        if phi is None:
            if X is not None and X.shape[1] != len(W):
                raise ValueError(
                    f"X has {X.shape[1]} columns and the model reads {len(W)}"
                )
            return len(W)
        rows = X if isinstance(self.init, str) else np.asarray(self.init)
        d = getattr(phi, "input_dim", None) or (None if rows is None else rows.shape[1])
        if d is None:
            raise ValueError("the feature map takes any number of columns: pass X")
        return d

    def _compared(self, found, W, b, Phi, X_0, classes):
        """The certificate with what it looks like on the training samples."""
        certificate = found.certificate
        if Phi is not None:
            certificate = self._predictions_compared(found, W, b, Phi, classes)
        if isinstance(self.init, str) and self.init == "noise":
            return certificate._replace(distance=None, input_distance=None)
        if X_0 is None:
            return certificate
        Phi_0 = self._features(X_0)
        if isinstance(self.feature_map_, FrozenNetwork):  # to `recipe` it starts there
            Phi_S = self._features(as_numpy(found.X_S))
            certificate = certificate._replace(distance=relative_error(Phi_S, Phi_0))
        rows = Phi_0
        if self.fit_intercept and len(X_0) > 1:
            rows = intercept.contrasts(Phi_0)
        start, end = (
            (A - self.mean_) / self.scale_ for A in (X_0, as_numpy(found.X_S))
        )
        if isinstance(self.init, str):
            certificate = certificate._replace(copies=copies(start, end))
        return certificate._replace(
            lower_bound=nearest_lower_bound(rows, W) / (norm(Phi_0) or 1.0),
            input_distance=relative_error(end, start),
        )

    def _predictions_compared(self, found, W, b, Phi, classes):
        """The certificate with how predictions on samples change."""
        Phi_S = self._features(as_numpy(found.X_S))
        W_S, b_S = trained(Phi_S, found.Y_S, found.lam_S, self.fit_intercept)
        blocks = parts(*Phi.shape) if isinstance(Phi, Lazy) else [slice(None)]
        changed, errors, sizes = 0, [], []
        for part in blocks:
            rows = Phi[part, :]
            P, P_S = rows @ W + b, rows @ W_S + b_S
            changed += int(np.sum(as_numpy(_decisions(P) != _decisions(P_S))))
            errors.append(norm(P_S - P))
            sizes.append(norm(P))
            if isinstance(Phi, Lazy):
                self._report("checking", part.stop, Phi.shape[0])
        error, size = math.hypot(*errors), math.hypot(*sizes)
        return found.certificate._replace(
            prediction_error=error / size if size else (math.inf if error else 0.0),
            decisions_changed=changed if classes else None,
            samples=Phi.shape[0],
        )

    def _check_parameters(self, d):
        """Refuse parameters that need no data to be seen to be wrong."""
        name = np.dtype(self.dtype).name if self.dtype is not None else ""
        if name not in GOAL:
            raise ValueError(f"dtype = {self.dtype!r} must be float64 or float32")
        choices = {
            "scaling": (None, "columns", "global"),
            "select": ("gcv", "loo", "validation"),
            "missing": (None, "mean"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                *most, last = map(repr, allowed)
                raise ValueError(
                    f"{name} = {getattr(self, name)!r} must be {', '.join(most)} or "
                    f"{last}"
                )
        if not isinstance(self.fit_intercept, bool | np.bool_):
            raise TypeError(
                f"fit_intercept must be True or False, got {self.fit_intercept!r}"
            )
        if self.device is not None:
            check_device(self.device)
        if self.lam_s is not None:
            check_lam(self.lam_s, "lam_s")
        starts = ("real", "noise", "orthonormal")
        if isinstance(self.init, str) and self.init not in starts:
            raise ValueError(
                f"init = {self.init!r} must be 'real', 'noise', 'orthonormal' or an "
                "array (m, d)"
            )
        self.image_shape_ = None
        if self.image_shape is None:
            return
        shape = tuple(operator.index(side) for side in self.image_shape)
        if len(shape) not in (2, 3) or min(shape) < 1 or math.prod(shape) != d:
            raise ValueError(
                f"image_shape = {self.image_shape!r} must be (height, width) or "
                f"(height, width, channels) with {d} values, the columns of X"
            )
        self.image_shape_ = shape

    def _scaling(self, X, weights):
        """What is subtracted from each column, and what each is divided by."""
        if self.scaling is None:
            return np.zeros(X.shape[1]), np.ones(X.shape[1])
        if self.scaling == "global":
            mean, std = _of_all_values(X, weights)
            std = std if X.max() > X.min() and std > 0 else 1.0
            return np.full(X.shape[1], mean), np.full(X.shape[1], std)
        means, stds = column_means(X, weights), column_deviations(X, weights)
        varies = X.max(axis=0) > X.min(axis=0)
        if (stds[varies] == 0).any():
            column = int(np.argmax(varies & (stds == 0)))
            size = np.maximum(-X.min(axis=0), X.max(axis=0))[column]
            raise ValueError(
                f"column {column} has values up to {size:.3g}, whose squares are zero "
                "in float64: take another unit"
            )
        return means, np.where(varies, stds, 1.0)  # a constant column is divided by 1

    def _map(self, X, weights, seed):
        """The feature map to use; of the strings, the ones described above."""
        phi, d = self.feature_map, X.shape[1]
        if isinstance(phi, str):
            like = None if self.device is None else self._array(np.zeros((1, 1)))
            if phi == "fourier":  # the bandwidth: mean squared distance of two samples
                deviations = column_deviations(X, weights) / self.scale_
                spread = 2 * float((deviations**2).sum())
                bandwidth = math.sqrt(spread) or 1.0
                return orthogonal_features(d, d, bandwidth, seed=seed, like=like)
            if phi == "network":
                return leaky_relu_network([d, d], seed=seed, like=like)
            raise ValueError(
                f"feature_map = {phi!r} must be None, 'fourier', 'network', or a map "
                "with a preimage"
            )
        if is_network(phi):
            return FrozenNetwork(phi, self.image_shape_)
        if phi is not None and not (callable(phi) and hasattr(phi, "preimage")):
            raise TypeError(
                "feature_map must be None, 'fourier', 'network', a torch.nn.Module or "
                f"a map with a preimage (ddref.maps), got {type(phi).__name__}; of a "
                "frozen encoder you can also pass the features themselves as X"
            )
        return phi

    def _place(self):
        """Device of the algebra in PyTorch, None for NumPy."""
        if self.device is None and is_network(self.feature_map):
            return str(next(self.feature_map.parameters()).device)
        return self.device

    def _scaled_map(self):
        """The map from rows of X to features, scaling included."""
        phi = Identity() if self.feature_map_ is None else self.feature_map_
        if self.scaling is None:
            return phi
        return ScaledMap(
            phi, *map(self._array, (self.mean_[None, :], self.scale_[None, :]))
        )

    def _features(self, X):
        """Features of rows of X, in the library and on the device of the algebra."""
        if isinstance(X, FileRows):
            return Lazy(X, self._features)
        if self.feature_map_ is None and self.scaling is None:
            # large data are not copied
            return X if hasattr(X, "toarray") else self._array(X)
        try:
            return self._mapped(X)
        except TypeError as error:
            hint = ""
            if "differ in dtype" in str(error):
                hint = "; everything is computed in float64: map.to(dtype='float64')"
            elif self.device is None:
                hint = "; a map of PyTorch needs device='cpu' or 'cuda'"
            raise TypeError(f"feature_map: {error}{hint}") from error

    def _mapped(self, X):
        """Features of rows of X, of many in batches that are counted."""
        phi = self._scaled_map()
        if math.prod(X.shape) <= MANY:
            return phi(self._array(X))
        Phi = None
        for part in parts(*X.shape):
            rows = phi(self._array(X[part]))
            if rows.shape[0] != part.stop - part.start:
                return rows  # refused by the caller
            if Phi is None:
                xp, size = array_namespace(rows), (X.shape[0], rows.shape[1])
                Phi = xp.empty(size, dtype=rows.dtype, device=device(rows))
            Phi[part, :] = rows
            self._report("features", part.stop, X.shape[0])
        return Phi

    def _targets(self, Y):
        """Targets (n, k) for the algebra."""
        if isinstance(Y, Lazy):
            return Lazy(Y, self._array, Y.shape[1])
        return self._array(Y)

    def _array(self, A):
        """A NumPy array for the algebra: NumPy, or PyTorch on `device`, in float64."""
        A = np.ascontiguousarray(A, dtype=np.float64)
        place = self._place()
        if place is None:
            return A
        import torch

        return torch.from_numpy(A.copy() if not A.flags.writeable else A).to(place)

    def _train(self, Phi, Y, y, weights, rng):
        """Ridge regression: W (p, k) and b (1, k); chooses lam where several are
        given.
        """
        train = SparseTraining if hasattr(Phi, "toarray") else Training
        train = StreamedTraining if isinstance(Phi, Lazy) else train
        model = train(Phi, Y, self.fit_intercept, self._report, weights)
        if not isinstance(self.lam, str) and not hasattr(self.lam, "__iter__"):
            self.lam_ = 1.0 if self.lam is None else check_lam(self.lam)
            return self._fitted(model, y)
        self.lams_ = self._grid(model, 0 if y is not None else Y.shape[1])
        if self.select == "validation":
            data = Phi, Y, y, self.lams_, self.fit_intercept, rng, weights
            self.lam_scores_ = by_validation(*data, train, self._report)
        else:
            self.lam_scores_ = model.scores(self.lams_, self.select)
        if not np.isfinite(self.lam_scores_).any():
            weighed = "" if weights is None else f", weights sum to {weights.sum():g}"
            raise ValueError(
                f"{self.select} has no finite score for any of {len(self.lams_)} "
                f"values of lam up to {self.lams_.max():g} (n_samples = {Phi.shape[0]}"
                f"{weighed}): the models fit every sample; use larger values"
            )
        best = self.lams_[self.lam_scores_ == self.lam_scores_.min()]
        self.lam_ = float(best.max())
        return self._fitted(model, y)

    def _fitted(self, model, y):
        """The model at `lam_`; zero, and not rounding, where nothing is related."""
        W, b = model.fit(self.lam_, classes=y is not None)
        if model.related():
            return W, b
        warnings.warn(
            "no linear relation between X and y: correlations are rounding, so the "
            "model is its intercept, one point, and says the same of every sample; a "
            "feature_map, or other columns, may find a relation",
            stacklevel=5,
        )
        return 0 * abs(W), model.mean_Y

    def _grid(self, model, targets):
        """Values of lam to choose from; `targets` are 0 where these are classes."""
        if isinstance(self.lam, str):
            if self.lam != "auto":
                raise ValueError(
                    f"lam = {self.lam!r} must be a number, a sequence of numbers, or "
                    "'auto'"
                )
            return model.grid()
        shape = np.shape(self.lam)
        if len(shape) > 1:
            raise ValueError(
                f"lam has shape {shape}: it is one value for all targets, or a "
                "sequence of values of which one is chosen; for one value a target fit "
                "an estimator for each"
            )
        lams = np.array([check_lam(lam) for lam in self.lam])
        if not len(lams):
            raise ValueError("lam is an empty sequence")
        if 1 < len(lams) == targets:
            warnings.warn(
                f"lam has {targets} values, as many as y has targets: one is chosen "
                "for all targets; for one value a target fit an estimator for each",
                stacklevel=5,
            )
        return lams

    def _start(self, rng, X, Y, y, weights, rank, rows):
        """Rows X_0 (m, d) to stay near, None for orthonormal features; and m. The
        numbers of samples among them go into `sources_`; of X they are rows, or 0 to n.
        """
        self.sources_ = self._source_codes = None
        least = max(rank + bool(self.fit_intercept), 1)
        own = None if isinstance(self.init, str) else self._own_points()
        m = len(own) if own is not None and self.n_points is None else self.n_points
        if m is None and isinstance(self.feature_map_, FrozenNetwork):
            p, d = self.feature_map_.output_dim, len(self.mean_)
            m = max(least, enough_points(p, d, rank, bool(self.fit_intercept)))
        m = least if m is None else m
        if isinstance(m, bool) or not isinstance(m, numbers.Integral):
            raise TypeError(f"n_points must be an integer, got {m!r}")
        if own is not None and len(own) != m:
            raise ValueError(f"n_points = {m}, but init has {len(own)} rows")
        if m < least:
            why = " and an intercept" if self.fit_intercept else ""
            raise ValueError(
                f"n_points = {m} is too small: a model of rank {rank}{why} needs at "
                f"least {least}; pass n_points={least} or None, or see ddref.frontier "
                "for the best model of lower rank"
            )
        m = int(m)
        if own is not None:
            return own, m
        if self.init == "orthonormal":
            return None, m
        if self.init == "noise":
            scale = None if self.scaling is None else self.scale_
            return noise(rng, X, scale, m, weights), m
        chosen = samples_to_start_from(rng, X, Y, y, m)
        self.sources_ = chosen if rows is None else rows[chosen]
        self._source_codes = None if y is None else tuple(y[chosen].tolist())
        return dense_rows(X, chosen), m

    def _own_points(self):
        own, d = plain_rows(self.init, "init"), len(self.mean_)
        own = np.asarray(own, dtype=np.float64)
        if own.ndim != 2 or own.shape[1] != d or not np.isfinite(own).all():
            raise ValueError(
                f"init must be a finite array (m, {d}), its shape is {own.shape}"
            )
        return own

    # ---------------------------------------------------------------------------- using

    def _scores(self, X):
        """Predictions (n, k) of the model."""
        check_is_fitted(self, "X_distilled_")
        X = self._later_matrix(X)
        W, b = np.atleast_2d(self.coef_).T, np.atleast_1d(self.intercept_)
        return as_numpy(self._features(X)) @ W + b

    def transform_distilled(self) -> np.ndarray:
        """The rows (m, p) that ridge regression is trained on.

        They are ``phi((X_distilled_ - mean_) / scale_)``, and `X_distilled_` itself
        where there is neither a feature map nor scaling. With `y_distilled_`, `lam_s_`
        and `fit_intercept` any solver of ridge regression gives `coef_` and
        `intercept_`: ``Ridge(alpha=lam_s_, fit_intercept=..., solver="svd")``, or for
        ``lam_s=0`` ``LinearRegression``.
        """
        check_is_fitted(self, "X_distilled_")
        if self.feature_map_ is None and self.scaling is None:
            return self.X_distilled_
        return as_numpy(self._features(self.X_distilled_))

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns of `transform_distilled`: those of X, or those of the
        features where there is a feature map.
        """
        check_is_fitted(self, "X_distilled_")
        if self.feature_map_ is None:
            if self.table_ is not None:
                return self.table_.get_feature_names_out()
            return _check_feature_names_in(self, input_features)
        name = type(self).__name__.lower()
        count = np.atleast_2d(self.coef_).shape[1]
        return np.array([f"{name}{i}" for i in range(count)], dtype=object)

    def as_images(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        value_range: tuple[float, float] | None = None,
    ) -> Images:
        """The distilled points as images of bytes, with the mapping to shades.

        Parameters
        ----------
        image_shape : tuple of int, optional
            (height, width) or (height, width, channels). Default: the parameter
            `image_shape`.
        value_range : (low, high), optional
            Values shown as 0 and as 255; what is beyond is clipped, and its fraction
            reported. ``data_range_`` shows them as the data would be. Default: the
            smallest and largest value of all points, so that none is clipped.

        Returns
        -------
        Images
            `images` of uint8 (first axis: points), `low`, `high`, `clipped` and the
            sentence `mapping`.

        Raises
        ------
        ValueError
            When no shape is known, or it has another number of values than a point.
        """
        check_is_fitted(self, "X_distilled_")
        return displayed(
            self.X_distilled_, image_shape or self.image_shape_, value_range
        )

    def save(
        self,
        path: str | Path,
        *,
        class_names: Sequence[str] | None = None,
        overwrite: bool = False,
        data: tuple[np.ndarray, np.ndarray] | None = None,
        map_arrays: bool = False,
        source_names: Sequence[str] | None = None,
    ) -> None:
        """Write the distilled set to one `.npz` file, see `ddref.files`.

        It holds all a colleague needs, and no pickle.

        `class_names` are words for the classes, in the order of `classes_`, or for the
        labels; default: the classes themselves, or the numbers of the labels. Of
        `data`, the arrays (X, y) that were fitted, a checksum goes into the file, and
        of a table the means of the columns, of each class. A feature map that its seed
        draws again is stored by it; with `map_arrays` its weights are stored, too.
        `source_names` are names of the samples in `sources_`, such as those of their
        files, one a point.
        """
        check_is_fitted(self, "X_distilled_")
        saved = self._saved(class_names)
        if source_names is not None:
            saved = saved._replace(source_names=tuple(map(str, source_names)))
        if data is not None and saved.privacy is not None:
            raise ValueError(
                "a checksum of the data, and means of it, are not private: save "
                "without data"
            )
        if data is not None:
            saved = saved._replace(data_sha256=files.digest(*data))
            if (
                self.table_ is not None
                and saved.Y_S.shape[1] * saved.mean.size <= MEANS
            ):
                saved = saved._replace(means=files.means(*data, saved.classes))
        files.save(path, saved, overwrite=overwrite, map_arrays=map_arrays)

    def _saved(self, class_names=None):
        classes = getattr(self, "classes_", None)
        if class_names is None and classes is not None:
            class_names = [str(c) for c in classes]
        task = "regression" if classes is None else "classification"
        if getattr(self, "multilabel_", False):
            task, classes = "multilabel", None
        Y_S = self.y_distilled_.reshape(len(self.y_distilled_), -1)
        if classes is not None and Y_S.shape[1] == 1:  # a score for each of the two
            Y_S = np.hstack([-Y_S / 2, Y_S / 2])
        return files.Saved(
            X_S=self.X_distilled_,
            Y_S=Y_S,
            lam_S=float(self.lam_s_),
            lam=float(getattr(self, "lam_", 0.0)),  # 0.0: not trained here
            fit_intercept=bool(self.fit_intercept),
            mean=self.mean_,
            scale=self.scale_,
            scaling=self.scaling or "none",
            feature_map=files.plain(self.feature_map_),
            image_shape=self.image_shape_,
            value_range=self.data_range_,
            task=task,
            classes=None if classes is None else np.asarray(classes),
            class_names=None if task == "regression" else tuple(map(str, class_names)),
            seed=self.seed_,
            sources=self.sources_,
            source_classes=None if classes is None else self._source_codes,
            table=None if self.table_ is None else self.table_.describe(),
            certificate=files.numbers(self.certificate_),
            privacy=getattr(self, "privacy_", None),
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = not self._dense_for()
        return tags

    def _report(self, stage, done=None, total=None):
        """Called at each stage of a fit, with how far it is; the command shows it."""
        if self.verbose:
            so_far = "" if done is None else f" of {done:,} of {total:,} samples"
            print(f"{type(self).__name__}: {stage}{so_far}", file=sys.stderr)

    def _repr_html_inner(self):
        return self._html_repr() + self._certificate_html()

    def _repr_mimebundle_(self, **kwargs):
        found = super()._repr_mimebundle_(**kwargs)
        if "text/html" in found:
            found["text/html"] += self._certificate_html()
        return found

    def _certificate_html(self):
        """The certificate as a table, "" before a fit."""
        if not hasattr(self, "certificate_"):
            return ""
        found = self.certificate_._asdict().items()
        rows = "".join(
            f"<tr><td>{name}</td><td>"
            f"{f'{value:.3g}' if isinstance(value, float) else value}</td></tr>"
            for name, value in found
            if value is not None
        )
        said = "exact" if self.certificate_.exact else "not exact"
        said += f", {self.n_points_} points, lam_s = {self.lam_s_:.6g}"
        if self.certificate_.copies:
            said += f"; {self.certificate_.copies} points are copies of your samples"
        return (
            f"<details><summary>Distilled set: {html.escape(said)}</summary>"
            f"<table>{rows}</table></details>"
        )


def _with_shared_sections(estimator):
    """Parameters and attributes of both estimators in the help of each."""
    shared = inspect.cleandoc(Distiller.__doc__ or "")
    between = {"Parameters": "Attributes", "Attributes": "Raises"}
    if not all(f"{title}\n---" in shared for title in between):
        return estimator  # a copy, or Python without docstrings
    own = inspect.cleandoc(estimator.__doc__)
    for title, following in between.items():
        begin = shared.index(f"{title}\n---")
        section = shared[begin : shared.index(f"{following}\n---")].strip()
        heading = f"{title}\n{'-' * len(title)}\n"
        if heading in own:  # a section of its own: what is shared comes first
            own = own.replace(heading, f"{section}\n")
        else:
            own = own.replace("Notes\n---", f"{section}\n\nNotes\n---", 1)
    estimator.__doc__ = own
    return estimator


@_with_shared_sections
class DistilledRidge(RegressorMixin, Distiller):
    """Ridge regression on real-valued targets, and an exact distilled set of it.

    Parameters
    ----------
    bound : float, optional
        Of a private fit: most length of a row of targets, longer ones are shortened.

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
    >>> model.coef_.round(9), small.coef_.round(9)
    (array([1.]), array([1.]))
    >>> bool(abs(small.intercept_ - model.intercept_) < 1e-9)
    True
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "DistilledRidge":
        """Train on X (n, d) and y (n,) or (n, k), and distil.

        `sample_weight` (n,) says what each sample counts; one of weight 0 is absent.
        """
        self._forget()
        if private.is_private(self):
            return private.fit(self, X, y, sample_weight)
        X, y, sample_weight, rows = present_in_frame(X, y, sample_weight)
        X, y = self._validated(X, y, sample_weight, y_numeric=True)
        weights = checked_weights(
            plain_rows(sample_weight, "sample_weight"), X.shape[0]
        )
        y = np.asarray(y, dtype=np.float64)
        rows = np.arange(X.shape[0]) if rows is None else rows
        X, y, rows, weights = present(X, y, rows, weights)
        self._distil(X, y.reshape(len(y), -1), None, weights, rows)
        if y.ndim == 1:
            self._flatten()
        return self

    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None
    ) -> "DistilledRidge":
        """Add samples, and distil again: the model is that of `fit` on all of them.

        Of the samples only sums are kept, and up to 1000 as points to start from; `fit`
        keeps none, and after it this begins anew, with a warning.
        """
        with self._all_or_nothing():
            return self._in_or_out(1, X, y, sample_weight)

    def remove(self, X: Any, y: Any, sample_weight: Any = None) -> "DistilledRidge":
        """Take samples away, as they were added, and distil again: the model is that of
        `fit` on those that remain, up to rounding, and no point starts from one of
        these.

        That the samples had been added is for the caller to know.
        """
        with self._all_or_nothing():
            return self._in_or_out(-1, X, y, sample_weight)

    def fit_statistics(self, statistics: Statistics) -> "DistilledRidge":
        """Train on sums over samples, and distil: `Statistics` of the features (n, p),
        with an intercept or scaling of the features and a last column of ones.

        ValueError for ``init="real"``: sums hold no samples to start from.
        """
        return self._fit_sums(statistics, None)

    def _in_or_out(self, sign, X, y, sample_weight):
        X, y, added = self._batch(X, y, sign, y_numeric=True)
        weights = checked_weights(plain_rows(sample_weight, "sample_weight"), len(X))
        y, size = np.asarray(y, dtype=np.float64), len(X)
        X, y, rows, weights = present(X, y, np.arange(size), weights)
        Y = y.reshape(len(y), -1)
        added = added or self._nothing_added(X, Y, weights, flat=y.ndim == 1)
        return self._change(sign, X, Y, None, weights, (rows, size), added)

    def predict(self, X: Any) -> np.ndarray:
        """Predictions (n,) or (n, k)."""
        scores = self._scores(X)
        return scores[:, 0] if self.coef_.ndim == 1 else scores

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


@_with_shared_sections
class DistilledRidgeClassifier(ClassifierMixin, Distiller):
    """Classes by ridge regression on one-hot targets, and an exact distilled set.

    Parameters
    ----------
    class_weight : dict or "balanced", optional
        What the samples of each class count, times `sample_weight`: by class, or n /
        (classes * samples of the class). Default: 1.
    classes : sequence, optional
        Of a private fit: the classes that there are to be, known without a look at y.
        Targets are one-hot minus 1 / k then.

    Attributes
    ----------
    multilabel_ : bool
        Whether y was an indicator matrix (n, k), each entry 0 or 1: then every column
        is a target of its own, present where its score is above 0.5, and `classes_`
        are 0 to k - 1.

    Notes
    -----
    Book: thm-intercept, thm-nearest.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = DistilledRidgeClassifier().fit(X, y)
    >>> model.X_distilled_.shape, model.certificate_.exact
    ((3, 4), True)

    A private model of three classes, and its points:

    >>> private = DistilledRidgeClassifier(
    ...     epsilon=1.0,
    ...     delta=1e-3,
    ...     classes=range(3),
    ...     init="orthonormal",
    ...     fit_intercept=False,
    ... ).fit(X / 10 - 0.3, y)
    >>> private.X_distilled_.shape, round(private.privacy_["sigma"], 2)
    ((3, 4), 3.32)
    """

    def __init__(
        self,
        n_points: int | None = None,
        *,
        feature_map: Any = None,
        lam: float | Sequence[float] | str | None = None,
        select: str = "gcv",
        lam_s: float | None = None,
        init: str | np.ndarray = "real",
        fit_intercept: bool = True,
        scaling: str | None = None,
        image_shape: tuple[int, ...] | None = None,
        random_state: Any = 0,
        dtype: str = "float64",
        device: str | None = None,
        missing: str | None = None,
        verbose: bool = False,
        class_weight: Any = None,
        epsilon: float | None = None,
        delta: float | None = None,
        clip: float | None = None,
        classes: Any = None,
    ) -> None:
        super().__init__(
            n_points,
            feature_map=feature_map,
            lam=lam,
            select=select,
            lam_s=lam_s,
            init=init,
            fit_intercept=fit_intercept,
            scaling=scaling,
            image_shape=image_shape,
            random_state=random_state,
            dtype=dtype,
            device=device,
            missing=missing,
            verbose=verbose,
            epsilon=epsilon,
            delta=delta,
            clip=clip,
        )
        self.class_weight = class_weight
        self.classes = classes

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None
    ) -> "DistilledRidgeClassifier":
        """Train on X (n, d) and the classes y (n,), numbers or words, and distil; or on
        indicators y (n, k) of 0 and 1, one column a label.

        `sample_weight` (n,) says what each sample counts; one of weight 0 is absent.
        """
        self._forget()
        if private.is_private(self):
            return private.fit(self, X, y, sample_weight)
        X, y, sample_weight, rows = present_in_frame(X, y, sample_weight)
        X, y = self._validated(X, y, sample_weight)
        y, multilabel = _classes_or_indicators(y)
        weights = checked_weights(
            plain_rows(sample_weight, "sample_weight"), X.shape[0]
        )
        rows = np.arange(X.shape[0]) if rows is None else rows
        X, y, rows, weights = present(X, y, rows, weights)
        if multilabel:
            self._refuse_class_weight()
            classes, codes, Y = np.arange(y.shape[1]), None, y.astype(np.float64)
        else:
            weights = with_class_weight(weights, self.class_weight, y)
            X, y, rows, weights = present(X, y, rows, weights)
            classes, codes, Y = _one_hot_classes(y)
        self.classes_, self.multilabel_ = classes, multilabel
        self._distil(X, Y, codes, weights, rows)
        return self

    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> "DistilledRidgeClassifier":
        """Add samples, and distil again: the model is that of `fit` on all of them.

        `classes` are all that will come, in the first call; default: those in y. Of the
        samples only sums are kept, and up to 1000 as points to start from; `fit`
        keeps none, and after it this begins anew, with a warning.
        """
        with self._all_or_nothing():
            return self._in_or_out(1, X, y, classes, sample_weight)

    def remove(
        self, X: Any, y: Any, sample_weight: Any = None
    ) -> "DistilledRidgeClassifier":
        """Take samples away, as they were added, and distil again: the model is that of
        `fit` on those that remain, up to rounding, and no point starts from one of
        these.

        That the samples had been added is for the caller to know.
        """
        with self._all_or_nothing():
            return self._in_or_out(-1, X, y, None, sample_weight)

    def fit_statistics(
        self, statistics: Statistics, classes: Any = None
    ) -> "DistilledRidgeClassifier":
        """Train on sums over samples with one-hot targets, and distil: `Statistics` of
        the features (n, p), with an intercept or scaling of the features and a last
        column of ones.

        `classes` are those of the columns of the targets; default: 0 to k - 1.
        ValueError for ``init="real"``: sums hold no samples to start from.
        """
        k = getattr(statistics, "k", 0)
        classes = np.arange(k) if classes is None else np.asarray(classes)
        if len(np.unique(classes)) != k:
            raise ValueError(
                f"classes are {len(np.unique(classes))} different ones, and the "
                f"statistics have {k} targets"
            )
        return self._fit_sums(statistics, classes)

    def _in_or_out(self, sign, X, y, classes, sample_weight):
        X, y, added = self._batch(X, y, sign)
        y = _of_one_kind(y)
        check_classification_targets(y)
        y = column_or_1d(y, warn=True)
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"class_weight = {self.class_weight!r} depends on all samples: in "
                "batches pass a dict, or sample_weight"
            )
        weights = checked_weights(plain_rows(sample_weight, "sample_weight"), len(X))
        if self.class_weight is not None:
            each = np.array([self.class_weight.get(c, 1.0) for c in y.tolist()])
            weights = checked_weights(each, len(X)) * (
                1 if weights is None else weights
            )
        size = len(X)
        X, y, rows, weights = present(X, y, np.arange(size), weights)
        if added is None:
            classes = _one_hot_classes(y if classes is None else np.asarray(classes))[0]
        elif classes is not None and not np.array_equal(
            np.unique(classes), added.classes
        ):
            raise ValueError(
                f"classes are those of the first call, {added.classes[:5].tolist()}"
            )
        known = classes if added is None else added.classes
        strange = np.setdiff1d(y, known)
        if len(strange):
            raise ValueError(
                f"y has {strange[:3].tolist()}, not among the classes "
                f"{known[:5].tolist()} of the first call: name all in its classes="
            )
        codes = np.searchsorted(known, y)
        Y = one_hot(codes, len(known))
        added = added or self._nothing_added(X, Y, weights, classes=known)
        return self._change(sign, X, Y, codes, weights, (rows, size), added)

    def decision_function(self, X: Any) -> np.ndarray:
        """Scores (n, k); for two classes (n,), positive for the second. Of indicators
        twice the scores minus 1: positive where a label is present.
        """
        scores = self._scores(X)
        if self.multilabel_:
            return 2 * scores - 1
        if scores.shape[1] == 1:  # of a model with one score for two classes
            return scores[:, 0]
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X: Any) -> np.ndarray:
        """Classes (n,), or indicators (n, k)."""
        scores = self._scores(X)
        if self.multilabel_:
            return (scores > 0.5).astype(int)
        return self.classes_[_decisions(scores).astype(int)]

    def _refuse_class_weight(self):
        if self.class_weight is not None:
            raise ValueError(
                "class_weight is for classes y (n,), of which each sample has one; of "
                "indicators (n, k) weight the samples (sample_weight)"
            )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        tags.target_tags.multi_output = True
        return tags


def _of_one_kind(y):
    """Classes in an array of objects as what they are; refused where they mix kinds, a
    gap (None) among words for instance.
    """
    if getattr(y, "dtype", np.dtype(float)).kind != "O" or y.ndim != 1:
        return y
    kinds = sorted({type(label).__name__ for label in y})
    if all(isinstance(label, bool | np.bool_) for label in y):
        return y.astype(bool)
    words = {isinstance(label, str) for label in y}
    odd = [label for label in y if not isinstance(label, str | bytes | numbers.Number)]
    if len(words) > 1 or odd:
        raise TypeError(
            f"the classes y are objects: {', '.join(kinds[:4])}; leave out those that "
            "are missing, and pass y.astype(str) to have words"
        )
    return y


def _classes_or_indicators(y):
    """Classes (n,), or indicators (n, k), and whether it is these."""
    y = _of_one_kind(y)
    kind = type_of_target(y, input_name="y")
    if kind == "multilabel-indicator":
        y = y.toarray() if hasattr(y, "toarray") else np.asarray(y)
        if (y.sum(axis=1) == 1).all():
            warnings.warn(
                f"every row of y {y.shape} has one 1, as one-hot classes have: fitted "
                "as labels, each present or not; for one class a sample pass "
                "y.argmax(axis=1)",
                stacklevel=3,
            )
        return y, True
    check_classification_targets(y)
    if kind == "multiclass-multioutput":
        raise ValueError(
            f"y has {y.shape[1]} columns of classes: fit an estimator for each, or "
            "pass indicators (n, k) of 0 and 1 where the columns are labels"
        )
    return column_or_1d(y, warn=True), False


def _one_hot_classes(y):
    """The classes of y (n,), their numbers (n,), and one-hot rows (n, k)."""
    classes, codes = _codes_of(y)
    return classes, codes, one_hot(codes, len(classes))


def _codes_of(y):
    """The classes of y (n,), and their numbers (n,)."""
    classes, codes = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            f"at least 2 classes are needed, y has 1 class: {classes.tolist()[0]!r}"
        )
    return classes, codes


def _of_all_values(X, weights):
    """Mean and standard deviation of all values of X (n, d), which may be of a file."""
    if weights is None:
        return X.mean(), X.std()
    A, each = X.ravel(), np.repeat(weights, X.shape[1])
    return column_means(A, each), column_deviations(A, each)


def _decisions(P):
    """Classes by number (n,): the largest score, or the sign of the only one."""
    if P.shape[1] == 1:
        return P[:, 0] > 0
    return array_namespace(P).argmax(P, axis=1)
