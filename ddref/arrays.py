"""The ground of every mathematical file: checks, one SVD cut at a rank, norms.

Copy this file together with the one you want into a package of your own. NumPy and
PyTorch arrays alike, on any device; results keep library, dtype and device. Gradients
flow through PyTorch inputs where the singular values involved are distinct; at ties
they are NaN.
"""

import math
import operator
import warnings
from typing import Any, NamedTuple, TypeAlias

from array_api_compat import array_namespace, device

Array: TypeAlias = Any  # a NumPy array or a PyTorch tensor

# Default cutoff for the rank of a model: below it, singular values of a fitted W are
# rounding (of ten classes, the tenth is 1e-12 of the first, and is zero).
W_RTOL = 1e-10

# Columns whose sizes differ by more are told apart where a matrix is decomposed.
GRADED = 100.0


# ------------------------------------------------------------------------------ checks


def check_arrays(**arrays: Array | None) -> Any:
    """The namespace of 2-D, non-empty, finite, real arrays of one library and dtype.

    They are on one device, too. Arrays that are None are passed over. Raises TypeError
    or ValueError with the name of the array.
    """
    arrays = {name: A for name, A in arrays.items() if A is not None}
    check_dense(**arrays)
    try:
        xp = array_namespace(*arrays.values())
    except TypeError as error:
        kinds = ", ".join(
            f"{name}: {type(A).__module__}.{type(A).__name__}"
            for name, A in arrays.items()
        )
        raise TypeError(
            f"NumPy or PyTorch arrays of one library are needed, got {kinds}"
        ) from error
    for name, A in arrays.items():
        if A.dtype not in (xp.float32, xp.float64):
            raise TypeError(
                f"{name} has dtype {A.dtype}; convert it to float64 (or float32) first"
            )
        if A.ndim != 2:
            raise ValueError(
                f"{name} must have 2 dimensions, rows are samples; "
                f"its shape is {tuple(A.shape)}"
            )
        if 0 in A.shape:
            raise ValueError(f"{name} is empty: its shape is {tuple(A.shape)}")
        if not bool(xp.all(xp.isfinite(A))):
            raise ValueError(f"{name} contains NaN or Inf")
    check_products(**arrays)
    names = ", ".join(arrays)
    dtypes = [str(A.dtype) for A in arrays.values()]
    if len(set(dtypes)) > 1:
        raise TypeError(f"{names} differ in dtype: {', '.join(dtypes)}")
    devices = [str(device(A)) for A in arrays.values()]
    if len(set(devices)) > 1:
        raise ValueError(f"{names} are on different devices: {', '.join(devices)}")
    return xp


def check_products(**arrays: Array) -> None:
    """Refuse matrices by name whose products would be of another dtype, as those of
    `torch.autocast` are.
    """
    for name, A in arrays.items():
        product = (0 * A[:1, :1] @ A[:1, :1].mT).dtype
        if product != A.dtype:
            raise TypeError(
                f"{name} is {A.dtype}, its products would be {product}: leave "
                "torch.autocast, or enter torch.autocast(..., enabled=False)"
            )


def check_dense(**arrays: Any) -> None:
    """Refuse by name what is no plain dense array, whatever its numbers: a mask would
    be ignored, ``*`` of a matrix is another product, others have no values to compute.
    """
    for name, A in arrays.items():
        kinds = {kind.__name__ for kind in type(A).__mro__}
        layout = str(getattr(A, "layout", "torch.strided")).removeprefix("torch.")
        odd = {
            "masked: fill its gaps, or leave these rows out": "MaskedArray" in kinds,
            "a np.matrix: pass np.asarray(...) of it": "matrix" in kinds,
            "nested: pad it, or stack its parts": getattr(A, "is_nested", False),
            f"{layout}: pass its to_dense()": layout != "strided",
            "quantized: pass its dequantize()": getattr(A, "is_quantized", False),
            "on the meta device, without values": getattr(A, "is_meta", False),
        }
        for what, found in odd.items():
            if found:
                raise TypeError(f"{name} is {what}")


def check_digits(**arrays: Any) -> None:
    """Refuse by name arrays of NumPy that float64 holds a part of: complex numbers,
    and those of more digits.
    """
    for name, A in arrays.items():
        dtype: Any = getattr(A, "dtype", None)
        kind = getattr(dtype, "kind", "")
        if kind == "c":
            raise ValueError(f"{name} has dtype {dtype}. Complex data not supported")
        if kind == "f" and dtype.itemsize > 8:
            raise TypeError(
                f"{name} has dtype {dtype}, and everything is computed in float64: "
                f"pass {name}.astype(float)"
            )


def check_shapes(**arrays: tuple[Array | None, str]) -> None:
    """Refuse arrays whose dimensions of one letter differ: ``check_shapes(Phi=(Phi,
    "np"), W=(W, "pk"))``.

    A digit stands for itself. Arrays that are None are passed over.
    """
    sizes: dict[str, int] = {}
    given = {name: pair for name, pair in arrays.items() if pair[0] is not None}
    for A, letters in given.values():
        for letter, size in zip(letters, A.shape, strict=True):
            if size != sizes.setdefault(
                letter, int(letter) if letter.isdigit() else size
            ):
                wanted = ", ".join(
                    f"{name} ({', '.join(s)})" for name, (_, s) in given.items()
                )
                found = ", ".join(str(tuple(A.shape)) for A, _ in given.values())
                raise ValueError(f"{wanted} do not fit: their shapes are {found}")


def check_lam(lam: float, name: str = "lam") -> float:
    """`lam` as a float, refused when negative, NaN or infinite."""
    try:
        value = float(lam)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be a number, got {type(lam).__name__}") from error
    if not 0.0 <= value < math.inf:
        raise ValueError(f"{name} = {value} must be finite and not negative")
    return value


def check_positive(value: float, name: str) -> float:
    """`value` as a float, refused when it is 0, negative, NaN or infinite."""
    if check_lam(value, name) == 0:
        raise ValueError(f"{name} = 0 must be positive")
    return float(value)


def check_count(value: int, name: str, least: int = 1) -> int:
    """`value` as an int, refused when it is no integer or below `least`."""
    try:
        count = operator.index(value)
    except TypeError as error:
        raise TypeError(f"{name} must be an integer, got {value!r}") from error
    if count < least:
        raise ValueError(f"{name} = {count} must be at least {least}")
    return count


def check_symmetric(G: Array, name: str = "G") -> None:
    """Refuse a matrix that is not square, or not symmetric by more than rounding."""
    xp = array_namespace(G)
    if G.shape[0] != G.shape[1]:
        raise ValueError(f"{name} must be square, its shape is {tuple(G.shape)}")
    size = number(xp.max(xp.abs(G)))
    gap = number(xp.max(xp.abs(G - G.mT)))
    if gap > 100 * G.shape[0] * eps_of(G) * size:
        raise ValueError(
            f"{name} is not symmetric: entries differ from their mirror image by "
            f"{gap:.3g}, the largest is {size:.3g}"
        )


def semidefinite_eigh(G: Array, name: str = "G") -> tuple[Array, Array]:
    """Eigenvalues w (p,), ascending, and eigenvectors V (p, p) of a positive
    semi-definite matrix.

    Eigenvalues that are negative by rounding come back as zero; ValueError where they
    are more than that.
    """
    check_symmetric(G, name)
    xp = array_namespace(G)
    w, V = xp.linalg.eigh(G)
    if number(w[0]) < -100 * G.shape[0] * eps_of(G) * number(xp.max(xp.abs(w))):
        raise ValueError(
            f"{name} is not positive semi-definite: its smallest eigenvalue is "
            f"{number(w[0]):.3g}, the largest {number(w[-1]):.3g}; pass Phi^T Phi or "
            "the matrix of a kernel, or add at least "
            f"{-number(w[0]):.3g} to its diagonal"
        )
    return xp.where(w > 0, w, xp.zeros_like(w)), V


# ------------------------------------------------------------- one SVD, one rank cutoff


class ThinSVD(NamedTuple):
    """``A = U diag(s) V^T`` without what counts as zero; r is the numerical rank."""

    U: Array  # (m, r)
    s: Array  # (r,), largest first
    Vh: Array  # (r, p)
    lost: float  # Frobenius norm of what was cut, relative to that of A
    next: float  # largest singular value that was cut, 0.0 where none was
    rtol: float  # singular values up to rtol times the largest were cut

    @property
    def rank(self) -> int:
        """Number of singular values kept."""
        return self.s.shape[0]

    @property
    def condition(self) -> float:
        """Largest over smallest singular value kept; 1.0 at rank 0."""
        return number(self.s[0]) / number(self.s[-1]) if self.rank else 1.0

    def pinv(self, lam: float = 0.0) -> Array:
        """Regularised pseudo-inverse (p, m): ``V diag(s / (s^2 + lam)) U^T``."""
        return (self.Vh.mT / self.damped(lam)) @ self.U.mT

    def solve(self, Y: Array, lam: float = 0.0) -> Array:
        """``pinv(lam) @ Y``, without forming the (p, m) matrix."""
        return self.Vh.mT @ ((self.U.mT @ Y) / self.damped(lam)[:, None])

    def damped(self, lam: float) -> Array:
        """``s + lam / s`` (r,); infinite where that overflows, as the gain is zero."""
        xp, root = array_namespace(self.s), math.sqrt(lam)
        fits = self.s > root * max(root, 1.0) / float(xp.finfo(self.s.dtype).max)
        s = xp.where(fits, self.s, xp.ones_like(self.s))
        return xp.where(fits, s + root / s * root, xp.full_like(s, math.inf))

    def gain(self, lam: float) -> float:
        """Most by which training multiplies a change of the labels.

        Of a singular value that was cut nothing is known but that it is below the
        cutoff; at ``lam > 0`` the worst such value counts.
        """
        if self.rank == 0:
            return 0.0
        most = number(array_namespace(self.s).max(1 / self.damped(lam)))
        unknown = min(self.rtol * number(self.s[0]), math.sqrt(lam))
        if unknown and self.rank < min(self.U.shape[0], self.Vh.shape[1]):
            most = max(most, 1 / (unknown + lam / unknown))
        return most

    def rounding(
        self,
        Y: Array,
        lam: float = 0.0,
        *,
        rows: Array | None = None,
        labels: Array | None = None,
    ) -> float:
        """How far the last bits of features and labels can move the model that they
        train: a norm, to first order. `rows` and `labels` are what has last bits, where
        A and Y are these minus their means.
        """
        if self.rank == 0:
            return 0.0
        if not lam and self.near_cutoff:
            return math.inf
        per_feature, per_label = self.sensitivity(Y, lam)
        moved = last_bits(self.s[:1] if rows is None else rows)
        return last_bits(Y if labels is None else labels) * per_label + (
            moved * per_feature
        )

    def sensitivity(self, Y: Array, lam: float = 0.0) -> tuple[float, float]:
        """Most by which changes of the features, and of the labels, of norm 1 move the
        model that they train, to first order.

        With ``alpha = (A A^T + lam I)^-1 Y`` and R the part of Y that no model
        explains, changes E of A and F of Y move W by up to ``||F|| gain + ||E|| (gain
        ||W|| + ||alpha|| + ||R|| / (s^2 + lam))``: s the smallest singular value, 0 at
        ``lam > 0`` where the rows leave a direction out. Where they leave none, alpha
        counts like R, as ``lam alpha``. What was cut stays out. Book: thm-stability.
        """
        p = self.Vh.shape[1]
        UtY, gain = self.U.mT @ Y, self.gain(lam)
        W = UtY / self.damped(lam)[:, None]
        R = norm(Y - self.U @ UtY)
        least = 0.0 if lam and self.rank < p else number(self.s[-1])
        least = math.hypot(least, math.sqrt(lam))
        inside = norm(W / self.s[:, None])
        if self.rank == p:
            inside = lam * inside / least / least
        return gain * norm(W) + inside + R / least / least, gain

    @property
    def near_cutoff(self) -> bool:
        """Whether another SVD may keep what this one cut, or cut what it kept."""
        if not (self.rank and self.rtol):
            return False
        eps, largest = eps_of(self.s), number(self.s[0])
        kept, cut = number(self.s[-1]) / largest, self.next / largest
        return kept <= self.rtol + eps or cut >= max(self.rtol - eps, 0.5 * self.rtol)

    def outside(self, W: Array) -> Array:
        """The part of the columns of `W` (p, k) that the rows of A do not span."""
        return W - self.Vh.mT @ (self.Vh @ W)


def thin_svd(A: Array, rtol: float | None = None) -> ThinSVD:
    """SVD of `A` (m, p) without singular values up to `rtol` times the largest.

    Default: max(m, p) * eps of the dtype, in both libraries (their own defaults
    differ). With ``rtol=0`` only true zeros are cut: right for ``lam > 0``, where every
    singular value has its gain ``s / (s^2 + lam)``.
    """
    xp = array_namespace(A)
    rtol = max(A.shape) * eps_of(A) if rtol is None else check_lam(rtol, "rtol")
    U, s, Vh = xp.linalg.svd(A, full_matrices=False)
    r = int(xp.sum(xp.astype(s > rtol * s[0], xp.int64)))
    cut = s[r:]
    following = number(cut[0]) if cut.shape[0] else 0.0
    lost = norm(cut) / norm(s) if following else 0.0
    return ThinSVD(U[:, :r], s[:r], Vh[:r, :], lost, following, rtol)


def graded_svd(A: Array, rtol: float | None = None) -> ThinSVD:
    """`thin_svd`, with columns of different sizes taken from the largest to the
    smallest: rounding of a large one then leaves the small ones alone.
    """
    xp = array_namespace(A)
    sizes = xp.max(xp.abs(A), axis=0)
    if number(xp.max(sizes)) <= GRADED * number(xp.min(sizes)):
        return thin_svd(A, rtol)
    order = xp.argsort(-sizes, stable=True)  # largest first
    svd = thin_svd(xp.take(A, order, axis=1), rtol)
    return svd._replace(Vh=xp.take(svd.Vh, xp.argsort(order), axis=1))


def model_svd(W: Array, rtol: float | None = None) -> ThinSVD:
    """`thin_svd` with the cutoff for fitted models: 1e-10, or max(p, k) * eps where
    that is larger.
    """
    return thin_svd(W, max(W_RTOL, max(W.shape) * eps_of(W)) if rtol is None else rtol)


def warn_dropped(lost: float, A: Array, stacklevel: int = 3) -> None:
    """Warn when the rank cutoff took the fraction `lost` of a model, more than rounding
    in the dtype of `A`.
    """
    if lost > 100 * eps_of(A):
        warnings.warn(
            f"the rank cutoff drops a fraction {lost:.2g} of W; "
            "pass a smaller rtol to keep it",
            stacklevel=stacklevel,
        )


def larger_root(s: Array, lam_S: float, also: str = "") -> Array:
    """The larger t with ``t / (t^2 + lam_S) = s``, for every s > 0 of (r,), largest
    first.

    The smaller one is ``lam_S / t``. ValueError where there is none: above ``lam_S = 1
    / (4 s_max^2)`` (up to 64 eps beyond count as the bound); `also` is what else has to
    be scaled with Y_S.
    """
    xp = array_namespace(s)
    a = 2 * math.sqrt(lam_S) * s  # roots are real for a <= 1
    if s.shape[0] and number(a[0]) > 1 + 64 * eps_of(s):
        bound = 0.5 / number(s[0])
        bound = bound * bound  # inf where it overflows
        raise ValueError(
            f"lam_S = {lam_S:.6g} exceeds 1/(4 s_max^2) = {bound:.6g}; scale Y_S by at "
            f"least {number(a[0]):.6g}{also}, or pass lam_S=0"
        )
    # sqrt(1 - 4 lam s^2), factored so that nothing cancels near the bound
    q = xp.sqrt(xp.where(a < 1, (1 - a) * (1 + a), xp.zeros_like(a)))
    return (1 + q) / (2 * s)


def complement(Q: Array, of: Array | None = None) -> Array:
    """Orthonormal columns orthogonal to those of `Q` (p, r): all p - r of them, or
    those that span the columns `of`.

    They are orthonormal at any rank of ``[Q, of]``.
    """
    xp = array_namespace(Q)
    p, r = Q.shape
    of = xp.eye(p, dtype=Q.dtype, device=device(Q)) if of is None else of
    return xp.linalg.qr(xp.concat([Q, of], axis=1))[0][:, r:]


def cosines(m: int, n: int, like: Array) -> Array:
    """(m, n) matrix with orthonormal columns, m >= n, the first constant: cosines of
    the discrete cosine transform.
    """
    xp = array_namespace(like)
    i = xp.arange(m, dtype=xp.int64, device=device(like))[:, None]
    j = xp.arange(n, dtype=xp.int64, device=device(like))[None, :]
    turns = xp.astype(
        (2 * i + 1) * j % (4 * m), like.dtype
    )  # reduced before it is rounded
    first = xp.astype(j == 0, like.dtype)
    return xp.cos(turns * (math.pi / (2 * m))) * xp.sqrt((2 - first) / m)


# -------------------------------------------------------------------- sizes, rounding


def norm(A: Array) -> float:
    """Frobenius norm, safe from overflow and underflow of the squares; 0.0 for an empty
    array.
    """
    xp = array_namespace(A)
    size = number(xp.max(xp.abs(A))) if math.prod(A.shape) else 0.0
    return size * math.sqrt(number(xp.sum((A / size) ** 2))) if size else 0.0


def relative(A: Array, B: Array) -> float:
    """``||A|| / ||B||``, or ``||A||`` where `B` is zero."""
    return norm(A) / size_of(B)


def size_of(B: Array) -> float:
    """What errors of `B` are relative to: ``||B||``, or 1.0 where it is zero."""
    return norm(B) or 1.0


def number(A: Array) -> float:
    """A 0-d array as a plain number, without its gradient."""
    return float(A.detach() if hasattr(A, "detach") else A)


def eps_of(A: Array) -> float:
    """Machine precision of the dtype of `A`."""
    return float(array_namespace(A).finfo(A.dtype).eps)


def last_bits(A: Array) -> float:
    """Norm of a change of `A` by its last bits, at the bottom of its range too."""
    smallest = float(array_namespace(A).finfo(A.dtype).smallest_normal) * eps_of(A)
    return eps_of(A) * norm(A) + smallest * math.sqrt(math.prod(A.shape))


def check_finite(**made: Array) -> None:
    """Refuse results that overflow."""
    for name, A in made.items():
        if not bool(array_namespace(A).all(array_namespace(A).isfinite(A))):
            raise ValueError(
                f"the {name} overflows {A.dtype}: scale features, labels or W by "
                "powers of two"
            )


def check_kept(W: Array, lost: float, made: Array, allowed: float = 0.1) -> None:
    """Refuse what was `made` to train `W` where rounding may take more than a fraction
    `allowed` of it, ``lost / ||W||``, or where it overflows.
    """
    check_finite(result=made)
    fraction = lost / size_of(W)
    if not fraction <= allowed:
        raise ValueError(
            f"no digit of W may be left after training: rounding in {made.dtype} costs "
            f"about a fraction {fraction:.2g} of it; use better conditioned features, "
            "numbers of one size, lam_S = 0 or a larger one, or float64"
        )


def explained(A: Array, condition: float) -> float:
    """Relative error that rounding in the dtype of `A` explains at this condition
    number, at most sqrt(eps).
    """
    return min(100 * eps_of(A) * condition, math.sqrt(eps_of(A)))
