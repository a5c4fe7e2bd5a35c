"""One fixture for library x device x dtype, matrices of chosen conditioning, and the refitting oracle."""

import os
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

try:
    import torch
except ImportError:
    torch = None

EPS = 2.0**-52  # of float64

# The files that take ten seconds or more. They start first, after the notebooks, so that two workers end together
# (with --no-loadscope-reorder; xdist would otherwise begin with the files that have the most tests).
LONG = "recipe pages_check copying nearest deep_linear conv maps datasets".split()


def pytest_collection_modifyitems(items):
    order = {f"test_{name}.py": place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: -1 if item.path.suffix == ".ipynb" else order.get(item.path.name, len(order)))


class Nx:
    """A library, device and dtype to run a test on: NumPy arrays go in, NumPy arrays come out."""

    def __init__(self, library, device, dtype):
        self.library, self.device, self.dtype = library, device, dtype
        self.eps = float(np.finfo(dtype).eps)

    def __repr__(self):
        return f"{self.library}-{self.device}-{self.dtype}"

    def asarray(self, A):
        A = np.asarray(A, dtype=self.dtype)
        return A if self.library == "numpy" else torch.tensor(A, device=self.device)

    def is_mine(self, A):
        if self.library == "numpy":
            return isinstance(A, np.ndarray) and A.dtype == self.dtype
        return isinstance(A, torch.Tensor) and str(A.dtype) == f"torch.{self.dtype}" and A.device.type == self.device


ALL = [Nx("numpy", "cpu", "float64"), Nx("torch", "cpu", "float64"), Nx("torch", "cpu", "float32"),
       Nx("torch", "cuda", "float64")]  # fmt: skip


@pytest.fixture(params=ALL, ids=repr)
def nx(request):
    if request.param.library == "torch" and torch is None:
        pytest.skip("PyTorch is not installed")
    if request.param.device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    return request.param


def numpy64(A):
    """Any array as float64 NumPy, on the CPU."""
    if torch is not None and isinstance(A, torch.Tensor):
        A = A.detach().cpu().numpy()
    return np.asarray(A, dtype=np.float64)


def conditioned(rng, rows, columns, condition=1.0, rank=None, scale=1.0):
    """A matrix with singular values spread evenly in logarithm from `scale` down to `scale / condition`."""
    rank = min(rows, columns) if rank is None else rank
    U = np.linalg.qr(rng.normal(size=(rows, rank)))[0]
    V = np.linalg.qr(rng.normal(size=(columns, rank)))[0]
    return (U * (scale * np.logspace(0, -np.log10(condition), rank))) @ V.T


def refit(Phi_S, Y_S, lam_S):
    """Ridge regression on a distilled set as an outsider would: NumPy's solvers in float64. Returns (W_S, condition).

    Shares no line with the package. `condition` is that of the system solved here.
    """
    Phi, Y = numpy64(Phi_S), numpy64(Y_S)
    m, p = Phi.shape
    if lam_S == 0:
        rcond = max(m, p) * float(np.finfo(str(Phi_S.dtype).removeprefix("torch.")).eps)
        W, _, rank, t = np.linalg.lstsq(Phi, Y, rcond=rcond)
        return W, float(t[0] / t[rank - 1]) if rank else 1.0
    if m <= p:
        K = Phi @ Phi.T + lam_S * np.eye(m)
        return Phi.T @ np.linalg.solve(K, Y), float(np.linalg.cond(K))
    A = Phi.T @ Phi + lam_S * np.eye(p)
    return np.linalg.solve(A, Phi.T @ Y), float(np.linalg.cond(A))


def error(A, B):
    """Relative Frobenius error of `A` against the reference `B`, in NumPy."""
    A, B = numpy64(A), numpy64(B)
    return float(np.linalg.norm(A - B) / np.linalg.norm(B)) if np.any(B) else float(np.linalg.norm(A))


def words(call):
    """The warnings of a call; each has to point at the file of the caller."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        call()
    assert all(one.filename == call.__code__.co_filename for one in said)
    return [str(one.message) for one in said]


def trained_again(model, solver="svd"):
    """scikit-learn's Ridge on a distilled set, as a colleague would train it."""
    from sklearn.linear_model import Ridge

    small = Ridge(alpha=model.lam_s_, fit_intercept=model.fit_intercept, solver=solver)
    return small.fit(numpy64(model.transform_distilled()), numpy64(model.y_distilled_))


def refusal(capsys, *arguments):
    """The message of the command for a mistake: exit code 2, one line at the end of stderr, nothing on stdout."""
    from ddref.command import main

    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 2
    printed = capsys.readouterr()
    last = printed.err.splitlines()[-1]
    assert printed.out == "" and last.startswith("ddref: error: ") and "Traceback" not in printed.err
    return last


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def data_root():
    root = os.environ.get("DDREF_DATA")
    if not root:
        pytest.skip("DDREF_DATA is not set: no folder with the real data")
    if not Path(root).is_dir():
        pytest.fail(f"DDREF_DATA = {root} is not a folder")
    return Path(root)


@pytest.fixture(scope="session")
def mnist(data_root):
    """MNIST, read, standardised and summed once a worker: `raw`, X, y, X_test, y_test, one-hot Y, G = X^T X, B = X^T Y.

    W is ridge regression at lam = 1e3, by NumPy. Leave the arrays as they are.
    """
    from ddref import datasets

    raw = datasets.load("mnist", data_root)
    X, X_test, *_ = datasets.standardize(raw.X_train, raw.X_test)
    Y = np.eye(10)[raw.y_train]
    G, B = X.T @ X, X.T @ Y
    W = np.linalg.solve(G + 1e3 * np.eye(len(G)), B)
    return SimpleNamespace(raw=raw, X=X, y=raw.y_train, X_test=X_test, y_test=raw.y_test, Y=Y, G=G, B=B, W=W)
