"""The estimators carry exact distilled sets: scikit-learn's own solvers, trained on them, give the same model."""

import re
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import datasets as toys
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, Ridge, RidgeClassifier
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import ddref
from conftest import error, trained_again
from ddref import krr, maps, recipe
from ddref.estimator import (
    DistilledRidge,
    DistilledRidgeClassifier,
    Distiller,
    estimators,
    training,
)

TOYS = {name: getattr(toys, f"load_{name}") for name in ("iris", "wine", "breast_cancer", "digits", "diabetes")}
REGRESSION = {"diabetes"}


def toy(name):
    return TOYS[name](return_X_y=True)


def made(name, **parameters):
    return (DistilledRidge if name in REGRESSION else DistilledRidgeClassifier)(**parameters)


def one_hot(y):
    return (np.asarray(y)[:, None] == np.unique(y)).astype(float)


# -- scikit-learn's conventions


@pytest.mark.parametrize(
    "model",
    [
        DistilledRidge(),
        pytest.param(DistilledRidgeClassifier(), marks=pytest.mark.slow),
        pytest.param(DistilledRidgeClassifier(lam="auto", scaling="columns"), marks=pytest.mark.slow),
    ],
)
def test_scikit_learns_own_checks_pass(model):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of checks skipped where pandas is not installed
        results = check_estimator(model, on_fail=None)
    assert [found["check_name"] for found in results if found["status"] == "failed"] == []
    assert sum(found["status"] == "passed" for found in results) >= 45


def test_parameters_come_back_and_a_clone_fits_the_same_set():
    model = DistilledRidgeClassifier(7, lam=[1.0, 10.0], init="noise", random_state=3)
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    assert np.array_equal(model.fit(*toy("iris")).X_distilled_, copy.fit(*toy("iris")).X_distilled_)
    assert not np.array_equal(
        model.X_distilled_, clone(model).set_params(random_state=4).fit(*toy("iris")).X_distilled_
    )


def test_the_package_gives_the_estimators_by_name_and_the_shared_class_refuses_to_be_used():
    assert ddref.DistilledRidge is DistilledRidge and ddref.DistilledRidgeClassifier is DistilledRidgeClassifier
    assert issubclass(DistilledRidge, ddref.Distiller) and "Distiller" in dir(ddref)
    with pytest.raises(TypeError, match="take DistilledRidge for real-valued"):
        Distiller()


# -- exact on every toy set, with default arguments, on raw columns


@pytest.mark.parametrize("name", TOYS)
def test_with_default_arguments_the_certificate_is_far_below_1e_9_and_ridge_gives_the_model(name):
    X, y = toy(name)
    model = made(name).fit(X, y)
    found = model.certificate_
    assert found.exact and found.relative_error <= 1e-9 and found.prediction_error <= 1e-9
    assert found.decisions_changed == (None if name in REGRESSION else 0)
    assert model.n_points_ == (2 if name in REGRESSION else len(np.unique(y)))
    for solver in ("svd", "cholesky"):
        small = trained_again(model, solver)
        assert error(small.coef_, model.coef_) <= 1e-9
        assert error(small.intercept_, model.intercept_) <= 1e-9
    small = Ridge(alpha=model.lam_s_).fit(model.X_distilled_, model.y_distilled_)  # no scaling: the set as it is
    assert error(small.predict(X), Ridge(alpha=1.0).fit(X, y if name in REGRESSION else one_hot(y)).predict(X)) < 1e-8


@pytest.mark.parametrize("name", TOYS)
def test_the_model_is_scikit_learns_ridge_on_the_data(name):
    X, y = toy(name)
    model = made(name, lam=3.0).fit(X, y)
    theirs = Ridge(alpha=3.0, solver="svd").fit(X, y if name in REGRESSION else one_hot(y))
    assert error(model.coef_, theirs.coef_) < 1e-9 and error(model.intercept_, theirs.intercept_) < 1e-9
    if name not in REGRESSION:
        assert np.array_equal(model.predict(X), RidgeClassifier(alpha=3.0).fit(X, y).predict(X))


@pytest.mark.parametrize("name", TOYS)
@pytest.mark.parametrize(
    "parameters",
    [
        {"scaling": "columns"},
        {"scaling": "global", "lam": "auto"},
        {"fit_intercept": False},
        {"n_points": 60, "lam": 0.1},
        {"init": "noise", "n_points": 12},
        {"init": "orthonormal", "lam_s": 2.0},
        {"feature_map": "network", "scaling": "columns"},
        {"feature_map": "fourier", "scaling": "columns", "n_points": 15},
        {"feature_map": "network", "scaling": "columns", "fit_intercept": False, "n_points": 11},
    ],
    ids=lambda parameters: "-".join(map(str, parameters.values())),
)
def test_other_arguments_are_exact_too(name, parameters):
    model = made(name, **parameters).fit(*toy(name))
    assert model.certificate_.exact and model.certificate_.relative_error <= 1e-9
    assert model.certificate_.decisions_changed in (0, None)
    assert error(trained_again(model).coef_, model.coef_) <= 1e-9
    assert error(trained_again(model).predict(model.transform_distilled()), trained(model)) <= 1e-9


def trained(model):
    return model.transform_distilled() @ np.atleast_2d(model.coef_).T.squeeze() + model.intercept_


def test_scaling_is_that_of_scikit_learn_and_is_undone_in_the_points():
    X, y = toy("wine")
    model = DistilledRidgeClassifier(scaling="columns", lam=2.0).fit(X, y)
    scaler = StandardScaler().fit(X)
    theirs = Ridge(alpha=2.0, solver="svd").fit(scaler.transform(X), one_hot(y))
    assert error(model.coef_, theirs.coef_) < 1e-12
    small = Ridge(alpha=model.lam_s_).fit(scaler.transform(model.X_distilled_), model.y_distilled_)
    assert error(small.coef_, theirs.coef_) < 1e-12
    spread = np.abs(model.X_distilled_ - X.mean(axis=0)) / X.std(axis=0)
    assert spread.max() < 5  # raw units, within the range of the data: proline is about 750, hue about 1


def test_one_global_scale_leaves_the_set_exact_in_raw_units():
    X, y = toy("digits")
    model = DistilledRidgeClassifier(scaling="global").fit(X, y)
    raw = Ridge(alpha=model.lam_s_ * model.scale_[0] ** 2, solver="svd").fit(model.X_distilled_, model.y_distilled_)
    assert error(raw.coef_ * model.scale_[0], model.coef_) < 1e-11


def test_labels_at_lam_s_0_are_predictions_and_linear_regression_gives_the_model():
    X, y = toy("wine")
    model = DistilledRidgeClassifier(lam_s=0, scaling="columns", n_points=8).fit(X, y)
    small = LinearRegression(tol=1e-12).fit(model.transform_distilled(), model.y_distilled_)
    assert error(small.coef_, model.coef_) < 1e-10
    assert error(model.y_distilled_, trained(model)) < 1e-12


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(4, 40),
    d=st.integers(1, 12),
    k=st.integers(1, 4),
    lam=st.floats(1e-3, 1e3),
    lam_s=st.one_of(st.none(), st.floats(1e-2, 10)),
    more=st.integers(0, 10),
    fit_intercept=st.booleans(),
    scaling=st.sampled_from([None, "columns", "global"]),
)
def test_any_regression_comes_back(seed, n, d, k, lam, lam_s, more, fit_intercept, scaling):
    rng = np.random.default_rng(seed)
    X, Y = rng.normal(size=(n, d)) * 10.0 ** rng.integers(-1, 2, size=d) + rng.normal(size=d), rng.normal(size=(n, k))
    model = DistilledRidge(lam=lam, lam_s=lam_s, fit_intercept=fit_intercept, scaling=scaling, random_state=seed)
    model.set_params(n_points=min(n, min(d, k) + 1 + more)).fit(X, Y)
    Z = (X - model.mean_) / model.scale_
    theirs = Ridge(alpha=lam, fit_intercept=fit_intercept, solver="svd").fit(Z, Y)
    assert error(model.coef_, theirs.coef_) < 1e-9
    small = trained_again(model)
    assert error(small.coef_, model.coef_) < 10 * model.certificate_.tolerance
    assert error(small.predict(Z), theirs.predict(Z)) < 1e-8


# -- the number of points, and what they are near to


@pytest.mark.parametrize(
    "model, points",
    [
        (DistilledRidgeClassifier(2), 3),
        (DistilledRidgeClassifier(2, fit_intercept=False), 3),
        (DistilledRidge(1), 2),
    ],
)
def test_too_few_points_are_refused_with_the_number_needed(model, points):
    X, y = toy("iris")
    with pytest.raises(ValueError, match=rf"n_points = \d is too small.* needs at least {points};"):
        model.fit(X, X[:, 3] if isinstance(model, DistilledRidge) else y)
    least = clone(model).set_params(n_points=points)
    assert least.fit(X[:, :3], X[:, 3] if isinstance(model, DistilledRidge) else y).certificate_.exact


def test_with_more_classes_than_columns_the_rank_is_what_counts():
    X, y = toy("digits")
    model = DistilledRidgeClassifier().fit(X[:, 20:23], y)
    assert model.X_distilled_.shape == (4, 3) and model.y_distilled_.shape == (4, 10) and model.certificate_.exact


def test_the_points_are_as_near_to_samples_as_any_exact_set():
    X, y = toy("digits")
    model = DistilledRidgeClassifier(40).fit(X, y)
    found = model.certificate_
    assert found.lower_bound > 0.01 and found.distance == pytest.approx(found.lower_bound, rel=1e-6)
    # labels of the samples the set began with: four of each class
    nearest = np.argmin(((model.X_distilled_[:, None, :] - X[None]) ** 2).sum(axis=2), axis=1)
    assert np.bincount(y[nearest]).tolist() == [4] * 10


def test_with_enough_points_real_samples_are_kept_to_the_last_bit():
    X, y = toy("iris")
    model = DistilledRidgeClassifier(30, scaling="columns").fit(X, y)
    assert model.certificate_.distance < 1e-15
    assert {tuple(row) for row in model.X_distilled_} <= {tuple(row) for row in X}


def test_own_points_noise_and_orthonormal_sets():
    X, y = toy("wine")
    own = X[[0, 70, 150, 3, 99]]
    model = DistilledRidgeClassifier(init=own, scaling="columns").fit(X, y)
    assert model.n_points_ == 5 and model.certificate_.distance == pytest.approx(model.certificate_.lower_bound)
    assert error((model.X_distilled_ - model.mean_) / model.scale_, (own - model.mean_) / model.scale_) < 0.5
    noise = DistilledRidgeClassifier(init="noise", scaling="columns").fit(X, y)
    assert noise.certificate_.distance is None
    best = DistilledRidgeClassifier(init="orthonormal", scaling="columns").fit(X, y)
    t = np.linalg.svd(best.transform_distilled() - best.transform_distilled().mean(axis=0))[1]
    assert t[0] / t[1] == pytest.approx(1.0)


def test_degenerate_data_have_a_set_too():
    rng = np.random.default_rng(0)
    constant = np.hstack([rng.normal(size=(30, 3)), np.full((30, 1), 7.0)])
    for scaling in (None, "columns", "global"):
        model = DistilledRidge(scaling=scaling).fit(constant, constant[:, 0])
        assert model.certificate_.exact and abs(np.ravel(model.coef_)[3]) < 1e-12
    flat = DistilledRidge().fit(constant, np.full(30, 2.0))  # the zero model: one point
    assert flat.n_points_ == 1 and error(flat.predict(constant), np.full(30, 2.0)) < 1e-15
    same = DistilledRidge().fit(np.ones((10, 2)), np.arange(10.0))
    assert error(same.predict(np.ones((1, 2))), [4.5]) < 1e-15
    copies = np.repeat(constant[:2], 20, axis=0)
    assert DistilledRidge(random_state=1).fit(copies, copies[:, 0]).certificate_.exact


# -- choosing lam

LAMS = [1e-2, 1.0, 30.0, 1e3]


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_leave_one_out_is_that_of_leaving_out_each_sample(small, fit_intercept, monkeypatch):
    monkeypatch.setattr(krr, "SMALL", krr.SMALL if small else 0)
    monkeypatch.setattr(training, "CHUNK", 17)
    X, y = toy("diabetes")
    X, y = 100 * X[:24], y[:24]
    model = DistilledRidge(lam=LAMS, select="loo", fit_intercept=fit_intercept).fit(X, y)
    naive = []
    for lam in LAMS:
        P = cross_val_predict(Ridge(alpha=lam, fit_intercept=fit_intercept), X, y, cv=LeaveOneOut())
        naive.append(np.mean((y - P) ** 2))
    assert error(model.lam_scores_, naive) < 1e-10
    assert model.lam_ == LAMS[int(np.argmin(naive))]


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_generalised_cross_validation_is_its_formula(small, fit_intercept, monkeypatch):
    monkeypatch.setattr(krr, "SMALL", krr.SMALL if small else 0)
    X, y = toy("wine")
    X, Y = StandardScaler().fit_transform(X), one_hot(y)
    model = DistilledRidgeClassifier(lam=LAMS, fit_intercept=fit_intercept).fit(X, y)
    naive, n = [], len(X)
    for lam in LAMS:
        H = X @ np.linalg.solve(X.T @ X + lam * np.eye(X.shape[1]), X.T) + fit_intercept / n
        naive.append(n * np.sum((Y - H @ Y) ** 2) / (n - np.trace(H)) ** 2)
    assert error(model.lam_scores_, naive) < 1e-10


def test_validation_holds_out_a_fifth_and_takes_the_largest_of_the_best():
    X, y = toy("iris")
    model = DistilledRidgeClassifier(lam=[1e-9, 1e-8, 1e9], select="validation").fit(X, y)
    assert model.lam_ == 1e-8 and model.lam_scores_[0] == model.lam_scores_[1] < model.lam_scores_[2]
    assert np.allclose(30 * model.lam_scores_, np.rint(30 * model.lam_scores_))  # errors among 30 of 150
    diabetes = DistilledRidge(lam="auto", select="validation").fit(*toy("diabetes"))
    assert len(diabetes.lams_) == 25 and 0 < diabetes.lams_.argmin() + diabetes.lam_scores_.argmin() < 24


def test_the_sums_and_the_svd_train_the_same_model(monkeypatch):
    X, y = toy("digits")
    small = DistilledRidgeClassifier(lam=5.0).fit(X, y)
    monkeypatch.setattr(krr, "SMALL", 0)
    monkeypatch.setattr(training, "CHUNK", 500)
    assert error(DistilledRidgeClassifier(lam=5.0).fit(X, y).coef_, small.coef_) < 1e-12


# -- storage, libraries, maps


@pytest.mark.parametrize("name", ["diabetes", "iris", *(pytest.param(name, marks=pytest.mark.slow) for name in ("wine", "breast_cancer", "digits"))])
def test_a_set_stored_in_float32_keeps_its_digits(name):
    model = made(name, dtype="float32").fit(*toy(name))
    assert model.X_distilled_.dtype == model.y_distilled_.dtype == np.float32
    assert model.certificate_.exact
    # On raw columns predictions are small differences of mean @ W and the intercept: which samples the points start
    # from moves their error by a factor of ten either way, so that one seed shows nothing.
    found = [made(name, dtype="float32", random_state=seed).fit(*toy(name)).certificate_ for seed in range(15)]
    assert np.median([certificate.prediction_error for certificate in found]) < 1e-4
    assert error(trained_again(model).coef_, model.coef_) < 1e-5


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("name", ["wine", "breast_cancer"])
def test_a_set_of_more_points_is_found_in_float32_on_raw_columns(name, fit_intercept):
    """Rows of very different columns: the limit of the condition number is that of the dtype stored, not of W."""
    model = made(name, n_points=12, dtype="float32", fit_intercept=fit_intercept).fit(*toy(name))
    assert model.certificate_.exact and model.certificate_.condition < 1.1e3


def test_pytorch_gives_the_same_set_and_maps_of_pytorch_need_it():
    torch = pytest.importorskip("torch")
    from ddref.maps import conv

    X, y = toy("digits")
    ours, theirs = (DistilledRidgeClassifier(lam="auto", device=device).fit(X, y) for device in (None, "cpu"))
    assert error(theirs.X_distilled_, ours.X_distilled_) < 1e-9
    phi = conv.small_cnn((1, 8, 8), (4,), seed=0)
    model = DistilledRidgeClassifier(feature_map=phi, device="cpu", scaling="global").fit(X, y)
    assert model.certificate_.exact and model.coef_.shape == (10, phi.output_dim)
    assert isinstance(model.X_distilled_, np.ndarray)
    with pytest.raises(TypeError, match="device='cpu'"):
        DistilledRidgeClassifier(feature_map=phi).fit(X, y)
    with pytest.raises(TypeError, match="device='cpu'"):
        A = torch.eye(64, dtype=torch.float64)
        DistilledRidgeClassifier(feature_map=maps.Linear(A)).fit(X, y)


def test_a_map_that_is_not_onto_is_refused_and_one_of_your_own_is_used():
    X, y = toy("iris")
    with pytest.raises(ValueError, match="not onto"):
        DistilledRidgeClassifier(feature_map=maps.Linear(np.ones((4, 6)))).fit(X, y)
    with pytest.raises(TypeError, match="pass the features themselves as X"):
        DistilledRidgeClassifier(feature_map=np.tanh).fit(X, y)

    class Cube:
        output_dim = None

        def __call__(self, X):
            return X**3

        def preimage(self, Phi, near=None):
            return np.cbrt(Phi)

    model = DistilledRidgeClassifier(feature_map=Cube(), scaling="columns").fit(X, y)
    assert model.certificate_.exact
    assert error(((model.X_distilled_ - model.mean_) / model.scale_) ** 3, model.transform_distilled()) < 1e-12


# -- looking at the points


def test_images_are_shown_with_one_mapping_that_can_be_undone():
    X, y = toy("digits")
    model = DistilledRidgeClassifier(20, image_shape=(8, 8)).fit(X, y)
    shown = model.as_images()
    assert shown.images.shape == (20, 8, 8) and shown.images.dtype == np.uint8 and shown.clipped == 0
    back = shown.low + shown.images.reshape(20, 64) * (shown.high - shown.low) / 255
    assert np.abs(back - model.X_distilled_).max() <= 0.5001 * (shown.high - shown.low) / 255
    assert "shade" in shown.mapping and f"{shown.low:.6g}" in shown.mapping
    clipped = model.as_images(value_range=model.data_range_)
    assert (clipped.low, clipped.high) == (0.0, 16.0) and clipped.clipped > 0
    outside = (model.X_distilled_ < 0) | (model.X_distilled_ > 16)
    assert clipped.clipped == outside.mean()


@pytest.mark.parametrize(
    "parameters, arguments, words",
    [
        ({}, {}, "no image shape is known"),
        ({}, {"image_shape": (3, 3)}, "has 9 values, a point has 64"),
        ({"image_shape": (8, 8)}, {"value_range": (1, 1)}, "two finite numbers, the smaller first"),
    ],
)
def test_images_that_cannot_be_shown_are_refused(parameters, arguments, words):
    model = DistilledRidgeClassifier(**parameters).fit(*toy("digits"))
    with pytest.raises(ValueError, match=words):
        model.as_images(**arguments)


# -- what is said


def test_points_that_are_copies_of_samples_are_named_in_the_certificate_and_its_words():
    X, y = toy("iris")
    model = DistilledRidgeClassifier(30, scaling="columns").fit(X, y)
    assert model.certificate_.copies == 30
    assert "30 point(s) are copies of your samples" in repr(model.certificate_)
    few = DistilledRidgeClassifier(scaling="columns").fit(X, y).certificate_
    assert few.copies == 0 and "copies of your samples" not in repr(few)
    in_float32 = DistilledRidgeClassifier(30, scaling="columns", dtype="float32").fit(X, y)
    assert in_float32.certificate_.copies == 30
    assert DistilledRidgeClassifier(30, init="noise").fit(X, y).certificate_.copies is None


XOR = np.tile([[0, 0], [0, 1], [1, 0], [1, 1.0]], (100, 1)), np.tile([0, 1, 1, 0], 100)


@pytest.mark.parametrize("parameters", [{}, {"scaling": "columns"}, {"lam": 100.0}, {"lam": "auto"}], ids=str)
@pytest.mark.parametrize("chunked", [False, True])
def test_without_a_linear_relation_the_set_is_one_point_and_a_text_says_why(parameters, chunked, monkeypatch):
    monkeypatch.setattr(krr, "SMALL", 0 if chunked else krr.SMALL)
    with pytest.warns(UserWarning, match="no linear relation between X and y.*a feature_map, or other columns"):
        model = DistilledRidgeClassifier(**parameters).fit(*XOR)
    assert model.n_points_ == 1 and not model.coef_.any() and model.certificate_.exact
    assert error(model.intercept_, [0.5, 0.5]) < 1e-15 and error(model.y_distilled_, [[0.5, 0.5]]) < 1e-15
    x = np.linspace(-2, 2, 401)[:, None]
    with pytest.warns(UserWarning, match="no linear relation"):
        square = DistilledRidge(**parameters).fit(x, x[:, 0] ** 2)
    assert square.n_points_ == 1 and error(square.predict(x), np.full(401, np.mean(x**2))) < 1e-12


def test_a_weak_relation_and_a_large_lam_are_no_reason_to_give_up():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 5))
    assert DistilledRidge(lam=1e9).fit(X, rng.normal(size=1000)).n_points_ == 2
    assert DistilledRidgeClassifier(feature_map="network").fit(XOR[0], XOR[1]).n_points_ == 2
    without = DistilledRidgeClassifier(fit_intercept=False).fit(*XOR)  # its first sample is zero
    assert without.certificate_.exact and without.n_points_ == 1


def test_help_explains_every_parameter_and_fitted_attribute_of_both():
    for model in (DistilledRidge(), DistilledRidgeClassifier()):
        text = type(model).__doc__
        for name in model.get_params():
            assert re.search(rf"^{name} : .+\n    \S", text, re.MULTILINE), name
        model.fit(*toy("iris"))
        for name in [name for name in vars(model) if re.fullmatch(r"[a-z]\w*_", name) and name != "image_shape_"]:
            assert name in text, name


def test_a_fitted_model_shows_its_certificate_in_a_notebook():
    model = DistilledRidgeClassifier()
    assert "Distilled set" not in model._repr_html_()
    model.fit(*toy("iris"))
    for shown in (model._repr_html_(), model._repr_mimebundle_()["text/html"]):
        assert "Distilled set: exact, 3 points" in shown and "<td>relative_error</td>" in shown
    assert "30 points are copies of your samples" in model.set_params(n_points=30).fit(*toy("iris"))._repr_html_()


def test_steps_are_named_where_that_is_asked_for(capsys):
    DistilledRidge().fit(*toy("diabetes"))
    assert capsys.readouterr() == ("", "")
    DistilledRidge(verbose=True).fit(*toy("diabetes"))
    said = capsys.readouterr().err.splitlines()
    assert said == [f"DistilledRidge: {s}" for s in ("features", "statistics", "distilling", "checking")]


@pytest.mark.parametrize(
    "parameters, steps",
    [
        ({"lam": "auto"}, ["statistics", r"decomposing 1,797 x 64, about \d+ s", r"solving 1,797 x 64, about 1 s"]),
        ({"lam": "auto", "select": "validation"}, [r"decomposing 1,437 x 64, about \d+ s", r"solving 1,797 x 64, about 1 s"]),
        ({"lam": [1.0, 2.0], "select": "loo"}, ["leave-one-out of 1,797 of 1,797 samples"]),
        ({"feature_map": "network"}, ["features of 1,000 of 1,797 samples", "features of 1,797 of 1,797 samples"]),
        ({"feature_map": "network", "device": "cpu"}, ["features of 1,797 of 1,797 samples"]),
    ],
)
def test_long_steps_are_told_with_their_size_and_counted(parameters, steps, monkeypatch, capsys):
    if "device" in parameters:
        pytest.importorskip("torch")
    monkeypatch.setattr(training, "LONG", 10)
    monkeypatch.setattr(estimators, "MANY", 0)
    monkeypatch.setattr("ddref.statistics.rows.BLOCK", 8 * 64 * 1000)
    X, y = toy("digits")
    model = DistilledRidgeClassifier(verbose=True, **parameters).fit(X, y)
    said = capsys.readouterr().err
    for step in steps:
        assert re.search(rf"^DistilledRidgeClassifier: {step}$", said, re.MULTILINE), (step, said)
    monkeypatch.undo()
    whole = DistilledRidgeClassifier(**parameters).fit(X, y)
    assert error(model.coef_, whole.coef_) < 1e-9 and capsys.readouterr().err == ""


def test_a_decomposition_of_large_sums_and_of_sparse_rows_is_told_too(monkeypatch, capsys):
    sparse = pytest.importorskip("scipy.sparse")
    monkeypatch.setattr(training, "LONG", 10)
    monkeypatch.setattr(krr, "SMALL", 0)
    X, y = toy("digits")
    DistilledRidgeClassifier(lam="auto", verbose=True).fit(X, y)
    said = capsys.readouterr().err
    assert re.search(r"decomposing 64 x 64, about \d+ s\n", said) and "solving 64 x 64, about 1 s\n" in said
    DistilledRidgeClassifier(verbose=True).fit(sparse.csr_matrix(X[:40]), y[:40])
    assert re.search(r"decomposing 40 x 40, about \d+ s\n", capsys.readouterr().err)


def test_how_long_a_decomposition_takes_grows_with_the_cube():
    small, large = (min(training._seconds(np.ones((1, 1)), p**3) for _ in range(3)) for p in (400, 4000))
    assert 100 < large / small < 10_000


# -- bad input


@pytest.mark.parametrize(
    "parameters, words",
    [
        ({"lam": -1.0}, "lam = -1.0 must be finite and not negative"),
        ({"lam": []}, "lam is an empty sequence"),
        ({"lam": "best"}, "a number, a sequence of numbers, or 'auto'"),
        ({"lam_s": -2}, "lam_s = -2.0 must be finite"),
        ({"select": "cv"}, "select = 'cv' must be"),
        ({"init": "zeros"}, "init = 'zeros' must be"),
        ({"init": np.ones((3, 2))}, r"init must be a finite array \(m, 4\)"),
        ({"init": np.ones((3, 4)), "n_points": 4}, "n_points = 4, but init has 3 rows"),
        ({"n_points": 151}, "only 150 samples"),
        ({"n_points": 2.5}, "n_points must be an integer"),
        ({"scaling": "rows"}, "scaling = 'rows' must be"),
        ({"image_shape": (3, 3)}, r"image_shape = \(3, 3\) must be .* with 4 values"),
        ({"dtype": "float16"}, "dtype = 'float16' must be float64 or float32"),
        ({"feature_map": "tanh"}, "feature_map = 'tanh' must be"),
    ],
    ids=str,
)
def test_parameters_that_mean_nothing_are_refused_in_fit(parameters, words):
    with pytest.raises((ValueError, TypeError), match=words):
        DistilledRidgeClassifier(**parameters).fit(*toy("iris"))


def test_bad_data_are_refused():
    X, y = toy("iris")
    with pytest.raises(ValueError, match="at least 2 classes are needed, y has 1 class"):
        DistilledRidgeClassifier().fit(X, np.zeros(150, dtype=int))
    with pytest.raises(ValueError, match="NaN"):
        DistilledRidgeClassifier().fit(np.where(X > 7, np.nan, X), y)
    with pytest.raises(ValueError, match="Unknown label type"):
        DistilledRidgeClassifier().fit(X, X[:, 0])
    with pytest.raises(ValueError, match="GCV|gcv has no finite score"):
        DistilledRidge(lam=[0.0], feature_map=None).fit(np.eye(4), np.arange(4.0))


def test_a_set_that_is_not_exact_is_never_returned(monkeypatch):
    def wrong_labels(Phi_S, W, b, lam_S, **_):
        return Phi_S @ W + 1.001 * b

    monkeypatch.setattr(recipe.with_intercept, "labels", wrong_labels)
    with pytest.raises(ValueError, match="the set found is not exact: training on it gives a model"):
        DistilledRidgeClassifier().fit(*toy("iris"))


@pytest.mark.parametrize("parameters", [{"device": "cpu"}, {"device": "cpu", "feature_map": "fourier"}, {}])
def test_autocast_costs_a_fit_no_digits(parameters):
    """The algebra is in float64, which autocast leaves alone; tensors in float32 are taken as they come."""
    torch = pytest.importorskip("torch")
    X, y = (torch.tensor(A, dtype=torch.float32) for A in toy("diabetes"))
    before = DistilledRidge(**parameters).fit(X, y)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model = DistilledRidge(**parameters).fit(X, y)
        assert np.array_equal(model.predict(X), before.predict(X))
    assert np.array_equal(model.X_distilled_, before.X_distilled_) and model.coef_.dtype == np.float64


# -- the samples that points started from


def all_copies(model, X):
    """Whether every point, exactly where it started, is the sample that it is said to have started from."""
    return model.certificate_.copies == model.n_points_ and error(model.X_distilled_, X[model.sources_]) < 1e-6


@pytest.mark.parametrize("name", ["iris", "diabetes"])
def test_sources_are_rows_of_the_data_that_were_given(name):
    X, y = toy(name)
    points = {"n_points": X.shape[1] + 4}  # more than the columns: no point has to move
    assert all_copies(made(name, **points).fit(X, y), X)
    w = np.where(np.arange(len(X)) % 3 == 1, 1.0, 0.0)
    weighted = made(name, **points).fit(X, y, sample_weight=w)
    assert all_copies(weighted, X) and set(weighted.sources_ % 3) == {1}
    if name == "iris":
        few = made(name, n_points=3, class_weight={0: 0.0, 1: 1.0, 2: 1.0}).fit(X, y)
        assert set(y[few.sources_]) == {1, 2}
    again = clone(weighted)
    for part in (slice(0, 60), slice(60, None)):
        again.partial_fit(X[part], y[part], sample_weight=w[part], **({"classes": [0, 1, 2]} if name == "iris" else {}))
    assert all_copies(again, X)
    assert all_copies(again.remove(X[:60], y[:60], sample_weight=w[:60]), X) and again.sources_.min() >= 60


@pytest.mark.parametrize("parameters", [{"init": "noise"}, {"init": "orthonormal"}, {"init": np.eye(4)}], ids=str)
def test_points_that_start_from_no_sample_have_no_sources(parameters):
    model = DistilledRidgeClassifier(4, lam_s=0.1).fit(*toy("iris"))
    assert model.sources_.shape == (4,)
    assert model.set_params(**parameters).fit(*toy("iris")).sources_ is None


def test_of_equal_samples_another_is_a_source():
    X = np.r_[np.ones((20, 2)), [[0.0, 5.0]]]
    model = DistilledRidge(2).fit(X, X[:, 1])
    assert model.sources_[1] == 20 and error(model.X_distilled_, X[model.sources_]) < 1e-6


@pytest.mark.parametrize("init", ["orthonormal", "real", "noise"])
@pytest.mark.parametrize("lam_s", [None, 0.1])
def test_centred_data_whose_intercept_is_rounding_have_an_exact_set_from_every_start(init, lam_s):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 5))
    X -= X.mean(axis=0)
    y = X @ np.arange(1.0, 6.0) + rng.normal(size=20)
    for dtype in ("float64", "float32"):
        model = DistilledRidge(init=init, lam_s=lam_s, dtype=dtype).fit(X, y - y.mean())
        ridge = Ridge(alpha=model.lam_s_, solver="svd").fit(*(A.astype(float) for A in (model.X_distilled_, model.y_distilled_)))
        limit = 1e-13 if dtype == "float64" else 1e-5
        assert abs(model.intercept_) < 1e-14 and abs(ridge.intercept_) < limit and model.certificate_.exact


def test_an_intercept_with_digits_of_its_own_is_judged_by_itself():
    X_S, W = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]), np.array([[2.0], [1.0]])
    b = np.array([[1e-6]])
    for off, exact in ((1e-9, False), (1e-15, True)):
        assert recipe.certified(lambda X: X, X_S, X_S @ W + b + off, 0.0, W, b).exact == exact, off


# -- dtypes in and out


def test_numbers_of_any_dtype_are_those_of_float64_and_come_back_in_numpy(tmp_path):
    torch = pytest.importorskip("torch")
    X, y = toy("iris")
    plain = DistilledRidgeClassifier().fit(X.astype("f4"), y)
    plain.save(tmp_path / "set.npz")
    again, X_32 = ddref.load(tmp_path / "set.npz"), torch.tensor(X, dtype=torch.float32, requires_grad=True)
    for same in (X.astype("f4"), X_32):
        model = DistilledRidgeClassifier(dtype="float32").fit(same, torch.tensor(y))
        assert type(model.predict(same)) is np.ndarray and model.decision_function(same).dtype == np.float64
        assert model.X_distilled_.dtype == model.y_distilled_.dtype == np.float32
        assert error(model.coef_, plain.coef_) < 1e-12 and np.array_equal(again.predict(same), plain.predict(same))
    half = torch.tensor(X).bfloat16()
    assert np.array_equal(again.scores(half), again.scores(half.double().numpy()))
    for more, words in ((X.astype(np.longdouble), "float128, and everything is computed in float64: pass X.astype"),
                        (X + 0j, "X has dtype complex128. Complex data not supported$")):  # fmt: skip
        if more.dtype.itemsize > 8:  # longdouble is float64 on some systems
            for call in (lambda X: DistilledRidgeClassifier().fit(X, y), plain.predict):
                with pytest.raises((TypeError, ValueError), match=words):
                    call(more)
