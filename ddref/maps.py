"""Feature maps with exact right inverses: compositions of steps that can each be undone.

A map is called on rows, ``Phi = phi(X)``, and where it is onto, ``phi(phi.preimage(Phi)) = Phi``. Then a distilled set
of features can be pulled back to inputs. Where a step leaves freedom (fewer features than inputs), `preimage` returns
the inputs nearest to `near`. Every map has `input_dim` and `output_dim` (None where any width will do) and
`is_onto()`: whether every row of R^p is the feature vector of some input. A map that is not onto can be called;
its `preimage` refuses what it does not reach.

Weights decide the library, dtype and device of a map. Gradients flow through PyTorch inputs.
"""

import math
import operator
from functools import cached_property

import numpy as np
from array_api_compat import array_namespace, device


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


class Identity:
    """``phi(X) = X``: with it, kernel ridge regression is linear ridge regression.

    Parameters
    ----------
    d : int, optional
        Width; default None, any.

    Notes
    -----
    Book: thm-surjective.

    Examples
    --------
    >>> import numpy as np
    >>> Identity()(np.array([[1.0, 2.0]]))
    array([[1., 2.]])
    """

    def __init__(self, d=None):
        self.input_dim = self.output_dim = None if d is None else _count(d, "d")

    def is_onto(self):
        """True."""
        return True

    def __call__(self, X):
        """`X` (n, d), as a copy."""
        check_arrays(X=X)
        _check_width(X, self.input_dim, "X")
        return 1 * X

    def preimage(self, Phi, near=None):
        """`Phi` (n, d), as a copy: no other input has these features, so `near` changes nothing."""
        check_arrays(Phi=Phi, near=near)
        _check_width(Phi, self.output_dim, "Phi")
        _check_near(near, Phi, Phi.shape[1])
        return 1 * Phi


class Linear:
    """``phi(X) = X A + b``: a fully connected layer, onto if and only if `A` has full column rank (so p <= d).

    Parameters
    ----------
    A : array (d, p)
        Weights. PyTorch's ``nn.Linear`` stores the transpose.
    b : array (p,), optional
        Biases; default none.
    rtol : float, optional
        Singular values of `A` up to `rtol` times the largest count as zero. Default: max(d, p) * eps of the dtype.

    Raises
    ------
    ValueError, TypeError
        For weights that are not finite, or biases of another shape. `preimage` refuses a layer that is not onto, with
        its rank.

    Notes
    -----
    Book: prop-linear-preimage. Source: Chen, Huang and Weng (2024), Example 5.2.

    Examples
    --------
    >>> import numpy as np
    >>> phi = Linear(np.array([[2.0], [0.0]]))  # two inputs, one feature
    >>> phi.preimage(np.array([[6.0]]), near=np.array([[1.0, 5.0]]))  # the second input is free: it stays
    array([[3., 5.]])
    """

    def __init__(self, A, b=None, *, rtol=None):
        xp = check_arrays(A=A)
        if b is not None:
            if tuple(b.shape) not in ((A.shape[1],), (1, A.shape[1])):
                raise ValueError(f"b must have shape ({A.shape[1]},), it is {tuple(b.shape)}; A is {tuple(A.shape)}")
            b = xp.reshape(b, (1, -1))
            check_arrays(A=A, b=b)
        self.A, self.b = A, b
        self.input_dim, self.output_dim = A.shape
        self.rtol = _rtol(xp, A, rtol)

    @cached_property
    def svd(self):
        """U (d, q), s (q,), V^T (q, p) of `A`, q = min(d, p); computed on first use and kept."""
        return array_namespace(self.A).linalg.svd(self.A, full_matrices=False)

    @property
    def rank(self):
        """Number of singular values of `A` above `rtol` times the largest."""
        return sum(float(s) > self.rtol * float(self.svd[1][0]) for s in self.svd[1])

    def is_onto(self):
        """Whether the rank of `A` is its number of columns."""
        return self.output_dim <= self.input_dim and self.rank == self.output_dim

    def __call__(self, X):
        """``X A + b`` (n, p) for `X` (n, d)."""
        check_arrays(X=X, A=self.A)
        _check_width(X, self.input_dim, "X")
        return X @ self.A if self.b is None else X @ self.A + self.b

    def preimage(self, Phi, near=None):
        """``near + (Phi - phi(near)) A^+`` (n, d): of all inputs with features `Phi` (n, p), the nearest to `near`.

        `near` (n, d) is zero where it is not given. The residual ``Phi - phi(X)`` of this answer is pulled back once
        more. Raises ValueError, with the rank, where `A` has not full column rank.
        """
        xp = check_arrays(Phi=Phi, near=near, A=self.A)
        d, p = self.A.shape
        _check_width(Phi, p, "Phi")
        _check_near(near, Phi, d)
        if not self.is_onto():
            why = "more features than inputs" if p > d else "a rank-deficient layer"
            raise ValueError(
                f"X A + b with A of shape (d, p) = ({d}, {p}) and rank {self.rank} is not onto R^{p}: {why} reaches "
                f"only a subspace; use p <= d with A of full column rank, for instance at most {self.rank} columns"
            )
        X = xp.zeros((Phi.shape[0], d), dtype=Phi.dtype, device=device(Phi)) if near is None else near
        U, s, Vh = self.svd
        for _ in range(2):  # the second time round, near is the answer and the correction is of the size of rounding
            X = X + ((Phi - self(X)) @ Vh.mT / s) @ U.mT
        return X


class _Elementwise:
    """One function for every entry: subclasses say `_forward`, `_inverse`, and `_range` where it is not all of R."""

    input_dim = output_dim = None
    _range = -math.inf, math.inf

    def is_onto(self):
        """Whether the function takes every real value."""
        return self._range == (-math.inf, math.inf)

    def __call__(self, X):
        """The function of every entry of `X` (n, d)."""
        return self._forward(check_arrays(X=X), X)

    def preimage(self, Phi, near=None):
        """Inputs (n, d) with features `Phi`; refuses values that the function does not take, and counts them."""
        xp = check_arrays(Phi=Phi, near=near)
        _check_near(near, Phi, Phi.shape[1])
        self._check_range(xp, Phi)
        X = self._inverse(xp, Phi, near)
        if not bool(xp.all(xp.isfinite(X))):
            raise ValueError(
                f"the inputs overflow: {type(self).__name__} takes {_number(xp.max(xp.abs(Phi))):.3g},"
                f" the largest feature, at no finite {Phi.dtype}; scale the features down"
            )
        return X

    def _check_range(self, xp, Phi):
        low, high = self._range
        outside = int(xp.sum(xp.astype((Phi <= low) | (Phi >= high), xp.int64)))
        if outside:
            raise ValueError(
                f"{type(self).__name__} takes values between {low:g} and {high:g}, ends excluded: {outside} of "
                f"{math.prod(Phi.shape)} values lie outside (from {_number(xp.min(Phi)):.3g} to "
                f"{_number(xp.max(Phi)):.3g}); scale the features into the range, or use an activation that is onto "
                "(LeakyReLU, Asinh)"
            )


class LeakyReLU(_Elementwise):
    """``x`` for positive x, ``slope * x`` for the others: bijective for every slope above 0.

    Parameters
    ----------
    slope : float
        Above 0. Small slopes amplify in `preimage`: negative features are divided by it.

    Raises
    ------
    ValueError
        For a slope of 0 (that is ReLU, which is not onto) or below.

    Notes
    -----
    Book: thm-surjective. Source: Chen, Huang and Weng (2024), Example 5.2.

    Examples
    --------
    >>> import numpy as np
    >>> phi = LeakyReLU(0.5)
    >>> phi(np.array([[2.0, -2.0]])), phi.preimage(np.array([[2.0, -1.0]]))
    (array([[ 2., -1.]]), array([[ 2., -2.]]))
    """

    def __init__(self, slope=0.1):
        self.slope = check_lam(slope, "slope")
        if self.slope == 0:
            raise ValueError("slope = 0 is ReLU, which takes no negative value: it is not onto; use a slope above 0")

    def _forward(self, xp, X):
        return xp.where(X > 0, X, self.slope * X)

    def _inverse(self, xp, Z, near):
        return xp.where(Z > 0, Z, Z / self.slope)


class Asinh(_Elementwise):
    """``log(x + sqrt(x^2 + 1))``: smooth, bijective, close to x near zero; its inverse is sinh.

    Features of size 10 already come from inputs of size 1e4: scale them down.

    Notes
    -----
    Book: thm-surjective.

    Examples
    --------
    >>> import numpy as np
    >>> phi = Asinh()
    >>> phi(phi.preimage(np.array([[0.0, -3.0]])))
    array([[ 0., -3.]])
    """

    def _forward(self, xp, X):
        return xp.asinh(X)

    def _inverse(self, xp, Z, near):
        return xp.sinh(Z)


class Tanh(_Elementwise):
    """Hyperbolic tangent: onto the open cube (-1, 1)^p only; `preimage` refuses values outside.

    Notes
    -----
    Book: thm-surjective.

    Examples
    --------
    >>> import numpy as np
    >>> phi = Tanh()
    >>> phi(phi.preimage(np.array([[0.5, -0.5]]))).round(12), phi.is_onto()
    (array([[ 0.5, -0.5]]), False)
    """

    _range = -1.0, 1.0

    def range_scale(self, Phi, *, margin=0.05):
        """Largest c <= 1, one a row (m, 1), for which no entry of ``c * Phi`` is above ``1 - margin`` in size."""
        return _row_scale(Phi, 1.0, margin)

    def _forward(self, xp, X):
        return xp.tanh(X)

    def _inverse(self, xp, Z, near):
        return xp.atanh(Z)


class Sigmoid(_Elementwise):
    """``1 / (1 + exp(-x))``: onto (0, 1)^p only; `preimage` refuses values outside.

    No scaling brings negative features into this range: where you can, use `Tanh` instead.

    Notes
    -----
    Book: thm-surjective.

    Examples
    --------
    >>> import numpy as np
    >>> Sigmoid().preimage(np.array([[0.5]]))
    array([[0.]])
    """

    _range = 0.0, 1.0

    def _forward(self, xp, X):
        e = xp.exp(-xp.abs(X))  # never overflows
        return xp.where(X >= 0, 1 / (1 + e), e / (1 + e))

    def _inverse(self, xp, Z, near):
        return xp.log(Z) - xp.log1p(-Z)


class ReLU(_Elementwise):
    """``max(x, 0)``: takes no negative value, so it is not onto; `preimage` refuses negative features.

    A feature 0 comes from every input up to 0: the one nearest to `near` is taken, 0 without `near`.

    Notes
    -----
    Book: thm-surjective. Distilled features have negative entries, whatever their scale: use `LeakyReLU`.

    Examples
    --------
    >>> import numpy as np
    >>> ReLU().preimage(np.array([[2.0, 0.0]]), near=np.array([[5.0, -3.0]]))
    array([[ 2., -3.]])
    """

    _range = 0.0, math.inf

    def _check_range(self, xp, Phi):
        negative = int(xp.sum(xp.astype(Phi < 0, xp.int64)))
        if negative:
            raise ValueError(
                f"ReLU is not onto: it takes no negative value, and {negative} of {math.prod(Phi.shape)} features "
                f"are negative (the smallest is {_number(xp.min(Phi)):.3g}); use LeakyReLU, onto for every slope > 0"
            )

    def _forward(self, xp, X):
        return xp.where(X > 0, X, xp.zeros_like(X))

    def _inverse(self, xp, Z, near):
        free = xp.zeros_like(Z) if near is None else xp.where(near < 0, near, xp.zeros_like(Z))
        return xp.where(Z > 0, Z, free)


class AffineCoupling:
    """A RealNVP step: one half of the entries passes, the other is scaled and shifted by functions of the first.

    ``z_1 = x_1``, ``z_2 = x_2 exp(s(x_1)) + t(x_1)``: bijective whatever `s` and `t` are.

    Parameters
    ----------
    d : int
        Width, at least 2.
    log_scale, shift : callable
        s and t: rows (n, half) to rows (n, d - half), in the library of the inputs; feature maps do.
    half : int, optional
        How many entries pass unchanged; default d // 2.
    swap : bool
        True: the last `half` entries pass, and the others are changed. Alternate, so that all are.

    Notes
    -----
    Book: ex-coupling. Source: Dinh, Sohl-Dickstein and Bengio (2017), eq. (7)-(8); Chen, Huang and Weng (2024),
    Example 5.1.

    Examples
    --------
    >>> import numpy as np
    >>> phi = AffineCoupling(2, log_scale=lambda x: 0 * x, shift=lambda x: x**2)
    >>> phi(np.array([[3.0, 1.0]])), phi.preimage(np.array([[3.0, 10.0]]))
    (array([[ 3., 10.]]), array([[3., 1.]]))
    """

    def __init__(self, d, log_scale, shift, *, half=None, swap=False):
        self.input_dim = self.output_dim = _count(d, "d", 2)
        self.half = d // 2 if half is None else _count(half, "half")
        if self.half >= d:
            raise ValueError(f"half = {self.half} leaves none of the d = {d} entries to change; use 1 to {d - 1}")
        self.log_scale, self.shift, self.swap = log_scale, shift, swap

    def is_onto(self):
        """True."""
        return True

    def __call__(self, X):
        """`Phi` (n, d) for `X` (n, d)."""
        xp = check_arrays(X=X)
        _check_width(X, self.input_dim, "X")
        kept, changed = self._split(X)
        s, t = self._functions(kept)
        return self._join(xp, kept, changed * xp.exp(s) + t)

    def preimage(self, Phi, near=None):
        """The one `X` (n, d) with these features, corrected once by its residual; `near` changes nothing."""
        xp = check_arrays(Phi=Phi, near=near)
        _check_width(Phi, self.input_dim, "Phi")
        _check_near(near, Phi, self.input_dim)
        kept, z = self._split(Phi)
        s, t = self._functions(kept)
        x = (z - t) * xp.exp(-s)
        x = x + (z - (x * xp.exp(s) + t)) * xp.exp(-s)
        return self._join(xp, kept, x)

    def _split(self, X):
        cut = X.shape[1] - self.half if self.swap else self.half
        return (X[:, cut:], X[:, :cut]) if self.swap else (X[:, :cut], X[:, cut:])

    def _join(self, xp, kept, changed):
        return xp.concat([changed, kept] if self.swap else [kept, changed], axis=1)

    def _functions(self, kept):
        s, t = self.log_scale(kept), self.shift(kept)
        expected = kept.shape[0], self.input_dim - self.half
        for name, value in (("log_scale", s), ("shift", t)):
            if tuple(value.shape) != expected:
                raise ValueError(f"{name} returned rows of shape {tuple(value.shape)}, {expected} are needed")
        check_arrays(kept=kept, log_scale=s, shift=t)
        return s, t


class Chain:
    """Steps one after the other, ``phi(X) = ...step_2(step_1(X))``; the pre-image is taken step by step, last first.

    Parameters
    ----------
    steps : sequence of maps
        First applied first. Anything with `__call__`, `preimage`, `input_dim`, `output_dim` and `is_onto` is a step.

    Raises
    ------
    ValueError
        When the widths of neighbouring steps differ. `preimage` passes on the refusal of a step, with its number.

    Notes
    -----
    Book: thm-surjective, prop-steps. "Nearest to `near`" holds step by step: the pre-image under each step nearest to
    what `near` becomes there. It holds globally where all steps after the first are bijective and the first is linear.

    Examples
    --------
    >>> import numpy as np
    >>> phi = Chain([Linear(np.array([[2.0]])), LeakyReLU(0.5)])
    >>> phi(np.array([[3.0], [-3.0]])).T, phi.preimage(np.array([[6.0], [-3.0]])).T
    (array([[ 6., -3.]]), array([[ 3., -3.]]))
    """

    def __init__(self, steps):
        self.steps = list(steps)
        if not self.steps:
            raise ValueError("a chain needs at least one step; for none, use Identity()")
        width, name = None, ""
        self.input_dim = next((step.input_dim for step in self.steps if step.input_dim is not None), None)
        for i, step in enumerate(self.steps):
            if None not in (width, step.input_dim) and width != step.input_dim:
                raise ValueError(f"step {i} ({_name(step)}) takes {step.input_dim} entries, {name} gives {width}")
            if step.output_dim is not None:
                width, name = step.output_dim, f"step {i} ({_name(step)})"
        self.output_dim = width

    def is_onto(self):
        """Whether every step is."""
        return all(step.is_onto() for step in self.steps)

    def range_scale(self, Phi, **options):
        """`range_scale` of the last step, (m, 1); ones where that step does not bound its range."""
        last = self.steps[-1]
        return last.range_scale(Phi, **options) if hasattr(last, "range_scale") else 0 * Phi[:, :1] + 1

    def __call__(self, X):
        """Features (n, p) of `X` (n, d)."""
        for step in self.steps:
            X = step(X)
        return X

    def preimage(self, Phi, near=None):
        """Inputs (n, d) with features `Phi` (n, p), step by step nearest to `near` (n, d).

        The pass is repeated with the first answer as `near`: one step of residual correction through all the layers,
        kept for the rows where it makes the residual smaller.
        """
        xp = check_arrays(Phi=Phi, near=near)
        X = self._back(Phi, near)
        corrected = self._back(Phi, X)
        before, after = (xp.sum((Phi - self(A)) ** 2, axis=1) for A in (X, corrected))
        return xp.where((after < before)[:, None], corrected, X)

    def _back(self, Phi, near):
        nears = [near]
        for step in self.steps[:-1]:
            nears.append(None if near is None else step(nears[-1]))
        for i in reversed(range(len(self.steps))):
            try:
                Phi = self.steps[i].preimage(Phi, nears[i])
            except ValueError as error:
                raise ValueError(f"step {i} of {len(self.steps)} ({_name(self.steps[i])}): {error}") from error
        return Phi


def leaky_relu_network(widths, *, seed, slope=0.1, weights="orthogonal", bias=0.0, like=None):
    """A LeakyReLU network with random weights: for each pair of neighbouring widths a `Linear` and a `LeakyReLU`.

    Orthogonal weights keep inputs near the data and rounding errors small; Gaussian ones, the paper's, amplify both:
    a square Gaussian matrix of width 784 has a condition number of 1e3 to 1e4, and depth multiplies.

    Parameters
    ----------
    widths : sequence of int
        d, hidden widths, p; onto if and only if they never increase.
    seed : int or numpy.random.Generator
        Of the random weights: the same seed gives the same weights in every library, up to the dtype.
    slope : float
        Of the LeakyReLU.
    weights : str
        "orthogonal" (columns orthonormal, or rows where a layer widens) or "gaussian" (variance 1 / inputs).
    bias : float
        Standard deviation of Gaussian biases; 0, the default, for none.
    like : array, optional
        The map gets the library, dtype and device of this array. Default: NumPy, float64.

    Returns
    -------
    Chain

    Raises
    ------
    ValueError, TypeError
        For fewer than two widths, widths below 1, an unknown kind of weights.

    Notes
    -----
    Book: thm-surjective. Source: Chen, Huang and Weng (2024), Example 5.2 (with Gaussian weights).

    Examples
    --------
    >>> import numpy as np
    >>> phi = leaky_relu_network([3, 2], seed=0)
    >>> Phi = np.array([[1.0, -1.0]])
    >>> phi.is_onto(), bool(np.allclose(phi(phi.preimage(Phi)), Phi, rtol=1e-12))
    (True, True)
    """
    widths = [_count(width, "a width") for width in widths]
    if len(widths) < 2:
        raise ValueError(f"widths = {widths} needs the number of inputs and at least one number of features")
    if weights not in ("orthogonal", "gaussian"):
        raise ValueError(f"weights must be 'orthogonal' or 'gaussian', got {weights!r}")
    rng, bias = np.random.default_rng(_seed(seed)), check_lam(bias, "bias")
    steps = []
    for d, p in zip(widths, widths[1:], strict=False):
        A = rng.normal(size=(d, p)) / math.sqrt(d)
        A = _orthonormal(A) if weights == "orthogonal" else A
        b = _like(bias * rng.normal(size=p), like) if bias else None
        steps += [Linear(_like(A, like), b), LeakyReLU(slope)]
    return Chain(steps)


def flow(d, steps=4, *, seed, hidden=32, log_scale=0.5, like=None):
    """A small flow with random weights: affine couplings that change the two halves in turn.

    s and t are networks with one hidden layer of tanh; each entry of s is at most `log_scale` in size, so a step
    stretches by at most ``exp(log_scale)``, and each entry of t at most 1.

    Parameters
    ----------
    d : int
        Width, at least 2.
    steps : int
        Number of couplings.
    seed : int or numpy.random.Generator
        Of the random weights.
    hidden : int
        Width of the hidden layers.
    log_scale : float
        Bound of s.
    like : array, optional
        The map gets the library, dtype and device of this array. Default: NumPy, float64.

    Returns
    -------
    Chain

    Raises
    ------
    ValueError, TypeError
        For d below 2, and for other counts below 1.

    Notes
    -----
    Book: ex-coupling. Source: Dinh, Sohl-Dickstein and Bengio (2017).

    Examples
    --------
    >>> import numpy as np
    >>> phi = flow(5, seed=0)
    >>> Phi = np.linspace(-1, 1, 10).reshape(2, 5)
    >>> bool(np.allclose(phi(phi.preimage(Phi)), Phi, rtol=1e-12))
    True
    """
    d, hidden, rng = _count(d, "d", 2), _count(hidden, "hidden"), np.random.default_rng(_seed(seed))
    bounds, half = (check_lam(log_scale, "log_scale"), 1.0), d // 2
    couplings = []
    for i in range(_count(steps, "steps")):
        networks = []
        for bound in bounds:
            first, second = rng.normal(size=(half, hidden)) / math.sqrt(half), rng.normal(size=(hidden, d - half))
            second *= bound / np.abs(second).sum(axis=0)  # |tanh| <= 1, so this bounds every output
            b = rng.normal(size=hidden)
            networks.append(Chain([Linear(_like(first, like), _like(b, like)), Tanh(), Linear(_like(second, like))]))
        couplings.append(AffineCoupling(d, *networks, half=half, swap=i % 2 == 1))
    return Chain(couplings)


def _orthonormal(A):
    """Orthonormal columns (rows, where A is wide) from a Gaussian matrix, uniformly distributed: signs fixed by R."""
    Q, R = np.linalg.qr(A if A.shape[0] >= A.shape[1] else A.T)
    Q = Q * np.where(np.diag(R) < 0, -1.0, 1.0)
    return Q if A.shape[0] >= A.shape[1] else Q.T


def _like(A, like):
    """A NumPy array in the library, dtype and device of `like`."""
    if like is None:
        return A
    return array_namespace(like).asarray(A, dtype=like.dtype, device=device(like))


def _seed(seed):
    if seed is None:
        raise TypeError("seed must be an integer or a numpy.random.Generator, so that the weights can be drawn again")
    return seed


def _count(value, name, least=1):
    try:
        value = operator.index(value)
    except TypeError as error:
        raise TypeError(f"{name} must be an integer, got {value!r}") from error
    if value < least:
        raise ValueError(f"{name} = {value} must be at least {least}")
    return value


def _check_width(A, width, name):
    if width is not None and A.shape[1] != width:
        raise ValueError(f"{name} has {A.shape[1]} columns, this map needs {width}: its shape is {tuple(A.shape)}")


def _check_near(near, Phi, width):
    if near is not None and tuple(near.shape) != (Phi.shape[0], width):
        raise ValueError(f"near has shape {tuple(near.shape)}, one input a row of Phi is needed: {Phi.shape[0], width}")


def _row_scale(Phi, bound, margin):
    """Largest c <= 1 (m, 1) for which the entries of c Phi are at most (1 - margin) bound in size, row by row."""
    xp, margin = check_arrays(Phi=Phi), check_lam(margin, "margin")
    if margin >= 1:
        raise ValueError(f"margin = {margin} must be below 1: nothing is left of the range")
    size, room = xp.max(xp.abs(Phi), axis=1, keepdims=True), (1 - margin) * bound
    return xp.where(size > room, room / xp.where(size > 0, size, xp.ones_like(size)), xp.ones_like(size))


def _name(step):
    return type(step).__name__


def _rtol(xp, A, rtol):
    """Rank cutoff relative to the largest singular value; default max(shape) * eps of the dtype."""
    return max(A.shape) * float(xp.finfo(A.dtype).eps) if rtol is None else check_lam(rtol, "rtol")


def _number(A):
    """A 0-d array as a plain number, without its gradient."""
    return float(A.detach() if hasattr(A, "detach") else A)
