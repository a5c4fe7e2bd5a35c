"""Exact distilled sets of inputs for maps that are not onto: how many points to expect, and a solver (PyTorch).

With more features than inputs, p > d, most feature vectors belong to no input. A set can still be exact: what counts is
that the rows of ``phi(X_S)`` span the columns of `W`, ``W = phi(X_S)^T alpha`` for some coefficients `alpha`.
`generic_count` counts equations and unknowns; `solve` looks for such inputs by Levenberg-Marquardt steps from given
points, real images for instance. Each step is a small one, so the inputs stay near where they started: the same solver
gives realistic exact sets for every differentiable map, onto or not.

`phi` is any function of a batch of rows whose rows do not influence each other. `OneLayer` is one with known structure,
for which the steps are much cheaper.
"""

import math
import operator
import warnings
from typing import NamedTuple

import torch
from array_api_compat import array_namespace, device

W_RTOL = 1e-10  # default cutoff for the rank of W: below it, singular values of a fitted W are rounding
TOL = {torch.float64: 1e-12, torch.float32: 2e-5}  # default tolerance of solve
DENSE = 2000  # largest normal matrix that is formed unless asked for: beyond, products are faster
STORED = 2**28  # entries of the Jacobians of all points up to which they are kept
FREEDOM = 30.0  # how much cheaper a change of the coefficients is than one of the points, see _System
BLUR = 3.0  # kinks are smoothed over so many times the last change of the arguments

ACTIVATIONS = {  # value, and derivative from the argument and the value
    "tanh": (torch.tanh, lambda Z, F: 1 - F * F),
    "sigmoid": (torch.sigmoid, lambda Z, F: F * (1 - F)),
    "softplus": (torch.nn.functional.softplus, lambda Z, F: torch.sigmoid(Z)),
    "asinh": (torch.asinh, lambda Z, F: (Z * Z + 1).rsqrt()),
    "cos": (torch.cos, lambda Z, F: -torch.sin(Z)),
    "sin": (torch.sin, lambda Z, F: torch.cos(Z)),
}


# -- input checks (the same lines in every room, so that each can be copied alone)
def check_arrays(**arrays):
    """Array namespace of 2-D, non-empty, finite, real arrays of one library, dtype and device."""
    arrays = {name: A for name, A in arrays.items() if A is not None}
    names = ", ".join(arrays)
    try:
        xp = array_namespace(*arrays.values())
    except TypeError as error:
        kinds = ", ".join(f"{name}: {type(A).__module__}.{type(A).__name__}" for name, A in arrays.items())
        raise TypeError(f"NumPy or PyTorch arrays of one library are needed, got {kinds}") from error
    for name, A in arrays.items():
        if A.dtype not in (xp.float32, xp.float64):
            raise TypeError(f"{name} has dtype {A.dtype}; convert it to float64 (or float32) first")
        if A.ndim != 2:
            raise ValueError(f"{name} must have 2 dimensions, rows are samples; its shape is {tuple(A.shape)}")
        if 0 in A.shape:
            raise ValueError(f"{name} is empty: its shape is {tuple(A.shape)}")
        if not bool(xp.all(xp.isfinite(A))):
            raise ValueError(f"{name} contains NaN or Inf")
    if len({str(A.dtype) for A in arrays.values()}) > 1:
        raise TypeError(f"{names} differ in dtype: {', '.join(str(A.dtype) for A in arrays.values())}")
    if len({str(device(A)) for A in arrays.values()}) > 1:
        raise ValueError(f"{names} are on different devices: {', '.join(str(device(A)) for A in arrays.values())}")
    return xp


def check_lam(lam, name="lam"):
    """`lam` as a float, refused when negative, NaN or infinite."""
    try:
        value = float(lam)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be a number, got {type(lam).__name__}") from error
    if not 0.0 <= value < math.inf:
        raise ValueError(f"{name} = {value} must be finite and not negative")
    return value


# -- end of input checks


class SolvedSet(NamedTuple):
    """A distilled set of inputs; exact only where `converged` is True."""

    X_S: object  # (m, d)
    Y_S: object  # (m, k), from phi(X_S) as returned
    residual: float  # ||W - phi(X_S)^T alpha|| / ||W|| with the best alpha: what the points cannot carry
    steps: int
    converged: bool  # residual <= tol
    condition: float  # of phi(X_S)
    lam_S: float


class Progress(NamedTuple):
    """What the callback of `solve` is given, once a step."""

    step: int
    residual: float
    damping: float  # relative to the mean of the diagonal of J J^T
    distance: float  # ||X - X_0|| / ||X_0||


class ManyStarts(NamedTuple):
    """`solve` from several starts."""

    best: SolvedSet  # of those that converged the one of smallest condition number, else the smallest residual
    success_rate: float
    converged: tuple
    residuals: tuple
    steps: tuple


class OneLayer:
    """``phi(X) = scale * act(X A + b)``: a map whose structure makes the steps of `solve` cheap.

    Parameters
    ----------
    A : tensor (d, p)
        Float64 or float32. The transpose of the weight of `torch.nn.Linear`.
    b : tensor (p,), optional
        Biases; default none.
    activation : str
        "tanh", "sigmoid", "softplus", "asinh", "cos", "sin", "relu" or "leaky_relu".
    slope : float
        Of "leaky_relu", for negative arguments.
    scale : float
        Factor of all features, for instance ``sqrt(2 / p)`` for random Fourier features.

    Raises
    ------
    ValueError, TypeError
        For shapes that do not fit, NaN, an unknown activation, arrays that are not PyTorch tensors.

    Notes
    -----
    Book: eq-layer-normal.

    Examples
    --------
    >>> import torch
    >>> phi = OneLayer(torch.tensor([[1.0, -2.0]]).double(), activation="leaky_relu", slope=0.5)
    >>> phi(torch.tensor([[3.0]]).double())
    tensor([[ 3., -3.]], dtype=torch.float64)
    """

    def __init__(self, A, b=None, activation="tanh", *, slope=0.1, scale=1.0):
        _check_tensors(A=A, b=b)
        if b is not None:
            if tuple(b.shape) not in ((A.shape[-1],), (1, A.shape[-1])):
                raise ValueError(f"b must have shape ({A.shape[-1]},), it is {tuple(b.shape)}; A is {tuple(A.shape)}")
            b = b.detach().reshape(1, -1).clone()
        check_arrays(A=A, b=b)
        known = sorted([*ACTIVATIONS, "relu", "leaky_relu"])
        if activation not in known:
            raise ValueError(f"activation must be one of {', '.join(known)}, got {activation!r}")
        self.A, self.b, self.activation = A.detach().clone(), b, activation
        self.slope, self.scale = check_lam(slope, "slope"), float(scale)
        if not 0 < abs(self.scale) < math.inf:
            raise ValueError(f"scale = {scale} must be finite and not zero")
        self.input_dim, self.output_dim = A.shape
        self._below = 0.0 if activation == "relu" else self.slope  # of the negative side

    def __repr__(self):
        return f"OneLayer({self.input_dim} -> {self.output_dim}, {self.activation})"

    def __call__(self, X):
        """Features (n, p) of the rows `X` (n, d); differentiable."""
        return self._value(self._argument(X))

    def derivative(self, X, blur=0.0):
        """``scale * act'(X A + b)`` (n, p): the Jacobian at the row x is ``diag(derivative(x)) A^T``.

        With `blur` above 0 the kink of "relu" and "leaky_relu" is smoothed over arguments of that size: a step that
        crosses kinks is predicted better so, and features that are off everywhere can be switched on.
        """
        Z = self._argument(X)
        if self.activation in ACTIVATIONS:
            value, slope = ACTIVATIONS[self.activation]
            return self.scale * slope(Z, value(Z))
        on = torch.sigmoid(Z / blur) if blur else (Z > 0).to(Z.dtype)
        return self.scale * (self._below + (1 - self._below) * on)

    def _argument(self, X):
        return X @ self.A if self.b is None else X @ self.A + self.b

    def _value(self, Z):
        if self.activation in ACTIVATIONS:
            return self.scale * ACTIVATIONS[self.activation][0](Z)
        return self.scale * torch.where(Z > 0, Z, self._below * Z)


def generic_count(p, d, r, *, homogeneous=False):
    """How many points an exact set needs for almost every model: ``max(r, ceil(r p / (d + r)))``.

    This counts dimensions. `m` points reach, over all inputs and all labels, a set of models of dimension at most
    ``m (d + r)`` where ``r p`` is needed; below the count almost no model of rank r is reached. It is not a bound for
    every single model: one that was trained on two points has an exact set of two points. And it does not promise that
    so many points are enough; `solve` finds out.

    Parameters
    ----------
    p, d : int
        Number of features (the dimension of their span), and of inputs.
    r : int
        Rank of the model W; where only the decisions matter, the rank of the centred model, k - 1 in general.
    homogeneous : bool
        True for maps with ``phi(t x) = t phi(x)``, t > 0, such as ReLU without biases: scaling a point is then no
        freedom of its own, and the count is ``max(r, ceil(r p / (d + r - 1)))``.

    Returns
    -------
    int

    Raises
    ------
    ValueError, TypeError
        For numbers that are not positive integers, and for r > p.

    Notes
    -----
    Book: thm-point-count.

    Examples
    --------
    >>> generic_count(3, 1, 1), generic_count(256, 64, 10), generic_count(256, 64, 10, homogeneous=True)
    (2, 35, 36)
    """
    p, d, r = (_count(value, name) for value, name in ((p, "p"), (d, "d"), (r, "r")))
    if r > p:
        raise ValueError(f"r = {r} exceeds p = {p}: a model of p rows has at most rank p")
    return max(r, -(-r * p // (d + r - bool(homogeneous))))


@torch.no_grad()
def solve(phi, W, X_0, *, lam_S=0.0, tol=None, max_steps=200, callback=None, damping=30.0, method=None, rtol=None):
    """Inputs near `X_0` that train the model `W` through any differentiable map, with their labels.

    Solves ``W = phi(X_S)^T alpha`` for the inputs and the coefficients by Levenberg-Marquardt steps: each is a damped
    form of the smallest change of the points that solves the linearised equations. From real images, the result is a
    realistic exact set; how far it moved depends on how many points there are, see `generic_count`.

    Parameters
    ----------
    phi : callable
        Rows (n, d) to features (n, p), row by row, differentiable by `torch.func`. The fast path is taken for a
        `OneLayer` and for ``torch.nn.Sequential(Linear, Tanh | Sigmoid | Softplus | ReLU | LeakyReLU)``.
    W : tensor (p, k)
        Model to reproduce, float64 or float32.
    X_0 : tensor (m, d)
        Where to start: one row a point, all different. m is at least the rank of `W`.
    lam_S : float
        Regularisation that will be used to train on the set; it enters the labels only.
    tol : float, optional
        When to stop, relative to the norm of `W`. Default: 1e-12 in float64, 2e-5 in float32.
    max_steps : int
        Accepted steps. A step that does not reduce the residual is damped more and tried again, at the same price.
    callback : callable, optional
        Called with a `Progress` before each step and at the end; the solver stops where it returns True.
    damping : float
        Of the first step, relative to the mean of the diagonal of J J^T; adapted afterwards. The default starts with
        short steps and stays near `X_0`; 0.01 begins with a long jump, and often needs fewer steps.
    method : str, optional
        "equations" or "unknowns" (Cholesky of the normal matrix of that side, r p or m (d + r) rows), or "products"
        (conjugate gradients, nothing of that size is formed). Default: the smaller side, and products where it has
        more than 2,000 rows.
    rtol : float, optional
        Rank cutoff of `W` relative to its largest singular value. Default: 1e-10, or max(p, k) * eps where larger.

    Returns
    -------
    SolvedSet
        `X_S`, `Y_S`, `residual`, `steps`, `converged`, `condition` (of the features), `lam_S`. Where `converged` is
        False the set is *not* exact: retraining misses `W` by the `residual`.

    Raises
    ------
    ValueError, TypeError
        For shapes that do not fit, fewer points than rank(W), equal rows in `X_0`, NaN or Inf; a `phi` that mixes rows,
        whose features are not finite at `X_0`, or that does not depend on its inputs.

    Warns
    -----
    UserWarning
        When the rank cutoff drops more of `W` than rounding; the residual includes that.

    Notes
    -----
    Book: eq-levenberg, thm-point-count. Labels are computed from the features of the inputs as returned,
    ``phi(X_S) W + lam_S alpha`` with the smallest alpha. The columns of `W` enter through an orthonormal basis, so
    that small and large ones count alike. The kinks of a `OneLayer` are blurred in the derivative, less and less as the
    steps become shorter; those of other maps are not, and there a search may stall. Everything but `phi` is computed in
    float64, for float32 inputs, too. The same start gives the same set.

    Examples
    --------
    >>> import torch
    >>> phi = lambda X: torch.cat([X**0, X, X**2], dim=1)  # a curve in space: one input, three features
    >>> W = torch.tensor([[2.0], [0.0], [2.0]]).double()  # the model 2 + 2 x^2
    >>> found = solve(phi, W, torch.tensor([[-2.0], [1.0]]).double())
    >>> found.converged, bool(abs(found.X_S.prod() + 1) < 1e-9)  # two points on either side: their product is -1
    (True, True)
    """
    _check_tensors(W=W, X_0=X_0)
    check_arrays(W=W, X_0=X_0)
    W, X_0, lam_S = W.detach(), X_0.detach(), check_lam(lam_S, "lam_S")
    tol = TOL[W.dtype] if tol is None else check_lam(tol, "tol")
    max_steps, damping = _count(max_steps, "max_steps", 0), check_lam(damping, "damping")
    if damping == 0:
        raise ValueError("damping = 0: undamped steps leave the range of the linearisation; use 1 to 100")
    if method not in (None, *SYSTEMS):
        raise ValueError(f"method must be one of {', '.join(SYSTEMS)}, or None, got {method!r}")
    Q, C, lost = _basis(W, rtol)
    fixed = _Problem(_layer(phi), phi, X_0, Q)
    X = X_0.to(torch.float64)
    state = _fit(fixed.features(X), Q, W.dtype)
    steps, damp, size, scale = 0, damping, _norm(W), _norm(X_0)
    while True:
        residual = _norm(state.R @ C) / size if size else 0.0
        stop = callback is not None and callback(Progress(steps, residual, damp, _norm(X - X_0) / (scale or 1.0)))
        if residual <= tol or steps >= max_steps or stop is True:
            break
        found = _step(fixed.system(X, state, method), fixed, X, state, damp, tol / residual)
        if found is None:  # no step reduces the residual: a local minimum, or the limit of rounding
            break
        X, state, damp = found
        steps += 1
    X_S = X.to(W.dtype)
    Phi_S, alpha = state.Phi, state.alpha @ C
    Y_S = (Phi_S @ W.to(torch.float64) + lam_S * alpha).to(W.dtype)
    return SolvedSet(X_S, Y_S, residual + lost, steps, residual <= tol, state.condition, lam_S)


def solve_many(phi, W, starts, *, enough=None, **options):
    """`solve` from every start, and how often it converged.

    Parameters
    ----------
    phi, W
        As in `solve`.
    starts : iterable of tensors (m, d)
        For instance different choices of real images. A generator is drawn from one at a time.
    enough : int, optional
        Stop after so many successes. Default: run all starts.
    **options
        Passed on to `solve`.

    Returns
    -------
    ManyStarts
        `best`, `success_rate` among the starts run, and `converged`, `residuals`, `steps`, one entry a start.

    Raises
    ------
    ValueError, TypeError
        Without any start, and what `solve` raises.

    Notes
    -----
    Book: thm-point-count. A local search can fail where a set exists, so its success rate is a lower bound.

    Examples
    --------
    >>> import torch
    >>> phi = lambda X: torch.cat([X**0, X, X**2], dim=1)
    >>> W = torch.tensor([[2.0], [0.0], [2.0]]).double()
    >>> starts = (torch.tensor([[-t], [t]]).double() for t in (0.5, 2.0, 3.0))
    >>> solve_many(phi, W, starts).success_rate
    1.0
    """
    enough = None if enough is None else _count(enough, "enough")
    found = []
    for X_0 in starts:
        found.append(solve(phi, W, X_0, **options))
        if enough is not None and sum(one.converged for one in found) >= enough:
            break
    if not found:
        raise ValueError("no starts: give at least one X_0")
    exact = [one for one in found if one.converged]
    best = min(exact, key=lambda one: one.condition) if exact else min(found, key=lambda one: one.residual)
    return ManyStarts(
        best,
        len(exact) / len(found),
        *(tuple(getattr(one, n) for one in found) for n in ("converged", "residual", "steps")),
    )


# -- one step


class _State(NamedTuple):
    """Features at the current points, and the best coefficients for them."""

    Phi: object  # (m, p)
    alpha: object  # (m, r), of least norm
    R: object  # (p, r), Q - Phi^T alpha: the part of Q outside the row space of Phi
    condition: float


def _fit(Phi, Q, dtype):
    """Least-squares coefficients: ``alpha = (Phi^T)^+ Q``."""
    U, t, Vh = torch.linalg.svd(Phi, full_matrices=False)
    rank = int((t > max(Phi.shape) * torch.finfo(dtype).eps * t[0]).sum())
    U, t, Vh = U[:, :rank], t[:rank], Vh[:rank]
    alpha = U @ ((Vh @ Q) / t[:, None])
    return _State(Phi, alpha, Q - Phi.T @ alpha, float(t[0] / t[-1]) if rank else 1.0)


def _step(system, fixed, X, state, damp, needed):
    """The next points, their state, and the damping to go on with; None where no step reduces the residual."""
    F, grow = float((state.R**2).sum()), 2.0
    while damp < 1e20:
        change = system.solve(damp, needed)
        if change is None:  # not positive definite to rounding
            damp = 10 * damp
            continue
        dX, d_alpha = change
        predicted = F - float(((state.R - system.push(dX, d_alpha)) ** 2).sum())
        if not predicted > 1e-10 * F:
            return None
        Phi = fixed.features(X + dX)
        if bool(torch.isfinite(Phi).all()):
            trial = _fit(Phi, fixed.Q, fixed.dtype)
            gain = (F - float((trial.R**2).sum())) / predicted
            if gain > 0:
                fixed.note(dX, trial.R)
                return X + dX, trial, max(damp * max(0.1, 1 - (2 * min(gain, 1.0) - 1) ** 3), 1e-15)
        damp, grow = damp * grow, 2 * grow
    return None


class _Problem:
    """The map, Q, and which linear system to use."""

    def __init__(self, layer, phi, X_0, Q):
        self.layer, self.phi, self.Q, self.dtype = layer, phi, Q, X_0.dtype
        (m, d), (p, r) = X_0.shape, Q.shape
        if m < r:
            raise ValueError(
                f"m = {m} points cannot carry W of rank {r}: no exact set has fewer than rank(W) points; use at least "
                f"{generic_count(p, d, r)}, the generic count for d = {d}, p = {p}"
            )
        few = 2 if m > 2 else 1
        Phi, alone = self.features(X_0, checked=True), self.features(X_0[:few], checked=True)
        if _norm(Phi[:few] - alone) > math.sqrt(torch.finfo(X_0.dtype).eps) * (_norm(alone) + _norm(Phi)):
            raise ValueError(
                f"phi of the first {few} rows differs from what it gives them in the batch: rows influence each other, "
                "or phi is random (batch normalisation, dropout: call eval())"
            )
        if m <= p and len(torch.unique(X_0, dim=0)) < m:
            raise ValueError("X_0 has equal rows: they would stay equal for ever; leave one out, or change it a little")
        self.jacobian, self.blur = None, 0.0
        if layer is not None and layer.activation not in ACTIVATIONS:
            self.blur = float(layer._argument(X_0).std())

    def note(self, dX, R):
        """The points have changed by dX, and R is left: what the next derivative is smoothed over."""
        if self.blur:
            change = _norm(dX @ self.layer.A.to(dX.dtype)) / math.sqrt(len(dX) * self.layer.output_dim)
            far = min(1.0, 1000 * _norm(R) / math.sqrt(R.shape[1]))  # no blur is left at the end
            self.blur = max(BLUR * far * change, torch.finfo(self.dtype).tiny)

    def features(self, X, checked=False):
        """Features in float64, of the points as they would be returned."""
        Phi = self.phi(X.to(self.dtype))
        if checked:
            _check_tensors(**{"phi(X_0)": Phi})
            if tuple(Phi.shape) != (X.shape[0], self.Q.shape[0]):
                raise ValueError(
                    f"phi gives features of shape {tuple(Phi.shape)} for {X.shape[0]} rows, and W has "
                    f"{self.Q.shape[0]} rows: {X.shape[0], self.Q.shape[0]} is needed"
                )
            check_arrays(**{"X_0": X.to(self.dtype), "phi(X_0)": Phi.detach()})
        return Phi.detach().to(torch.float64)

    def system(self, X, state, method):
        """The linearised equations at X, on the side asked for, or the smaller one."""
        (m, d), (p, r) = X.shape, self.Q.shape
        sizes = {"equations": r * p, "unknowns": m * (d + r)}
        if method is None:
            method = min(sizes, key=sizes.get)
            method = method if sizes[method] <= DENSE else "products"
        X = X.to(self.dtype)
        if self.layer is not None:
            at = _LayerAt(self.layer, X, self.blur)
        elif m * p * d > STORED:
            at = _ProductsAt(self.phi, X)
        else:
            if self.jacobian is None:
                self.jacobian = _choose_jacobian(self.phi, X, p)
            at = _JacobianAt(self.jacobian(X).to(torch.float64))
        return SYSTEMS[method](at, state)


class _System:
    """``J v = R``: J takes a change of the points and one of the coefficients to the change of ``Phi^T alpha``.

    `at` is the linearised map, with `push` (changes of points to changes of features), its adjoint `pull`, `squares`
    (||J_s||_F^2, point by point) and what the subclasses need. A step minimises ``||R - J v||^2 + mu (||dX||^2 +
    ||d_alpha||^2 / w)`` with w chosen such that the coefficients are the freer ones: they are fitted again anyway.
    """

    def __init__(self, at, state):
        self.at, self.Phi, self.alpha, self.R = at, state.Phi, state.alpha, state.R
        (p, r), m = state.R.shape, len(state.Phi)
        self.mean = float((at.squares() * (state.alpha**2).sum(dim=1)).sum()) / (r * p)
        if not self.mean > 0:
            raise ValueError("phi does not change with its inputs here: its Jacobian is zero at every point of X_0")
        self.w = FREEDOM * self.mean * m / float((state.Phi**2).sum())
        self._prepare()

    def push(self, dX, d_alpha):
        return self.at.push(dX).T @ self.alpha + self.Phi.T @ d_alpha

    def pull(self, Z):
        """J^T of a (p, r) matrix, scaled by w for the coefficients."""
        return self.at.pull(self.alpha @ Z.T), self.w * (self.Phi @ Z)


class _Equations(_System):
    """``v = J^T (J J^T + mu)^-1 R``, with ``J J^T = sum_s alpha_s alpha_s^T kron J_s J_s^T + w I kron Phi^T Phi``."""

    def _prepare(self):
        (p, r) = self.R.shape
        M = self.at.equations(self.alpha)  # (r, p, r, p): column-major vec of (p, r), on both sides
        gram = self.w * (self.Phi.T @ self.Phi)
        for a in range(r):
            M[a, :, a, :] += gram
        self.M = M.view(r * p, r * p)
        self.diagonal = self.M.diagonal().clone()

    def solve(self, damp, needed):
        z = _cholesky_solve(self.M, self.diagonal + damp * self.mean, self.R.T.reshape(-1, 1))
        return None if z is None else self.pull(z.view(self.R.shape[::-1]).T)


class _Unknowns(_System):
    """``v = (J^T J + mu)^-1 J^T R``, the points first."""

    def _prepare(self):
        (m, r), c = self.alpha.shape, math.sqrt(self.w)
        Jt = self.at.transposed()  # (m, d, p)
        d, n = Jt.shape[1], m * Jt.shape[1]
        flat = Jt.reshape(n, -1)
        H = torch.empty(n + m * r, n + m * r, dtype=flat.dtype, device=flat.device)
        H[:n, :n] = ((flat @ flat.T).view(m, d, m, d) * (self.alpha @ self.alpha.T)[:, None, :, None]).view(n, n)
        mixed = c * (flat @ self.Phi.T).view(m, d, m, 1) * self.alpha[:, None, None, :]
        H[:n, n:] = mixed.reshape(n, m * r)
        H[n:, :n] = H[:n, n:].T
        H[n:, n:] = torch.kron(self.w * (self.Phi @ self.Phi.T), torch.eye(r, dtype=flat.dtype, device=flat.device))
        self.M, self.diagonal, self.split = H, H.diagonal().clone(), (n, (m, d), (m, r), c)

    def solve(self, damp, needed):
        n, points, coefficients, c = self.split
        dX, d_alpha = self.pull(self.R)
        right = torch.cat([dX.reshape(-1), d_alpha.reshape(-1) / c])[:, None]
        v = _cholesky_solve(self.M, self.diagonal + damp * self.mean, right)
        return None if v is None else (v[:n].view(points), c * v[n:].view(coefficients))


class _Products(_System):
    """As `_Equations`, by conjugate gradients: J and J^T are applied, and only blocks of size p are factorised."""

    def _prepare(self):
        # columns turned so that alpha^T alpha is diagonal: the blocks on the diagonal then say most
        self.turn = torch.linalg.eigh(self.alpha.T @ self.alpha)[1]
        self.blocks = self.at.blocks(self.alpha @ self.turn) if len(self.R) <= DENSE else None
        self.gram = None if self.blocks is None else self.w * (self.Phi.T @ self.Phi)

    def _preconditioner(self, mu):
        if self.blocks is None:
            return lambda Z: Z
        factors = torch.linalg.cholesky_ex(self.blocks + self.gram + mu * torch.eye(len(self.gram)).to(self.gram))
        if bool((factors.info > 0).any()):
            return lambda Z: Z
        return lambda Z: torch.cholesky_solve((Z @ self.turn).T[:, :, None], factors.L)[:, :, 0].T @ self.turn.T

    def solve(self, damp, needed):
        # as accurate as quadratic convergence needs, and no more than the last step does
        accuracy = min(1e-2, max(_norm(self.R) / math.sqrt(self.R.shape[1]), 0.05 * needed))
        mu = damp * self.mean
        precondition = self._preconditioner(mu)
        z, residual = torch.zeros_like(self.R), self.R.clone()
        y = precondition(residual)
        direction, energy = y, float((residual * y).sum())
        target = accuracy * _norm(residual)
        for _ in range(2000):
            image = self.push(*self.pull(direction)) + mu * direction
            curvature = float((direction * image).sum())
            if not curvature > 0:  # rounding
                break
            length = energy / curvature
            z, residual = z + length * direction, residual - length * image
            if _norm(residual) <= target:
                break
            y = precondition(residual)
            before, energy = energy, float((residual * y).sum())
            direction = y + (energy / before) * direction
        return self.pull(z)


SYSTEMS = {"equations": _Equations, "unknowns": _Unknowns, "products": _Products}


def _cholesky_solve(M, diagonal, right):
    """``M^-1 right`` with the diagonal replaced; None where M is not positive definite to rounding."""
    M.diagonal().copy_(diagonal)
    L, info = torch.linalg.cholesky_ex(M)
    return None if int(info) else torch.cholesky_solve(right, L)


# -- the linearised map


class _LayerAt:
    """One layer: ``J_s = diag(D_s) A^T``, so ``J_s J_s^T = (A^T A) o (D_s D_s^T)``."""

    def __init__(self, layer, X, blur):
        self.D, self.A = layer.derivative(X, blur).to(torch.float64), layer.A.to(torch.float64)
        self.gram = self.A.T @ self.A

    def push(self, dX):
        return (dX @ self.A) * self.D

    def pull(self, Z):
        return (Z * self.D) @ self.A.T

    def squares(self):
        return self.D**2 @ self.gram.diagonal()

    def equations(self, alpha):
        r, (m, p) = alpha.shape[1], self.D.shape
        V = (alpha.T[:, None, :] * self.D.T).reshape(r * p, m)
        return (V @ V.T).view(r, p, r, p).mul_(self.gram[None, :, None, :])

    def blocks(self, alpha):
        return torch.stack([(self.D * weight[:, None]).T @ self.D for weight in (alpha**2).T]).mul_(self.gram)

    def transposed(self):
        return self.D[:, None, :] * self.A


class _JacobianAt:
    """Any map, with its Jacobians J (m, p, d)."""

    def __init__(self, J):
        self.J = J

    def push(self, dX):
        return (self.J @ dX[:, :, None])[:, :, 0]

    def pull(self, Z):
        return (Z[:, None, :] @ self.J)[:, 0, :]

    def squares(self):
        return (self.J**2).sum(dim=(1, 2))

    def equations(self, alpha):
        (m, p, _), r = self.J.shape, alpha.shape[1]
        M = torch.zeros(r * r, p * p, dtype=self.J.dtype, device=self.J.device)
        pairs = (alpha[:, :, None] * alpha[:, None, :]).view(m, r * r)
        for rows in torch.arange(m).split(max(1, 2**26 // p**2)):
            J = self.J[rows]
            M.addmm_(pairs[rows].T, (J @ J.mT).reshape(len(rows), p * p))
        return M.view(r, r, p, p).permute(0, 2, 1, 3).contiguous()

    def blocks(self, alpha):
        p = self.J.shape[1]
        found = torch.zeros(alpha.shape[1], p * p, dtype=self.J.dtype, device=self.J.device)
        for rows in torch.arange(len(self.J)).split(max(1, 2**26 // p**2)):
            J = self.J[rows]
            found.addmm_((alpha[rows] ** 2).T, (J @ J.mT).reshape(len(rows), p * p))
        return found.view(-1, p, p)

    def transposed(self):
        return self.J.mT


class _ProductsAt:
    """Any map whose Jacobians are too large to keep: products with them only."""

    def __init__(self, phi, X):
        self.phi, self.X = phi, X

    def push(self, dX):
        return torch.func.jvp(self.phi, (self.X,), (dX.to(self.X.dtype),))[1].detach().to(torch.float64)

    def pull(self, Z):
        back = torch.func.vjp(self.phi, self.X)[1]
        return back(Z.to(self.X.dtype))[0].detach().to(torch.float64)

    def squares(self):  # E ||J^T e||^2 = ||J||_F^2 for random signs e; the size is enough
        shape = len(self.X), self.phi(self.X[:1]).shape[1]
        signs = torch.randint(0, 2, (4, *shape), generator=torch.Generator().manual_seed(0)) * 2 - 1
        signs = signs.to(self.X.device, torch.float64)
        return sum((self.pull(one) ** 2).sum(dim=1) for one in signs) / 4

    def blocks(self, alpha):
        return None

    def equations(self, alpha):
        raise ValueError(f"the Jacobians have more than {STORED} entries; use method='products'")

    def transposed(self):
        return self.equations(None)


def _choose_jacobian(phi, X, p):
    """X to J (m, p, d): forward differentiation row by row for d < p, and reverse differentiation of the batch."""

    def forward(X):
        return torch.func.vmap(torch.func.jacfwd(lambda x: phi(x[None, :])[0]))(X).detach()

    def reverse(X):
        (m, d), back = X.shape, torch.func.vjp(phi, X)[1]
        J = torch.empty(p, m, d, dtype=X.dtype, device=X.device)
        for outputs in torch.arange(p).split(max(1, 2**25 // (m * max(p, d)))):
            ask = torch.zeros(len(outputs), m, p, dtype=X.dtype, device=X.device)
            ask[torch.arange(len(outputs)), :, outputs] = 1
            J[outputs] = torch.func.vmap(back)(ask)[0].detach()
        return J.transpose(0, 1).contiguous()

    if X.shape[1] < p:
        try:
            forward(X[:1])
            return forward
        except RuntimeError:  # phi looks at values, as checks of its input do: vmap cannot follow, the batch can
            pass
    return reverse


# -- what comes in


def _basis(W, rtol):
    """Orthonormal Q (p, r) and C (r, k) with ``W = Q C``, in float64, and the fraction of W dropped."""
    rtol = max(W_RTOL, max(W.shape) * torch.finfo(W.dtype).eps) if rtol is None else check_lam(rtol, "rtol")
    U, s, Vh = torch.linalg.svd(W.to(torch.float64), full_matrices=False)
    r = int((s > rtol * s[0]).sum())
    lost = _norm(s[r:]) / _norm(s) if r else 0.0
    if lost > 100 * torch.finfo(W.dtype).eps:
        warnings.warn(f"the rank cutoff drops a fraction {lost:.2g} of W; pass a smaller rtol to keep it", stacklevel=3)
    return U[:, :r], s[:r, None] * Vh[:r], lost


def _layer(phi):
    """`phi` as a `OneLayer`, where it is one or a Sequential of Linear and an activation; else None."""
    if isinstance(phi, OneLayer):
        return phi
    if type(phi) is not torch.nn.Sequential or len(phi) != 2 or type(phi[0]) is not torch.nn.Linear:
        return None
    names = {"Tanh": "tanh", "Sigmoid": "sigmoid", "ReLU": "relu", "LeakyReLU": "leaky_relu"}
    name = names.get(type(phi[1]).__name__)
    slope = getattr(phi[1], "negative_slope", 0.1)
    return None if name is None else OneLayer(phi[0].weight.T, phi[0].bias, name, slope=slope)


def _check_tensors(**tensors):
    for name, A in tensors.items():
        if A is not None and not isinstance(A, torch.Tensor):
            kind = f"{type(A).__module__}.{type(A).__name__}"
            raise TypeError(f"{name} must be a PyTorch tensor, got {kind}; torch.from_numpy converts an array")


def _count(value, name, least=1):
    try:
        value = operator.index(value)
    except TypeError as error:
        raise TypeError(f"{name} must be an integer, got {value!r}") from error
    if value < least:
        raise ValueError(f"{name} = {value} must be at least {least}")
    return value


def _norm(A):
    return float(torch.linalg.vector_norm(A))
