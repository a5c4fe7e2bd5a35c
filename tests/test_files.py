"""The file of a distilled set: every bit comes back, NumPy alone reads it, and nothing damaged is believed."""

import io
import json
import os
import pickle
import re
import subprocess
import sys
import warnings
import zipfile
from contextlib import nullcontext

import fuzz
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import datasets as toys
from sklearn.linear_model import Ridge

from conftest import error
from ddref import datasets, files, maps
from ddref.estimator import DistilledRidge, DistilledRidgeClassifier
from ddref.files import Saved
from ddref.maps import fourier
from ddref.measure import verify
from ddref.tables import TableEncoder

MAPS = {
    "none": None,
    "identity": maps.Identity(),
    "linear": maps.Linear(np.array([[2.0, 1.0], [0.0, 1.0], [1.0, 0.0]]), np.array([0.5, -1.0])),
    "network": maps.leaky_relu_network([3, 3, 2], seed=0, bias=0.1),
    "chain": maps.Chain([maps.Asinh(), maps.Chain([maps.Tanh()])]),
    "flow": maps.flow(3, seed=1, hidden=4),
    "fourier": fourier.gaussian_features(3, 2, 1.5, seed=0),
}


def example(**changes):
    rng = np.random.default_rng(0)
    saved = Saved(
        X_S=rng.normal(size=(4, 3)), Y_S=rng.normal(size=(4, 2)), lam_S=0.1, lam=2.0, fit_intercept=True,
        mean=np.zeros(3), scale=np.ones(3), task="classification", classes=np.array(["cat", "dog"]),
        class_names=("cat", "dog"), seed=3, certificate={"relative_error": 1e-15, "exact": True, "distance": None},
    )  # fmt: skip
    return saved._replace(**changes)


def same(A, B):
    if isinstance(A, np.ndarray):
        return isinstance(B, np.ndarray) and A.dtype == B.dtype and A.shape == B.shape and A.tobytes() == B.tobytes()
    return A == B and type(A) is type(B)


def arrays_of(path):
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def rewritten(path, header=None, **arrays):
    """The file with some fields of its header, or some arrays, replaced; checksums are made to agree."""
    found = arrays_of(path)
    fields = json.loads(str(found.pop("header")))
    for name, A in arrays.items():
        found[name.replace("__", "/")] = A
    found = {name: A for name, A in found.items() if A is not None}
    fields["sha256"] = {name: files._sha256(A) for name, A in found.items()}
    for name, value in (header or {}).items():
        fields[name] = value
        if value is ...:
            del fields[name]
    np.savez(path, header=np.array(json.dumps(fields)), **found)
    return path


def refused(path, words):
    """Refused in one line of at most 300 characters, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=words) as caught:
            files.load(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) <= 200 + len(f"{path}: ")


# -- round trips


def test_classes_that_are_words_in_an_array_of_objects_are_saved_as_words(tmp_path):
    files.save(tmp_path / "set.npz", example(classes=np.array(["cat", "dog"], dtype=object)))
    assert files.load(tmp_path / "set.npz").classes.tolist() == ["cat", "dog"]


@pytest.mark.parametrize("name", MAPS)
def test_every_bit_comes_back(name, tmp_path):
    saved, path = example(feature_map=MAPS[name]), tmp_path / "set.npz"
    files.save(path, saved)
    again = files.load(path)
    for field in Saved._fields:
        if field not in ("feature_map", "version"):
            assert same(getattr(saved, field), getattr(again, field)), field
    X = np.random.default_rng(1).normal(size=(5, 3))
    assert same(files.features(saved, X), files.features(again, X))
    assert again.version
    written = path.read_bytes()
    files.save(path, again, overwrite=True)
    assert path.read_bytes() == written


SEEDED = {
    "gaussian": lambda seed: fourier.gaussian_features(3, 2, 1.5, seed=seed),
    "orthogonal": lambda seed: fourier.orthogonal_features(3, 5, 0.5, seed=seed),
    "network": lambda seed: maps.leaky_relu_network([3, 4, 2], seed=seed, slope=0.2, bias=0.1, weights="gaussian"),
    "flow": lambda seed: maps.flow(3, 2, seed=seed, hidden=4, log_scale=0.3),
    "in a chain": lambda seed: maps.Chain([maps.Asinh(), fourier.orthogonal_features(3, 3, 1.0, seed=seed)]),
}


def map_arrays(path):
    return [name for name in arrays_of(path) if name.startswith("map/")]


@pytest.mark.parametrize("name", SEEDED)
def test_a_map_drawn_from_a_seed_is_stored_by_it(name, tmp_path):
    phi, X = SEEDED[name](np.int64(7)), np.random.default_rng(1).normal(size=(5, 3))
    saved = example(feature_map=files.plain(phi))
    files.save(tmp_path / "set.npz", saved)
    files.save(tmp_path / "large.npz", saved, map_arrays=True)
    assert not map_arrays(tmp_path / "set.npz") and map_arrays(tmp_path / "large.npz")
    for path in (tmp_path / "set.npz", tmp_path / "large.npz"):
        assert same(files.load(path).feature_map(X), phi(X))
    written = (tmp_path / "set.npz").read_bytes()
    files.save(tmp_path / "set.npz", files.load(tmp_path / "set.npz"), overwrite=True)
    assert (tmp_path / "set.npz").read_bytes() == written


def test_a_map_that_no_seed_draws_again_is_stored_by_its_weights(tmp_path):
    advanced = np.random.default_rng(0)
    advanced.normal()
    changed = SEEDED["network"](0)
    changed.steps[0].A[0, 0] += 2.0**-50
    longer = maps.Chain([*SEEDED["network"](0).steps, maps.Tanh()])
    for phi in (SEEDED["flow"](advanced), changed, longer, SEEDED["flow"](1 << 130), SEEDED["gaussian"]([1, 2])):
        files.save(tmp_path / "set.npz", example(feature_map=phi), overwrite=True)
        assert map_arrays(tmp_path / "set.npz")
        assert same(files.load(tmp_path / "set.npz").feature_map(np.eye(3)), phi(np.eye(3)))


@pytest.fixture
def drawn(tmp_path):
    files.save(tmp_path / "set.npz", example(feature_map=SEEDED["orthogonal"](5)))
    return tmp_path / "set.npz"


@pytest.mark.parametrize("factor", [1 + 2.0**-30, -1.0])
def test_a_seed_that_draws_other_weights_here_is_refused_with_the_way_out(factor, drawn, monkeypatch):
    usual = fourier.orthonormalised
    monkeypatch.setattr(fourier, "orthonormalised", lambda A: usual(A) * factor)
    refused(drawn, "drawn again from its seed .orthogonal_features, seed=5.*map_arrays=True .--map-arrays.")


def test_last_bits_that_another_processor_rounds_are_told_from_other_weights(drawn, monkeypatch):
    before = files.load(drawn).feature_map.A
    usual = fourier.orthonormalised
    monkeypatch.setattr(fourier, "orthonormalised", lambda A: usual(A) * (1 + 2.0**-52))
    with pytest.warns(UserWarning, match="other last bits than where the file was written"):
        after = files.load(drawn).feature_map.A
    assert not np.array_equal(after, before) and error(after, before) < 1e-15


def test_a_map_to_be_drawn_that_would_fill_the_memory_is_refused_before_it_is_drawn(drawn, monkeypatch):
    def never(*_, **__):
        raise AssertionError

    large = {"gaussian_features": {"d": 3, "p": 10**9, "bandwidth": 1.0, "seed": 0},
             "orthogonal_features": {"d": 10**5, "p": 1, "bandwidth": 1.0, "seed": 0},
             "leaky_relu_network": {"widths": [3, 10**9], "slope": 0.1, "weights": "gaussian", "bias": 0.0, "seed": 0},
             "flow": {"d": 3, "steps": 10**9, "hidden": 1, "log_scale": 0.1, "seed": 0}}  # fmt: skip
    from ddref.maps import drawn as by_seed

    usual = changed_map(drawn)
    for maker, arguments in large.items():
        monkeypatch.setitem(by_seed.MAKERS, maker, (never, set(arguments)))
        found = usual | {"maker": maker, "arguments": arguments}
        refused(rewritten(drawn, {"feature_map": {"kind": "Chain", "steps": [found]}}), r"more than max_bytes = 1,073")


def changed_map(path, argument=None, **fields):
    found = json.loads(str(arrays_of(path)["header"]))["feature_map"]
    found["arguments"] |= argument or {}
    return {name: value for name, value in (found | fields).items() if value is not ...}


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"maker": "os.system"}, "drawn by 'os.system', not known here"),
        ({"maker": ["flow"]}, "not known here|set.npz: "),
        ({"maker": "flow"}, "set.npz: "),
        ({"arguments": {}}, "set.npz: "),
        ({"argument": {"like": 1}}, "the arguments of orthogonal_features must be"),
        ({"argument": {"seed": True}}, "the seed of the feature map is True, no such integer"),
        ({"argument": {"seed": -1}}, "the seed of the feature map is -1"),
        ({"argument": {"seed": 6}}, "has other weights"),
        ({"argument": {"d": 2}}, "has other weights"),
        ({"argument": {"d": "3"}}, "set.npz: "),
        ({"argument": {"bandwidth": 0.25}}, "has other weights"),
        ({"sha256": 3}, "drawn by seed is damaged"),
        ({"sha256": "0" * 64, "check": []}, "has other weights"),
        ({"check": [True, True]}, "no check numbers"),
        ({"check": ...}, "no check numbers"),
        ({"more": 1}, "drawn by seed is damaged"),
    ],
)
def test_a_description_of_a_drawn_map_is_checked_field_by_field(changes, words, drawn):
    refused(rewritten(drawn, {"feature_map": changed_map(drawn, **changes)}), words)


def test_convolutional_maps_come_back(tmp_path):
    torch = pytest.importorskip("torch")
    from ddref.maps import conv

    phi = maps.Chain([*conv.small_cnn((1, 4, 4), (4,), seed=0).steps, maps.Linear(torch.eye(16, dtype=torch.float64))])
    saved = example(X_S=np.random.default_rng(0).normal(size=(4, 16)), mean=np.zeros(16), scale=np.ones(16))
    files.save(tmp_path / "set.npz", saved._replace(feature_map=phi))
    again = files.load(tmp_path / "set.npz")
    assert same(files.features(again, saved.X_S), phi(torch.from_numpy(saved.X_S)).numpy())


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(
    X=st.integers(1, 5).flatmap(lambda m: st.integers(1, 4).map(lambda d: (m, d))),
    dtype=st.sampled_from([np.float32, np.float64]),
    lam=st.floats(0, 1e300),
    seed=st.integers(0, 2**31),
    words=st.lists(st.text(max_size=5).filter(lambda t: "\0" not in t and t.isprintable()), min_size=2, max_size=4,
                   unique=True),
)  # fmt: skip
def test_any_set_comes_back(tmp_path_factory, X, dtype, lam, seed, words):
    rng = np.random.default_rng(seed)
    X_S = (rng.normal(size=X) * 10.0 ** rng.integers(-30, 30)).astype(dtype)
    saved = example(
        X_S=X_S, Y_S=rng.normal(size=(X[0], len(words))).astype(dtype), lam=lam, lam_S=lam / 3, mean=np.zeros(X[1]),
        scale=np.ones(X[1]), classes=np.array(words), class_names=tuple(words), seed=seed,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("any") / "set.npz"
    files.save(path, saved)
    again = files.load(path)
    assert all(same(getattr(saved, f), getattr(again, f)) for f in Saved._fields if f != "version")


TEN_LINES = """
import json, sys
import numpy as np
from sklearn.linear_model import Ridge

with np.load(sys.argv[1], allow_pickle=False) as file:
    header = json.loads(str(file["header"]))
    Z = (file["X_S"] - file["mean"]) / file["scale"]
    model = Ridge(alpha=header["lam_S"], fit_intercept=header["fit_intercept"], solver="svd").fit(Z, file["Y_S"])
"""
ALONE = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("ddref", "torch", "array_api_compat", "PIL", "pooch", "tqdm"):
            raise ImportError(name + " is not here")
sys.meta_path.insert(0, Absent())
"""


@pytest.mark.slow
def test_a_colleague_with_numpy_and_scikit_learn_alone_gets_the_same_model(tmp_path):
    X, y = toys.load_wine(return_X_y=True)
    model = DistilledRidgeClassifier(scaling="columns").fit(X, np.array(["a", "b", "c"])[y])
    model.save(tmp_path / "set.npz")
    give = "print(json.dumps([model.coef_.tolist(), model.intercept_.tolist()]))"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-I", "-c", ALONE + TEN_LINES + give, str(tmp_path / "set.npz")],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    coef, intercept = json.loads(done.stdout)
    assert error(coef, model.coef_) < 1e-12 and error(intercept, model.intercept_) < 1e-12


def test_a_set_of_the_estimator_gives_the_model_and_says_all_about_it(tmp_path):
    X, y = toys.load_digits(return_X_y=True)
    model = DistilledRidgeClassifier(15, feature_map="network", scaling="global", image_shape=(8, 8)).fit(X, y)
    model.save(tmp_path / "set.npz", class_names=[f"digit {c}" for c in range(10)])
    saved = files.load(tmp_path / "set.npz")
    W, b = files.model(saved)
    assert error(W.T, model.coef_) < 1e-11 and error(b[0], model.intercept_) < 1e-11
    assert saved.image_shape == (8, 8) and saved.value_range == (0.0, 16.0) and saved.class_names[3] == "digit 3"
    assert saved.certificate == model.certificate_._asdict() and saved.seed == 0 and saved.scaling == "global"
    assert np.array_equal(saved.classes, np.arange(10))
    P = files.features(saved, X) @ W + b
    assert np.array_equal(saved.classes[P.argmax(axis=1)], model.predict(X))
    line = DistilledRidge(fit_intercept=False).fit(X, X[:, 20])
    line.save(tmp_path / "line.npz")
    assert error(files.model(files.load(tmp_path / "line.npz")).W[:, 0], line.coef_) < 1e-12


# -- writing


def test_an_existing_file_is_kept_unless_asked_and_never_half_written(tmp_path, monkeypatch):
    path = tmp_path / "set.npz"
    files.save(path, example())
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="overwrite=True"):
        files.save(path, example(lam=3.0))

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        files.save(path, example(lam=3.0), overwrite=True)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    monkeypatch.undo()
    files.save(path, example(lam=3.0), overwrite=True)
    assert files.load(path).lam == 3.0
    with pytest.raises(ValueError, match="must end in .npz"):
        files.save(tmp_path / "set.bin", example())


def test_a_map_of_your_own_cannot_be_saved(tmp_path):
    class Mine(maps.Identity):
        pass

    with pytest.raises(TypeError, match="pass its features as X"):
        files.save(tmp_path / "set.npz", example(feature_map=maps.Chain([Mine()])))
    assert list(tmp_path.iterdir()) == []


def test_a_set_that_is_not_exact_is_not_written(tmp_path):
    """Unfinished points of `nonsurjective.solve`, for instance, as they are or with their certificate."""
    one = verify(np.eye(3), np.eye(3), 0.0, 2 * np.eye(3))
    assert not one.exact
    with pytest.raises(ValueError, match=r"the set is not exact, .* finish the set, or keep its points as arrays"):
        files.save(tmp_path / "set.npz", example(certificate=files.numbers(one)))
    files.save(tmp_path / "set.npz", example(certificate=files.numbers(one._replace(exact=True))))
    with pytest.raises(TypeError, match="must be a Saved, got Certificate"):
        files.save(tmp_path / "other.npz", one)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"X_S": np.ones((4, 3), dtype=int)}, "X_S must be a matrix of float32 or float64"),
        ({"X_S": np.full((4, 3), np.nan)}, "X_S contains NaN"),
        ({"Y_S": np.ones((3, 2))}, "X_S has 4 rows and Y_S has 3"),
        ({"Y_S": np.ones((4, 2), dtype=np.float32)}, "Y_S must be a matrix of float64"),
        ({"lam": -1.0}, "lam = -1.0 must be a finite number"),
        ({"lam_S": float("inf")}, "lam_S = inf must be"),
        ({"mean": np.zeros(2)}, "mean must be 3 finite numbers"),
        ({"scale": np.array([1.0, 0.0, 1.0]), "scaling": "columns"}, "with positive scales"),
        ({"scale": np.full(3, 2.0)}, "scaling = 'none', but mean and scale"),
        ({"scaling": "rows"}, "scaling = 'rows' must be one of"),
        ({"fit_intercept": 1}, "fit_intercept = 1 must be True or False"),
        ({"seed": 1.5}, "seed = 1.5 must be an integer"),
        ({"image_shape": (2, 2)}, "image_shape = .* does not describe rows of 3 values"),
        ({"value_range": (1.0, 0.0)}, "value_range"),
        ({"task": "regression"}, "task = 'regression' must be"),
        ({"classes": np.array(["cat", "cat"])}, "not 2 different values"),
        ({"classes": np.array([None, 1])}, "classes must be 2 numbers or texts"),
        ({"classes": np.array(["cat", 1], dtype=object)}, "classes must be 2 numbers or texts"),
        ({"classes": np.array([np.nan, 1])}, "classes must be 2 numbers or texts"),
        ({"lam": 10**400}, "lam = 1000"),
        ({"seed": 1 << 128}, "must be an integer"),
        ({"class_names": ("cat",)}, "class_names must be 2 texts"),
        ({"certificate": {"relative_error": float("nan")}}, "the certificate must be finite"),
        ({"feature_map": maps.Identity(5)}, "the feature map takes 5 values, a point has 3"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_load_would_refuse_is_not_written(changes, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        files.save(tmp_path / "set.npz", example(**changes))
    assert list(tmp_path.iterdir()) == []


# -- reading what should not be believed


@pytest.fixture
def path(tmp_path):
    files.save(tmp_path / "set.npz", example(feature_map=MAPS["network"]), map_arrays=True)
    return tmp_path / "set.npz"


def test_files_that_are_something_else_are_refused(tmp_path):
    for content, words in ((b"", "begins with nothing"), (b"\x89PNG\r\n", "begins with 89 50 4e 47"),
                           (b"PK\x03\x04 not really", "damaged, or not an .npz file")):  # fmt: skip
        (tmp_path / "x.npz").write_bytes(content)
        with pytest.raises(ValueError, match=words):
            files.load(tmp_path / "x.npz")
    np.savez(tmp_path / "x.npz", X=np.eye(2))
    with pytest.raises(ValueError, match="not a distilled set of ddref: the text 'header' is missing"):
        files.load(tmp_path / "x.npz")
    np.savez(tmp_path / "x.npz", header=np.array('{"magic": "something"}'))
    with pytest.raises(ValueError, match="its header does not say"):
        files.load(tmp_path / "x.npz")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        files.load(tmp_path / "y.npz")
    with pytest.raises(FileNotFoundError, match="is not a file"):
        files.load(tmp_path)


def test_a_file_cut_anywhere_is_refused(path):
    whole = path.read_bytes()
    for end in np.linspace(0, len(whole) - 1, 60).astype(int):
        path.write_bytes(whole[:end])
        with pytest.raises(ValueError, match="set.npz: "):
            files.load(path)


def test_a_changed_byte_is_refused_or_changes_nothing(path):
    whole, original, refused = path.read_bytes(), files.load(path), 0
    rng = np.random.default_rng(0)
    for place in rng.choice(len(whole), size=300, replace=False):
        broken = bytearray(whole)
        broken[place] ^= 1 << rng.integers(8)
        path.write_bytes(bytes(broken))
        try:
            again = files.load(path)
        except ValueError:
            refused += 1
            continue
        assert all(same(getattr(original, f), getattr(again, f)) for f in Saved._fields if f != "feature_map")
        assert same(files.features(original, original.X_S), files.features(again, original.X_S))
    assert refused > 200  # the rest are dates and attributes of the archive, which mean nothing here


@pytest.mark.parametrize(
    "header, words",
    [
        ({"format": 3}, "format 3, written by ddref .*; this ddref reads up to format 2: install a newer"),
        ({"format": 0}, "the header is damaged: format = 0"),
        ({"format": True}, "the header is damaged: format = True"),
        ({"magic": "ddref"}, "does not say 'ddref distilled set'"),
        ({"lam_S": ...}, "'lam_S' is missing"),
        ({"lam_S": "0.1"}, "lam_S = '0.1' must be"),
        ({"lam": -1}, "lam = -1 must be"),
        ({"lam": float("nan")}, "NaN is not a number"),
        ({"dtype": "float32"}, "its dtype or label convention"),
        ({"labels": "one-hot"}, "its dtype or label convention"),
        ({"task": "regression"}, "task = 'regression' must be"),
        ({"sha256": {}}, "its header those of another file"),
        ({"feature_map": {"kind": "os.system"}}, "a step 'os.system' that this ddref does not know"),
        ({"feature_map": {"kind": ["Chain"]}}, "set.npz: "),
        ({"feature_map": "network"}, "the feature map is damaged"),
        ({"feature_map": None}, "belong to nothing"),
        ({"feature_map": {"kind": "Chain", "steps": [{"kind": "LeakyReLU", "slope": 0}]}}, "slope = 0"),
        ({"certificate": [1]}, "the certificate must be"),
        ({"certificate": {"condition": ""}}, "the certificate must be finite numbers"),
        ({"certificate": {"condition": [1.0]}}, "the certificate must be finite numbers"),
        ({"ddref": 1}, "the version is 1"),
        ({"ddref": "9" * 101}, "not a short text"),
        ({"lam": 10**400}, "header is damaged .the number 1000.* is too large"),
        ({"certificate": {"samples": 1 << 128}}, "the number 340282366920938463463374607431768211456 is too large"),
        ({"seed": 1 << 64 << 64}, "is too large"),
        ({"image_shape": [10**400, 0]}, "the header is damaged"),
        ({"value_range": [float("-inf"), 0.0]}, "-Infinity is not a number"),
        ({"feature_map": {"kind": "x" * 5000}}, "a step 'xxx.* \\.\\.\\.$"),
        ({"feature_map": {"kind": "Chain", "steps": [None]}}, "set.npz: "),
        ({"feature_map": {"kind": "Chain", "steps": 3}}, "set.npz: "),
        ({"class_names": ["\ud800", "dog"]}, "the header is damaged .*surrogates"),
        ({"class_names": "no"}, "class_names must be 2 texts"),
        ({"task": ["classification"]}, "set.npz: "),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_header_that_is_wrong_is_refused(header, words, path):
    refused(rewritten(path, header), words)


def test_a_number_too_large_for_a_float_is_refused(path):
    for text in ("1e999", "-1e999", "1" * 5000):
        found = arrays_of(path)
        found["header"] = np.array(str(found["header"]).replace('"lam": 2.0', f'"lam": {text}'))
        np.savez(path.with_name("odd.npz"), **found)
        refused(path.with_name("odd.npz"), "the header is damaged")


def test_features_that_overflow_are_refused_without_a_warning(path):
    refused(rewritten(path, map__0__A=np.full((3, 3), 1e308)), "contains? NaN or Inf")


def test_a_member_that_no_npz_file_has_is_refused(path):
    with zipfile.ZipFile(path) as whole:
        members = {name: whole.read(name) for name in whole.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    refused(path, "'header.npy' is compressed by method 14")


@pytest.mark.parametrize(
    "arrays, words",
    [
        ({"X_S": None}, "'X_S' is missing"),
        ({"X_S": np.ones(3)}, "X_S must be a matrix"),
        ({"Y_S": np.full((4, 2), np.inf)}, "Y_S contains NaN or Inf"),
        ({"scale": -np.ones(3)}, "with positive scales"),
        ({"extra": np.ones(1)}, r"\['extra'\] belong to nothing"),
        ({"map__0__A": np.ones((2, 2))}, "set.npz: "),
        ({"map__0__A": np.full((3, 3), np.nan)}, "contains NaN"),
        ({"classes": np.array([1, 2, 3])}, "classes must be 2 numbers"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_arrays_that_do_not_fit_are_refused(arrays, words, path):
    refused(rewritten(path, **arrays), words)


@pytest.mark.parametrize(
    "certificate, words",
    [
        ({"exact": 1}, "certificate says exact = 1"),
        ({"relative_error": -1.0}, "says relative_error = -1.0"),
        ({"condition": 0.5}, "says condition = 0.5"),
        ({"condition": True}, "says condition = True"),
        ({"samples": 1.5}, "says samples = 1.5"),
        ({"samples": -1}, "says samples = -1"),
        ({"decisions_changed": 3, "samples": 2}, "3 decisions changed of 2 samples"),
        ({f"a{i}": 1.0 for i in range(65)}, "more than 64 numbers"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_certificate_that_says_the_impossible_is_refused(certificate, words, path, tmp_path):
    refused(rewritten(path, {"certificate": certificate}), words)
    with pytest.raises(ValueError, match=words):
        files.save(tmp_path / "a.npz", example(certificate=certificate))


def test_a_certificate_may_say_what_this_version_does_not_know(tmp_path):
    known = {"condition": 1, "samples": 0, "decisions_changed": 0, "of_a_newer_one": -3.0, "distance": None}
    files.save(tmp_path / "a.npz", example(certificate=known))
    assert files.load(tmp_path / "a.npz").certificate == known


def test_a_name_twice_in_the_header_is_refused(path):
    found = arrays_of(path)
    found["header"] = np.array(str(found["header"]).replace('"lam": 2.0', '"lam": 2.0, "lam": 3.0'))
    np.savez(path, **found)
    refused(path, "the header is damaged .a name is there twice")


@pytest.mark.parametrize("count", [30, pytest.param(2000, marks=pytest.mark.slow)])
def test_files_changed_at_random_are_met_with_one_line_or_loaded_as_what_they_say(count, tmp_path):
    assert fuzz.run(tmp_path, count=count, seed=count) == (count, [])


def test_the_fuzzer_sees_a_traceback_a_warning_and_a_silent_change(tmp_path, monkeypatch):
    def silent(path, **_):
        return example(seed=int.from_bytes(path.read_bytes()[-20:], "big"))

    for load in (silent, lambda path: 1 / 0, lambda path: warnings.warn("careful", stacklevel=1)):
        with monkeypatch.context() as patch:
            patch.setattr(files, "load", load)
            done, wrong = fuzz.run(tmp_path, count=20)
        assert done == 20 and len(wrong) >= 5


LINES = {
    "columns": {},
    "no intercept": {"fit_intercept": False, "lam": 5.0},
    "lam_S = 0": {"lam_s": 0.0},
    "scaled": {"scaling": "columns"},
    "scaled as one": {"scaling": "global"},
    "float32": {"dtype": "float32", "scaling": "global"},
    "float32, as it is": {"dtype": "float32"},
    "map": {"feature_map": "network"},
    "random map": {"feature_map": "fourier", "scaling": "columns"},
    "map of PyTorch": {"feature_map": "conv", "device": "cpu"},
    "regression": {"task": "regression", "scaling": "columns"},
    "labels": {"task": "multilabel"},
    "table": {"task": "table", "scaling": "columns"},
}


@pytest.mark.parametrize("kind", LINES)
def test_the_lines_in_a_file_train_the_model_when_run(kind, tmp_path, monkeypatch):
    import ddref

    parameters = dict(LINES[kind])
    X, y = toys.load_iris(return_X_y=True, as_frame=kind == "table")
    task, make = parameters.pop("task", None), DistilledRidgeClassifier
    if task == "regression":
        make, y = DistilledRidge, X[:, 2:] @ np.eye(2) + y[:, None]
    if task == "multilabel":
        y = np.stack([y > 0, X[:, 0] > 6], axis=1).astype(int)
    if task == "table":
        X = X.assign(hue=np.where(X.iloc[:, 0] > 6, "blue", "red"))
    if parameters.get("feature_map") == "conv":
        pytest.importorskip("torch")
        parameters["feature_map"] = maps.small_cnn((1, 2, 2), (4,), seed=0)
    model = make(n_points=8, **parameters).fit(X, y)
    model.save(tmp_path / "a set.npz")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(json.loads(str(arrays_of("a set.npz")["header"]))["how_to"], names)
    assert error(names["model"].coef_, model.coef_) < (1e-4 if "float32" in kind else 1e-8)
    again = ddref.load("a set.npz")
    rows = model.table_.transform(X) if task == "table" else X
    assert error(names["model"].predict(names["rows"](rows)), again.scores(X)) < (1e-4 if "float32" in kind else 1e-8)
    if task is None:
        assert np.array_equal(again.predict(X), model.predict(X)) and error(again.train().W.T, model.coef_) < 1e-4


def test_a_set_of_a_table_predicts_frames_by_name(tmp_path):
    X, y = toys.load_diabetes(return_X_y=True, as_frame=True)
    X = X.assign(sex=np.where(X["sex"] > 0, "a", "b"))
    model = DistilledRidge(scaling="columns").fit(X, y)
    model.save(tmp_path / "set.npz")
    found = files.load(tmp_path / "set.npz").predict(X[X.columns[::-1]])
    assert error(found[:, 0], model.predict(X)) < 1e-10


def test_a_file_knows_the_data_that_it_was_made_from(tmp_path):
    X, y = toys.load_iris(return_X_y=True)
    model = DistilledRidgeClassifier(n_points=6).fit(X, y)
    model.save(tmp_path / "set.npz", data=(X, y))
    known = files.load(tmp_path / "set.npz").data_sha256
    assert known == files.digest(X.copy(order="F"), y)
    others = [(X, y[::-1]), (X.astype("f4"), y), (X.reshape(-1, 2), y), (np.nextafter(X, 9), y), (X, y.astype(float))]
    assert len({known, *(files.digest(*pair) for pair in others)}) == 6
    model.save(tmp_path / "set.npz", overwrite=True)
    assert files.load(tmp_path / "set.npz").data_sha256 is None
    with pytest.raises(ValueError, match="data_sha256 is not a checksum of 64 hexadecimal digits"):
        files.save(tmp_path / "bad.npz", example(data_sha256="abc"))


def test_the_samples_that_points_started_from_are_in_the_file(tmp_path):
    X, y = toys.load_iris(return_X_y=True)
    model = DistilledRidgeClassifier(n_points=6).fit(X, y)
    model.save(tmp_path / "set.npz", source_names=[f"flower {i}" for i in model.sources_])
    again = files.load(tmp_path / "set.npz")
    assert same(again.sources, model.sources_) and again.source_names[2] == f"flower {model.sources_[2]}"
    assert again.source_classes == (0, 0, 1, 1, 2, 2) and np.array_equal(y[again.sources], again.source_classes)
    assert error(again.X, X[again.sources]) < 1e-6  # more points than columns: none had to move
    DistilledRidgeClassifier(n_points=6, init="noise").fit(X, y).save(tmp_path / "noise.npz")
    assert files.load(tmp_path / "noise.npz").sources is None
    rows = np.arange(4)
    for changes, words in (({"sources": rows - 1}, "sources must be 4 numbers of samples"),
                           ({"sources": rows[:3]}, "sources must be 4 numbers"), ({"sources": rows + 0.0}, "in int64"),
                           ({"source_names": ("a",) * 4}, "source_names must be 4 texts, beside sources"),
                           ({"source_classes": (0,) * 4}, "source_classes must be 4 of the numbers 0 to 1"),
                           ({"sources": rows, "source_classes": (0, 1, 2, 0)}, "source_classes must be 4"),
                           ({"sources": rows, "source_names": ("a", 1, "b", "c")}, "source_names must be 4 texts")):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            files.save(tmp_path / "bad.npz", example(**changes))
    files.save(tmp_path / "bad.npz", example(sources=rows, source_names=("a", "b", "c", "d")))
    refused(rewritten(tmp_path / "bad.npz", sources=rows - 1), "sources must be 4 numbers")
    refused(rewritten(tmp_path / "bad.npz", sources=rows, header={"source_names": "abcd"}), "source_names must be 4")


def test_a_wrong_checksum_is_refused(path):
    found = arrays_of(path)
    found["X_S"][0, 0] += 1e-9
    np.savez(path, **found)
    with pytest.raises(ValueError, match="array 'X_S' is damaged: its checksum is wrong"):
        files.load(path)


def test_a_deeply_nested_map_is_refused(path):
    nested = {"kind": "LeakyReLU", "slope": 0.5}
    for _ in range(400):
        nested = {"kind": "Chain", "steps": [nested]}
    with pytest.raises(ValueError, match="the feature map is damaged"):
        files.load(rewritten(path, {"feature_map": nested}))


class Trap:
    def __reduce__(self):
        return os.mkdir, (Trap.folder,)


def test_nothing_in_a_file_is_executed(path, tmp_path):
    Trap.folder = str(tmp_path / "executed")
    member = io.BytesIO()
    np.lib.format.write_array(member, np.array([Trap()], dtype=object), allow_pickle=True)
    for content in (member.getvalue(), pickle.dumps(Trap())):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("header.npy", content)
        with pytest.raises(ValueError, match="only numbers and texts|is damaged"):
            files.load(path)
    assert not (tmp_path / "executed").exists()


def test_an_archive_made_to_fill_the_memory_is_refused(path, tmp_path):
    with pytest.raises(ValueError, match="max_bytes = 100; refused"):
        files.load(path, max_bytes=100)
    bomb = tmp_path / "bomb.npz"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(3):
            archive.writestr(f"a{i}.npy", bytes(1 << 24))
    assert bomb.stat().st_size < 1 << 16
    with pytest.raises(ValueError, match="3 arrays of 50,331,648 bytes, unpacked, are more than"):
        files.load(bomb, max_bytes=1 << 25)
    claims = io.BytesIO()  # a small array that says it is large
    np.lib.format.write_array_header_1_0(claims, {"descr": "<f8", "fortran_order": False, "shape": (1 << 40,)})
    with zipfile.ZipFile(bomb, "w") as archive:
        archive.writestr("header.npy", claims.getvalue())
    with pytest.raises(ValueError, match="array 'header' is damaged: 0 bytes where"):
        files.load(bomb)


def test_the_means_of_a_table_are_in_the_file_and_checked(tmp_path):
    """A row a class, in the order of the classes, or one of all samples; as the data have them."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"size": [1.0, 2.0, 4.0, 9.0], "hue": ["red", "blue", "red", "red"]})
    encoder = TableEncoder().fit(frame)
    X, path = encoder.transform(frame), tmp_path / "set.npz"
    for model, y, wanted in (
        (DistilledRidgeClassifier(), np.array(["b", "a", "b", "a"]), [[5.5, 0.5, 0.5], [2.5, 0, 1]]),
        (DistilledRidge(), np.arange(4.0) ** 2, [[4, 0.25, 0.75]]),
    ):
        model.fit(X, y)
        model.save(path, data=(X, y), overwrite=True)
        assert files.load(path).means is None  # no table
        model.table_ = encoder
        model.save(path, data=(X, y), overwrite=True)
        assert np.array_equal(files.load(path).means, wanted)
    for wrong in (np.ones((3, 2)), np.ones((2, 4)), np.full((2, 3), np.nan), "x"):
        with pytest.raises(ValueError, match="means"):
            files.save(tmp_path / "bad.npz", example(means=wrong))
    files.save(tmp_path / "good.npz", example(means=np.ones((2, 3))))
    for wrong in ([[1, 2, 3], [1, 2]], [["1", "2", "3"]] * 2, [[True] * 3] * 2, [], 3, [1, 2], {}):
        refused(rewritten(tmp_path / "good.npz", header={"means": wrong}), "means must be a matrix")


@pytest.mark.parametrize("names", [["a.npy", "a.npy"], ["a.txt"], ["../a"]])
def test_odd_members_are_refused(names, path):
    with pytest.warns() if len(set(names)) < len(names) else nullcontext(), zipfile.ZipFile(path, "w") as archive:
        for name in names:
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ones(1))
            archive.writestr(name, member.getvalue())
    with pytest.raises(ValueError, match="not one array of a name of its own"):
        files.load(path)


def test_the_checksum_of_an_array_is_that_of_its_dtype_shape_and_bytes():
    A = np.arange(6.0).reshape(2, 3)
    others = [A.reshape(3, 2), A.reshape(6), A.view(np.int64), A.astype(">f8"), np.ascontiguousarray(A[::-1]), -A]
    assert len({files._sha256(B) for B in (A, *others)}) == 7
    assert files._sha256(np.asfortranarray(A)) == files._sha256(A)  # where it lies is not what it is


# -- thresholds, both sides of each


@pytest.mark.parametrize(
    "changes",
    [
        {"lam": 0.0, "lam_S": 0},
        {"seed": (1 << 128) - 1},
        {"seed": None, "certificate": None},
        {"seed": 1 - (1 << 128)},
        {"certificate": {f"a{i}": 1.0 for i in range(64)}},
        {"certificate": {"decisions_changed": 2, "samples": 2, "relative_error": 0.0}},
        {"image_shape": (3, 1)},
        {"image_shape": (1, 1, 3)},
        {"value_range": (1.0, 1.0)},
        {"value_range": (0, 255)},
        {"scaling": "columns", "scale": np.array([0.5, 1e-300, 2.0]), "mean": np.ones(3)},
        {"classes": np.array([0.5, 2.0])},
        {"classes": np.array([False, True])},
        {"task": "regression", "classes": None, "class_names": None},
    ],
    ids=str,
)
def test_what_is_just_within_is_saved_and_comes_back(changes, tmp_path):
    saved = example(**changes)
    files.save(tmp_path / "set.npz", saved)
    again = files.load(tmp_path / "set.npz")
    assert all(same(getattr(saved, f), getattr(again, f)) for f in Saved._fields if f != "version")


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"X_S": [[1.0, 2.0, 3.0]] * 4}, "X_S must be a matrix of float32 or float64, it is list"),
        ({"X_S": np.ones(3)}, r"X_S must be a matrix of float32 or float64, it is \(3,\) of float64"),
        ({"X_S": np.ones((0, 3))}, r"X_S must be a matrix .* it is \(0, 3\)"),
        ({"mean": [0.0, 0.0, 0.0]}, "mean must be 3 finite numbers in float64"),
        ({"mean": np.zeros(3, "f4")}, "mean must be 3 finite numbers in float64"),
        ({"mean": np.full(3, np.nan)}, "mean must be 3 finite numbers"),
        ({"mean": np.ones(3)}, "scaling = 'none', but mean and scale"),
        ({"lam": "1"}, "lam = '1' must be a finite number"),
        ({"lam": True}, "lam = True must be a finite number"),
        ({"lam_S": -1e-300}, "lam_S = -1e-300 must be"),
        *(({"image_shape": shape}, "image_shape = .* does not describe") for shape in
          [(3,), (1, 1, 1, 3), (1,) * 5 + (3,), (-3, -1), (3.0, 1), [3, 1], (True, 3), (0, 3), ()]),
        *(({"value_range": bounds}, "value_range = .* must be two numbers") for bounds in
          [(1.0,), (0.0, 1.0, 2.0), (0.0, 1.0, 2.0, 3.0), [0.0, 1.0], ("0", "1"), (True, 2.0)]),
        ({"classes": ["cat", "dog"]}, "classes must be 2 numbers or texts"),
        ({"classes": np.array(["cat", "dog", "hen"])}, "classes must be 2 numbers or texts"),
        ({"class_names": ("cat", 1)}, "class_names must be 2 texts"),
        ({"class_names": ["cat", "dog"]}, "class_names must be 2 texts"),
        ({"class_names": None}, "class_names must be 2 texts"),
        ({"task": "regression", "classes": None}, "class_names without classes"),
        ({"certificate": {"decisions_changed": 3, "samples": 2}}, "3 decisions changed of 2"),
        ({"certificate": {"relative_error": True}}, "says relative_error = True"),
        ({"seed": True}, "seed = True must be an integer"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_just_outside_is_not_written(changes, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        files.save(tmp_path / "set.npz", example(**changes))


def test_points_of_one_value_are_no_image_of_no_sides(tmp_path):
    one = example(X_S=np.ones((4, 1)), mean=np.zeros(1), scale=np.ones(1))
    with pytest.raises(ValueError, match=r"image_shape = \(\) does not describe rows of 1 values"):
        files.save(tmp_path / "set.npz", one._replace(image_shape=()))


@pytest.mark.parametrize("count", [100, 101])
def test_a_version_has_at_most_a_hundred_letters(count, path):
    rewritten(path, {"ddref": "9" * count})
    if count > 100:
        return refused(path, "not a short text")
    assert files.load(path).version == "9" * 100


def test_a_header_has_at_most_64_mib_and_a_file_1_gib():
    import inspect

    text = '{"magic": "ddref distilled set", "format": 1}'
    room = (1 << 26) // 4 - len(text)
    assert files._header(np.array(text + " " * room))["format"] == 1
    with pytest.raises(ValueError, match="header has 67,108,868 bytes, more than 67,108,864"):
        files._header(np.array(text + " " * (room + 1)))
    assert inspect.signature(files.load).parameters["max_bytes"].default == 1 << 30


@pytest.mark.parametrize(
    "header, words",
    [
        (np.array(["{}"]), "the text 'header' is missing"),
        (np.array(3), "the text 'header' is missing"),
        (np.array("[]"), "its header does not say"),
        (np.array('{"magic": "ddref distilled set"}'), "damaged: format = None"),
    ],
    ids=str,
)
def test_a_header_is_one_text_of_named_fields(header, words, tmp_path):
    np.savez(tmp_path / "set.npz", header=header)
    refused(tmp_path / "set.npz", words)


def test_checksums_are_those_of_the_arrays_by_name(path):
    names = [name for name in arrays_of(path) if name != "header"]
    text = str(arrays_of(path)["header"])
    assert text.startswith('{\n "magic": "ddref distilled set",\n "format": ')  # a field a line
    refused(rewritten(path, {"sha256": names}), "damaged: it has the arrays")
    assert files._sha256(np.empty((0, 2))) != files._sha256(np.empty((0, 3)))


def test_rows_of_another_shape_have_no_features():
    set_ = example(scaling="columns", mean=np.array([1.0, 0.0, 0.0]), scale=np.array([2.0, 1.0, 0.5]))
    assert files.features(set_, np.array([[3.0, 1.0, 1.0]])).tolist() == [[1, 1, 2]]
    for X in (np.ones(3), np.ones((2, 2)), np.ones((1, 1, 3))):
        with pytest.raises(ValueError, match="rows of 3 values are needed, X has shape"):
            files.features(set_, X)
    with pytest.raises(ValueError, match="contain NaN or Inf"):
        files.features(set_, np.array([[np.inf, 0.0, 0.0]]))


def test_a_model_without_an_intercept_has_a_row_of_zeros():
    W, b = files.model(example(fit_intercept=False))
    assert W.shape == (3, 2) and b.tolist() == [[0.0, 0.0]]
    assert files.model(example()).b.any()


def test_the_lines_of_a_file_say_what_its_rows_are():
    assert "    return X.astype(np.float64)\n" in files.how_to(example())
    assert '    return (X - file["mean"]) / file["scale"]\n' in files.how_to(example(scaling="global"))
    assert "files.features(found, X)" in files.how_to(example(scaling="global", feature_map=maps.Identity()))
    assert "LinearRegression(fit_intercept=False)\n" in files.how_to(example(lam_S=0.0, fit_intercept=False))


def test_the_figures_of_what_trains_another_model_are_those_of_digits():
    data = ddref_digits()
    for phi in (None, "fourier"):
        model = DistilledRidgeClassifier(feature_map=phi).fit(*data[:2])
        Phi_S, Phi = model.transform_distilled(), model._features(data[2])

        def right(alpha, Y, Phi_S=Phi_S, Phi=Phi):
            scores = Ridge(alpha=alpha, solver="svd").fit(Phi_S, Y).predict(Phi)
            return f"{np.mean(scores.argmax(axis=1) == data[3]):.3f}"

        Y = model.y_distilled_
        found = [right(model.lam_s_, Y), right(model.lam_, Y), right(model.lam_s_, np.eye(10)[Y.argmax(axis=1)])]
        assert f"{model.score(*data[2:]):.3f}" == found[0] and model.lam_ == 1.0 and model.n_points_ == 10
        said = re.findall(r"\d\.\d{3}", " ".join(files.NOTHING_ELSE))
        assert said[phi == "fourier" :: 2] == found


def ddref_digits():
    """Digits as rows with values up to 1: training images and classes, test images and classes."""
    found = datasets.digits()
    return found.X_train.reshape(1437, -1) / 16, found.y_train, found.X_test.reshape(360, -1) / 16, found.y_test


def test_classes_that_are_dates_are_saved_as_texts():
    for days, texts in (
        (np.array(["2020-01-01", "2021-12-31"], "M8[ns]"), ["2020-01-01", "2021-12-31"]),
        (np.array(["2020-01-01T12", "2021-12-31T00"], "M8[h]"), ["2020-01-01T12", "2021-12-31T00"]),
    ):
        assert files._texts(days).tolist() == texts
    assert files._texts(np.array(["a", 1], object)).dtype == object and files._texts(None) is None


def test_a_table_of_another_width_is_refused(tmp_path):
    X = toys.load_iris(as_frame=True).data
    model = DistilledRidge(scaling="columns").fit(X, X.iloc[:, 0])
    model.save(tmp_path / "set.npz")
    table = files.load(tmp_path / "set.npz").table
    with pytest.raises(ValueError, match="the table has 4 columns of numbers, a point 3"):
        files.save(tmp_path / "other.npz", example(table=table))


def test_the_columns_of_the_labels_are_what_the_task_says(tmp_path):
    labels = example(
        task="multilabel", classes=None, class_names=("wet", "cold"), fit_intercept=False, lam_S=0.0,
        X_S=np.eye(3), Y_S=np.array([[0.5, 1.0], [0.25, 0.75], [0.0, 0.25]]),
    )  # fmt: skip
    assert labels.predict(np.eye(3)).tolist() == [[0, 1], [0, 1], [0, 0]]  # above 1/2, and not at it
    targets = labels._replace(task="regression", class_names=None)
    assert error(targets.predict(np.eye(3)), labels.Y_S) < 1e-15
    classes = labels._replace(task="classification", classes=np.array(["wet", "cold"]))
    assert classes.predict(np.eye(3)).tolist() == ["cold", "cold", "cold"]
    for set_, words in ((labels, files.INDICATORS), (targets, files.TARGETS), (classes, files.ONE_HOT)):
        assert ("has the labels that it predicts above 0.5" in files.how_to(set_)) == (set_ is labels)
        files.save(tmp_path / "set.npz", set_, overwrite=True)
        assert json.loads(str(arrays_of(tmp_path / "set.npz")["header"]))["labels"] == words
        assert ("# Their classes: file" in files.how_to(set_)) == (set_ is classes)
        assert not re.search("import ddref|data frame", files.how_to(set_))
    assert files.how_to(labels._replace(feature_map=maps.Identity())).startswith("import ddref\nimport numpy as np\n")
    assert "ddref.load('a.npz').predict(frame)" in files.how_to(labels._replace(table={}), "a.npz")
    with pytest.raises(TypeError, match="saved must be a Saved, got dict"):
        files.save(tmp_path / "other.npz", {})


def test_fields_of_later_versions_may_be_missing_and_those_of_the_first_may_not(path):
    first = files.load(rewritten(path, dict.fromkeys(("source_names", "source_classes", "table", "data_sha256", "means"), ...)))
    assert (first.source_names, first.source_classes, first.table, first.means) == (None,) * 4
    for name in ("image_shape", "value_range", "class_names"):
        files.save(path, example(), overwrite=True)
        refused(rewritten(path, {name: ...}), f"'{name}' is missing")


def test_a_set_of_a_table_predicts_rows_of_numbers_and_any_set_predicts_a_frame(tmp_path):
    X = toys.load_iris(as_frame=True).data
    model = DistilledRidge(scaling="columns").fit(X, X.iloc[:, 0])
    model.save(tmp_path / "set.npz")
    table = files.load(tmp_path / "set.npz")
    assert error(table.predict(X.to_numpy()), table.predict(X)) < 1e-12
    assert error(table._replace(table=None).predict(X), table.predict(X)) < 1e-12


@pytest.mark.parametrize("changes, words", [
    ({"sources": np.zeros(4, int), "source_classes": (0, 1, 1, 0), "source_names": ("a",) * 4}, None),
    ({"sources": np.array([0, 1, 2, -1])}, "sources must be 4 numbers of samples in int64"),
    ({"sources": np.zeros(4, "i4")}, "sources must be 4 numbers of samples in int64"),
    ({"sources": [0, 0, 0, 0]}, "sources must be 4 numbers of samples in int64"),
    ({"sources": np.zeros(4, int), "source_classes": (0, 1, 2, 0)}, "source_classes must be 4 of the numbers 0 to 1"),
    ({"sources": np.zeros(4, int), "source_classes": (0, -1, 1, 0)}, "source_classes must be 4"),
    ({"sources": np.zeros(4, int), "source_classes": (0, True, 1, 0)}, "source_classes must be 4"),
    ({"sources": np.zeros(4, int), "source_classes": (0, 1, 1)}, "source_classes must be 4"),
    ({"sources": np.zeros(4, int), "source_classes": [0, 1, 1, 0]}, "source_classes must be 4"),
    ({"source_classes": (0, 1, 1, 0)}, "source_classes must be 4"),
    ({"sources": np.zeros(4, int), "source_names": ("a",) * 3}, "source_names must be 4 texts"),
    ({"sources": np.zeros(4, int), "source_names": ["a"] * 4}, "source_names must be 4 texts"),
    ({"means": np.zeros((2, 3))}, None),
    ({"means": np.zeros((1, 3))}, "means have 1 rows of numbers, not 2 of 3"),
    ({"means": np.zeros((2, 2))}, "means have 2 rows of numbers, not 2 of 3"),
    ({"means": np.zeros((2, 3), "f4")}, "means must be a matrix of float64"),
    ({"means": np.zeros((1, 3)), "task": "regression", "classes": None, "class_names": None}, None),
], ids=str)  # fmt: skip
def test_where_points_came_from_is_told_of_every_point(changes, words, tmp_path):
    saved = example(**changes)
    if words is None:
        files.save(tmp_path / "set.npz", saved)
        again = files.load(tmp_path / "set.npz")
        assert all(same(getattr(saved, f), getattr(again, f)) for f in Saved._fields if f != "version")
    else:
        with pytest.raises(ValueError, match=words):
            files.save(tmp_path / "set.npz", saved)


@pytest.mark.parametrize("X, words", [
    (np.ones((2, 3)) + 0j, "X has dtype complex128. Complex data not supported"),
    (np.array([["1_000", "2", "3"]]), "rows of numbers are needed, X has <U5"),
    (np.ma.masked_array(np.ones((2, 3)), mask=np.eye(2, 3)), "X is masked: fill its gaps"),
    (scipy.sparse.csr_matrix(np.ones((2, 3))), r"X is sparse: pass X.toarray\(\)"),
    (np.ones((2, 3), np.longdouble), r"X has dtype float128, .*pass X.astype\(float\)"),
])  # fmt: skip
def test_rows_that_float64_does_not_hold_are_refused_and_never_cut(X, words):
    if "float128" in words and X.dtype.itemsize == 8:
        pytest.skip("longdouble is float64 here")
    with warnings.catch_warnings(), pytest.raises((TypeError, ValueError), match=words):
        warnings.simplefilter("error")
        files.features(example(), X)


def test_tensors_and_what_has_a_checksum_of_its_own_are_taken_as_they_are():
    torch = pytest.importorskip("torch")
    X = torch.ones(1, 3, dtype=torch.bfloat16, requires_grad=True)
    assert files.features(example(), X).tolist() == [[1.0, 1.0, 1.0]]

    class Rows:
        sha256 = "as it was read"

    assert files._sha256(Rows()) == "as it was read"
