"""Samples come and go: the model is that of training from scratch on those that are there."""


import numpy as np
import pytest
from sklearn import datasets as toys
from sklearn.base import clone
from sklearn.linear_model import Ridge

from conftest import error
from ddref import files, maps
from ddref.estimator import DistilledRidge, DistilledRidgeClassifier, adding
from ddref.statistics import Statistics


def data(n=260, d=6, k=2, far=100.0, seed=0):
    """Columns of different sizes, some far from zero, one constant."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) * 10.0 ** np.arange(-2, d - 2) + far * rng.normal(size=d)
    X[:, 2] = 7.0
    return X, (X - X.mean(axis=0)) @ rng.normal(size=(d, k)) + rng.normal(size=(n, k))


def same(ours, scratch, tolerance=1e-9):
    assert error(ours.coef_, scratch.coef_) < tolerance and error(ours.mean_ + 1, scratch.mean_ + 1) < 1e-12
    assert error(ours.scale_, scratch.scale_) < 1e-9 and ours.lam_ == pytest.approx(scratch.lam_, rel=1e-6)
    size = 1 + np.abs(scratch.intercept_).max()
    assert np.abs(ours.intercept_ - scratch.intercept_).max() < tolerance * size
    assert ours.certificate_.exact and ours.certificate_.samples == scratch.certificate_.samples
    small = Ridge(alpha=ours.lam_s_, fit_intercept=ours.fit_intercept, solver="svd")
    small.fit(ours.transform_distilled(), ours.y_distilled_)
    assert error(small.coef_, scratch.coef_) < tolerance


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("scaling", [None, "columns", "global"])
@pytest.mark.parametrize("lam", [1.0, "auto"])
@pytest.mark.parametrize("weights", [False, True])
def test_add_100_delete_50_and_distil_again_is_training_from_scratch(scaling, fit_intercept, lam, weights):
    X, Y = data()
    w = np.arange(len(X)) % 4 / 2 if weights else np.ones(len(X))
    model = DistilledRidge(lam=lam, scaling=scaling, fit_intercept=fit_intercept)
    batches = clone(model)
    for rows in (slice(0, 160), slice(160, 260)):
        batches.partial_fit(X[rows], Y[rows], sample_weight=w[rows] if weights else None)
    gone = np.r_[20:60, 200:210]
    batches.remove(X[gone], Y[gone], sample_weight=w[gone] if weights else None)
    left = np.setdiff1d(np.arange(260), gone)
    same(batches, model.fit(X[left], Y[left], sample_weight=w[left] if weights else None))


@pytest.mark.parametrize("parameters", [{}, {"class_weight": {"b": 3.0}, "scaling": "columns"}], ids=str)
def test_classes_come_in_batches_too(parameters):
    X, y = toys.load_wine(return_X_y=True)
    y = np.array(["a", "b", "c"])[y]
    batches = DistilledRidgeClassifier(**parameters).partial_fit(X[:100], y[:100], classes=["a", "b", "c"])
    assert batches.predict(X[:3]).tolist() == ["a", "a", "a"] and batches.classes_.tolist() == ["a", "b", "c"]
    batches.partial_fit(X[100:], y[100:]).remove(X[:20], y[:20])
    scratch = DistilledRidgeClassifier(**parameters).fit(X[20:], y[20:])
    same(batches, scratch, 1e-8)
    assert np.array_equal(batches.predict(X), scratch.predict(X)) and batches.n_points_ == 3


def test_no_point_starts_from_a_sample_that_went():
    X, y = toys.load_iris(return_X_y=True)
    model = DistilledRidgeClassifier(30).partial_fit(X, y)
    there = {row.tobytes() for row in X}
    assert all(row.tobytes() in there for row in model.X_distilled_)  # as many points as this are samples
    model.remove(X[::2], y[::2])
    left = {row.tobytes() for row in X[1::2]} - {row.tobytes() for row in X[::2]}
    assert all(row.tobytes() in left for row in model.X_distilled_) and model.data_range_ is None
    with pytest.raises(ValueError, match="only .* samples to start from; use init='noise'"):
        model.remove(X[1:130:2], y[1:130:2])
    assert model.certificate_.samples == 75  # as it was


def test_of_many_samples_some_of_each_class_are_kept(monkeypatch):
    monkeypatch.setattr(adding, "KEPT", 30)
    X, y = toys.load_digits(return_X_y=True)
    model = DistilledRidgeClassifier()
    for start in range(0, 600, 200):
        rows = slice(start, start + 200)
        model.partial_fit(X[rows], y[rows])
    assert np.bincount(model._added.codes).tolist() == [3] * 10 and len(model._added.X) == 30


def test_features_of_a_map_are_summed_and_what_depends_on_all_samples_is_refused():
    X, y = toys.load_iris(return_X_y=True)
    phi = maps.leaky_relu_network([4, 4], seed=0)
    batches = DistilledRidgeClassifier(feature_map=phi).partial_fit(X[::2], y[::2]).partial_fit(X[1::2], y[1::2])
    same(batches, DistilledRidgeClassifier(feature_map=phi).fit(X, y))
    for parameters, words in (
        ({"feature_map": "fourier"}, "must not depend on the samples"),
        ({"feature_map": phi, "scaling": "columns"}, "must not depend on the samples"),
        ({"lam": "auto", "select": "loo"}, "select = 'loo' looks at the samples again"),
        ({"class_weight": "balanced"}, "class_weight = 'balanced' depends on all samples"),
    ):
        with pytest.raises(ValueError, match=words):
            DistilledRidgeClassifier(**parameters).partial_fit(X, y)


def test_what_is_refused_changes_nothing():
    X, y = toys.load_iris(return_X_y=True)
    model = DistilledRidgeClassifier().partial_fit(X, y)
    before = model.coef_.copy()
    for act, words in (
        (lambda: model.partial_fit(X, y + 1), r"y has \[3\], not among the classes \[0, 1, 2\]"),
        (lambda: model.partial_fit(X[:, :2], y), "2 features"),
        (lambda: model.partial_fit(X, y, classes=[0, 1]), "classes are those of the first call"),
        (lambda: model.remove(np.vstack([X, X]), np.r_[y, y]), "300 samples cannot be removed"),
        (lambda: model.remove(X, y), "there are no samples in these sums"),
        (lambda: DistilledRidgeClassifier().remove(X, y), "fit keeps none: begin with partial_fit"),
        (lambda: DistilledRidgeClassifier().fit(X, y).remove(X, y), "fit keeps none: begin with partial_fit"),
    ):
        with pytest.raises(ValueError, match=words):
            act()
    assert np.array_equal(model.coef_, before) and model.certificate_.samples == 150
    with pytest.warns(UserWarning, match="without the samples that fit had seen"):
        assert model.fit(X, y).partial_fit(X[:90], y[:90]).certificate_.samples == 90


# -- sums that are there already


def test_statistics_become_an_estimator_and_a_file(tmp_path):
    X, y = toys.load_digits(return_X_y=True)
    Y = np.eye(10)[y]
    ones = Statistics(65, 10).update(np.c_[X, np.ones(len(X))], Y)
    for parameters in ({"lam": 2.0}, {"lam": 2.0, "scaling": "columns"}, {"lam": "auto"}):
        scratch = DistilledRidgeClassifier(**parameters).fit(X, y)
        model = DistilledRidgeClassifier(init="noise", **parameters).fit_statistics(ones)
        same(model, scratch, 1e-8 if "scaling" in parameters else 1e-9)
        assert np.array_equal(model.predict(X), scratch.predict(X)) and model.n_points_ == 10
    model.save(tmp_path / "set.npz")
    W, b = files.model(files.load(tmp_path / "set.npz"))
    assert np.array_equal(np.argmax(X @ W + b, axis=1), scratch.predict(X))
    plain = Statistics(64, 10).update(X, Y)
    words = DistilledRidgeClassifier(init="orthonormal", fit_intercept=False).fit_statistics(plain, list("abcdefghij"))
    without = DistilledRidgeClassifier(fit_intercept=False).fit(X, y)
    assert error(words.coef_, without.coef_) < 1e-9 and words.predict(X[:1])[0] == "a"


def test_statistics_of_features_become_an_estimator():
    X, Y = toys.load_diabetes(return_X_y=True)[0], np.arange(442.0)[:, None]
    phi = maps.leaky_relu_network([10, 10], seed=0)
    sums = Statistics(11, 1).update(np.c_[phi(X), np.ones(442)], Y)
    model = DistilledRidge(feature_map=phi, init=X[:4]).fit_statistics(sums)
    assert error(model.coef_, DistilledRidge(feature_map=phi).fit(X, Y).coef_) < 1e-9 and model.n_points_ == 4


def test_statistics_that_do_not_fit_are_refused():
    X, Y = data()
    plain = Statistics(6, 2).update(X, Y)
    for model, arguments, words in (
        (DistilledRidge(init="noise"), (plain,), "sum rows .Phi, 1., a last column of ones"),
        (DistilledRidge(fit_intercept=False), (plain,), "sums hold no samples to start from"),
        (DistilledRidge(init="noise"), (X,), "must be Statistics, got ndarray"),
        (DistilledRidgeClassifier(init="noise"), (plain, "abc"), "the statistics have 2 targets"),
        (DistilledRidge(init="noise", fit_intercept=False), (Statistics(6, 2),), "there are no samples"),
        (DistilledRidge(init="noise", fit_intercept=False, lam="auto", select="loo"), (plain,), "select = 'loo'"),
    ):
        with pytest.raises((TypeError, ValueError), match=words):
            model.fit_statistics(*arguments)
