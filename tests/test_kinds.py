"""Arrays of every kind, at every door: served as the plain array of the same numbers, or refused by name."""

import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from conftest import error
from ddref import (
    distill,
    intercept,
    krr,
    maps,
    measure,
    nearest,
    recipe,
    spectrum,
    statistics,
)
from ddref.estimator import DistilledRidge, DistilledRidgeClassifier

torch = pytest.importorskip("torch")
A = np.random.default_rng(0).normal(size=(8, 4))
Y, W, M = (np.random.default_rng(i).normal(size=shape) for i, shape in ((1, (8, 2)), (2, (4, 2)), (3, (4, 3))))


def inference(T):
    with torch.inference_mode():
        return T.clone()


def tensors():
    T = torch.from_numpy(A.copy())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's, of kinds that are new or old
        return {
            "tensor": T,
            "requires grad": T.clone().requires_grad_(),
            "parameter": torch.nn.Parameter(T.clone()),
            "inference": inference(T),
            "negative view": torch.complex(0 * T, -T).conj().imag,
            "neg view": torch._neg_view(-T),
            "expanded": T[:1].expand(8, 4),
            "float32 tensor": T.float(),
            "conjugate": torch.complex(T, T).conj(),
            "sparse tensor": T.to_sparse(),
            "sparse rows tensor": T.to_sparse_csr(),
            "half": T.half(),
            "bfloat16": T.bfloat16(),
            "integer tensor": T.int(),
            "boolean tensor": T > 0,
            "complex tensor": T + 0j,
            "meta": T.to("meta"),
            "nested": torch.nested.nested_tensor([T[0], T[1]]),
            "quantized": torch.quantize_per_tensor(T.float(), 0.1, 0, torch.qint8),
            "scalar tensor": torch.tensor(1.0),
        }


def arrays():
    read_only = A.copy()
    read_only.setflags(write=False)
    return {
        "array": A,
        "read-only": read_only,
        "Fortran": np.asfortranarray(A),
        "backwards": A[::-1][::-1],
        "every other": np.repeat(A, 2, axis=0)[::2],
        "big-endian": A.astype(">f8"),
        "subclass": A.view(type("Signal", (np.ndarray,), {})),
        "list": A.tolist(),
        "masked": np.ma.masked_array(A, mask=A > 1),
        "masked nowhere": np.ma.masked_array(A),
        "matrix": A.view(np.matrix),
        "object": A.astype(object),
        "integer": (10 * A).astype(int),
        "boolean": A > 0,
        "complex": A + 0j,
        "float16": A.astype(np.float16),
        "longdouble": A.astype(np.longdouble),
        "dates": np.zeros((8, 4), "M8[s]"),
        "records": np.zeros((8, 4), [("a", "f8")]),
        "texts": A.astype(str),
        "scalar": np.array(1.0),
        "vector": A[:, 0],
        "three axes": A[None],
        "no rows": A[:0],
        "no columns": A[:, :0],
        "NaN": np.where(A > 1, np.nan, A),
        "sparse matrix": scipy.sparse.csr_matrix(A),
        "sparse array": scipy.sparse.csr_array(A),
        "frame": pd.DataFrame(A),
        "dictionary": {},
        "text": "abc",
    }


KINDS = arrays() | tensors()
SAME = ["array", "read-only", "Fortran", "backwards", "every other", "subclass", "tensor", "requires grad", "parameter",
        "inference", "negative view", "neg view"]  # fmt: skip
CONVERTED = ["list", "object", "big-endian", "longdouble", "texts", "frame", "sparse matrix", "sparse array"]  # by scikit-learn


def like(X, B):
    """B in the library and dtype of X, where X is a tensor of floats."""
    if isinstance(X, torch.Tensor):
        return torch.from_numpy(B).to(X.dtype if X.dtype in (torch.float32, torch.float64) else torch.float64)
    return B


DOORS = {
    "krr.fit": lambda X: krr.fit(X, like(X, Y), 1.0),
    "krr.gram": lambda X: krr.gram(X, like(X, Y))[1],
    "verify": lambda X: measure.verify(X, like(X, Y), 0.1, like(X, W)).relative_error,
    "relative_error": lambda X: measure.relative_error(X, like(X, 2 * A)),
    "labels": lambda X: distill.labels(X, like(X, W), 0.1),
    "nearest": lambda X: nearest.nearest(X, like(X, W)),
    "intercept": lambda X: intercept.fit(X, like(X, Y), 1.0).W,
    "spectrum": lambda X: spectrum.models(spectrum.from_data(X, like(X, Y)), [1.0]),
    "statistics": lambda X: statistics.Statistics(4, 2).update(X, like(X, Y)).B,
    "map": lambda X: maps.Linear(like(X, M)).preimage(like(X, A[:, :3]), X),
    "recipe": lambda X: recipe.distill(maps.Identity(), like(X, W), near=X).X_S,
    "regressor": lambda X: DistilledRidge(n_points=5, lam=1.0).fit(X, Y).coef_,
    "classifier": lambda X: DistilledRidgeClassifier(n_points=5, lam=1.0).fit(X, np.arange(8) % 2).coef_,
}


@pytest.mark.parametrize("door", DOORS)
def test_every_kind_of_array_is_served_as_its_numbers_or_refused_by_name(door):
    wanted = DOORS[door](A)
    estimator = door in ("regressor", "classifier")
    for kind, X in KINDS.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                found = DOORS[door](X)
        except (TypeError, ValueError) as refusal:
            assert kind not in SAME, f"{kind}: {refusal}"
            assert str(refusal).strip(), kind
            continue
        assert kind in SAME or estimator or kind in ("expanded", "float32 tensor", "big-endian"), f"{kind} was taken"
        if kind in SAME or (estimator and kind in CONVERTED):
            found = found.detach().numpy() if isinstance(found, torch.Tensor) else found
            assert error(np.asarray(found), np.asarray(wanted)) < 1e-10, kind


PLACES = {
    "y": lambda y: DistilledRidge().fit(A, y),
    "y in batches": lambda y: DistilledRidge().partial_fit(A, y),
    "classes": lambda y: DistilledRidgeClassifier().fit(A, y > 0),
    "sample_weight": lambda y: DistilledRidge().fit(A, Y[:, 0], y * y),
    "init": lambda y: DistilledRidge(init=y[:4].reshape(4, 1) * np.ones((1, 4)) + np.eye(4)).fit(A, Y[:, 0]),
}


@pytest.mark.parametrize("place", PLACES)
def test_targets_weights_and_starts_are_met_as_the_samples_are(place):
    y = Y[:, 0] + 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(TypeError, match="masked: fill its gaps"):
            PLACES[place](np.ma.masked_array(y, mask=y > 0.5))
        wanted = PLACES[place](y).X_distilled_
        T = torch.from_numpy(y)
        for same in (T, T.clone().requires_grad_(), torch._neg_view(-T)):
            if place != "init":  # an array of its own is made there
                assert error(PLACES[place](same).X_distilled_, wanted) < 1e-10


def test_points_to_start_from_may_require_grad():
    X_0 = torch.from_numpy(A[:4].copy()).requires_grad_()
    found = DistilledRidge(init=X_0).fit(A, Y[:, 0]).X_distilled_
    assert error(found, DistilledRidge(init=A[:4]).fit(A, Y[:, 0]).X_distilled_) < 1e-10


@pytest.mark.parametrize(
    "kind, words",
    [
        ("masked", "masked: fill its gaps, or leave these rows out"),
        ("masked nowhere", "masked"),
        ("matrix", r"a np\.matrix: pass np\.asarray"),
        ("sparse tensor", r"sparse_coo: pass its to_dense\(\)"),
        ("sparse rows tensor", r"sparse_csr: pass its to_dense\(\)"),
        ("nested", "nested: pad it"),
        ("quantized", r"quantized: pass its dequantize\(\)"),
        ("meta", "on the meta device, without values"),
    ],
)
@pytest.mark.parametrize("door", ["krr.fit", "statistics", "recipe", "regressor"])
def test_odd_kinds_are_refused_in_words(kind, words, door):
    with pytest.raises(TypeError, match=words):
        DOORS[door](KINDS[kind])
