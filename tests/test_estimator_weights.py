"""Weights of samples and classes, indicators, sparse rows: the models are scikit-learn's, the sets exact."""

import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn import datasets as toys
from sklearn.datasets import make_multilabel_classification
from sklearn.linear_model import Ridge, RidgeClassifier, RidgeCV
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

from conftest import error, trained_again
from ddref import files, krr
from ddref.estimator import DistilledRidge, DistilledRidgeClassifier, training
from ddref.estimator import sparse as sparse_rows

BOTH = pytest.mark.parametrize("fit_intercept", [True, False])


def weighted(seed=0, n=60, d=5, k=1):
    """Data far from zero, and weights of which a third is 0."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) + 3 * rng.normal(size=d)
    w = rng.choice([0.0, 0.3, 2.5], size=n)
    return X, X @ rng.normal(size=(d, k)) + rng.normal(size=(n, k)), w


# -- sample_weight


@BOTH
@pytest.mark.parametrize("small", [True, False])
def test_weights_give_the_model_of_ridge_with_the_same_weights(fit_intercept, small, monkeypatch):
    monkeypatch.setattr(krr, "SMALL", krr.SMALL if small else 0)
    monkeypatch.setattr(training, "CHUNK", 17)
    X, Y, w = weighted(k=2)
    model = DistilledRidge(lam=0.7, fit_intercept=fit_intercept).fit(X, Y, sample_weight=w)
    theirs = Ridge(alpha=0.7, fit_intercept=fit_intercept, solver="cholesky").fit(X, Y, sample_weight=w)
    again = trained_again(model)
    for found in (model, again):
        assert error(found.coef_, theirs.coef_) < 1e-9
        assert np.abs(found.intercept_ - theirs.intercept_).max() < 1e-9 * (1 + np.abs(theirs.intercept_).max())
    assert model.certificate_.exact and model.certificate_.samples == np.count_nonzero(w)


@pytest.mark.parametrize("scaling", [None, "columns", "global"])
def test_a_weight_counts_copies_of_a_sample_and_weight_0_is_an_absent_one(scaling):
    X, Y, _ = weighted(n=40)
    w = np.arange(40) % 4
    far = np.where((w == 0)[:, None], 1e6 * X, X)  # what is absent has no say in means, scalings, or starts
    for parameters in ({}, {"lam": "auto"}, {"init": "noise", "feature_map": None if scaling is None else "fourier"}):
        ours = DistilledRidge(scaling=scaling, **parameters).fit(far, Y, sample_weight=w)
        copies = DistilledRidge(scaling=scaling, **parameters).fit(X.repeat(w, axis=0), Y.repeat(w, axis=0))
        assert ours.lam_ == pytest.approx(copies.lam_, rel=1e-9)
        assert error(ours.coef_, copies.coef_) < 1e-9 and error(ours.mean_ + 1, copies.mean_ + 1) < 1e-12
        assert np.abs(ours.X_distilled_).max() < 100 and ours.data_range_ == copies.data_range_
    if scaling == "columns":
        scaler = StandardScaler().fit(X, sample_weight=w)
        assert error(ours.scale_, scaler.scale_) < 1e-12 and error(ours.mean_, scaler.mean_) < 1e-12


@BOTH
@pytest.mark.parametrize("small", [True, False])
def test_leave_one_out_with_weights_chooses_as_ridge_cv_does(fit_intercept, small, monkeypatch):
    monkeypatch.setattr(krr, "SMALL", krr.SMALL if small else 0)
    monkeypatch.setattr(training, "CHUNK", 7)
    X, Y, w = weighted(n=16)
    X, Y, w, y = X[w > 0], Y[w > 0], w[w > 0], Y[w > 0, 0]
    lams = [1e-2, 1.0, 30.0]
    ours = DistilledRidge(lam=lams, select="loo", fit_intercept=fit_intercept).fit(X, y, sample_weight=w)
    naive = []
    for lam in lams:
        left = []
        for i in range(len(X)):
            rest = np.arange(len(X)) != i
            model = Ridge(alpha=lam, fit_intercept=fit_intercept).fit(X[rest], y[rest], sample_weight=w[rest])
            left.append(w[i] * (y[i] - model.predict(X[[i]])[0]) ** 2)
        naive.append(np.mean(left))
    assert error(ours.lam_scores_, naive) < 1e-9
    assert ours.lam_ == RidgeCV(lams, fit_intercept=fit_intercept).fit(X, y, sample_weight=w).alpha_


def test_held_out_samples_count_by_their_weights():
    X, Y, w = weighted(n=100)
    scores = DistilledRidge(lam=[1.0, 9.0], select="validation").fit(X, Y, sample_weight=w + 1).lam_scores_
    scaled = DistilledRidge(lam=[2.0, 18.0], select="validation").fit(X, Y, sample_weight=2 * (w + 1)).lam_scores_
    assert error(scaled, scores) < 1e-12


@pytest.mark.parametrize(
    "w, words",
    [
        ([1.0] * 59 + [-2.0], r"1 negative value\(s\), -2 at row 59 the smallest; leave a sample out with weight 0"),
        ([0.0] * 60, "zero for every sample"),
        ([1.0] * 59, r"shape \(59,\), one weight for each of 60 samples"),
        (np.ones((60, 1)), r"shape \(60, 1\)"),
        ([1.0] * 59 + [np.nan], "NaN or Inf, at row 59"),
        (["a"] * 60, "sample_weight must be numbers"),
    ],
)
def test_weights_that_mean_nothing_are_refused(w, words):
    X, Y, _ = weighted()
    with pytest.raises((ValueError, TypeError), match=words):
        DistilledRidge().fit(X, Y, sample_weight=w)


# -- class_weight


@pytest.mark.parametrize("class_weight", ["balanced", {0: 1.0, 1: 0.2, 2: 7.0}])
@pytest.mark.parametrize("name", ["iris", "breast_cancer"])
@BOTH
def test_class_weights_give_the_model_of_ridge_classifier(fit_intercept, name, class_weight):
    X, y = getattr(toys, f"load_{name}")(return_X_y=True)
    X, y = StandardScaler().fit_transform(X[20:]), y[20:]
    classes = len(np.unique(y))
    if class_weight != "balanced":
        class_weight = {c: class_weight[c] for c in range(classes)}
    w = np.linspace(0.5, 2.0, len(X))
    same = {"class_weight": class_weight, "fit_intercept": fit_intercept}
    ours = DistilledRidgeClassifier(lam=3.0, **same).fit(X, y, sample_weight=w)
    theirs = RidgeClassifier(alpha=3.0, solver="svd", **same).fit(X, y, sample_weight=w)
    coefficients = ours.coef_[1] - ours.coef_[0] if classes == 2 else 2 * ours.coef_  # their targets are -1 and 1
    if classes > 2 and not fit_intercept:  # less 1 in every column: no intercept takes it, and no decision sees it
        weights = w * compute_sample_weight(class_weight, y)
        coefficients -= Ridge(alpha=3.0, fit_intercept=False, solver="svd").fit(X, np.ones(len(X)), weights).coef_
    assert error(coefficients, theirs.coef_.squeeze()) < 1e-9
    assert np.array_equal(ours.predict(X), theirs.predict(X))
    if classes == 2:
        assert error(ours.decision_function(X), theirs.decision_function(X)) < 1e-9
    assert error(trained_again(ours).coef_, ours.coef_) < 1e-9 and ours.certificate_.decisions_changed == 0


def test_a_class_of_weight_0_is_absent_and_one_that_does_not_exist_is_refused():
    X, y = toys.load_iris(return_X_y=True)
    assert DistilledRidgeClassifier(class_weight={1: 0.0}).fit(X, y).classes_.tolist() == [0, 2]
    assert DistilledRidgeClassifier().fit(X, y, sample_weight=(y != 1) * 1.0).classes_.tolist() == [0, 2]
    for class_weight, words in (({5: 1.0}, r"names \[5\], and y has no such class"), ("even", "'balanced' or a dict")):
        with pytest.raises(ValueError, match=words):
            DistilledRidgeClassifier(class_weight=class_weight).fit(X, y)
    with pytest.raises(ValueError, match="negative"):
        DistilledRidgeClassifier(class_weight={0: -1.0}).fit(X, y)


# -- indicators


def test_indicators_are_labels_each_present_or_not_as_with_ridge_classifier(tmp_path):
    X, Y = make_multilabel_classification(n_samples=90, n_features=8, n_classes=4, random_state=0)
    ours = DistilledRidgeClassifier(lam=2.0).fit(X, Y)
    theirs = RidgeClassifier(alpha=2.0, solver="svd").fit(X, Y)
    assert ours.multilabel_ and ours.n_points_ == 5 and ours.classes_.tolist() == [0, 1, 2, 3]
    assert error(ours.decision_function(X), theirs.decision_function(X)) < 1e-9
    assert np.array_equal(ours.predict(X), theirs.predict(X))
    assert error(trained_again(ours).coef_, ours.coef_) < 1e-9
    same = DistilledRidgeClassifier(lam=2.0).fit(X, sparse.csr_array(Y))
    assert np.array_equal(same.coef_, ours.coef_)
    ours.save(tmp_path / "set.npz", class_names=list("abcd"))
    saved = files.load(tmp_path / "set.npz")
    assert (saved.task, saved.class_names, saved.classes) == ("multilabel", tuple("abcd"), None)
    assert np.array_equal(saved.predict(X), ours.predict(X)) and "above 0.5" in files.how_to(saved)
    with pytest.raises(ValueError, match="class_names must be 4 texts, one for each class or label"):
        ours.save(tmp_path / "other.npz", class_names=list("abc"))


def test_one_hot_rows_are_named_and_columns_of_classes_refused():
    X, y = toys.load_iris(return_X_y=True)
    with pytest.warns(UserWarning, match=r"every row of y \(150, 3\) has one 1.*y.argmax"):
        DistilledRidgeClassifier().fit(X, np.eye(3, dtype=int)[y])
    with pytest.raises(ValueError, match="y has 2 columns of classes: fit an estimator for each"):
        DistilledRidgeClassifier().fit(X, np.c_[y, y])
    with pytest.raises(ValueError, match="weight the samples"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        DistilledRidgeClassifier(class_weight="balanced").fit(X, np.eye(3, dtype=int)[y])


# -- one lambda for all targets


def test_one_lambda_a_target_is_refused_with_the_way_out():
    X, Y, _ = weighted(k=2)
    with pytest.raises(ValueError, match=r"lam has shape \(1, 2\).*one value for all targets.*an estimator for each"):
        DistilledRidge(lam=[[1.0, 2.0]]).fit(X, Y)
    with pytest.warns(UserWarning, match="lam has 2 values, as many as y has targets: one is chosen for all") as said:
        DistilledRidge(lam=[1.0, 2.0]).fit(X, Y)
    assert said[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DistilledRidge(lam=[1.0, 2.0, 3.0]).fit(X, Y)
        DistilledRidgeClassifier(lam=[1.0, 2.0, 3.0]).fit(X, np.arange(len(X)) % 3)


# -- sparse rows


def sparse_data(n, d, seed=0):
    X = sparse.random_array((n, d), density=0.05, format="csr", rng=np.random.default_rng(seed))
    return X, X @ np.linspace(1, 2, 2 * d).reshape(d, 2) + 1


@BOTH
@pytest.mark.parametrize("parameters", [{}, {"lam": [1e-3, 0.1, 9.0], "select": "loo"}, {"lam": "auto"}], ids=str)
@pytest.mark.parametrize("shape", [(300, 40), (60, 200)])
@pytest.mark.parametrize("weights", [False, True])
def test_sparse_rows_give_the_model_of_dense_ones(shape, parameters, fit_intercept, weights, monkeypatch):
    X, Y = sparse_data(*shape)
    w = np.arange(shape[0]) % 3 + 0.5 if weights else None
    dense = DistilledRidge(fit_intercept=fit_intercept, **parameters).fit(X.toarray(), Y, sample_weight=w)
    monkeypatch.setattr(krr, "SMALL", 0)
    monkeypatch.setattr(sparse_rows, "ENTRIES", 500)
    ours = DistilledRidge(fit_intercept=fit_intercept, **parameters).fit(X, Y, sample_weight=w)
    assert ours.lam_ == pytest.approx(dense.lam_, rel=1e-9) and error(ours.coef_, dense.coef_) < 1e-9
    assert np.abs(ours.intercept_ - dense.intercept_).max() < 1e-9
    assert error(trained_again(ours).coef_, ours.coef_) < 1e-9
    assert error(ours.predict(X), dense.predict(X.toarray())) < 1e-9
    if "lam" in parameters:
        assert error(ours.lam_scores_, dense.lam_scores_) < 1e-6


def test_a_column_far_from_zero_costs_a_sparse_matrix_no_digits(monkeypatch):
    X, Y = sparse_data(200, 30)
    far = sparse.csr_array(np.c_[1e7 + X.toarray()[:, :1], X.toarray()])
    dense = DistilledRidge(n_points=9).fit(far.toarray(), Y)
    monkeypatch.setattr(krr, "SMALL", 0)
    assert error(DistilledRidge(n_points=9).fit(far, Y).coef_, dense.coef_) < 1e-7
    with pytest.raises(ValueError, match="subtract a constant from them"):
        DistilledRidge(n_points=9).fit(far[:20], Y[:20])


def test_classes_of_sparse_rows_and_a_validation_set_of_them(monkeypatch):
    monkeypatch.setattr(krr, "SMALL", 0)
    X, Y = sparse_data(200, 30)
    y = Y[:, 0] > np.median(Y[:, 0])
    model = DistilledRidgeClassifier(lam=[0.1, 1.0], select="validation", class_weight="balanced").fit(X, y)
    dense = DistilledRidgeClassifier(lam=[0.1, 1.0], select="validation", class_weight="balanced").fit(X.toarray(), y)
    assert error(model.coef_, dense.coef_) < 1e-9 and error(model.lam_scores_, dense.lam_scores_) < 1e-9
    assert model.certificate_.decisions_changed == 0


def test_what_makes_sparse_rows_dense_is_refused_by_name():
    X, Y = sparse_data(50, 5)
    for parameters, words in (
        ({"scaling": "columns"}, "scaling = 'columns', which subtracts means, makes it dense: pass X.toarray()"),
        ({"feature_map": "fourier"}, "a feature_map makes it dense"),
        ({"device": "cpu"}, "device = 'cpu' makes it dense"),
    ):
        with pytest.raises(TypeError, match=words):
            DistilledRidge(**parameters).fit(X, Y)
    with pytest.raises(ValueError, match="its Gram matrix would have 30,001 rows"):
        DistilledRidge().fit(sparse.eye_array(30_001, format="csr"), np.arange(30_001.0))


# -- attributes


def test_a_second_fit_leaves_nothing_of_the_first():
    X, Y, _ = weighted(k=2)
    model = DistilledRidge(lam=[1.0, 2.0, 3.0]).fit(X, Y)
    assert hasattr(model, "lam_scores_")
    model.set_params(lam=1.0).fit(X, Y)
    assert not hasattr(model, "lams_") and not hasattr(model, "lam_scores_")
    with pytest.raises(ValueError, match="n_points = 1"):
        model.set_params(n_points=1).fit(X, Y)
    assert not hasattr(model, "X_distilled_") and not hasattr(model, "coef_")


def test_columns_and_features_have_names():
    pytest.importorskip("pandas")
    X, y = toys.load_iris(return_X_y=True, as_frame=True)
    model = DistilledRidgeClassifier().fit(X, y)
    assert model.n_features_in_ == 4 and model.get_feature_names_out().tolist() == list(X.columns)
    assert DistilledRidgeClassifier().fit(X.to_numpy(), y).get_feature_names_out().tolist() == ["x0", "x1", "x2", "x3"]
    mapped = DistilledRidgeClassifier(feature_map="fourier", scaling="columns").fit(X, y)
    assert mapped.get_feature_names_out().tolist() == [f"distilledridgeclassifier{i}" for i in range(4)]
