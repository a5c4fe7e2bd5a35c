"""Private fits: the model is that of `privacy.release`, and nothing else of the samples is in what comes out."""

import math
import pickle
from pathlib import Path

import numpy as np
import oracle
import pandas
import pytest
import torch
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import ddref
from ddref import files, krr, privacy
from ddref.command.commands import main
from ddref.estimator import (
    DistilledRidge,
    DistilledRidgeClassifier,
    from_model,
    private,
)
from ddref.maps import leaky_relu_network
from ddref.maps.fourier import orthogonal_features
from ddref.privacy import mechanism
from ddref.statistics import Statistics
from ddref.statistics.rows import FileRows

DELTA = 1e-5
D, K = 6, 3


def samples(seed=0, n=60, shift=0.0):
    rng = np.random.default_rng(seed)
    y = rng.integers(K, size=n)
    return rng.normal(size=(n, D)) + np.eye(K, D)[y] + shift, y


def classifier(**parameters):
    given = {"epsilon": 2.0, "delta": DELTA, "classes": range(K), "init": "orthonormal", "fit_intercept": False}
    return DistilledRidgeClassifier(**{**given, **parameters})


def regressor(**parameters):
    given = {"epsilon": 2.0, "delta": DELTA, "bound": 3.0, "init": "orthonormal", "fit_intercept": False}
    return DistilledRidge(**{**given, **parameters})


@pytest.fixture
def same_noise(monkeypatch):
    """Every fit draws the noise of this generator, which a fit seeds anew."""
    monkeypatch.setattr(private, "generator", lambda: np.random.default_rng(5))
    return lambda: np.random.default_rng(5)


def by_hand(Phi, Y, rng, *, epsilon=2.0, clip=1.0, bound):
    sums = privacy.ClippedStatistics(Phi.shape[1], Y.shape[1], clip=clip, bound=bound).update(Phi, Y)
    return privacy.release(sums, epsilon, DELTA, rng)


# -- the model is that of the release, and the set trains it


MAPS = {
    "columns": lambda: None,
    "fourier": lambda: orthogonal_features(D, 5, 3.0, seed=1),
    "network": lambda: leaky_relu_network([D, D], seed=1),
}


@pytest.mark.parametrize("name", MAPS)
def test_the_model_is_that_of_a_release_by_hand_and_the_set_trains_it(name, same_noise):
    X, y = samples()
    phi = MAPS[name]()
    model = classifier(feature_map=phi, clip=0.8).fit(X, y)
    Phi = X if phi is None else phi(X)
    made = by_hand(Phi, np.eye(K)[y] - 1 / K, same_noise(), clip=0.8, bound=math.sqrt(1 - 1 / K))
    assert np.allclose(model.coef_, made.solve().T, rtol=1e-12, atol=1e-14) and not model.intercept_.any()
    assert model.lam_ == made.lam and model.n_points_ == K
    bounds = {"clip": 0.8, "bound": made.bound, "sigma": made.sigma}
    assert model.privacy_ == {"epsilon": 2.0, "delta": DELTA, "relation": "add or remove one sample", **bounds}
    Phi_S = model.transform_distilled()
    assert model.certificate_.exact
    assert oracle.worst(Phi_S, model.y_distilled_, model.lam_s_, model.coef_.T) < 1e-12
    assert np.array_equal(model.predict(X), np.argmax(Phi @ made.solve(), axis=1))


@pytest.mark.parametrize("flat", [True, False])
def test_the_model_of_targets_is_that_of_a_release_by_hand(flat, same_noise):
    X, _ = samples()
    Y = X @ np.random.default_rng(1).normal(size=(D, 1 if flat else 2))  # some rows are longer than 3
    model = regressor(lam=7.0).fit(X, Y[:, 0] if flat else Y)
    W = by_hand(X, Y, same_noise(), bound=3.0).solve(7.0)
    assert np.linalg.norm(Y, axis=1).max() > 3
    assert np.allclose(model.coef_, W[:, 0] if flat else W.T, rtol=1e-12) and model.lam_ == 7.0
    assert model.predict(X).shape == ((60,) if flat else (60, 2))


@pytest.mark.slow
def test_a_network_of_pytorch_and_points_of_ones_own_are_taken(same_noise):
    X, y = samples()
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(D, 8), torch.nn.Tanh())
    start = np.random.default_rng(3).normal(size=(8, D))
    model = classifier(feature_map=net, init=start).fit(X, y)
    Phi = net.double()(torch.from_numpy(X)).detach().numpy()
    made = by_hand(Phi, np.eye(K)[y] - 1 / K, same_noise(), bound=math.sqrt(1 - 1 / K))
    assert np.allclose(model.coef_, made.solve().T, rtol=1e-12)
    assert model.certificate_.exact and model.certificate_.samples is None


def test_tensors_sparse_rows_and_rows_of_a_file_give_the_same_model(same_noise, tmp_path, monkeypatch):
    from scipy.sparse import csr_array

    X, y = samples()
    phi = MAPS["fourier"]()
    wanted = classifier(feature_map=phi).fit(X, y).coef_
    there = orthogonal_features(D, 5, 3.0, seed=1, like=torch.zeros(1, dtype=torch.float64))
    of_torch = classifier(feature_map=there, device="cpu").fit(torch.from_numpy(X), torch.from_numpy(y))
    assert isinstance(of_torch.coef_, np.ndarray) and np.allclose(of_torch.coef_, wanted, rtol=1e-10)
    np.save(tmp_path / "X.npy", X)
    read = classifier(feature_map=phi)._fit_file(FileRows(tmp_path / "X.npy"), y)
    assert np.allclose(read.coef_, wanted, rtol=1e-12)
    monkeypatch.setattr(krr, "SMALL", 0)  # sparse rows are not made dense as a whole
    assert np.allclose(classifier().fit(csr_array(X), y).coef_, classifier().fit(X, y).coef_, rtol=1e-12)


def test_public_constants_come_before_it_in_a_pipeline(same_noise):
    X, y = samples()
    whole = make_pipeline(FunctionTransformer(lambda X: X / 255 - 0.5), classifier()).fit(255 * (X + 0.5), y)
    assert np.allclose(whole[-1].coef_, classifier().fit(X, y).coef_, rtol=1e-9)


def test_a_clone_fits_other_noise_whatever_the_random_state():
    X, y = samples()
    model = classifier(random_state=0).fit(X, y)
    again = clone(model).fit(X, y)
    assert again.get_params() == model.get_params()
    moved = np.linalg.norm(again.coef_ - model.coef_) / np.linalg.norm(model.coef_)
    assert moved > 0.01  # each fit is another release


# -- what comes out depends on the samples through the release alone


def file_of(model, path):
    model.save(path, overwrite=True)
    return path.read_bytes(), {name: A.tolist() for name, A in np.load(path).items()}


@pytest.mark.parametrize("make", [classifier, regressor], ids=["classes", "targets"])
@pytest.mark.parametrize("name", MAPS)
def test_nothing_but_the_release_is_in_the_model_and_in_its_file(make, name, monkeypatch, tmp_path):
    """Two data sets as different as can be, of which the same is released: all else is the same, bit by bit."""
    made = by_hand(
        np.eye(9)[:, : 5 if name == "fourier" else D], np.eye(9)[:, :K] / 3, np.random.default_rng(0), bound=0.5
    )
    given = []
    monkeypatch.setattr(private, "release", lambda sums, *_: given.append(sums) or made)
    phi, found = MAPS[name](), []
    for data in (samples(), samples(1, n=17, shift=1e3)):
        X, y = data
        model = make(feature_map=phi).fit(X, y if make is classifier else np.eye(K)[y] * 100)
        found.append((pickle.dumps(model), *file_of(model, tmp_path / "set.npz")))
    assert [sums.n for sums in given] == [60, 17] and not np.allclose(given[0].B, given[1].B)
    assert found[0] == found[1]


def test_one_look_more_at_the_samples_would_be_seen(monkeypatch):
    """The test above is not blind: of a fit that keeps the range of X it fails."""
    made = by_hand(np.eye(9)[:, :D], np.eye(9)[:, :K], np.random.default_rng(0), bound=0.5)
    monkeypatch.setattr(private, "release", lambda *_: made)
    whole = private.fit_rows

    def careless(model, X, y):
        whole(model, X, y).data_range_ = float(X.min()), float(X.max())
        return model

    monkeypatch.setattr(private, "fit_rows", careless)
    first, second = (pickle.dumps(classifier().fit(*data)) for data in (samples(), samples(1)))
    assert first != second


def test_one_sample_more_moves_the_sums_by_no_more_than_the_noise_is_for(monkeypatch):
    given = []
    released = private.release
    monkeypatch.setattr(private, "release", lambda sums, *rest: given.append(sums) or released(sums, *rest))
    X, y = samples()
    for extra in (np.full((1, D), 1e9), np.eye(1, D)):
        for make, target in ((classifier, [2]), (regressor, [1e6])):
            make(clip=0.7).fit(X, y)
            model = make(clip=0.7).fit(np.vstack([X, extra]), np.append(y, target))
            fewer, more = given[-2:]
            moved = math.hypot(np.linalg.norm(more.G - fewer.G), np.linalg.norm(more.B - fewer.B))
            bound = model.privacy_["bound"]
            assert moved == pytest.approx(0.7 * math.hypot(0.7, bound), rel=1e-9)  # attained
            assert model.privacy_["sigma"] == privacy.noise_scale(2.0, DELTA, 0.7 * math.hypot(0.7, bound))


def world(X, y, monkeypatch):
    """Models that are fitted to these samples, run by run. A clip far below the bound of the targets, and a large lam: W
    is then almost B / lam, and B moves by 99 % of the sensitivity."""

    def run(runs, rng):
        monkeypatch.setattr(private, "generator", lambda: rng)
        model = classifier(epsilon=8.0, classes=range(2), clip=0.1, lam=100.0)
        return np.stack([model.fit(X, y).coef_.ravel() for _ in range(runs)])

    return run


@pytest.mark.slow
def test_no_attack_on_a_fitted_model_shows_more_than_the_claim_and_without_clipping_one_does(monkeypatch):
    rng = np.random.default_rng(7)
    X, y = 0.3 * rng.normal(size=(10, 2)), rng.integers(2, size=10)
    X_more, y_more = np.vstack([X, np.full((1, 2), 3.0)]), np.append(y, 1)
    pair = world(X, y, monkeypatch), world(X_more, y_more, monkeypatch)
    found = privacy.audit(*pair, DELTA, np.random.default_rng(0), runs=600)
    assert 3.0 < found.epsilon < 8.0  # with power to see more
    monkeypatch.setattr(mechanism, "clip_rows", lambda A, clip: A)
    assert privacy.audit(*pair, DELTA, np.random.default_rng(0), runs=200).epsilon > 8.0


# -- refusals, each with the way out


REFUSED = [
    ({"delta": None}, {}, "delta is needed beside epsilon.* 1e-5"),
    ({"epsilon": 0.0}, {}, "epsilon = 0.0 must be above 0"),
    ({"delta": 1.0}, {}, "delta = 1.0 must be above 0 and below 1"),
    ({"clip": 0.0}, {}, "clip = 0"),
    ({"init": "real"}, {}, "init = 'real' looks at the samples: pass 'orthonormal'"),
    ({"init": "noise"}, {}, "init = 'noise' looks at the samples.*array of points"),
    ({"init": samples()[0][5:8]}, {}, "init has rows that are samples.*'orthonormal'"),
    ({"init": np.vstack([np.ones((2, D)), samples()[0][:1]])}, {}, "init has rows that are samples"),
    ({"fit_intercept": True}, {}, "means of the samples: pass fit_intercept=False"),
    ({"scaling": "columns"}, {}, "scaling = 'columns' is taken from.* pass None, and X in public units"),
    ({"scaling": "global"}, {}, "scaling = 'global' .*FunctionTransformer"),
    ({"feature_map": "fourier"}, {}, "bandwidth from the samples: pass maps.fourier.orthogonal_features"),
    ({"lam": "auto"}, {}, "lam = 'auto' is chosen on the samples: pass None"),
    ({"lam": [1.0, 2.0]}, {}, "lam = .* is chosen on the samples"),
    ({"lam": -1.0}, {}, "lam = -1"),
    ({"class_weight": "balanced"}, {}, "class_weight = 'balanced' lets a sample count for more"),
    ({"class_weight": {0: 2.0}}, {}, "class_weight = .* pass None"),
    ({"classes": None}, {}, "classes are missing: .*classes=range"),
    ({"classes": [0, 0, 1]}, {}, "classes = .* a list of at least 2, all different"),
    ({"classes": [0]}, {}, "at least 2"),
    ({"classes": "012"}, {}, "must be a list"),
    ({"classes": [[0, 1], [2, 3]]}, {}, "must be a list"),
    ({"classes": [0, 1]}, {}, r"y has \[2.* not among classes = \[0, 1\]: name all"),
    ({"classes": ["0", "1", "2"]}, {}, "not among classes"),
    ({}, {"sample_weight": np.ones(60)}, "sample_weight lets a sample count.*leave it out"),
    ({}, {"X": pandas.DataFrame(samples()[0], columns=list("abcdef"))}, "data frame .* frame.to_numpy"),
    ({}, {"y": np.eye(K, dtype=int)[samples()[1]]}, "y has 3 columns.*DistilledRidge"),
]


@pytest.mark.parametrize(("parameters", "data", "match"), REFUSED)
def test_what_would_look_at_the_samples_is_refused_with_the_way_out(parameters, data, match):
    X, y = samples()
    with pytest.raises(ValueError, match=match) as raised:
        classifier(**parameters).fit(**{"X": X, "y": y, **data})
    assert len(str(raised.value)) < 300 and "\n" not in str(raised.value)


def test_targets_need_a_bound_and_a_regressor_refuses_the_same():
    X, y = samples()
    with pytest.raises(ValueError, match="bound is missing: the most length of a row of targets"):
        regressor(bound=None).fit(X, y)
    with pytest.raises(ValueError, match="bound = 0"):
        regressor(bound=0.0).fit(X, y)
    for parameters in ({"init": "real"}, {"fit_intercept": True}, {"scaling": "columns"}, {"lam": "auto"}):
        with pytest.raises(ValueError, match="epsilon is set, and"):
            regressor(**parameters).fit(X, y)


def test_samples_in_batches_and_sums_that_nobody_clipped_are_refused():
    X, y = samples()
    for call in (
        lambda: classifier().partial_fit(X, y),
        lambda: classifier().remove(X, y),
        lambda: classifier().fit_statistics(Statistics(D, K).update(X, np.eye(K)[y])),
        lambda: regressor().partial_fit(X, y),
    ):
        with pytest.raises(ValueError, match="is not private, and epsilon is set: sum clipped rows .*from_model"):
            call()
    sums = privacy.ClippedStatistics(D, K).update(X, np.eye(K)[y])  # the way out
    W = privacy.release(sums, 1.0, DELTA, np.random.default_rng(0)).solve()
    assert np.allclose(from_model(W, classes=range(K)).coef_, W.T)


@pytest.mark.parametrize("name", ["delta", "clip", "classes"])
def test_what_belongs_to_a_private_fit_is_refused_without_epsilon(name):
    given = {"delta": DELTA, "clip": 1.0, "classes": range(K)}
    with pytest.raises(ValueError, match=f"{name} is for a private fit, and without epsilon nothing is private"):
        DistilledRidgeClassifier(**{name: given[name]}).fit(*samples())
    with pytest.raises(ValueError, match="bound is for a private fit"):
        DistilledRidge(bound=1.0).fit(*samples())
    with pytest.raises(TypeError, match="epsilon belongs to a training"):
        from_model(np.eye(2), epsilon=1.0)


def test_a_refused_fit_leaves_no_model_behind():
    model = classifier().fit(*samples())
    with pytest.raises(ValueError, match="fit_intercept=False"):
        model.set_params(fit_intercept=True).fit(*samples())
    assert not hasattr(model, "coef_")


# -- the file


def test_the_file_says_what_was_spent_and_trains_the_model(tmp_path):
    X, y = samples()
    model = classifier(feature_map=MAPS["fourier"]()).fit(X, y)
    model.save(tmp_path / "set.npz", class_names=["a", "b", "c"])
    found = ddref.load(tmp_path / "set.npz")
    assert found.privacy == model.privacy_ and found.value_range is None and found.data_sha256 is None
    assert np.allclose(found.train().W, model.coef_.T, rtol=1e-10)
    assert np.array_equal(found.predict(X), model.predict(X))
    assert found.certificate["samples"] is None and found.certificate["decisions_changed"] is None


def test_a_checksum_of_the_samples_and_names_of_theirs_are_not_saved(tmp_path):
    model = classifier().fit(*samples())
    with pytest.raises(ValueError, match="checksum of the data.* are not private: save without data"):
        model.save(tmp_path / "set.npz", data=samples())
    with pytest.raises(ValueError, match="source_names must be"):
        model.save(tmp_path / "set.npz", source_names=["one", "two", "three"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"sigma": 0.0}, "privacy says sigma = 0.0"),
        ({"epsilon": "1"}, "privacy says epsilon = '1'"),
        ({"relation": 3}, "relation = 3, not a short text"),
        ({"n": 60}, "privacy must have"),
    ],
)
def test_a_file_that_says_nonsense_about_privacy_is_refused(change, match, tmp_path):
    saved = classifier().fit(*samples())._saved()
    with pytest.raises(ValueError, match=match):
        files.save(tmp_path / "set.npz", saved._replace(privacy={**saved.privacy, **change}))


def test_a_private_file_with_something_of_the_data_is_refused(tmp_path):
    saved = classifier().fit(*samples())._saved()
    counted = {**saved.certificate, "samples": 60}
    for change, what in (
        ({"data_sha256": "0" * 64}, "data_sha256"),
        ({"value_range": (0.0, 1.0)}, "value_range"),
        ({"sources": np.arange(3)}, "sources"),
        ({"certificate": counted}, "samples"),
        ({"scaling": "global", "mean": saved.mean + 1}, "a scaling"),
    ):
        with pytest.raises(ValueError, match=f"said to be private, and the file has .*{what}"):
            files.save(tmp_path / "set.npz", saved._replace(**change))


def test_an_exported_folder_says_what_was_spent(tmp_path):
    classifier().fit(*samples()).save(tmp_path / "set.npz")
    assert main(["export", str(tmp_path / "set.npz"), str(tmp_path / "set")]) == 0
    text = (tmp_path / "set" / "README.md").read_text()
    assert "private: epsilon = 2.0, delta = 1e-05, for data sets that differ by this: add or remove one sample." in text


# -- the command


@pytest.fixture
def data(tmp_path):
    X, y = samples()
    X_test, y_test = samples(1)
    np.savez(tmp_path / "data.npz", X_train=X, y_train=y, X_test=X_test, y_test=y_test)
    return str(tmp_path / "data.npz")


def distill(data, *words, out="set.npz"):
    path = data.replace("data.npz", out)
    return main(["distill", data, "--out", path, "--quiet", "--force", *words]), path


PRIVATE = ("--epsilon", "2", "--delta", "1e-5", "--classes", "0", "1", "2")


def test_the_command_writes_what_the_estimator_does_and_says_what_was_spent(data, same_noise, capsys):
    code, path = distill(data, *PRIVATE, "--map", "fourier", "--bandwidth", "3", "--clip", "0.8")
    said = capsys.readouterr().out
    assert code == 0 and "epsilon 2, delta 1e-05; neighbours: add or remove one sample" in said
    assert "features to 0.8, targets to 0.816497; noise" in said and "accuracy on test" in said
    said = said.replace(path, "")  # the name of the folder has numbers, too
    assert "training" not in said and "60" not in said  # nor how many there are
    phi = orthogonal_features(D, D, 3.0, seed=0)
    model = classifier(feature_map=phi, clip=0.8).fit(*samples())
    model.save(path.replace("set", "wanted"))
    found, wanted = np.load(path), np.load(path.replace("set", "wanted"))
    assert {name: A.tolist() for name, A in found.items() if name != "header"} == {
        name: A.tolist() for name, A in wanted.items() if name != "header"
    }
    assert str(found["header"]).replace("set.npz", "") == str(wanted["header"]).replace("wanted.npz", "")
    assert main(["info", path]) == 0 and "private                epsilon 2, delta 1e-05" in capsys.readouterr().out
    assert main(["verify", path, data]) == 2 and "trains a private model" in capsys.readouterr().err


def test_the_command_takes_targets_with_a_bound(data, same_noise, tmp_path):
    X, _ = samples()
    Y = X[:, :2]
    np.savez(tmp_path / "data.npz", X=X, y=Y)
    code, path = distill(data, "--epsilon", "2", "--delta", "1e-5", "--bound", "1.5", "--lam", "3")
    found = files.load(path)
    W = by_hand(X, Y, same_noise(), bound=1.5).solve(3.0)
    assert code == 0 and np.allclose(found.train().W, W, rtol=1e-9)


def test_what_is_public_is_said(data, capsys):
    assert main(["distill", data, "--out", data.replace("data", "set"), *PRIVATE]) == 0
    said = capsys.readouterr().err
    assert "public, so not from a look at these samples: clip 1, 3 classes, the map" in said
    assert "no intercept" in said and "task:" not in said


REFUSED_THERE = [
    (("--delta", "1e-5"), "--delta is for a private set: pass --epsilon too"),
    (("--classes", "0", "1"), "--classes is for a private set"),
    (("--bandwidth", "3"), "--bandwidth is for a private set"),
    (("--epsilon", "1", "--delta", "1e-5"), "--epsilon needs --classes"),
    ((*PRIVATE, "--bound", "1"), "--epsilon needs --classes"),
    ((*PRIVATE[:2], *PRIVATE[4:]), "delta is needed beside epsilon"),
    ((*PRIVATE, "--map", "fourier"), "bandwidth would come from the samples; pass --bandwidth"),
    ((*PRIVATE, "--bandwidth", "3"), "--bandwidth is for --map fourier"),
    ((*PRIVATE, "--select", "loo"), "--select loo looks at the samples; leave it out"),
    ((*PRIVATE, "--lam", "1", "2"), "is chosen on the samples"),
    ((*PRIVATE, "--scaling", "columns"), "scaling = 'columns' is taken from the samples"),
    ((*PRIVATE, "--init", "real"), "init = 'real' looks at the samples: pass 'orthonormal'"),
    ((*PRIVATE, "--init", "noise"), "init = 'noise' looks at the samples"),
    ((*PRIVATE, "--task", "regression"), "--classes or --bound say classification"),
    ((*PRIVATE, "--test", "0.2"), "put the test images into a folder test/"),
    ((*PRIVATE[:5], "0.5", "1.5"), "--classes 0.5 1.5: the classes of the data are whole"),
    ((*PRIVATE[:5], "a", "b"), "--classes a b: the classes of the data are numbers"),
    ((*PRIVATE[:7],), "not among classes"),
]


@pytest.mark.parametrize(("words", "match"), REFUSED_THERE)
def test_the_command_refuses_the_same_in_one_line(words, match, data, capsys):
    code, path = distill(data, *words)
    said = capsys.readouterr().err
    assert code == 2 and match in said and said.count("\n") == 1 and len(said) < 300
    assert not Path(path).exists()


def test_the_command_refuses_tables_and_models_that_are_trained(data, tmp_path, capsys):
    (tmp_path / "data.csv").write_text("a,b\n" + "1,0\n2,1\n" * 9)
    assert (
        main(["distill", str(tmp_path / "data.csv"), "--target", "b", "--out", str(tmp_path / "x.npz"), *PRIVATE]) == 2
    )
    assert "read from the samples; write its numbers to an .npz" in capsys.readouterr().err
    np.savez(tmp_path / "model.npz", W=np.eye(3), lam=1.0, n=5)
    assert main(["distill", str(tmp_path / "model.npz"), "--out", str(tmp_path / "x.npz"), *PRIVATE]) == 2
    assert "--epsilon belongs to a training" in capsys.readouterr().err
