"""Adam on the loss of a distilled set, and the state that it can be continued from."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ..arrays import check_arrays, check_count, check_lam, check_shapes
from ..npz import load_npz, save_npz
from .kernels import check_tensors, linear
from .objective import (
    Kernel,
    check_set_and_data,
    cholesky_of,
    chunks,
    features_of,
    kernel_of,
    least_beta,
    normal_equations,
    solve_labels,
    trained_coefficients,
)

BETAS = 0.9, 0.999  # of Adam, with ADAM_EPS: its published values
ADAM_EPS = 1e-8
# What a file of a state holds, in this order.
FIELDS = "X_S Y_S mean_X square_X mean_Y square_Y losses seconds step_and_seed".split()


class State(NamedTuple):
    """A distilled set in training, and all that is needed to go on: it can be kept,
    saved, and trained further.

    Nothing in it is changed by further training; `losses` and `seconds` are lists that
    a running `train` extends, of which the first `step` entries belong to this state.
    """

    X_S: torch.Tensor  # (m, d)
    Y_S: torch.Tensor  # (m, k)
    moments: tuple[
        torch.Tensor, ...
    ]  # of Adam: mean and mean square of the gradient by X_S, then by Y_S
    step: int  # steps taken
    seed: int  # of the minibatches
    losses: list[
        float
    ]  # a value a step, before its move; of a minibatch: times n / batch
    seconds: (
        list  # since the beginning, at the end of each step; callbacks do not count
    )

    def save(self, path: str | Path) -> None:
        """Write everything to one .npz file, without pickle; `load` reads it."""
        tensors = (self.X_S, self.Y_S, *self.moments)
        arrays = [A.detach().cpu().numpy() for A in tensors]
        arrays += [np.array(self.losses[: self.step], dtype=np.float64)]
        arrays += [np.array(self.seconds[: self.step], dtype=np.float64)]
        arrays += [np.array([self.step, self.seed], dtype=np.int64)]
        save_npz(path, dict(zip(FIELDS, arrays, strict=True)))


def start(X_S: torch.Tensor, Y_S: torch.Tensor, *, seed: int = 0) -> State:
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
    check_tensors(X_S=X_S, Y_S=Y_S)
    check_arrays(X_S=X_S, Y_S=Y_S)
    check_shapes(X_S=(X_S, "md"), Y_S=(Y_S, "mk"))
    seed = check_count(seed, "seed", 0)
    if seed >= 2**63:
        raise ValueError(f"seed = {seed} must be below 2^63")
    X_S, Y_S = X_S.detach().clone(), Y_S.detach().clone()
    moments = tuple(torch.zeros_like(A) for A in (X_S, X_S, Y_S, Y_S))
    return State(X_S, Y_S, moments, 0, seed, [], [])


def load(path: str | Path, *, device: str = "cpu") -> State:
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
    try:
        stored = load_npz(path)
        X_S, Y_S, *others = (stored[name] for name in FIELDS)
        *moments, losses, seconds, (step, seed) = others
        X_S, Y_S, *moments = (
            torch.from_numpy(A).to(device) for A in (X_S, Y_S, *moments)
        )
        check_arrays(X_S=X_S, Y_S=Y_S)
        shapes = [A.shape for A in (X_S, X_S, Y_S, Y_S)]
        if [A.shape for A in moments] != shapes or not len(losses) == len(
            seconds
        ) == step:
            raise ValueError("its arrays do not fit each other")
    except (KeyError, TypeError, ValueError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{path} is damaged, or no state of KIP: {why}") from error
    return State(
        X_S,
        Y_S,
        tuple(moments),
        int(step),
        int(seed),
        losses.tolist(),
        seconds.tolist(),
    )


@torch.inference_mode(False)
@torch.enable_grad()
def train(
    state: State,
    X: torch.Tensor,
    Y: torch.Tensor,
    *,
    steps: int,
    lam_S: float,
    lam: float = 0.0,
    kernel: Kernel = linear,
    phi: Any = None,
    rows: str = "inputs",
    labels: str = "solve",
    batch: int | None = None,
    lr: float = 0.1,
    callback: Callable[[State], Any] | None = None,
    progress: bool = False,
) -> State:
    """Take `steps` steps of Adam on the `loss` of a distilled set.

    Parameters
    ----------
    state : State
        From `start`, `load` or an earlier `train`: continued with the same options, the
        trajectory is that of one run.
    X, Y : tensor (n, d), tensor (n, k)
        Original data.
    steps : int
        How many steps to take now. 0 with solved labels is label solve alone.
    lam_S : float
        Regularisation of the training on the set, a plain number. The published choice
        is 1e-6 of the mean of the kernel's diagonal: ``1e-6 * float(kernel(X_S,
        X_S).trace()) / len(X_S)``.
    lam : float
        Weight of ``||W_S||^2`` in the loss; 0 is the published loss.
    kernel : callable
        K(A, B) -> (a, b), differentiable by `B`.
    phi : callable, optional
        Feature map applied before the kernel. The features of `X` are computed once,
        and n of them held in memory.
    rows : str
        "inputs", or "features" where `X` holds features already: ``phi(X)``, or the
        rows of `condense`.
    labels : str
        "solve": best labels for each minibatch at every step, and for all of the data
        at the end (see `solve_labels`). "learn": they move with the points. "fixed".
    batch : int, optional
        Samples a step, drawn without repetition until fewer than `batch` are left.
        Default: all.
    lr : float
        Step size of Adam, in units of the inputs (and labels, where they are learnt).
        The default is for standardised rows.
    callback : callable, optional
        Called with the state after each step; training stops when it returns True. Its
        time does not count. One that saves the state now and then bounds what an
        interruption loses. While labels are solved for, the state it gets has those of
        the minibatch, from before the points moved.
    progress : bool
        Show a bar (needs tqdm).

    Returns
    -------
    State

    Raises
    ------
    ValueError, TypeError
        For arrays and options that do not fit; for a batch of at most m samples where
        labels are solved for (they would fit it exactly); for a singular system; when
        the loss is no longer finite.

    Notes
    -----
    Book: eq-kip-loss, prop-label-solve. Source: Nguyen, Chen and Lee (2021); Nguyen,
    Novak, Xiao and Lee (2021); Chen, Huang and Weng (2024), Sec. 7; Kingma and Ba
    (2015) for Adam. Departures: a Cholesky factor of size m in place of a
    pseudo-inverse of the batch; where labels are solved for, the gradient is taken at
    fixed coefficients ``alpha``, which by the envelope theorem is the gradient of the
    smallest loss; `lam_S` does not follow the trace.

    Examples
    --------
    >>> X = torch.eye(3, dtype=torch.float64)
    >>> state = start(torch.ones(1, 3).double(), torch.ones(1, 1).double())
    >>> W = torch.tensor([[1.0], [2.0], [2.0]]).double()
    >>> state = train(state, X, W, steps=500, lam_S=1e-6, lr=0.05)
    >>> bool((state.X_S / state.X_S[0, 0] - W.mT).abs().max() < 1e-3)  # along W
    True
    """
    lam_S, lam = check_lam(lam_S, "lam_S"), check_lam(lam)
    lr = check_lam(lr, "lr")
    steps = check_count(steps, "steps", 0)
    n = X.shape[0]
    batch = n if batch is None else check_count(batch, "batch")
    _check_options(state, X, Y, phi, rows, labels, batch)
    X, Y = _recordable(X), _recordable(Y)
    begin = time.perf_counter()
    elapsed = state.seconds[state.step - 1] if state.step else 0.0
    losses, seconds = state.losses[: state.step], state.seconds[: state.step]
    Z = X
    if phi is not None and rows == "inputs":
        with torch.no_grad():
            Z = torch.cat([part for part, _ in chunks(X, None, phi, rows)])
    picked = _minibatches(state.seed, n, batch)
    bar = _progress(steps, progress)
    for _ in bar:
        these = picked(state.step)
        Z_b, Y_b = (Z, Y) if these is None else (Z[these], Y[these])
        value, Y_S, gradients = _step(
            state, Z_b, Y_b, n / batch, kernel, phi, lam_S, lam, labels
        )
        if not math.isfinite(value):
            raise ValueError(
                f"the loss is {value} at step {state.step}; use a smaller lr than {lr} "
                "or a larger lam_S"
            )
        state = _adam(state, Y_S, gradients, lr)
        state = state._replace(losses=losses, seconds=seconds)
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
    if labels != "solve":
        return state
    rows = rows if phi is None else "features"
    options = {"lam_S": lam_S, "lam": lam, "kernel": kernel, "phi": phi, "rows": rows}
    state = state._replace(Y_S=solve_labels(state.X_S, Z, Y, **options))
    if seconds:
        seconds[-1] = elapsed + time.perf_counter() - begin
    return state


def _check_options(state, X, Y, phi, rows, labels, batch):
    """Refuse what `train` cannot start with."""
    if not isinstance(state, State):
        kind = type(state).__name__
        raise TypeError(f"state must be a State, see kip.start, got {kind}")
    check_set_and_data(state.X_S, state.Y_S, X, Y, phi, rows)
    if labels not in ("solve", "learn", "fixed"):
        raise ValueError(f"labels must be 'solve', 'learn' or 'fixed', got {labels!r}")
    n, m = X.shape[0], state.X_S.shape[0]
    if batch > n:
        raise ValueError(f"batch = {batch} is more than the {n} samples")
    if labels == "solve" and batch <= m and batch < n:
        raise ValueError(
            f"batch = {batch} must exceed the {m} points where labels are solved for: "
            "they would fit it exactly"
        )


def _recordable(A):
    """`A`, copied where it comes from `torch.inference_mode`, which keeps gradients
    from its own tensors.
    """
    return A.clone() if A.is_inference() else A


def _minibatches(seed, n, batch):
    """A function of the step: the samples of its minibatch, or None for all of them.

    They depend on the seed and the step alone, so that nothing else is stored.
    """
    known, order = -1, None

    def picked(step):
        nonlocal known, order
        if batch == n:
            return None
        epoch, place = divmod(step, n // batch)
        if epoch != known:
            word = np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)
            generator = torch.Generator().manual_seed(int(word[0]) - 2**63)
            known, order = epoch, torch.randperm(n, generator=generator)
        return order[place * batch : (place + 1) * batch]

    return picked


def _step(state, Z, Y, scale, kernel, phi, lam_S, lam, labels):
    """Loss of a minibatch times `scale`, its labels, and the gradients.

    They are by X_S, and by Y_S where labels are learnt.
    """
    X_S = _recordable(state.X_S).detach().requires_grad_()
    Y_S = _recordable(state.Y_S).detach().requires_grad_(labels == "learn")
    Z_S = features_of(phi, X_S)
    K_SS, K_TS = kernel_of(kernel, Z_S, Z_S), kernel_of(kernel, Z, Z_S)
    if labels == "solve":
        with torch.no_grad():
            L = cholesky_of(K_SS.detach(), lam_S)
            beta = least_beta(
                L, *normal_equations(L, K_TS.detach(), Y), lam_S, lam / scale
            )
            Y_S = (L @ beta).to(Y.dtype)
            alpha = torch.linalg.solve_triangular(L.mT, beta, upper=True)
    else:
        alpha = trained_coefficients(K_SS, Y_S, lam_S)
    value = scale * (K_TS @ alpha - Y).square().sum()
    if lam:
        value = value + lam * (alpha * (K_SS @ alpha)).sum()
    inputs = [X_S, Y_S] if labels == "learn" else [X_S]
    return float(value.detach()), Y_S.detach(), torch.autograd.grad(value, inputs)


def _adam(state, Y_S, gradients, lr):
    """The state after one step of Adam along `gradients`, of X_S and perhaps Y_S."""
    t = state.step + 1
    moved, moments = [state.X_S, Y_S], list(state.moments)
    for i, gradient in enumerate(gradients):
        mean, square = moments[2 * i : 2 * i + 2]
        mean = BETAS[0] * mean + (1 - BETAS[0]) * gradient
        square = BETAS[1] * square + (1 - BETAS[1]) * gradient.square()
        size = (square / (1 - BETAS[1] ** t)).sqrt() + ADAM_EPS
        moved[i] = moved[i] - lr * (mean / (1 - BETAS[0] ** t)) / size
        moments[2 * i : 2 * i + 2] = mean, square
    X_S, Y_S = moved
    return state._replace(X_S=X_S, Y_S=Y_S, moments=tuple(moments), step=t)


def _progress(steps, wanted):
    if not wanted:
        return range(steps)
    try:
        from tqdm import tqdm
    except ImportError as error:
        raise ImportError(
            "progress=True needs tqdm: install tqdm, or ddref with its extra 'data'"
        ) from error
    return tqdm(range(steps), desc="KIP", unit="step")
