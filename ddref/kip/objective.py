"""The model that a set trains, its loss on the data, and the best labels for points.

Kernels, and systems of size m, one row a distilled point, are computed in float64
whatever the dtype of the data: the loss that is said is that of the model which others
train on the set.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch

from ..arrays import (
    check_arrays,
    check_lam,
    check_shapes,
    semidefinite_eigh,
)
from .kernels import check_tensors, linear

CHUNK = 8192  # rows of the data that are in hand at a time, where they are streamed
Kernel = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def coefficients(K_SS: torch.Tensor, Y_S: torch.Tensor, lam_S: float) -> torch.Tensor:
    """``(K_SS + lam_S I)^-1 Y_S`` by Cholesky: the model trained on a distilled set is
    ``x -> K(x, X_S) alpha``.

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
        When ``K_SS + lam_S I`` is not positive definite, with its smallest eigenvalue
        and a `lam_S` to try.

    Notes
    -----
    Book: eq-kip-kernel. `ddref.krr.fit_dual` is the same without the demand for a
    regular system.

    Examples
    --------
    >>> coefficients(torch.tensor([[3.0]]), torch.tensor([[2.0]]), 1.0)
    tensor([[0.5000]])
    """
    check_tensors(K_SS=K_SS, Y_S=Y_S)
    if tuple(K_SS.shape) != (Y_S.shape[0], Y_S.shape[0]):
        raise ValueError(
            f"K_SS must be square with a row for each of {Y_S.shape[0]} labels, "
            f"not {tuple(K_SS.shape)}"
        )
    alpha = trained_coefficients(K_SS, Y_S, check_lam(lam_S, "lam_S"))
    return alpha.to(Y_S.dtype)


def predict(
    S: Any,
    X: torch.Tensor,
    *,
    lam_S: float,
    kernel: Kernel = linear,
    phi: Any = None,
    rows: str = "inputs",
) -> torch.Tensor:
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
        "inputs", or "features" where `X` holds ``phi(X)`` already; `X_S` are inputs in
        both cases.

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
    X_S, Y_S = points_and_labels(S)
    lam_S = check_lam(lam_S, "lam_S")
    check_set_and_data(X_S, Y_S, X, None, phi, rows)
    with torch.no_grad():
        Z_S = features_of(phi, X_S)
        alpha = trained_coefficients(kernel_of(kernel, Z_S, Z_S), Y_S, lam_S)
        each = [
            (kernel_of(kernel, Z, Z_S) @ alpha).to(Y_S.dtype)
            for Z, _ in chunks(X, None, phi, rows)
        ]
        return torch.cat(each)


def loss(
    S: Any,
    X: torch.Tensor,
    Y: torch.Tensor,
    *,
    lam_S: float,
    lam: float = 0.0,
    kernel: Kernel = linear,
    phi: Any = None,
    rows: str = "inputs",
) -> float:
    """What KIP minimises, over all of the data: ``||Phi W_S - Y||^2 + lam ||W_S||^2``,
    W_S trained on the set `S`.

    Parameters
    ----------
    S : State, or any tuple that begins with X_S, Y_S
        The set.
    X, Y : tensor (n, d), tensor (n, k)
        Original data.
    lam_S : float
        Regularisation of the training on the set.
    lam : float
        Weight of ``||W_S||^2``. 0 is the published loss. With the lam that `W` was
        trained with, exact sets are the minimisers.
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
    Book: eq-kip-loss, thm-kip. Source: Nguyen, Chen and Lee (2021); Chen, Huang and
    Weng (2024), eq. (1). The norm is that of the kernel's space, ``tr(alpha^T K_SS
    alpha)``: it needs no features.

    Examples
    --------
    >>> S = torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0]])
    >>> X, Y = torch.tensor([[2.0, 7.0]]), torch.tensor([[5.0]])
    >>> round(loss(S, X, Y, lam_S=0.5), 12)  # (4 - 5)^2
    1.0
    """
    X_S, Y_S = points_and_labels(S)
    lam_S, lam = check_lam(lam_S, "lam_S"), check_lam(lam)
    check_set_and_data(X_S, Y_S, X, Y, phi, rows)
    with torch.no_grad():
        Z_S = features_of(phi, X_S)
        K_SS = kernel_of(kernel, Z_S, Z_S)
        alpha = trained_coefficients(K_SS, Y_S, lam_S)
        total = lam * float((alpha * (K_SS @ alpha)).sum()) if lam else 0.0
        for Z, T in chunks(X, Y, phi, rows):
            total += float((kernel_of(kernel, Z, Z_S) @ alpha - T).square().sum())
    return total


def solve_labels(
    X_S: torch.Tensor,
    X: torch.Tensor,
    Y: torch.Tensor,
    *,
    lam_S: float,
    lam: float = 0.0,
    kernel: Kernel = linear,
    phi: Any = None,
    rows: str = "inputs",
) -> torch.Tensor:
    """Label solve: of all labels for the points `X_S`, those with the smallest `loss`
    on the data.

    With ``K_SS + lam_S I = L L^T`` and ``Z = K(X, X_S) L^-T`` it is the least-squares
    problem ``||Z beta - Y||^2``, ``Y_S = L beta``: normal equations of size m, summed
    over the data. No matrix with n rows is factored or inverted.

    Parameters
    ----------
    X_S : tensor (m, d)
        Distilled points.
    X, Y : tensor (n, d), tensor (n, k)
        Original data.
    lam_S : float
        Regularisation of the training on the set. The best labels depend on it, the
        model they train does not.
    lam : float
        Weight of ``||W_S||^2`` in the loss.
    kernel, phi, rows
        As in `predict`.

    Returns
    -------
    tensor (m, k)
        Where several labels are best, those with the smallest beta (directions of ``Z^T
        Z`` up to m eps times its largest eigenvalue count as zero).

    Raises
    ------
    ValueError, TypeError
        For arrays that do not fit, a singular system.

    Notes
    -----
    Book: prop-label-solve. Source: Nguyen, Novak, Xiao and Lee (2021), where a
    pseudo-inverse of the n x m matrix is formed.

    Examples
    --------
    >>> X = torch.tensor([[1.0], [2.0]])
    >>> solve_labels(torch.tensor([[1.0]]), X, 3 * X, lam_S=1.0)  # W = 3: 3 * (1 + 1)
    tensor([[6.]])
    """
    lam_S, lam = check_lam(lam_S, "lam_S"), check_lam(lam)
    check_set_and_data(X_S, None, X, Y, phi, rows)
    with torch.no_grad():
        Z_S = features_of(phi, X_S)
        L = cholesky_of(kernel_of(kernel, Z_S, Z_S), lam_S)
        H, C = 0.0, 0.0
        for Z, T in chunks(X, Y, phi, rows):
            H_part, C_part = normal_equations(L, kernel_of(kernel, Z, Z_S), T)
            H, C = H + H_part, C + C_part
        return (L @ least_beta(L, H, C, lam_S, lam)).to(X_S.dtype)


def condense(
    G: torch.Tensor, B: torch.Tensor, total: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """At most p + 1 rows on which every model has the loss that it has on all n: exact,
    for features of finite number.

    ``||Phi W_S - Y||^2`` depends on the data through ``G = Phi^T Phi``, ``B = Phi^T Y``
    and ``total = ||Y||^2`` only. So rows ``R`` with ``R^T R = G`` and targets, no
    longer than Y, with ``R^T Y_R = B`` will do, and one row of zeros that carries what
    no model explains. A step of KIP then costs the same for a thousand samples and for
    a million.

    Parameters
    ----------
    G, B : array (p, p), array (p, k)
        Of `ddref.krr.gram`, or added up elsewhere.
    total : float
        ``||Y||^2``, the sum of the squares of all targets.

    Returns
    -------
    (R, Y_R) : tensor (r + 1, p), tensor (r + 1, k)
        r the numerical rank of G. Use them as `X` and `Y` with the linear kernel, and
        with ``rows="features"`` where there is a map.

    Raises
    ------
    ValueError, TypeError
        For a `G` that is zero, not symmetric or not positive semi-definite, for a
        `total` below what `B` explains.

    Notes
    -----
    Book: prop-condense. It is the set of `ddref.frontier.every_lambda` from its
    statistics. The loss is reproduced up to rounding in G, about ``p eps ||G||
    ||W_S||^2``.

    Examples
    --------
    >>> Phi = torch.tensor([[1.0], [2.0], [2.0]]).double()
    >>> Y = torch.tensor([[1.0], [0.0], [4.0]]).double()
    >>> R, Y_R = condense(Phi.mT @ Phi, Phi.mT @ Y, float(Y.square().sum()))
    >>> few, all_ = ((2 * A - T).square().sum() for A, T in ((R, Y_R), (Phi, Y)))
    >>> bool(abs(few - all_) < 1e-12), len(R)
    (True, 2)
    """
    check_tensors(G=G, B=B)
    check_arrays(G=G, B=B)
    check_shapes(G=(G, "pp"), B=(B, "pk"))
    total = check_lam(total, "total")
    w, V = semidefinite_eigh(G)
    noise = G.shape[0] * torch.finfo(G.dtype).eps
    keep = w > noise * w[-1]
    if not bool(keep.any()):
        raise ValueError("G is zero: no model predicts anything")
    root, V = w[keep].sqrt()[:, None], V[:, keep]
    Y_R = V.mT @ B / root
    rest = total - float(Y_R.square().sum())
    if rest < -1e3 * noise * total:
        raise ValueError(
            f"total = {total:.6g} is less than the {total - rest:.6g} that B explains: "
            "it must be the sum of the squares of all targets, of the same samples as "
            "G and B"
        )
    last = torch.zeros_like(B[:1])
    last[0, 0] = max(rest, 0.0) ** 0.5
    return torch.cat([root * V.mT, 0 * V[None, :, 0]]), torch.cat([Y_R, last])


# ------------------------------------------------------------- systems of size m


def cholesky_of(K_SS: torch.Tensor, lam_S: float) -> torch.Tensor:
    """L with ``K_SS + lam_S I = L L^T``."""
    A = K_SS.double() + lam_S * torch.eye(
        K_SS.shape[0], dtype=torch.float64, device=K_SS.device
    )
    L, failed = torch.linalg.cholesky_ex(A)
    if int(failed):
        A = A.detach()
        if not bool(torch.isfinite(A).all()):
            raise ValueError(
                "the kernel of the distilled points contains NaN or Inf; "
                "use a smaller lr"
            )
        w = torch.linalg.eigvalsh(A)
        smallest, largest = float(w[0]), float(w[-1])
        noise = len(A) * torch.finfo(K_SS.dtype).eps * largest
        usual = 1e-6 * float(K_SS.detach().trace()) / len(A)
        enough = max(usual, 2 * (lam_S - smallest) + noise)
        raise ValueError(
            "K(X_S, X_S) + lam_S I is not positive definite: its smallest eigenvalue "
            f"is {smallest:.3g} at lam_S = {lam_S:.3g}. Points repeat, or outnumber "
            f"the features; pass for instance lam_S={enough:.3g}"
        )
    return L


def trained_coefficients(
    K_SS: torch.Tensor, Y_S: torch.Tensor, lam_S: float
) -> torch.Tensor:
    """``(K_SS + lam_S I)^-1 Y_S`` in float64, without checks."""
    return torch.cholesky_solve(Y_S.double(), cholesky_of(K_SS, lam_S))


def normal_equations(
    L: torch.Tensor, K_TS: torch.Tensor, Y: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """``H = Z^T Z`` and ``C = Z^T Y`` with ``Z = K_TS L^-T``.

    Z are features of the samples in which the set's ridge is the identity.
    """
    Zt = torch.linalg.solve_triangular(L, K_TS.double().mT, upper=False)
    return Zt @ Zt.mT, Zt @ Y.double()


def least_beta(
    L: torch.Tensor, H: torch.Tensor, C: torch.Tensor, lam_S: float, lam: float
) -> torch.Tensor:
    """Minimiser of ``||Z beta - Y||^2 + lam ||W_S||^2``, of least norm.

    With alpha = L^-T beta, ``||W_S||^2 = tr(alpha^T K_SS alpha) = ||beta||^2 - lam_S
    ||alpha||^2``.
    """
    if lam:
        eye = torch.eye(len(L), dtype=L.dtype, device=L.device)
        inverse = torch.linalg.solve_triangular(L, eye, upper=False)
        H = H + lam * (eye - lam_S * inverse @ inverse.mT)
    w, V = torch.linalg.eigh(H)
    keep = w > len(L) * torch.finfo(w.dtype).eps * w[-1]  # points that repeat add none
    return V[:, keep] @ ((V[:, keep].mT @ C) / w[keep][:, None])


# --------------------------------------------------------------- rows and checks


def features_of(phi: Any, X: torch.Tensor) -> torch.Tensor:
    """``phi(X)``, or X without a map."""
    return X if phi is None else phi(X)


def kernel_of(kernel: Kernel, A: torch.Tensor, B: torch.Tensor) -> torch.Tensor:
    """``kernel(A, B)`` in float64, refused where it is no matrix of that size.

    In float32 a kernel is noise beside a small ridge, and the model fits the noise.
    """
    if not callable(kernel):
        raise TypeError(
            f"kernel must be a function K(A, B), got {type(kernel).__name__}"
        )
    K = kernel(A.double(), B.double())
    if not isinstance(K, torch.Tensor):
        raise TypeError(
            f"the kernel must return a PyTorch tensor, it returned {type(K).__name__}"
        )
    if tuple(K.shape) != (A.shape[0], B.shape[0]):
        raise ValueError(
            f"the kernel of {A.shape[0]} and {B.shape[0]} rows has shape "
            f"{tuple(K.shape)}"
        )
    return K


def chunks(
    X: torch.Tensor, Y: torch.Tensor | None, phi: Any, rows: str
) -> Iterator[tuple[torch.Tensor, torch.Tensor | None]]:
    """Features (or inputs, without a map) and targets, CHUNK rows at a time."""
    for first in range(0, X.shape[0], CHUNK):
        part = X[first : first + CHUNK]
        Z = part if phi is None or rows == "features" else phi(part)
        yield Z, None if Y is None else Y[first : first + CHUNK]


def check_set_and_data(
    X_S: torch.Tensor,
    Y_S: torch.Tensor | None,
    X: torch.Tensor,
    Y: torch.Tensor | None,
    phi: Any,
    rows: str,
) -> None:
    """The set and the data, whichever are not None, fit together."""
    arrays = {"X_S": X_S, "Y_S": Y_S, "X": X, "Y": Y}
    arrays = {name: A for name, A in arrays.items() if A is not None}
    check_tensors(**arrays)
    check_arrays(**arrays)
    if rows not in ("inputs", "features"):
        raise ValueError(f"rows must be 'inputs' or 'features', got {rows!r}")
    if rows == "features" and phi is None:
        raise ValueError(
            "rows='features' needs the map phi, whose features X holds; "
            "without a map leave rows out"
        )
    width = X_S.shape[1]
    if rows == "features":
        with torch.no_grad():
            width = phi(X_S[:1]).shape[1]
    if X.shape[1] != width:
        like = "phi(X_S)" if rows == "features" else "X_S"
        raise ValueError(
            f"X has {X.shape[1]} columns and must have {width}, as {like} has"
        )
    check_shapes(X_S=(X_S, "md"), Y_S=(Y_S, "mk"))
    check_shapes(X=(X, "nd"), Y=(Y, "nk"))
    check_shapes(Y=(Y, "nk"), Y_S=(Y_S, "mk"))


def points_and_labels(S: Any) -> Any:
    """X_S and Y_S of a state or a tuple."""
    if not isinstance(S, tuple | list) or len(S) < 2:
        raise TypeError(
            "S must be a State, or a tuple that begins with X_S and Y_S, "
            f"got {type(S).__name__}"
        )
    return S[:2]
