"""Ridge regression on a distilled set trains any linear model, whatever trained it first."""

import warnings

import numpy as np
import pytest
from sklearn import datasets as toys
from sklearn import linear_model as linear
from sklearn.cross_decomposition import PLSRegression
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC, LinearSVR

from conftest import error
from ddref import files, maps
from ddref.estimator import DistilledRidge, DistilledRidgeClassifier, from_model

CLASSIFIERS = {
    "RidgeClassifier": linear.RidgeClassifier(alpha=3.0),
    "LogisticRegression": linear.LogisticRegression(C=0.1),
    "LinearSVC": LinearSVC(C=0.1),
    "SGDClassifier": linear.SGDClassifier(random_state=0),
    "SGDClassifier-log": linear.SGDClassifier(loss="log_loss", fit_intercept=False, random_state=0),
    "LinearDiscriminantAnalysis": LinearDiscriminantAnalysis(),
    "Perceptron": linear.Perceptron(),
    "LogisticRegression-sparse": linear.LogisticRegression(C=0.1, l1_ratio=1.0, solver="saga", fit_intercept=False),
}
REGRESSORS = {
    "Ridge": linear.Ridge(alpha=np.array([3.0, 7.0])),
    "Ridge-no-intercept": linear.Ridge(fit_intercept=False),
    "LinearRegression": linear.LinearRegression(),
    "Lasso": linear.Lasso(alpha=5.0),
    "PLSRegression": PLSRegression(3),
    "MultiTaskElasticNet": linear.MultiTaskElasticNet(),
}
ONE_TARGET = {
    "SGDRegressor": linear.SGDRegressor(random_state=0),
    "LinearSVR": LinearSVR(),
    "HuberRegressor": linear.HuberRegressor(),
    "BayesianRidge": linear.BayesianRidge(),
    "Ridge": linear.Ridge(),
    "PLSRegression": PLSRegression(2),
}


def fitted(model, X, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of steps that did not converge: any W will do
        return model.fit(X, y)


def check(small, model, X, fit_intercept=True):
    """scikit-learn's Ridge on the set has the model's coefficients and shapes."""
    ridge = linear.Ridge(alpha=small.lam_s_, fit_intercept=fit_intercept)
    ridge.fit(small.X_distilled_, small.y_distilled_)
    coef = model.coef_.toarray() if hasattr(model.coef_, "toarray") else model.coef_
    assert small.lam_s_ > 0 and small.certificate_.exact
    assert small.coef_.shape == np.shape(coef) and small.y_distilled_.shape[1:] == np.shape(coef)[:-1]
    assert error(ridge.coef_, coef.squeeze()) < 1e-9 and error(small.coef_, coef) == 0
    predict = model.decision_function if hasattr(model, "decision_function") else model.predict
    assert error(ridge.predict(X).squeeze(), predict(X).squeeze()) < 1e-9
    return ridge


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("data, start", [("wine", "samples"), ("breast_cancer", "nothing")])
def test_any_linear_classifier_comes_back(name, data, start):
    X, y = getattr(toys, f"load_{data}")(return_X_y=True)
    X, y = StandardScaler().fit_transform(X), np.array(["a", "b", "c"])[y]
    model = fitted(CLASSIFIERS[name], X, y)
    small = from_model(model, X if start == "samples" else None, n_points=5)
    check(small, model, X, "fit_intercept" not in model.get_params() or model.fit_intercept)
    assert isinstance(small, DistilledRidgeClassifier) and small.n_points_ == 5
    assert np.array_equal(small.predict(X), model.predict(X))
    assert error(small.decision_function(X), model.decision_function(X)) < 1e-9
    if start == "samples":
        assert small.certificate_.decisions_changed == 0 and small.certificate_.samples == len(X)


@pytest.mark.parametrize("name", REGRESSORS)
def test_any_linear_regressor_comes_back(name):
    X, y = toys.load_diabetes(return_X_y=True)
    Y = np.c_[y, X[:, 0] * 50 + y]
    model = fitted(REGRESSORS[name], X, Y)
    small = from_model(model, X)
    check(small, model, X, getattr(model, "fit_intercept", True))
    assert isinstance(small, DistilledRidge) and error(small.predict(X), model.predict(X)) < 1e-9


@pytest.mark.parametrize("name", ONE_TARGET)
def test_a_regressor_of_one_target_keeps_its_shapes(name):
    X, y = toys.load_diabetes(return_X_y=True)
    model = fitted(ONE_TARGET[name], X, y)
    small = from_model(model, X)
    check(small, model, X)
    assert small.n_points_ == 2 and small.predict(X).shape == np.reshape(model.predict(X), small.predict(X).shape).shape


def test_the_head_of_a_network_comes_back():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    features = torch.randn(50, 16)
    for bias in (True, False):
        head = torch.nn.Linear(16, 4, bias=bias)
        small = from_model(head, features.numpy(), classes=list("wxyz"))
        ridge = linear.Ridge(alpha=small.lam_s_, fit_intercept=bias).fit(small.X_distilled_, small.y_distilled_)
        assert error(ridge.coef_, head.weight) < 1e-9
        assert not bias or error(ridge.intercept_, head.bias) < 1e-9
        with torch.no_grad():
            assert [*"wxyz"][int(head(features)[7].argmax())] == small.predict(features.numpy())[7]
    with pytest.raises(TypeError, match="only linear layers are read"):
        from_model(torch.nn.Conv2d(1, 2, 3))
    with pytest.raises(TypeError, match="Sequential is no linear model"):
        from_model(torch.nn.Sequential(head))


@pytest.mark.parametrize("b", [0.0, 1e-17, 1e-12, 1e-3])
def test_an_intercept_of_any_size_comes_back(b):
    w = np.arange(1.0, 6.0)
    for options in ({}, {"lam_s": 0.1}):
        small = from_model((w, b), **options)
        ridge = linear.Ridge(alpha=small.lam_s_, solver="svd").fit(small.X_distilled_, small.y_distilled_)
        assert error(ridge.coef_, w) < 1e-12 and abs(ridge.intercept_ - b) < 1e-14 and small.certificate_.exact


def test_arrays_come_back_with_and_without_an_intercept():
    rng = np.random.default_rng(0)
    W, b, X = rng.normal(size=(6, 2)), rng.normal(size=2), rng.normal(size=(30, 6))
    small = from_model((W, b), X, n_points=7, lam_s=2.0, init="noise")
    ridge = linear.Ridge(alpha=2.0).fit(small.X_distilled_, small.y_distilled_)
    assert error(ridge.coef_, W.T) < 1e-9 and error(ridge.intercept_, b) < 1e-9 and small.n_points_ == 7
    flat = from_model(W[:, 0])
    ridge = linear.Ridge(alpha=flat.lam_s_, fit_intercept=False).fit(flat.X_distilled_, flat.y_distilled_)
    assert flat.n_points_ == 1 and ridge.coef_.shape == (6,) and error(ridge.coef_, W[:, 0]) < 1e-9
    zero = from_model((np.zeros((6, 1)), np.ones(1)), X)
    assert zero.n_points_ == 1 and error(zero.predict(X), np.ones((30, 1))) < 1e-12


def test_a_model_of_features_comes_back_through_their_map():
    X, y = toys.load_iris(return_X_y=True)
    phi = maps.leaky_relu_network([4, 4], seed=0)
    model = linear.LogisticRegression().fit(phi(X), y)
    small = from_model(model, X, feature_map=phi)
    ridge = linear.Ridge(alpha=small.lam_s_).fit(phi(small.X_distilled_), small.y_distilled_)
    assert error(ridge.coef_, model.coef_.squeeze()) < 1e-9 and np.array_equal(small.predict(X), model.predict(phi(X)))
    with pytest.raises(ValueError, match="pass the map that the model was trained with"):
        from_model(model, X, feature_map="network")


@pytest.mark.parametrize("data", ["wine", "breast_cancer"])
def test_a_file_of_such_a_set_predicts_as_the_model_does(data, tmp_path):
    X, y = getattr(toys, f"load_{data}")(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    model = linear.LogisticRegression().fit(X, y)
    from_model(model, X).save(tmp_path / "set.npz")
    saved = files.load(tmp_path / "set.npz")
    W, b = files.model(saved)
    assert np.array_equal(saved.classes[np.argmax(X @ W + b, axis=1)], model.predict(X))


def test_columns_of_a_data_frame_are_put_in_the_order_of_the_model():
    pytest.importorskip("pandas")
    X, y = toys.load_diabetes(return_X_y=True, as_frame=True)
    model = linear.Ridge().fit(X, y)
    small = from_model(model, X[X.columns[::-1]])
    assert error(small.coef_, model.coef_) == 0 and small.certificate_.lower_bound < 1
    assert small.feature_names_in_.tolist() == list(X.columns)
    with pytest.raises(ValueError, match=r"X lacks the columns \['bmi'\]"):
        from_model(model, X.drop(columns="bmi"))


@pytest.mark.parametrize(
    "model, words",
    [
        (linear.PoissonRegressor(), r"what PoissonRegressor predicts is not X @ coef_.T"),
        (SVC(kernel="linear"), r"what SVC predicts is not X @ coef_.T"),
        (make_pipeline(StandardScaler(), linear.Ridge()), "of a Pipeline the last step"),
        (linear.RidgeClassifier(), "several labels a sample"),
    ],
)
def test_models_that_are_not_linear_are_refused_by_name(model, words):
    X, y = toys.load_wine(return_X_y=True)
    y = np.eye(3, dtype=int)[y] if isinstance(model, linear.RidgeClassifier) else y
    with pytest.raises(TypeError, match=words):
        from_model(fitted(model, X, y), X)


def test_arguments_that_mean_nothing_are_refused():
    rng = np.random.default_rng(0)
    W, b, X = rng.normal(size=(6, 2)), rng.normal(size=2), rng.normal(size=(30, 6))
    for arguments, options, words in (
        (((W.T, b),), {}, r"W has shape \(2, 6\) and b \(2,\).*is W transposed"),
        (((W, b), X[:, 1:]), {}, "X has 5 columns and the model reads 6"),
        (((W, b),), {"init": "noise"}, "needs samples: pass X"),
        (((W, b),), {"init": "real"}, "needs samples: pass X"),
        (((W, b * np.nan),), {}, "the model contains NaN or Inf"),
        (((W, b),), {"classes": ["a", "b", "c"]}, r"2 score\(s\) and there are 3 classes"),
        (((W, b), X), {"n_points": 2}, "n_points = 2 is too small"),
        (((W, b), X), {"lam": 2.0}, "lam belongs to a training"),
        (((W, b), X), {"points": 2}, "has no parameter 'points'"),
        ((linear.Ridge(),), {}, "Ridge is no linear model"),
        ((linear.Ridge().fit(X, b[0] * X[:, 0]),), {"classes": [0, 1]}, "classes are those of the model"),
    ):
        with pytest.raises((ValueError, TypeError), match=words):
            from_model(*arguments, **options)
