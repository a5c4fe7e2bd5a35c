"""KIP, kernel inducing points: distilled sets by gradient descent on the training loss of kernel ridge regression.

`X_S`, and the labels if asked, move by Adam so that the model trained on ``(X_S, Y_S, lam_S)`` predicts the original
targets. It needs no more of a kernel than that PyTorch can differentiate it: `linear`, `gaussian`, `nngp`, `ntk`, or
any function ``K(A, B)`` of two sets of rows; with `phi`, the same on the features of a map.

    state = train(start(X_S, Y_S), X, Y, steps=200, lam_S=1e-6 * float(linear(X_S, X_S).trace()) / len(X_S))

PyTorch tensors, on any device that has float64: systems with one row a distilled point are solved in float64 whatever
the dtype of the data.
"""

import math
import operator
import os
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ddref.measure import check_arrays, check_lam

CHUNK = 8192  # rows of the original data that are in hand at a time, where they are streamed
BETAS = 0.9, 0.999  # of Adam, with ADAM_EPS: its published values
ADAM_EPS = 1e-8


# -- kernels


def linear(A, B):
    """``A B^T`` (a, b): the kernel of linear ridge regression, and of any feature map applied before it.

    Parameters
    ----------
    A, B : tensor (a, d), tensor (b, d)
        Rows are samples.

    Returns
    -------
    tensor (a, b)

    Raises
    ------
    ValueError, TypeError
        For rows of different widths, for what is no PyTorch tensor.

    Notes
    -----
    Book: eq-kip-kernel. scikit-learn's twin is ``sklearn.metrics.pairwise.linear_kernel``.

    Examples
    --------
    >>> linear(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]]))
    tensor([[11.]])
    """
    _check_pair(A, B)
    return A @ B.mT


def gaussian(A, B, *, bandwidth):
    """``exp(-||a - b||^2 / (2 bandwidth^2))`` (a, b).

    Parameters
    ----------
    A, B : tensor (a, d), tensor (b, d)
        Rows are samples.
    bandwidth : float
        sigma, in units of the inputs; ``functools.partial(gaussian, bandwidth=3.0)`` is a function of A and B.

    Returns
    -------
    tensor (a, b)

    Raises
    ------
    ValueError, TypeError
        Also for a bandwidth that is not positive.

    Notes
    -----
    Book: eq-kip-kernel. scikit-learn's twin is ``rbf_kernel(A, B, gamma=1 / (2 * bandwidth**2))``.

    Examples
    --------
    >>> gaussian(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]]), bandwidth=5.0).log()
    tensor([[-0.5000]])
    """
    _check_pair(A, B)
    bandwidth = check_lam(bandwidth, "bandwidth")
    if bandwidth == 0:
        raise ValueError("bandwidth = 0 must be positive")
    squared = A.square().sum(1)[:, None] + B.square().sum(1) - 2 * A @ B.mT
    return torch.exp(squared.clamp_min(0) / (-2 * bandwidth**2))


def nngp(A, B, *, depth=1):
    """Covariance of the outputs of an infinitely wide ReLU network with random weights: the arc-cosine kernel.

    ``K(a, b) = |a| |b| / d * kappa_1(... kappa_1(c))``, c the cosine of a and b, `depth` times
    ``kappa_1(c) = (sqrt(1 - c^2) + (pi - arccos c) c) / pi``.

    Parameters
    ----------
    A, B : tensor (a, d), tensor (b, d)
        Rows are samples. The network has no biases: append a constant column to the data for one in the first layer.
    depth : int
        Hidden layers; 0 is ``A B^T / d``.

    Returns
    -------
    tensor (a, b)

    Raises
    ------
    ValueError, TypeError
        Also for a negative depth.

    Notes
    -----
    Book: eq-arc-cosine. Source: Cho and Saul (2009), the kernel of order 1. Weights of variance 1 / d in the first
    layer and 2 / width in those after it keep ``K(a, a) = |a|^2 / d`` at every depth. Cosines within 32 eps of 1 or -1
    count as that: a point beside itself, where the arc cosine has no derivative.

    Examples
    --------
    >>> nngp(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 3.0]])) * math.pi  # cosine 0: 2 * 3 / 2 / pi
    tensor([[3.0000]])
    """
    size, c = _cosines(A, B)
    for _ in range(_count(depth, "depth", 0)):
        c, _ = _arc_cosine(c)
    return size * c


def ntk(A, B, *, depth=1):
    """Neural tangent kernel of an infinitely wide ReLU network: inner products of gradients by all its weights.

    ``Theta_0 = K_0``, ``Theta_l = K_l + kappa_0(c_(l-1)) Theta_(l-1)``, K_l the covariance of `nngp` at depth l, c its
    cosine, ``kappa_0(c) = (pi - arccos c) / pi``.

    Parameters
    ----------
    A, B : tensor (a, d), tensor (b, d)
        Rows are samples.
    depth : int
        Hidden layers; 0 is ``A B^T / d``.

    Returns
    -------
    tensor (a, b)

    Raises
    ------
    ValueError, TypeError
        Also for a negative depth.

    Notes
    -----
    Book: eq-ntk. Source: Jacot, Gabriel and Hongler (2018). Weights are standard normal and multiplied by
    sqrt(2 / width), sqrt(1 / d) in the first layer; ``K(a, a) = (depth + 1) |a|^2 / d``.

    Examples
    --------
    >>> ntk(torch.tensor([[2.0, 0.0]]), torch.tensor([[2.0, 0.0]]), depth=3)  # 4 * 4 / 2
    tensor([[8.]])
    """
    size, c = _cosines(A, B)
    theta = c
    for _ in range(_count(depth, "depth", 0)):
        c, slope = _arc_cosine(c)
        theta = c + slope * theta
    return size * theta


# -- the loss, the model and the best labels


def coefficients(K_SS, Y_S, lam_S):
    """``(K_SS + lam_S I)^-1 Y_S`` by Cholesky: the model trained on a distilled set is ``x -> K(x, X_S) alpha``.

    Parameters
    ----------
    K_SS : tensor (m, m)
        Kernel of the distilled points.
    Y_S : tensor (m, k)
        Their labels.
    lam_S : float
        Regularisation, added to the diagonal as given.

    Returns
    -------
    tensor (m, k)
        In float64 arithmetic, returned in the dtype of `Y_S`. Gradients flow.

    Raises
    ------
    ValueError
        When ``K_SS + lam_S I`` is not positive definite, with its smallest eigenvalue and a `lam_S` to try.

    Notes
    -----
    Book: eq-kip-kernel. `ddref.krr.fit_dual` is the same without the demand for a regular system.

    Examples
    --------
    >>> coefficients(torch.tensor([[3.0]]), torch.tensor([[2.0]]), 1.0)
    tensor([[0.5000]])
    """
    _tensors(K_SS=K_SS, Y_S=Y_S)
    if tuple(K_SS.shape) != (Y_S.shape[0], Y_S.shape[0]):
        raise ValueError(f"K_SS must be square with a row for each of {Y_S.shape[0]} labels, not {tuple(K_SS.shape)}")
    return _coefficients(K_SS, Y_S, check_lam(lam_S, "lam_S"))


def predict(S, X, *, lam_S, kernel=linear, phi=None, rows="inputs"):
    """Predictions (n, k) at `X` of the model trained on the distilled set `S`.

    Parameters
    ----------
    S : State, or any tuple that begins with X_S, Y_S
        The set: inputs (m, d) and labels (m, k).
    X : tensor (n, d)
        Where to predict.
    lam_S : float
        Regularisation of the training on the set.
    kernel : callable
        K(A, B) -> (a, b).
    phi : callable, optional
        Feature map applied before the kernel.
    rows : str
        "inputs", or "features" where `X` holds ``phi(X)`` already; `X_S` are inputs in both cases.

    Returns
    -------
    tensor (n, k)

    Raises
    ------
    ValueError, TypeError
        For arrays that do not fit, a singular system.

    Notes
    -----
    Book: eq-kip-kernel.

    Examples
    --------
    >>> S = torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0]])
    >>> predict(S, torch.tensor([[2.0, 7.0]]), lam_S=0.5)  # 2 * 3 / (1 + 0.5)
    tensor([[4.]])
    """
    X_S, Y_S = _pair(S)
    lam_S = check_lam(lam_S, "lam_S")
    _check(X_S, Y_S, X, None, phi, rows)
    with torch.no_grad():
        Z_S = _features(phi, X_S)
        alpha = _coefficients(_kernel(kernel, Z_S, Z_S), Y_S, lam_S)
        return torch.cat([_kernel(kernel, Z, Z_S) @ alpha for Z, _ in _chunks(X, None, phi, rows)])


def loss(S, X, Y, *, lam_S, lam=0.0, kernel=linear, phi=None, rows="inputs"):
    """What KIP minimises, over all of the data: ``||Phi W_S - Y||^2 + lam ||W_S||^2``, W_S trained on the set `S`.

    Parameters
    ----------
    S : State, or any tuple that begins with X_S, Y_S
        The set.
    X, Y : tensor (n, d), tensor (n, k)
        Original data.
    lam_S : float
        Regularisation of the training on the set.
    lam : float
        Weight of ``||W_S||^2``. 0 is the published loss. With the lam that `W` was trained with, exact sets are the
        minimisers.
    kernel, phi, rows
        As in `predict`.

    Returns
    -------
    float
        A sum over samples, accumulated in float64.

    Raises
    ------
    ValueError, TypeError
        For arrays that do not fit, a singular system.

    Notes
    -----
    Book: eq-kip-loss, thm-kip. Source: Nguyen, Chen and Lee (2021); Chen, Huang and Weng (2024), eq. (1). The norm is
    that of the kernel's space, ``tr(alpha^T K_SS alpha)``: it needs no features.

    Examples
    --------
    >>> S = torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0]])
    >>> loss(S, torch.tensor([[2.0, 7.0]]), torch.tensor([[5.0]]), lam_S=0.5)  # (4 - 5)^2
    1.0
    """
    X_S, Y_S = _pair(S)
    lam_S, lam = check_lam(lam_S, "lam_S"), check_lam(lam)
    _check(X_S, Y_S, X, Y, phi, rows)
    with torch.no_grad():
        Z_S = _features(phi, X_S)
        K_SS = _kernel(kernel, Z_S, Z_S)
        alpha = _coefficients(K_SS, Y_S, lam_S)
        total = lam * float((alpha * (K_SS @ alpha)).sum(dtype=torch.float64)) if lam else 0.0
        for Z, T in _chunks(X, Y, phi, rows):
            total += float((_kernel(kernel, Z, Z_S) @ alpha - T).square().sum(dtype=torch.float64))
    return total


def solve_labels(X_S, X, Y, *, lam_S, lam=0.0, kernel=linear, phi=None, rows="inputs"):
    """Label solve: of all labels for the points `X_S`, those with the smallest `loss` on the data.

    With ``K_SS + lam_S I = L L^T`` and ``Z = K(X, X_S) L^-T`` it is the least-squares problem ``||Z beta - Y||^2``,
    ``Y_S = L beta``: normal equations of size m, summed over the data. No matrix with n rows is factored or inverted.

    Parameters
    ----------
    X_S : tensor (m, d)
        Distilled points.
    X, Y : tensor (n, d), tensor (n, k)
        Original data.
    lam_S : float
        Regularisation of the training on the set. The best labels depend on it, the model they train does not.
    lam : float
        Weight of ``||W_S||^2`` in the loss.
    kernel, phi, rows
        As in `predict`.

    Returns
    -------
    tensor (m, k)
        Where several labels are best, those with the smallest beta (directions of ``Z^T Z`` up to m eps times its
        largest eigenvalue count as zero).

    Raises
    ------
    ValueError, TypeError
        For arrays that do not fit, a singular system.

    Notes
    -----
    Book: prop-label-solve. Source: Nguyen, Novak, Xiao and Lee (2021), where a pseudo-inverse of the n x m matrix is
    formed.

    Examples
    --------
    >>> X = torch.tensor([[1.0], [2.0]])
    >>> solve_labels(torch.tensor([[1.0]]), X, 3 * X, lam_S=1.0)  # W = 3 from one point: 3 * (1 + 1)
    tensor([[6.]])
    """
    lam_S, lam = check_lam(lam_S, "lam_S"), check_lam(lam)
    _check(X_S, None, X, Y, phi, rows)
    with torch.no_grad():
        Z_S = _features(phi, X_S)
        L = _cholesky(_kernel(kernel, Z_S, Z_S), lam_S)
        H, C = 0.0, 0.0
        for Z, T in _chunks(X, Y, phi, rows):
            H_part, C_part = _normal(L, _kernel(kernel, Z, Z_S), T)
            H, C = H + H_part, C + C_part
        return (L @ _beta(L, H, C, lam_S, lam)).to(X_S.dtype)


def condense(G, B, total):
    """At most p + 1 rows on which every model has the loss that it has on all n: exact, for features of finite number.

    ``||Phi W_S - Y||^2`` depends on the data through ``G = Phi^T Phi``, ``B = Phi^T Y`` and ``total = ||Y||^2`` only.
    So rows ``R`` with ``R^T R = G`` and targets with ``R^T Y_R = B`` will do, and one row of zeros that carries what no
    model explains. A step of KIP then costs the same for a thousand samples and for a million.

    Parameters
    ----------
    G, B : array (p, p), array (p, k)
        Of `ddref.krr.gram`, or added up elsewhere.
    total : float
        ``||Y||^2``, the sum of the squares of all targets.

    Returns
    -------
    (R, Y_R) : tensor (r + 1, p), tensor (r + 1, k)
        r the numerical rank of G. Use them as `X` and `Y` with the linear kernel, and with ``rows="features"`` where
        there is a map.

    Raises
    ------
    ValueError, TypeError
        For a `G` that is zero, not symmetric or not positive semi-definite, for a `total` below what `B` explains.

    Notes
    -----
    Book: prop-condense. It is the set of `ddref.frontier.every_lambda` from its statistics. The loss is reproduced up
    to rounding in G, about ``p eps ||G|| ||W_S||^2``.

    Examples
    --------
    >>> Phi, Y = torch.tensor([[1.0], [2.0], [2.0]]).double(), torch.tensor([[1.0], [0.0], [4.0]]).double()
    >>> R, Y_R = condense(Phi.mT @ Phi, Phi.mT @ Y, float(Y.square().sum()))
    >>> bool(abs(((2 * R - Y_R) ** 2).sum() - ((2 * Phi - Y) ** 2).sum()) < 1e-12), len(R)
    (True, 2)
    """
    _tensors(G=G, B=B)
    check_arrays(G=G, B=B)
    total = check_lam(total, "total")
    p, eps = G.shape[0], float(torch.finfo(G.dtype).eps)
    if G.shape[1] != p or B.shape[0] != p:
        raise ValueError(f"G (p, p) and B (p, k) do not fit: {tuple(G.shape)}, {tuple(B.shape)}")
    size = float(G.abs().max())
    if float((G - G.mT).abs().max()) > 100 * p * eps * size:
        raise ValueError("G is not symmetric; pass Phi^T Phi")
    w, V = torch.linalg.eigh(G)
    if float(w[0]) < -100 * p * eps * size:
        raise ValueError(f"G is not positive semi-definite: its smallest eigenvalue is {float(w[0]):.3g}")
    keep = w > p * eps * w[-1].abs()
    if not bool(keep.any()):
        raise ValueError("G is zero: no model predicts anything")
    root, V = w[keep].sqrt()[:, None], V[:, keep]
    Y_R = V.mT @ B / root
    rest = total - float(Y_R.square().sum())
    if rest < -1e3 * p * eps * total:
        raise ValueError(
            f"total = {total:.6g} is less than the {total - rest:.6g} that B explains: it must be the sum of the "
            "squares of all targets, of the same samples as G and B"
        )
    last = torch.zeros_like(B[:1])
    last[0, 0] = max(rest, 0.0) ** 0.5
    return torch.cat([root * V.mT, 0 * V[None, :, 0]]), torch.cat([Y_R, last])


# -- training


class State(NamedTuple):
    """A distilled set in training, and all that is needed to go on: it can be kept, saved, and trained further.

    Nothing in it is changed by further training; `losses` and `seconds` are lists that a running `train` extends, of
    which the first `step` entries belong to this state.
    """

    X_S: torch.Tensor  # (m, d)
    Y_S: torch.Tensor  # (m, k)
    moments: tuple  # of Adam: mean and mean square of the gradient by X_S, then by Y_S
    step: int  # steps taken
    seed: int  # of the minibatches
    losses: list  # a value a step, before its move; of a minibatch: times n / batch
    seconds: list  # since the beginning, at the end of each step; callbacks do not count

    def save(self, path):
        """Write everything to one .npz file, without pickle; `load` reads it. The file is whole or absent."""
        path = Path(path)
        arrays = [A.detach().cpu().numpy() for A in (self.X_S, self.Y_S, *self.moments)]
        history = [np.asarray(values[: self.step], dtype=np.float64) for values in (self.losses, self.seconds)]
        part = path.with_name(path.name + ".part")
        with open(part, "wb") as file:
            numbers = np.array([self.step, self.seed], dtype=np.int64)
            np.savez(file, **dict(zip(_FIELDS, (*arrays, *history, numbers), strict=True)))
        os.replace(part, path)


_FIELDS = "X_S Y_S mean_X square_X mean_Y square_Y losses seconds step_and_seed".split()


def start(X_S, Y_S, *, seed=0):
    """The state before the first step.

    Parameters
    ----------
    X_S : tensor (m, d)
        Where the points start: real images, noise, an exact set.
    Y_S : tensor (m, k)
        Where the labels start. Where they are solved for, only the shape counts.
    seed : int
        Of the order in which minibatches are drawn: 0 to 2^63 - 1.

    Returns
    -------
    State

    Raises
    ------
    ValueError, TypeError
        For arrays that do not fit, a seed that is no such integer.

    Notes
    -----
    Book: eq-kip-loss.

    Examples
    --------
    >>> start(torch.ones(2, 3), torch.eye(2)).step
    0
    """
    _tensors(X_S=X_S, Y_S=Y_S)
    check_arrays(X_S=X_S, Y_S=Y_S)
    if X_S.shape[0] != Y_S.shape[0]:
        raise ValueError(f"X_S has {X_S.shape[0]} rows and Y_S has {Y_S.shape[0]}; rows are samples and must match")
    seed = _count(seed, "seed", 0)
    if seed >= 2**63:
        raise ValueError(f"seed = {seed} must be below 2^63")
    X_S, Y_S = X_S.detach().clone(), Y_S.detach().clone()
    moments = tuple(torch.zeros_like(A) for A in (X_S, X_S, Y_S, Y_S))
    return State(X_S, Y_S, moments, 0, seed, [], [])


def load(path, *, device="cpu"):
    """Read a state that `State.save` wrote.

    Parameters
    ----------
    path : str or Path
        The file.
    device : str
        Where its tensors go.

    Returns
    -------
    State

    Raises
    ------
    ValueError
        When the file is damaged, or not one of ours.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     start(torch.ones(2, 3), torch.eye(2), seed=5).save(folder + "/state.npz")
    ...     load(folder + "/state.npz").seed
    5
    """
    with open(path, "rb") as file:
        try:
            with np.load(file, allow_pickle=False) as stored:
                arrays = [stored[name] for name in _FIELDS]
        except Exception as error:  # zip, zlib and NumPy raise half a dozen types on damaged files
            raise ValueError(f"{path} is damaged, or no state of KIP ({error})") from error
    step, seed = (int(number) for number in arrays[8])
    X_S, Y_S, *moments = (torch.from_numpy(A).to(device) for A in arrays[:6])
    check_arrays(X_S=X_S, Y_S=Y_S)
    shapes = [tuple(A.shape) for A in (X_S, X_S, Y_S, Y_S)]
    if [tuple(A.shape) for A in moments] != shapes or not len(arrays[6]) == len(arrays[7]) == step:
        raise ValueError(f"{path} is damaged: its arrays do not fit each other")
    return State(X_S, Y_S, tuple(moments), step, seed, arrays[6].tolist(), arrays[7].tolist())


def train(
    state,
    X,
    Y,
    *,
    steps,
    lam_S,
    lam=0.0,
    kernel=linear,
    phi=None,
    rows="inputs",
    labels="solve",
    batch=None,
    lr=0.1,
    callback=None,
    progress=False,
):
    """Take `steps` steps of Adam on the `loss` of a distilled set.

    Parameters
    ----------
    state : State
        From `start`, `load` or an earlier `train`: continued with the same options, the trajectory is that of one run.
    X, Y : tensor (n, d), tensor (n, k)
        Original data.
    steps : int
        How many steps to take now. 0 with solved labels is label solve alone.
    lam_S : float
        Regularisation of the training on the set, a plain number. The published choice is 1e-6 of the mean of the
        kernel's diagonal: ``1e-6 * float(kernel(X_S, X_S).trace()) / len(X_S)``.
    lam : float
        Weight of ``||W_S||^2`` in the loss; 0 is the published loss.
    kernel : callable
        K(A, B) -> (a, b), differentiable by `B`.
    phi : callable, optional
        Feature map applied before the kernel. The features of `X` are computed once, and n of them held in memory.
    rows : str
        "inputs", or "features" where `X` holds features already: ``phi(X)``, or the rows of `condense`.
    labels : str
        "solve": best labels for each minibatch at every step, and for all of the data at the end (see `solve_labels`).
        "learn": they move with the points. "fixed".
    batch : int, optional
        Samples a step, drawn without repetition until fewer than `batch` are left. Default: all.
    lr : float
        Step size of Adam, in units of the inputs (and labels, where they are learnt). The default is for standardised
        rows.
    callback : callable, optional
        Called with the state after each step; training stops when it returns True. Its time does not count. One that
        saves the state now and then bounds what an interruption loses. While labels are solved for, the state it gets
        has those of the minibatch, from before the points moved.
    progress : bool
        Show a bar (needs tqdm).

    Returns
    -------
    State

    Raises
    ------
    ValueError, TypeError
        For arrays and options that do not fit; for a batch of at most m samples where labels are solved for (they
        would fit it exactly); for a singular system; when the loss is no longer finite.

    Notes
    -----
    Book: eq-kip-loss, prop-label-solve. Source: Nguyen, Chen and Lee (2021); Nguyen, Novak, Xiao and Lee (2021); Chen,
    Huang and Weng (2024), Sec. 7; Kingma and Ba (2015) for Adam. Departures: a Cholesky factor of size m in place of a
    pseudo-inverse of the batch; where labels are solved for, the gradient is taken at fixed coefficients ``alpha``,
    which by the envelope theorem is the gradient of the smallest loss; `lam_S` does not follow the trace.

    Examples
    --------
    >>> X = torch.eye(3, dtype=torch.float64)
    >>> state = start(torch.ones(1, 3).double(), torch.ones(1, 1).double())
    >>> state = train(state, X, torch.tensor([[1.0], [2.0], [2.0]]).double(), steps=500, lam_S=1e-6, lr=0.05)
    >>> bool((state.X_S / state.X_S[0, 0] - torch.tensor([1.0, 2.0, 2.0])).abs().max() < 1e-3)  # along W
    True
    """
    if not isinstance(state, State):
        raise TypeError(f"state must be a State, see kip.start, got {type(state).__name__}")
    lam_S, lam, lr, steps = check_lam(lam_S, "lam_S"), check_lam(lam), check_lam(lr, "lr"), _count(steps, "steps", 0)
    _check(state.X_S, state.Y_S, X, Y, phi, rows)
    if labels not in ("solve", "learn", "fixed"):
        raise ValueError(f"labels must be 'solve', 'learn' or 'fixed', got {labels!r}")
    n, m = X.shape[0], state.X_S.shape[0]
    batch = n if batch is None else _count(batch, "batch", 1)
    if batch > n:
        raise ValueError(f"batch = {batch} is more than the {n} samples")
    if labels == "solve" and batch <= m and batch < n:
        raise ValueError(
            f"batch = {batch} must exceed the {m} points where labels are solved for: they would fit it exactly"
        )
    begin, elapsed = time.perf_counter(), state.seconds[state.step - 1] if state.step else 0.0
    losses, seconds = state.losses[: state.step], state.seconds[: state.step]
    with torch.no_grad():
        Z = X if phi is None or rows == "features" else torch.cat([Z for Z, _ in _chunks(X, None, phi, rows)])
    bar, epoch = _progress(steps, progress), -1
    for _ in bar:
        Z_b, Y_b = Z, Y
        if batch < n:
            this, place = divmod(state.step, n // batch)
            if this != epoch:
                epoch, order = this, _order(state.seed, this, n).to(X.device)
            picked = order[place * batch : (place + 1) * batch]
            Z_b, Y_b = Z[picked], Y[picked]
        value, Y_S, gradients = _step(state, Z_b, Y_b, n / batch, kernel, phi, lam_S, lam, labels)
        if not math.isfinite(value):
            raise ValueError(f"the loss is {value} at step {state.step}; use a smaller lr than {lr} or a larger lam_S")
        state = _adam(state, Y_S, gradients, lr)._replace(losses=losses, seconds=seconds)
        losses.append(value)
        seconds.append(elapsed + time.perf_counter() - begin)
        if progress:
            bar.set_postfix(loss=f"{value:.4g}", refresh=False)
        if callback is not None:
            paused = time.perf_counter()
            stop = callback(state)
            begin += time.perf_counter() - paused
            if stop is True:
                break
    if labels == "solve":
        rows = rows if phi is None else "features"
        Y_S = solve_labels(state.X_S, Z, Y, lam_S=lam_S, lam=lam, kernel=kernel, phi=phi, rows=rows)
        state = state._replace(Y_S=Y_S)
        if seconds:
            seconds[-1] = elapsed + time.perf_counter() - begin
    return state


def _step(state, Z, Y, scale, kernel, phi, lam_S, lam, labels):
    """Loss of a minibatch times `scale`, its labels, and the gradients by X_S and (where learnt) Y_S."""
    X_S = state.X_S.detach().requires_grad_()
    Y_S = state.Y_S.detach().requires_grad_(labels == "learn")
    Z_S = _features(phi, X_S)
    K_SS, K_TS = _kernel(kernel, Z_S, Z_S), _kernel(kernel, Z, Z_S)
    if labels == "solve":
        with torch.no_grad():
            L = _cholesky(K_SS.detach(), lam_S)
            beta = _beta(L, *_normal(L, K_TS.detach(), Y), lam_S, lam / scale)
            Y_S = (L @ beta).to(Y.dtype)
            alpha = torch.linalg.solve_triangular(L.mT, beta, upper=True).to(Y.dtype)
    else:
        alpha = _coefficients(K_SS, Y_S, lam_S)
    value = scale * (K_TS @ alpha - Y).square().sum()
    if lam:
        value = value + lam * (alpha * (K_SS @ alpha)).sum()
    inputs = [X_S, Y_S] if labels == "learn" else [X_S]
    return float(value.detach()), Y_S.detach(), torch.autograd.grad(value, inputs)


def _adam(state, Y_S, gradients, lr):
    """The state after one step of Adam along `gradients`, of X_S and perhaps Y_S."""
    t, moved, moments = state.step + 1, [], []
    for i, (A, gradient) in enumerate(zip((state.X_S, Y_S), (*gradients, None), strict=False)):
        mean, square = state.moments[2 * i : 2 * i + 2]
        if gradient is not None:
            mean = BETAS[0] * mean + (1 - BETAS[0]) * gradient
            square = BETAS[1] * square + (1 - BETAS[1]) * gradient.square()
            A = A - lr * (mean / (1 - BETAS[0] ** t)) / ((square / (1 - BETAS[1] ** t)).sqrt() + ADAM_EPS)
        moved.append(A)
        moments += [mean, square]
    return state._replace(X_S=moved[0], Y_S=moved[1], moments=tuple(moments), step=t)


def _order(seed, epoch, n):
    """The samples in the order of this epoch: a function of the seed and the epoch alone, so nothing else is stored."""
    word = int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0])
    return torch.randperm(n, generator=torch.Generator().manual_seed(word - 2**63))


# -- simple coresets


def herding(Phi, m):
    """Rows of `Phi` whose running mean stays as near as possible to the mean of all: a coreset without any labels.

    Greedy: the next row is the one that brings the mean of those chosen closest to the mean of all.

    Parameters
    ----------
    Phi : tensor (n, p)
        Features of one class (or of everything).
    m : int
        Rows to choose, at most n.

    Returns
    -------
    integer tensor (m,)
        Indices, in the order chosen; none twice.

    Raises
    ------
    ValueError, TypeError
        For m outside 1 to n, unusable arrays.

    Notes
    -----
    Book: sec-coresets. Source: Welling (2009), in the greedy form of Rebuffi, Kolesnikov, Sperl and Lampert (2017).

    Examples
    --------
    >>> herding(torch.tensor([[0.0], [4.0], [5.0], [9.0]]), 3).tolist()  # the mean is 4.5
    [1, 2, 0]
    """
    _tensors(Phi=Phi)
    check_arrays(Phi=Phi)
    if not 1 <= _count(m, "m", 1) <= Phi.shape[0]:
        raise ValueError(f"m = {m} must be between 1 and the {Phi.shape[0]} rows of Phi")
    mean, squares, chosen = Phi.mean(0), Phi.square().sum(1), []
    total = torch.zeros_like(mean)
    for count in range(1, m + 1):
        score = squares - 2 * Phi @ (count * mean - total)  # ||total + row - count mean||^2 up to a constant
        score[chosen] = math.inf
        chosen.append(int(score.argmin()))
        total = total + Phi[chosen[-1]]
    return torch.tensor(chosen, device=Phi.device)


# -- in float64: systems of size m


def _cholesky(K_SS, lam_S):
    """L with ``K_SS + lam_S I = L L^T``."""
    A = K_SS.double() + lam_S * torch.eye(K_SS.shape[0], dtype=torch.float64, device=K_SS.device)
    L, failed = torch.linalg.cholesky_ex(A)
    if int(failed):
        A = A.detach()
        if not bool(torch.isfinite(A).all()):
            raise ValueError("the kernel of the distilled points contains NaN or Inf; use a smaller lr")
        smallest, usual = float(torch.linalg.eigvalsh(A)[0]), 1e-6 * float(K_SS.detach().trace()) / len(A)
        raise ValueError(
            f"K(X_S, X_S) + lam_S I is not positive definite: its smallest eigenvalue is {smallest:.3g} at lam_S = "
            f"{lam_S:.3g}. Points repeat, or outnumber the features; pass for instance lam_S={usual:.3g}"
        )
    return L


def _coefficients(K_SS, Y_S, lam_S):
    return torch.cholesky_solve(Y_S.double(), _cholesky(K_SS, lam_S)).to(Y_S.dtype)


def _normal(L, K_TS, Y):
    """``Z^T Z`` and ``Z^T Y``, ``Z = K_TS L^-T``: features of the samples in which the set's ridge is the identity."""
    Zt = torch.linalg.solve_triangular(L, K_TS.double().mT, upper=False)
    return Zt @ Zt.mT, Zt @ Y.double()


def _beta(L, H, C, lam_S, lam):
    """Minimiser of ``||Z beta - Y||^2 + lam ||W_S||^2``, of least norm.

    With alpha = L^-T beta, ``||W_S||^2 = tr(alpha^T K_SS alpha) = ||beta||^2 - lam_S ||alpha||^2``.
    """
    if lam:
        inverse = torch.linalg.solve_triangular(L, torch.eye(len(L), dtype=L.dtype, device=L.device), upper=False)
        H = H + lam * (torch.eye(len(L), dtype=L.dtype, device=L.device) - lam_S * inverse @ inverse.mT)
    w, V = torch.linalg.eigh(H)
    keep = w > len(L) * torch.finfo(w.dtype).eps * w[-1]
    gain = torch.where(keep, 1 / torch.where(keep, w, torch.ones_like(w)), torch.zeros_like(w))
    return V @ (gain[:, None] * (V.mT @ C))


def _cosines(A, B):
    """``|a| |b| / d`` and the cosines, for all pairs of rows; a row of zeros has the cosine 0 with everything."""
    _check_pair(A, B)
    tiny = 1e-30
    norm_A, norm_B = A.norm(dim=1, keepdim=True), B.norm(dim=1, keepdim=True)
    c = (A / norm_A.clamp_min(tiny)) @ (B / norm_B.clamp_min(tiny)).mT
    return norm_A * norm_B.mT / A.shape[1], c


def _arc_cosine(c):
    """kappa_1 and kappa_0 of the cosines, with finite derivatives at 1 and -1."""
    inside = c.abs() < 1 - 32 * torch.finfo(c.dtype).eps
    c_safe = torch.where(inside, c, torch.zeros_like(c))
    angle = torch.where(inside, torch.acos(c_safe), math.pi * (c < 0).to(c.dtype))
    rest = 1 - angle / math.pi
    sine = torch.where(inside, ((1 - c_safe) * (1 + c_safe)).sqrt(), torch.zeros_like(c))
    return sine / math.pi + rest * c, rest


# -- checks


def _features(phi, X):
    return X if phi is None else phi(X)


def _kernel(kernel, A, B):
    if not callable(kernel):
        raise TypeError(f"kernel must be a function K(A, B), got {type(kernel).__name__}")
    K = kernel(A, B)
    if not isinstance(K, torch.Tensor):
        raise TypeError(f"the kernel must return a PyTorch tensor, it returned {type(K).__name__}")
    if tuple(K.shape) != (A.shape[0], B.shape[0]):
        raise ValueError(f"the kernel of {A.shape[0]} and {B.shape[0]} rows has shape {tuple(K.shape)}")
    return K


def _chunks(X, Y, phi, rows):
    """Features (or inputs, without a map) and targets, CHUNK rows at a time."""
    for first in range(0, X.shape[0], CHUNK):
        part = X[first : first + CHUNK]
        Z = part if phi is None or rows == "features" else phi(part)
        yield Z, None if Y is None else Y[first : first + CHUNK]


def _check(X_S, Y_S, X, Y, phi, rows):
    """The set and the data, whichever are not None, fit together."""
    arrays = {"X_S": X_S, "Y_S": Y_S, "X": X, "Y": Y}
    arrays = {name: A for name, A in arrays.items() if A is not None}
    _tensors(**arrays)
    check_arrays(**arrays)
    if rows not in ("inputs", "features"):
        raise ValueError(f"rows must be 'inputs' or 'features', got {rows!r}")
    if rows == "features" and phi is None:
        raise ValueError("rows='features' needs the map phi, whose features X holds; without a map leave rows out")
    width = X_S.shape[1]
    if rows == "features":
        with torch.no_grad():
            width = phi(X_S[:1]).shape[1]
    if X.shape[1] != width:
        like = "phi(X_S)" if rows == "features" else "X_S"
        raise ValueError(f"X has {X.shape[1]} columns and must have {width}, as {like} has")
    for first, second in (("X_S", "Y_S"), ("X", "Y")):
        if {first, second} <= arrays.keys() and arrays[first].shape[0] != arrays[second].shape[0]:
            raise ValueError(
                f"{first} has {arrays[first].shape[0]} rows and {second} has {arrays[second].shape[0]}; "
                "rows are samples and must match"
            )
    if {"Y", "Y_S"} <= arrays.keys() and Y.shape[1] != Y_S.shape[1]:
        raise ValueError(f"Y has {Y.shape[1]} columns and Y_S has {Y_S.shape[1]}; they must match")


def _pair(S):
    if not isinstance(S, tuple | list) or len(S) < 2:
        raise TypeError(f"S must be a State, or a tuple that begins with X_S and Y_S, got {type(S).__name__}")
    return S[:2]


def _tensors(**arrays):
    for name, A in arrays.items():
        if not isinstance(A, torch.Tensor):
            raise TypeError(f"{name} must be a PyTorch tensor, got {type(A).__name__}; see torch.from_numpy")


def _check_pair(A, B):
    _tensors(A=A, B=B)
    if A.ndim != 2 or B.ndim != 2 or A.shape[1] != B.shape[1]:
        raise ValueError(f"A (a, d) and B (b, d) do not fit: {tuple(A.shape)}, {tuple(B.shape)}")
    if not A.is_floating_point() or A.dtype != B.dtype:
        raise TypeError(f"A and B must have one floating-point dtype, they have {A.dtype} and {B.dtype}")


def _progress(steps, wanted):
    if not wanted:
        return range(steps)
    try:
        from tqdm import tqdm
    except ImportError as error:
        raise ImportError("progress=True needs tqdm: install tqdm, or ddref with its extra 'data'") from error
    return tqdm(range(steps), desc="KIP", unit="step")


def _count(value, name, least=1):
    try:
        value = operator.index(value)
    except TypeError as error:
        raise TypeError(f"{name} must be an integer, got {value!r}") from error
    if value < least:
        raise ValueError(f"{name} = {value} must be at least {least}")
    return value
