"""Random sets for every function that returns or certifies one, each judged by training in high precision (oracle.py).

    python tests/certificates.py --draws 2000 --seed 0 [--only measure.verify]

A draw counts as
  wrong      a certificate says exact, and exact training misses the model by more than its tolerance;
  silent     a function that promises an exact set returned one, without a warning, that misses by more than BOUND times
             the machine precision times what the returned set amplifies its own last bits by (oracle.conditioning), or by more than USELESS;
  crash      an exception other than ValueError and TypeError, or a warning of NumPy's;
  overrefused  refused or not called exact although nothing in the draw is extreme.

"tame" counts the draws in which nothing was extreme and nothing was refused.
"""

import argparse
import collections
import math
import sys
import warnings
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import oracle  # noqa: E402

from ddref import (  # noqa: E402
    deep_linear,
    distill,
    frontier,
    gauge,
    intercept,
    krr,
    labels_only,
    maps,
    measure,
    nearest,
    recipe,
    spectrum,
    statistics,
)

BOUND = 100.0  # times eps times conditioning: what rounding explains everywhere in this package
USELESS = 0.1  # a set that misses its model by more is refused or marked, whatever the reason


# ------------------------------------------------------------------------------- draws


class Draw:
    """Random matrices of one draw; `tame` while nothing extreme has come up."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.dtype = self.rng.choice(["float64", "float64", "float64", "float32"])
        self.eps = float(np.finfo(self.dtype).eps)
        self.tame = True
        self.calm = self.chance(0.4)  # nothing extreme at all
        big = self.rng.random() < 0.03
        self.m, self.p = (int(n) for n in self.rng.integers(1, 41 if big else 9, 2))
        self.k = int(self.rng.integers(1, 5))

    def chance(self, probability):
        return self.rng.random() < probability

    def extreme(self, probability):
        found = self.chance(probability) and not self.calm
        self.tame = self.tame and not found
        return found

    def scale(self):
        """A size: mostly moderate, sometimes near the ends of the range."""
        most = 150 if self.dtype == "float64" else 15
        if self.extreme(0.12):
            return float(10.0 ** self.rng.uniform(-most, most))
        return float(10.0 ** self.rng.uniform(-3, 3)) if self.chance(0.5) else 1.0

    def singular_values(self, n):
        """n values up to 1: spread, tied, in clusters, or with a few tiny ones."""
        mild = 1e4 if self.dtype == "float64" else 10
        condition = 10 ** self.rng.uniform(0, 14) if self.extreme(0.3) else 10 ** self.rng.uniform(0, math.log10(mild))
        s = condition ** -np.sort(self.rng.random(n))
        kind = self.rng.integers(4)
        if kind == 0:
            s = np.full(n, 1.0) if self.chance(0.5) else condition ** -np.round(2 * self.rng.random(n), 0) ** 0.5
        if kind == 1 and n > 1:
            s[-1] = 1 / condition
        if self.extreme(0.12):  # below or about the cutoffs
            s[self.rng.random(n) < 0.4] *= 10.0 ** self.rng.uniform(-20, -10)
        return s

    def matrix(self, rows, columns, rank=None, scale=None):
        """A matrix of some rank, condition and size; duplicated rows, zeros and denormal numbers among the extremes."""
        full = min(rows, columns)
        rank = full if rank is None else min(rank, full)
        U = np.linalg.qr(self.rng.normal(size=(rows, rank)))[0] if rank else np.zeros((rows, 0))
        V = np.linalg.qr(self.rng.normal(size=(columns, rank)))[0] if rank else np.zeros((columns, 0))
        A = (U * self.singular_values(rank)) @ V.T if rank else np.zeros((rows, columns))
        if rows > 1 and self.extreme(0.06):
            A[self.rng.integers(rows)] = A[self.rng.integers(rows)]
        if self.extreme(0.04):
            A[self.rng.integers(rows)] = 0.0
        if self.extreme(0.04):
            A[:, self.rng.integers(columns)] = 0.0
        if self.extreme(0.06):  # columns of different sizes
            A = A * 10.0 ** self.rng.uniform(-8, 0, columns)
        A = A * (self.scale() if scale is None else scale)
        if self.extreme(0.02):
            A[self.rng.random(A.shape) < 0.3] *= 1e-200
            A[self.rng.random(A.shape) < 0.1] = 5e-324
        with np.errstate(over="ignore"):
            A = A.astype(self.dtype)
        return np.where(np.isfinite(A), A, A.dtype.type(1.0))

    def count(self, most):
        return int(self.rng.integers(1, max(most, 1) + 1))

    def lam(self, Phi):
        """0, or a value from far below the smallest squared singular value of `Phi` to far above the largest."""
        s, unit = oracle.singular_values(Phi)
        if self.chance(0.35) or s[0] == 0:
            return 0.0
        top, low = float(s[0]), float(s[s > 0][-1])
        if self.extreme(0.3):
            low, top = low * 10.0 ** self.rng.uniform(-12, 0), top * 10.0 ** self.rng.uniform(0, 8)
            value = 10 ** self.rng.uniform(2 * math.log10(low), 2 * math.log10(top))
        else:
            value = 10 ** self.rng.uniform(-1, 0) * top * low
        with np.errstate(over="ignore"):
            value = value * unit * unit
        return float(value) if 0 < value < math.inf else 0.0

    def model(self, columns_from=None, rank=None):
        """W (p, k), its columns in the span of the rows of `columns_from` where given."""
        rank = self.count(self.k) if rank is None else rank
        if columns_from is None:
            return self.matrix(self.p, self.k, rank)
        s, unit = oracle.singular_values(columns_from)
        Vh = np.linalg.svd(np.asarray(columns_from, dtype=float) / unit, full_matrices=False)[2]
        basis = Vh[s > 1e3 * max(columns_from.shape) * self.eps * (s[0] or 1.0)]
        if not len(basis):
            return np.zeros((self.p, self.k), self.dtype)
        return (basis.T @ self.matrix(len(basis), self.k, rank).astype(float)).astype(self.dtype)


# ---------------------------------------------------------------------------- judgement


class Wrong(Exception):
    """A finding: its kind and the numbers."""

    def __init__(self, kind, said):
        super().__init__(f"{kind}: {said}")
        self.kind = kind


def finite(*arrays):
    for A in arrays:
        if not np.all(np.isfinite(A)):
            raise Wrong("silent", "NaN or Inf in what was returned")


def judge_set(draw, Phi, Y, lam, W, *, lost=0.0, slack=1.0):
    """A returned set has to train W up to its own rounding, in exact arithmetic."""
    finite(Phi, Y, lam)
    for W_S in oracle.models(Phi, Y, lam):
        error, kappa = error_and_conditioning(Phi, Y, lam, W_S, W)
        bound = min(slack * BOUND * draw.eps * kappa, USELESS) + lost
        if not error <= bound:
            raise Wrong("silent", f"error {error:.3g}, bound {bound:.3g}, conditioning {kappa:.3g}, lam {lam:.3g}")


def error_and_conditioning(Phi, Y, lam, W_S, W):
    """Relative to W; to what labels of this size can train where W is zero."""
    error, kappa = oracle.error(W_S, W), oracle.conditioning(Phi, Y, lam, W_S)
    if not np.any(W):
        s, unit = oracle.singular_values(Phi)
        kept = s[s > max(Phi.shape) * float(np.finfo(Phi.dtype).eps) * s[0]]
        condition = float(s[0] / kept[-1]) if len(kept) else 1.0
        return float(oracle.norm(W_S) * s[0] * unit / (oracle.norm(oracle.exact(Y)) or 1)), condition
    return error, kappa * max(1.0, 1 - error if error < 1 else 1 + error)


def judge_model(draw, found, Phi, Y, lam, *, factor=1.0):
    """A trained model has to be that of exact training, up to rounding of the data."""
    finite(found)
    errors = []
    for W_S in oracle.models(Phi, Y, lam):
        kappa = oracle.conditioning(Phi, Y, lam, W_S)
        size = oracle.error(W_S * 0, found)  # 1, or 0 for W = 0
        error = oracle.error(W_S, found) if size else float(oracle.norm(W_S) > 0)
        errors.append((error, BOUND * factor * draw.eps * kappa, kappa))
    if not any(error <= bound for error, bound, _ in errors):
        error, bound, kappa = errors[0]
        raise Wrong("silent", f"error {error:.3g}, bound {bound:.3g}, conditioning {kappa:.3g}, lam {lam:.3g}")


def judge_certificate(certificate, error):
    if not certificate.exact:
        raise NotExact
    if not error <= certificate.tolerance:
        raise Wrong("wrong", f"error {error:.3g}, certificate {certificate}")


class NotExact(ValueError):
    """A certificate says no: a refusal, where the draw was tame."""


def lost_of(W, warned):
    """What the rank cutoff of a model may take from it, where a warning said so."""
    if not warned or not np.any(W):
        return 0.0
    s, _ = oracle.singular_values(W)
    cut = max(1e-10, max(W.shape) * float(np.finfo(W.dtype).eps))
    return 2 * float(np.linalg.norm(s[s <= 1.001 * cut * s[0]]) / np.linalg.norm(s))


# ------------------------------------------------------------ one trial a public function


TRIALS = {}


def trial(name):
    return lambda function: TRIALS.setdefault(name, function)


@trial("measure.verify")
def _(draw):
    Phi = draw.matrix(draw.m, draw.p)
    lam = draw.lam(Phi)
    W = draw.model(Phi)
    with np.errstate(all="ignore"):
        s, unit = oracle.singular_values(Phi)
        pinv = np.linalg.pinv(Phi.astype(float) / unit, rcond=max(Phi.shape) * draw.eps) / unit
        Y = (Phi.astype(float) @ W + lam * (pinv.T @ W)).astype(draw.dtype)
        if draw.extreme(0.4):  # wrong by something, or with a part that no model explains
            noise = draw.rng.normal(size=Y.shape) * 10.0 ** draw.rng.uniform(-18, 1)
            Y = (Y * (1 + noise) if draw.chance(0.5) else Y + noise * np.max(np.abs(Y))).astype(draw.dtype)
    if not np.all(np.isfinite(Y)):
        return
    certificate = measure.verify(Phi, Y, lam, W)
    judge_certificate(certificate, oracle.worst(Phi, Y, lam, W))


@trial("distill.labels")
def _(draw):
    Phi = draw.matrix(draw.m, draw.p, draw.count(9) if draw.extreme(0.2) else None)
    lam = draw.lam(Phi)
    W = draw.model(Phi) if not draw.extreme(0.1) else draw.model()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        Y = distill.labels(Phi, W, lam)
    judge_set(draw, Phi, Y, lam, W, lost=lost_of(W, said))


def labels_drawn(draw, W, m):
    """Labels that can carry W: its predictions on some points, or anything of full column rank."""
    s, unit = oracle.singular_values(W)
    if draw.chance(0.5) or m < draw.k:
        rows = draw.matrix(m, draw.p).astype(float)
        with np.errstate(all="ignore"):
            Y = (rows @ (W.astype(float) / unit)).astype(draw.dtype)
        s, _ = oracle.singular_values(W)
        if np.linalg.matrix_rank(W / unit) > min(m, draw.p):
            draw.tame = False
        return np.where(np.isfinite(Y), Y, Y.dtype.type(1))
    return draw.matrix(m, draw.k)


def within(draw, bound):
    """lam_S up to a bound."""
    if draw.chance(0.3) or not 0 < bound < math.inf:
        return 0.0
    if draw.extreme(0.2):
        return float(bound * (1 + draw.rng.choice([0, 1e-15, -1e-15, 1e-3]) if draw.chance(0.5) else bound * 10.0 ** draw.rng.uniform(-30, 0)))
    return float(bound * draw.rng.uniform(0.01, 0.9))


@trial("distill.features")
def _(draw):
    W = draw.model()
    Y = labels_drawn(draw, W, draw.m)
    if not condition_is_mild(draw, Y):
        draw.tame = False
    Z = draw.matrix(draw.p, draw.m) if draw.extreme(0.3) else None
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        bound = distill.largest_lam(W, Y, Z=Z)
        lam = within(draw, bound)
        signs = None
        if draw.extreme(0.2) and lam:
            D = distill.carrier(W, Y, Z)
            r = distill.minimal_points(D)
            signs = [int(sign) for sign in draw.rng.choice([1, -1], r)]
        Phi = distill.features(W, Y, lam, Z=Z, signs=signs)
    refuse_numpy(said)
    judge_set(draw, Phi, Y, lam, W, lost=math.inf if said else 0.0)


def condition_is_mild(draw, *arrays):
    """Whether products of these keep digits to spare."""
    total = 1.0
    for A in arrays:
        s, _ = oracle.singular_values(A)
        s = s[s > max(A.shape) * 10 * draw.eps * s[0]] if s[0] else np.ones(1)
        total *= s[0] / s[-1]
    return total < (1e6 if draw.dtype == "float64" else 1e2)


@trial("distill.largest_lam")
def _(draw):
    W = draw.model()
    Y = labels_drawn(draw, W, draw.m)
    if not condition_is_mild(draw, Y):
        draw.tame = False
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        bound = distill.largest_lam(W, Y)
        if 0 < bound < math.inf:
            distill.features(W, Y, bound)
    refuse_numpy(said)
    if not bound >= 0:
        raise Wrong("silent", f"bound {bound}")


@trial("gauge.change_of_basis")
def _(draw):
    W = draw.model()
    Phi = draw.matrix(draw.m, draw.p)
    lam = draw.lam(Phi)
    if draw.chance(0.5):
        Y = draw.matrix(draw.m, draw.k, scale=float(oracle.singular_values(Phi)[1]))
        draw.tame = draw.tame and lam == 0.0
    else:
        Y = (Phi.astype(float) @ W).astype(draw.dtype)
        W = draw.model(Phi)
    n = draw.count(9)
    kind = draw.rng.integers(4)
    if kind == 0:
        n = max(n, draw.m)
        M = np.linalg.qr(draw.rng.normal(size=(n, draw.m)))[0] * (1.0 if draw.chance(0.5) else draw.scale())
        M = M.astype(draw.dtype)
    elif kind == 1:
        M = draw.matrix(draw.m, draw.m)
        draw.tame = False
    else:
        M = draw.matrix(n, draw.m)
        draw.tame = False
    if not np.all(np.isfinite(Y)):
        return
    W_S = oracle.models(Phi, Y, lam)
    if len(W_S) > 1:
        return
    if not condition_is_mild(draw, Phi) or kind == 0 and not orthogonal_enough(draw, Phi, Y, lam, W_S[0]):
        draw.tame = False
    new = gauge.change_of_basis(Phi, Y, M, lam)
    finite(*new)
    size = oracle.norm(W_S[0])
    for W_new in oracle.models(*new):
        difference = oracle.norm(W_new - W_S[0])
        kappa = max(oracle.conditioning(*new, W_new) if oracle.norm(W_new) else 1.0,
                    oracle.conditioning(Phi, Y, lam, W_S[0]) if size else 1.0)  # fmt: skip
        unit = size + oracle.norm(oracle.exact(Y)) / (oracle.singular_values(Phi)[0][0] or 1) / oracle.singular_values(Phi)[1]
        allowed = min(BOUND * draw.eps * kappa * 10, 1.0)
        if difference > allowed * max(size, unit):
            raise Wrong("silent", f"models differ by {float(difference / unit):.3g}, allowed {allowed:.3g}, lam {new.lam_S:.3g}")


def orthogonal_enough(draw, Phi, Y, lam, W_S):
    return oracle.norm(W_S) and oracle.conditioning(Phi, Y, lam, W_S) * draw.eps < 1e-6


@trial("gauge.orthonormal")
def _(draw):
    W = draw.model()
    m = None if draw.chance(0.5) else int(draw.rng.integers(1, 12))
    if m is not None and m < min(draw.p, draw.k):
        draw.tame = False
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        Phi = gauge.orthonormal(W, m)
    refuse_numpy(said)
    finite(Phi)
    if abs(np.linalg.cond(Phi) - 1) > 1e3 * draw.eps:
        raise Wrong("silent", f"condition {np.linalg.cond(Phi)}")
    lam = float(draw.rng.choice([0.0, 0.5, 1e-9, 1e6]))
    with np.errstate(over="ignore"):
        Y = (1 + lam) * Phi @ W
    if np.all(np.isfinite(Y)):
        judge_set(draw, Phi, Y.astype(draw.dtype), lam, W, lost=lost_of(W, True) * 1.1)


@trial("nearest.nearest")
def _(draw):
    W = draw.model()
    Phi_0 = draw.matrix(draw.m, draw.p)
    if draw.m < min(draw.p, draw.k) or not np.any(Phi_0):
        draw.tame = False
    if not condition_is_mild(draw, W):
        draw.tame = False
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        Phi = nearest.nearest(Phi_0, W)
        lam = draw.lam(Phi)
        refuse_numpy(said)
        finite(Phi)
        Y = distill.labels(Phi, W, lam)
    judge_set(draw, Phi, Y, lam, W, lost=lost_of(W, said))
    bound = nearest.nearest_lower_bound(Phi_0, W)
    distance = float(oracle.norm(oracle.exact(Phi) - oracle.exact(Phi_0)))
    size = float(oracle.norm(oracle.exact(Phi_0)))
    if not distance >= bound - 100 * draw.eps * size * max(Phi.shape) and not said:
        raise Wrong("silent", f"distance {distance:.3g} below the bound {bound:.3g}, size {size:.3g}")


@trial("nearest.nearest_given_labels")
def _(draw):
    W = draw.model()
    Phi_0 = draw.matrix(draw.m, draw.p)
    Y = labels_drawn(draw, W, draw.m)
    draw.tame = False  # may be refused for the labels' sake
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        Phi = nearest.nearest_given_labels(Phi_0, W, Y)
    refuse_numpy(said)
    judge_set(draw, Phi, Y, 0.0, W, lost=lost_of(W, said))


@trial("nearest.nearest_pseudoinverse")
def _(draw):
    W = draw.model()
    Phi_0 = draw.matrix(draw.m, draw.p)
    Y = labels_drawn(draw, W, draw.m)
    draw.tame = False
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        lam = within(draw, distill.largest_lam(W, Y))
        Phi = nearest.nearest_pseudoinverse(Phi_0, W, Y, lam)
    refuse_numpy(said)
    finite(Phi)
    error = oracle.worst(Phi, Y, lam, W)
    bound = draw.eps ** (1 / 3)
    if np.any(W) and not error <= bound:
        raise Wrong("silent", f"error {error:.3g} above {bound:.3g}")


@trial("intercept.exact_set")
def _(draw):
    W, b = draw.model(), draw.matrix(1, draw.k)
    Phi_0 = draw.matrix(draw.m, draw.p)
    if draw.chance(0.5):
        mean = draw.matrix(1, draw.p)
        Phi_0 = Phi_0 + mean
        if not np.max(np.abs(mean)) < 1e3 * np.max(np.abs(Phi_0 - mean)):
            draw.tame = False
    choices = [None, nearest.nearest, lambda A, W: gauge.orthonormal(W, len(A))]
    choose = choices[draw.rng.integers(3)]
    if draw.m < min(draw.p, draw.k) + 1 or choose is None and draw.m < draw.p + 1:
        draw.tame = False
    if not condition_is_mild(draw, W) or not np.all(np.isfinite(Phi_0)):
        draw.tame = False
    if not np.max(np.abs(b)) < 1e2 * float(np.max(np.abs(W))) * float(np.max(np.abs(Phi_0))):
        draw.tame = False  # predictions are rounded beside b
    lam = draw.lam(Phi_0)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = intercept.exact_set(Phi_0, W, b, lam, choose=choose)
    refuse_numpy(said)
    judge_intercept(draw, *found, W, b, lost=lost_of(W, said))


def judge_intercept(draw, Phi, Y, lam, W, b, lost=0.0):
    finite(Phi, Y)
    s, unit = oracle.singular_values(Phi)
    for W_S, b_S, Phi_c, Y_c in oracle.models_with_intercept(Phi, Y, lam):
        kappa = oracle.conditioning(Phi_c, Y_c, lam, W_S, rows=Phi, labels=Y) if np.any(W) else 1.0
        error = oracle.error(W_S, W)
        bound = BOUND * draw.eps * kappa + lost
        if not error <= bound:
            raise Wrong("silent", f"error of W {error:.3g}, bound {bound:.3g}, lam {lam:.3g}")
        size = oracle.norm(oracle.exact(b)) + oracle.norm(oracle.exact(Phi).sum(0) / len(Phi)) * oracle.norm(oracle.exact(W))
        size += oracle.norm(oracle.exact(Y))
        wrong = float(oracle.norm(b_S - oracle.exact(b)) / (size or 1))
        if not wrong <= bound + BOUND * draw.eps:
            raise Wrong("silent", f"error of b {wrong:.3g}, bound {bound:.3g}, lam {lam:.3g}")


@trial("intercept.fit")
def _(draw):
    Phi, Y = draw.matrix(draw.m, draw.p), draw.matrix(draw.m, draw.k)
    if draw.chance(0.5):
        Phi = Phi + draw.matrix(1, draw.p)
    lam = draw.lam(Phi)
    if not np.all(np.isfinite(Phi)):
        return
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = intercept.fit(Phi, Y, lam)
    refuse_numpy(said)
    finite(*found)
    if said:
        return
    errors = []
    for W_S, _, Phi_c, Y_c in oracle.models_with_intercept(Phi, Y, lam):
        kappa = oracle.conditioning(Phi_c, Y_c, lam, W_S, rows=Phi, labels=Y)
        error = oracle.error(W_S, found.W) if np.any(found.W) else float(oracle.norm(W_S) > 0)
        errors.append((error, BOUND * draw.eps * kappa))
    if not any(error <= bound for error, bound in errors):
        raise Wrong("silent", f"error, bound {errors[0]}, lam {lam:.3g}")


@trial("labels_only.least_squares")
def _(draw):
    Phi = draw.matrix(draw.m, draw.p)
    W = draw.model(Phi if draw.chance(0.5) else None)
    lam = draw.lam(Phi)
    rows = draw.matrix(draw.count(20), draw.p).astype(float)
    with np.errstate(all="ignore"):
        G = (rows.T @ rows).astype(draw.dtype)
    G = G if draw.chance(0.6) and np.all(np.isfinite(G)) else None
    minimise = "predictions" if G is not None and draw.chance(0.5) else "parameters"
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = labels_only.least_squares(Phi, W, lam, G=G, minimise=minimise)
    refuse_numpy(said)
    finite(found.Y_S, found.parameters)
    if not np.any(W):
        return
    for W_S in oracle.models(Phi, found.Y_S, lam):
        kappa = oracle.conditioning(Phi, found.Y_S, lam, W_S) * max(1.0, 1 / (oracle.error(W_S * 0, W) or 1))
        kappa *= max(1.0, float(oracle.norm(W_S) / oracle.norm(oracle.exact(W))))
        error = oracle.error(W_S, W)
        if not abs(error - found.parameters) <= BOUND * draw.eps * max(kappa, 1) and not said:
            raise Wrong("silent", f"misses {error:.3g}, says {found.parameters:.3g}, conditioning {kappa:.3g}, lam {lam:.3g}")


@trial("frontier.every_lambda")
def _(draw):
    Phi, Y = draw.matrix(draw.m, draw.p), draw.matrix(draw.m, draw.k)
    lam = draw.lam(Phi)
    if not np.any(Phi):
        draw.tame = False
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        Phi_S, Y_S = frontier.every_lambda(Phi, Y)
    refuse_numpy(said)
    finite(Phi_S, Y_S)
    errors = []
    cut = max(Phi.shape) * draw.eps
    for W in oracle.models(Phi, Y, lam, cut=cut):
        kappa = oracle.conditioning(Phi, Y, lam, W)
        size = oracle.norm(W)
        for W_S in oracle.models(Phi_S, Y_S, lam, cut=cut):
            difference = oracle.norm(W_S - W)
            errors.append((float(difference / (size or 1)), BOUND * draw.eps * kappa))
    if not any(error <= bound for error, bound in errors):
        raise Wrong("silent", f"error {errors[0][0]:.3g}, bound {errors[0][1]:.3g}, lam {lam:.3g}")


@trial("frontier.truncate")
def _(draw):
    W = draw.model()
    m = draw.count(draw.k)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = frontier.truncate(W, m)
    refuse_numpy(said)
    finite(found.W)
    s, unit = oracle.singular_values(W)
    lost = np.linalg.norm(s[m:]) * unit
    wrong = float(oracle.norm(oracle.exact(found.W) - oracle.exact(W)))
    if not abs(wrong - lost) <= 100 * draw.eps * s[0] * unit:
        raise Wrong("silent", f"distance {wrong:.3g}, least {lost:.3g}")
    if not found.excess <= 1.01 * lost * lost + 1e4 * (draw.eps * s[0] * unit) ** 2:
        raise Wrong("silent", f"excess {found.excess:.3g}, {lost * lost:.3g}")


@trial("deep_linear.points")
def _(draw):
    d = draw.count(9)
    T = draw.matrix(d, draw.p)
    b = draw.matrix(1, draw.p) if draw.chance(0.6) else None
    reach = T if b is None else np.concatenate([T, b])
    W = draw.model(reach)
    m = None if draw.chance(0.6) else draw.count(10)
    near = draw.matrix(m or draw.m, d) if draw.chance(0.4) else None
    Y = None
    if near is None and draw.chance(0.3):
        Y = labels_drawn(draw, W, m or draw.m)
        draw.tame = False
    rows = next((len(A) for A in (near, Y) if A is not None), m)
    r = min(draw.k, len(oracle.singular_values(reach)[0]))
    if rows is not None and rows < r + 1 or not condition_is_mild(draw, W, reach, T):
        draw.tame = False
    if near is not None and (not np.any(near) or not condition_is_mild(draw, reach, T)):
        draw.tame = False
    lam = 0.0 if draw.chance(0.5) else draw.lam(T)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = deep_linear.points(W, T, b, m=m, near=near, Y_S=Y, lam_S=lam)
    refuse_numpy(said)
    outside = 2 * max(1e-10, max(W.shape) * draw.eps)  # of the row space: its rtol
    judge_inputs(draw, found.X_S, found.Y_S, found.lam_S, T, b, W, lost_of(W, True) + outside)


def judge_inputs(draw, X, Y, lam, T, b, W, lost):
    """Features as the user computes them, in the dtype, and their exact training."""
    finite(X, Y)
    with np.errstate(all="ignore"):
        Phi = X @ T if b is None else X @ T + b
    finite(Phi)
    reach = np.linalg.norm(X.astype(float)) * np.linalg.norm(T.astype(float)) + (0 if b is None else len(X) ** 0.5 * np.linalg.norm(b))
    s, unit = oracle.singular_values(Phi)
    grown = max(1.0, reach / (s[0] * unit)) if s[0] else 1.0
    judge_set(draw, Phi, Y, lam, W, lost=lost, slack=grown)


@trial("recipe.distill")
def _(draw):
    d = max(draw.p, draw.count(9))
    A = draw.matrix(d, draw.p)
    c = draw.matrix(1, draw.p)[0] if draw.chance(0.4) else None
    W = draw.model()
    b = draw.matrix(1, draw.k) if draw.chance(0.4) else False
    if b is not False and not np.max(np.abs(b)) < 1e2 * np.max(np.abs(W)):
        draw.tame = False  # predictions are rounded beside b
    near = draw.matrix(draw.m, d) if draw.chance(0.4) else None
    Y = labels_drawn(draw, W, draw.m) if b is False and draw.chance(0.3) else None
    if near is not None or Y is not None or not condition_is_mild(draw, W, A, A):
        draw.tame = False
    lam = 0.0 if draw.chance(0.5) else within(draw, distill.largest_lam(W, Y)) if Y is not None else draw.lam(A)
    if Y is None and draw.chance(0.2):
        lam = None
    phi = maps.Linear(A, c)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = recipe.distill(phi, W, near=near, Y_S=Y, lam_S=lam, intercept=b)
    refuse_numpy(said)
    finite(found.X_S, found.Y_S)
    Phi = phi(found.X_S)
    if b is False:
        judge_certificate(found.certificate, oracle.worst(Phi, found.Y_S, found.lam_S, W))
        return
    size = oracle.norm(oracle.exact(b)) + oracle.norm(oracle.exact(Phi).sum(0) / len(Phi)) * oracle.norm(oracle.exact(W))
    for W_S, b_S, *_ in oracle.models_with_intercept(Phi, found.Y_S, found.lam_S):
        judge_certificate(found.certificate, oracle.error(W_S, W))
        wrong = float(oracle.norm(b_S - oracle.exact(b)) / (size or 1))
        if not wrong <= found.certificate.intercept_tolerance:
            raise Wrong("wrong", f"error of b {wrong:.3g}, certificate {found.certificate}")


@trial("krr.fit")
def _(draw):
    Phi, Y = draw.matrix(draw.m, draw.p), draw.matrix(draw.m, draw.k)
    lam = draw.lam(Phi)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        W = krr.fit(Phi, Y, lam)
    refuse_numpy(said)
    if not said:
        judge_model(draw, W, Phi, Y, lam)


def sums_conditioning(Phi, lam):
    """``(s_1^2 + lam) / (s_min^2 + lam)``, s of the features with columns of one size, lam in their units."""
    sizes = np.max(np.abs(Phi), axis=0)
    sizes = np.where(sizes > 0, sizes, 1.0)
    s = np.linalg.svd(Phi / sizes, compute_uv=False)
    least = lam / np.max(sizes) ** 2
    small = s[-1] ** 2 if len(s) == Phi.shape[1] else 0.0
    return float((s[0] ** 2 + least) / (small + least)) if small + least > 0 else math.inf


@trial("krr.path")
def _(draw):
    Phi, Y = draw.matrix(draw.m, draw.p), draw.matrix(draw.m, draw.k)
    lam = draw.lam(Phi)
    judge_sums(draw, Phi, Y, lam, lambda: krr.path(*krr.gram(Phi, Y), [lam])[0])


@trial("Statistics.path")
def _(draw):
    Phi, Y = draw.matrix(draw.m, draw.p), draw.matrix(draw.m, draw.k)
    lam = draw.lam(Phi)
    s = statistics.Statistics(draw.p, draw.k)
    s.update(Phi, Y)
    way = s.solve if draw.chance(0.3) else lambda lam: s.path([lam])[0]
    judge_sums(draw, Phi, Y, lam, lambda: way(lam))


def judge_sums(draw, Phi, Y, lam, train):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        W = train()
    refuse_numpy(said)
    finite(W)
    if said:
        return
    with np.errstate(all="ignore"):
        squared = sums_conditioning(Phi.astype(float), lam)
    errors = []
    for W_S in oracle.models(Phi.astype(float), Y.astype(float), lam):
        error = oracle.error(W_S, W) if np.any(W) else float(oracle.norm(W_S) > 0)
        errors.append((error, BOUND * len(W) * 2.0**-52 * squared))
    if errors[0][1] > USELESS:
        return  # rows that are dependent look the same in their sums
    if not any(error <= bound for error, bound in errors):
        raise Wrong("silent", f"error {errors[0][0]:.3g}, bound {errors[0][1]:.3g}, lam {lam:.3g}")


@trial("spectrum.models")
def _(draw):
    Phi, Y = draw.matrix(draw.m, draw.p), draw.matrix(draw.m, draw.k)
    lam = draw.lam(Phi)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        W = spectrum.models(spectrum.from_data(Phi, Y), [lam])[0]
    refuse_numpy(said)
    if not said:
        judge_model(draw, W, Phi, Y, lam)


def refuse_numpy(said):
    """Warnings that are not ours."""
    for warning in said:
        if issubclass(warning.category, RuntimeWarning):
            raise Wrong("crash", f"RuntimeWarning: {warning.message}")


# --------------------------------------------------------------------------- the search


def one(name, seed):
    """What a draw found: "ok" ("tame" where it must not be refused), "refused", or a finding's kind; and its words."""
    draw = Draw([seed, *map(ord, name)])
    try:
        TRIALS[name](draw)
    except Wrong as wrong:
        return wrong.kind, str(wrong)
    except (ValueError, TypeError) as error:
        if type(error).__name__ == "LinAlgError":
            return "crash", repr(error)
        if "contains NaN or Inf" in str(error) or isinstance(error, TypeError):
            return "crash", f"{error!r}"
        return ("overrefused" if draw.tame else "refused"), f"{type(error).__name__}: {error}"
    except Exception as error:
        return "crash", repr(error)
    return ("tame" if draw.tame else "ok"), ""


def search(names, seeds):
    """Counts by function, and every finding."""
    counts = {name: collections.Counter() for name in names}
    found = []
    for name in names:
        for seed in seeds:
            kind, said = one(name, seed)
            counts[name][kind] += 1
            if kind not in ("ok", "tame", "refused"):
                found.append((name, seed, kind, said))
    return counts, found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=100, help="of each function")
    parser.add_argument("--seed", type=int, default=0, help="the first")
    parser.add_argument("--only", nargs="*", default=list(TRIALS))
    options = parser.parse_args()
    counts, found = search(options.only, range(options.seed, options.seed + options.draws))
    for name, seed, kind, said in found:
        print(f"{name} {seed} {said if said.startswith(kind) else kind + ': ' + said}"[:300])
    for name, count in counts.items():
        print(f"{name:32}", dict(count))
    total = sum(map(collections.Counter.total, counts.values()))
    print(f"{total} draws:", dict(sum(counts.values(), collections.Counter())))


if __name__ == "__main__":
    main()
