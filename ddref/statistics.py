"""Statistics: the sums over samples from which ridge regression is trained, and nothing else of the data.

``G = Phi^T Phi`` (p, p), ``B = Phi^T Y`` (p, k), ``||Y||^2`` and the number of samples `n`. They can be streamed,
merged across machines, saved, added to and taken from; models for every `lam`, validation losses, generalised
cross-validation and (with a second look at the rows) leave-one-out errors follow from them.

Sums are kept in float64 whatever the dtype of the batches, in place, in three p x p matrices: memory does not depend on
the number of samples, and an update that fails changes nothing. NumPy and PyTorch arrays alike. CPU tensors are
handed to NumPy without a copy: its product of a matrix with its own transpose does half the work. On other devices the
product is formed by blocks, five eighths of the work. Gradients do not flow through statistics.

Copied alone, give this file another name: `statistics` is a module of the standard library.
"""

import copy
import math
import operator
import os
import sys
import uuid
from pathlib import Path
from typing import NamedTuple

import array_api_compat
import numpy as np
from array_api_compat import array_namespace, device

FORMAT = 1  # of saved files
CHUNK = 4096  # rows whose product is formed at a time
EPS = {"float64": 2.0**-52, "float32": 2.0**-23}
NOT_ADDED = "rows may have been removed that had not been added"


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


class Choice(NamedTuple):
    """A regularisation chosen among several, by `Statistics.validation`, `.gcv` or `.leave_one_out`."""

    lam: float  # the value with the smallest score (the first, where scores tie)
    W: object  # (p, k), the model for it
    scores: list  # mean squared error a sample, summed over the k targets: one number for each value tried


class Statistics:
    """Sums over samples: ``G = Phi^T Phi``, ``B = Phi^T Y``, ``||Y||^2`` and their number.

    Parameters
    ----------
    p, k : int
        Columns of the features and of the targets.
    like : array, optional
        The sums live in the library and on the device of this array. Default: of the first batch.
    products : {"float64", "float32"}
        With "float32", batches must be float32 and the product of each chunk of rows is formed in float32, then added
        in float64. Up to twice as fast on a CPU, more on most graphics cards; the relative error of `G` rises from
        about 1e-16 to between 1e-7 and 1e-6, and that of `W` with it: 1e-3 was measured where `lam` is 1e-6 of the
        largest eigenvalue.
    chunk : int
        Rows whose product is formed at a time.

    Attributes
    ----------
    p, k : int
    n : int
        Samples added minus samples removed.
    yy : float
        ``||Y||_F^2``.
    G, B : array (p, p), array (p, k), float64
        Copies.
    cancellation : float
        How much larger the sums once were: squares ever added or removed over squares left. The relative rounding error
        of `G` is about this times eps; 1 where nothing was removed.

    Raises
    ------
    ValueError, TypeError
        Shapes that do not fit, NaN or Inf, integers, mixed libraries or devices, squares that overflow. The message
        says what to do; the statistics stay as they were.

    Notes
    -----
    Book: eq-statistics. ``a + b`` holds the samples of both, ``a - b`` those of `a` without those of `b`;
    ``a += b`` does it in place.

    Examples
    --------
    >>> import numpy as np
    >>> s = Statistics(1, 1).update(np.array([[1.0], [2.0], [2.0]]), np.array([[1.0], [3.0], [1.0]]))
    >>> s
    Statistics(p=1, k=1, n=3)
    >>> s.solve(9.0)  # 9 / (9 + 9)
    array([[0.5]])
    >>> s.remove(np.array([[2.0]]), np.array([[3.0]])).solve(1.0)  # 3 / (5 + 1)
    array([[0.5]])
    """

    def __init__(self, p, k, *, like=None, products="float64", chunk=CHUNK):
        self.p, self.k, self._chunk = _count(p, "p"), _count(k, "k"), _count(chunk, "chunk")
        if products not in ("float64", "float32"):
            raise ValueError(f'products = {products!r} must be "float64" or "float32"')
        self.products, self._eps = products, EPS[products]
        self.n, self.yy = 0, 0.0
        self._touched = self._touched_yy = 0.0  # traces of all ever added or removed: rounding goes with them
        self._G = self._B = self._place = None
        self._work = {}
        if like is not None:
            self._start(like)

    def __repr__(self):
        return f"Statistics(p={self.p}, k={self.k}, n={self.n})"

    def __getstate__(self):
        return {**self.__dict__, "_work": {}}

    # -- samples in and out

    def update(self, Phi, Y):
        """Add samples: rows of `Phi` (n, p) with the rows of `Y` (n, k). Returns the statistics.

        Large arrays, memory-mapped files among them, are read `chunk` rows at a time and never copied as a whole.
        """
        return self._change(Phi, Y, 1)

    def remove(self, Phi, Y):
        """Take samples away again, exactly as they were added. Returns the statistics.

        Exact up to rounding relative to all that was ever there, see `cancellation`. That these rows were added is for
        the caller to know; it is refused only when more samples or larger squares would be taken than there are.
        """
        return self._change(Phi, Y, -1)

    def __iadd__(self, other):
        if not isinstance(other, Statistics):
            return NotImplemented
        return self._merge(other, 1)

    def __isub__(self, other):
        if not isinstance(other, Statistics):
            return NotImplemented
        return self._merge(other, -1)

    def __add__(self, other):
        return copy.deepcopy(self).__iadd__(other)

    def __sub__(self, other):
        return copy.deepcopy(self).__isub__(other)

    def __radd__(self, other):  # so that sum(parts) works
        return copy.deepcopy(self) if isinstance(other, int) and other == 0 else NotImplemented

    def all_reduce(self, group=None):
        """Replace the sums by those over all processes of a `torch.distributed` group, with one all-reduce.

        Every process ends with the same numbers. Each may have added any number of samples, none included. Call it
        once: a second call would count every sample as often as there are processes.

        Parameters
        ----------
        group : optional
            The group of processes. Default: all. `gloo` reduces NumPy arrays and CPU tensors, `nccl` CUDA tensors.

        Returns
        -------
        Statistics
            These statistics, changed in place.
        """
        import torch
        import torch.distributed as dist

        if not (dist.is_available() and dist.is_initialized()):
            raise ValueError("torch.distributed is not initialised: call init_process_group, or start with torchrun")
        if self._G is None:
            self._start(np.zeros(1))
        if not (self._place == "numpy" or self._place.startswith("torch")):
            raise TypeError(f"all_reduce needs NumPy or PyTorch arrays; these statistics are kept by {self._place}")
        G, B = (torch.from_numpy(A) if isinstance(A, np.ndarray) else A for A in (self._G, self._B))
        if "nccl" in str(dist.get_backend(group)) and G.device.type == "cpu":
            raise ValueError("nccl reduces CUDA tensors and these statistics are on the CPU: use gloo, or pass like=")
        code = float(self.products == "float32")
        shape = torch.tensor([self.p, -self.p, self.k, -self.k, code, -code], dtype=torch.float64, device=G.device)
        dist.all_reduce(shape, op=dist.ReduceOp.MAX, group=group)  # six numbers, so that a mistake is not a hang
        p, p_least, k, k_least, most, least = shape.tolist()
        if (p, k, most) != (-p_least, -k_least, -least):
            raise ValueError(
                f"the processes differ: p from {-p_least:.0f} to {p:.0f}, k from {-k_least:.0f} to {k:.0f}"
                + (", products in float32 and in float64" if most != -least else "")
            )
        numbers = torch.tensor([self.n, self.yy, self._touched, self._touched_yy], dtype=torch.float64, device=G.device)
        flat = torch.cat([G.reshape(-1), B.reshape(-1), numbers])
        dist.all_reduce(flat, group=group)
        G.copy_(flat[: G.numel()].reshape(G.shape))
        B.copy_(flat[G.numel() : -4].reshape(B.shape))
        n, self.yy, self._touched, self._touched_yy = flat[-4:].tolist()
        self.n = round(n)  # exact: float64 counts to 9e15
        return self

    # -- what was summed

    @property
    def G(self):
        return self._out(self._started()._G, copied=True)

    @property
    def B(self):
        return self._out(self._started()._B, copied=True)

    @property
    def cancellation(self):
        if self._touched == 0:
            return 1.0
        left = _trace(self._G)
        return max(1.0, self._touched / left) if left > 0 else math.inf

    # -- models

    def solve(self, lam, *, rtol=None):
        """Model ``W = (G + lam I)^-1 B``, the least-norm one at ``lam = 0``.

        Parameters
        ----------
        lam : float
            Regularisation, added to the diagonal as given.
        rtol : float, optional
            Eigenvalues up to `rtol` times the largest count as zero where `lam` does not outweigh them. Default:
            p * eps * `cancellation`. With products in float32: where noise is seen, four times the most negative
            eigenvalue; p * eps of float32 would drop directions that are still good.

        Returns
        -------
        array (p, k), float64

        Raises
        ------
        ValueError
            Without samples, or when `G` is not positive semi-definite: rows were removed that had not been added.

        Notes
        -----
        Book: eq-ridge. The relative error of `W` is about ``eps * cancellation * (s_1^2 + lam) / (s_min^2 + lam)``, s
        the singular values of the features. Where that is too much, the rows are needed and not their sums.
        """
        lam = check_lam(lam)
        self._need_samples()
        if not lam > self._cutoff(rtol) * _trace(self._G):  # the trace bounds the largest eigenvalue
            return self.path([lam], rtol=rtol)[0]
        xp = array_namespace(self._G)
        A = self._G + lam * xp.eye(self.p, dtype=self._G.dtype, device=device(self._G))
        try:
            xp.linalg.cholesky(A)  # only to refuse what is not positive definite
        except Exception as error:
            raise ValueError(f"G + lam I is not positive definite at lam = {lam}: {NOT_ADDED}") from error
        return self._out(xp.linalg.solve(A, self._B))

    def path(self, lams, *, rtol=None):
        """Models for every regularisation in `lams` from one eigendecomposition of `G`.

        Parameters
        ----------
        lams : sequence of float
        rtol : float, optional
            As in `solve`.

        Returns
        -------
        array (len(lams), p, k), float64

        Notes
        -----
        Book: eq-path. Eigenvalues below the cutoff are dropped where `lam` is smaller than the smallest one kept.
        """
        lams = _grid(lams)
        xp, w, V, gain = self._eigen(rtol)
        C = V.mT @ self._B
        return self._out(xp.stack([V @ (gain(lam)[:, None] * C) for lam in lams]))

    def squared_loss(self, W):
        """``||Phi W - Y||_F^2`` over the samples in these statistics, without their rows.

        Parameters
        ----------
        W : array (p, k), or (L, p, k) for L models

        Returns
        -------
        float, or list of L floats
            Sums over samples and targets; divide by `n` for the mean.

        Notes
        -----
        Book: eq-loss. ``||Y||^2 - 2 <W, B> + <W, G W>``: an absolute error of about eps times the largest of the three
        terms remains, and a result below zero, which only rounding can produce, is returned as zero.
        """
        self._need_samples()
        W = self._in(W, "W")
        if W.ndim == 3:
            return [self.squared_loss(self._out(W[i, :, :])) for i in range(W.shape[0])]
        xp = check_arrays(W=W)
        if tuple(W.shape) != (self.p, self.k):
            raise ValueError(f"W has shape {tuple(W.shape)}, these statistics need ({self.p}, {self.k})")
        W = xp.astype(W, xp.float64)
        return max(0.0, self.yy - 2 * float(xp.sum(W * self._B)) + float(xp.sum(W * (self._G @ W))))

    # -- choosing lam

    def validation(self, lams, held, *, rtol=None):
        """The value of `lams` whose model has the least squared loss on held-out samples, known by their statistics.

        Parameters
        ----------
        lams : sequence of float
        held : Statistics
            Of samples that are not among these.

        Returns
        -------
        Choice
            Its model is trained on these samples only; ``(self + held).solve(choice.lam)`` uses all of them.

        Notes
        -----
        Book: eq-loss. Squared loss is what statistics can give. The best accuracy may lie at another `lam`: to know it,
        apply the models of `path` to the held-out rows.
        """
        if not isinstance(held, Statistics):
            raise TypeError(f"held must be Statistics of the held-out samples, got {type(held).__name__}")
        held._need_samples()
        self._same_shape(held)
        lams, models = _grid(lams), self.path(lams, rtol=rtol)
        return self._choose(lams, [loss / held.n for loss in held.squared_loss(models)], lambda i: models[i, ...])

    def gcv(self, lams, *, rtol=None):
        """The value of `lams` with the least generalised cross-validation score; no held-out samples are needed.

        Returns
        -------
        Choice

        Raises
        ------
        ValueError
            Also where the model has as many degrees of freedom as there are samples (`lam` = 0, n <= p).

        Notes
        -----
        Book: eq-gcv. Source: Golub, Heath and Wahba (1979). A training loss below ``p * eps * ||Y||^2`` is rounding,
        and counts as that much.
        """
        lams = _grid(lams)
        xp, w, V, gain = self._eigen(rtol)
        C = V.mT @ self._B
        squares, floor = xp.sum(C * C, axis=1), self.p * self._eps * self.cancellation * self.yy
        scores = []
        for lam in lams:
            g = gain(lam)
            loss = max(floor, self.yy - float(xp.sum(squares * g * (2 - g * w))))
            free = self.n - float(xp.sum(g * w))
            if not free > self.p * self._eps * self.n:
                raise ValueError(
                    f"at lam = {lam} the model has as many degrees of freedom as samples ({self.n}): generalised "
                    "cross-validation is 0/0 there; leave out this value, or use held-out samples"
                )
            scores.append(self.n * loss / free**2)
        return self._choose(lams, scores, lambda i: self._out(V @ (gain(lams[i])[:, None] * C)))

    def leave_one_out(self, lams, rows, *, rtol=None):
        """The value of `lams` with the least leave-one-out error, exact, from a second pass over the samples.

        Each sample's error is that of the model trained on all others. It needs the leverages of the samples, hence
        their rows: statistics alone do not hold them.

        Parameters
        ----------
        lams : sequence of float
        rows : iterable of (Phi, Y)
            All the samples again, in batches of any size. For arrays at hand: ``[(Phi, Y)]``.

        Returns
        -------
        Choice

        Raises
        ------
        ValueError
            Also where the rows are not as many as the samples here, and where a sample has leverage 1: without it the
            model is not determined (only at a tiny `lam`).

        Notes
        -----
        Book: eq-loo. Source: Allen (1974), as PRESS; ``r_i / (1 - h_i)`` with ``h_i = phi_i (G + lam I)^-1 phi_i^T``.
        """
        lams = _grid(lams)
        xp, w, V, gain = self._eigen(rtol)
        C = V.mT @ self._B
        scores, seen, smallest = [0.0] * len(lams), 0, 1e3 * max(self._eps, self.p * 2.0**-52 * self.cancellation)
        for Phi, Y in rows:
            for A, T in self._chunks(Phi, Y):
                Z, seen = xp.astype(A, xp.float64) @ V, seen + A.shape[0]
                Z2, T = Z * Z, xp.astype(T, xp.float64)
                for i, lam in enumerate(lams):
                    g = gain(lam)
                    free = 1 - Z2 @ g
                    if not bool(xp.all(free > smallest)):
                        raise ValueError(
                            f"at lam = {lam} a sample has leverage 1: without it the model is not determined; "
                            "leave out this value, or use held-out samples"
                        )
                    errors = (T - Z @ (g[:, None] * C)) / free[:, None]
                    scores[i] += float(xp.sum(errors * errors)) / self.n
        if seen != self.n:
            raise ValueError(f"rows has {seen} samples and these statistics hold {self.n}; the same samples are needed")
        return self._choose(lams, scores, lambda i: self._out(V @ (gain(lams[i])[:, None] * C)))

    # -- files

    def save(self, path, *, note=""):
        """Write the sums to a file, whole or not at all: what was there is replaced once the new file is complete.

        Parameters
        ----------
        path : str or path
            NumPy's npz format, without pickle; the name is taken as given.
        note : str
            Which samples these are; `load` can insist on it.
        """
        self._started()
        path = Path(path)
        arrays = {
            "format": np.int64(FORMAT), "shape": np.array([self.p, self.k, self.n], dtype=np.int64),
            "numbers": np.array([self.yy, self._touched, self._touched_yy]), "products": np.array(self.products),
            "note": np.array(str(note)), "G": _numpy(self._G), "B": _numpy(self._B),
        }  # fmt: skip
        part = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.part")
        try:
            with open(part, "xb") as file:
                np.savez(file, **arrays)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)

    @classmethod
    def load(cls, path, *, like=None, note=None):
        """Read what `save` wrote.

        Parameters
        ----------
        path : str or path
        like : array, optional
            The sums go to the library and device of this array. Default: NumPy.
        note : str, optional
            Refuse the file unless it was saved with this note.

        Returns
        -------
        Statistics

        Raises
        ------
        FileNotFoundError
        ValueError
            For a file that is cut short, damaged, of another kind or format, or inconsistent in itself.
        """
        with open(path, "rb") as file:
            try:
                shape, numbers, products, found, G, B = _read(file)
            except Exception as error:  # zipfile, zlib and NumPy raise half a dozen types on damaged files
                raise ValueError(f"{path} does not hold statistics: {error}") from error
        if note is not None and found != note:
            raise ValueError(f"{path} holds the statistics of {found!r}, not of {note!r}")
        statistics = cls(shape[0], shape[1], products=products)
        statistics._start(np.zeros(1) if like is None else like)
        statistics.n, (statistics.yy, statistics._touched, statistics._touched_yy) = shape[2], numbers
        xp = array_namespace(statistics._G)
        statistics._G, statistics._B = (xp.asarray(A, device=device(statistics._G)) for A in (G, B))
        return statistics

    # -- inside

    def _change(self, Phi, Y, sign):
        fresh = self._G is None
        try:
            return self._merge(self._sums(Phi, Y), sign)
        except BaseException:
            if fresh:  # the library of a batch that was refused does not count
                self._G = self._B = self._place = None
                self._work = {}
            raise

    def _sums(self, Phi, Y):
        """Statistics of one batch; their matrices are work space of these, good until the next call."""
        self._shapes(Phi, Y)
        Phi, Y = self._in(Phi, "Phi"), self._in(Y, "Y")
        part = Statistics(self.p, self.k, products=self.products)
        part._place = self._place
        part._G, part._B = self._space("G"), self._space("B")
        xp = array_namespace(self._G)
        dtype = getattr(xp, self.products)
        for A, T in self._chunks(Phi, Y):
            if self.products == "float32" and A.dtype != dtype:
                raise TypeError(f'Phi and Y have dtype {A.dtype}; products="float32" needs float32')
            T_64 = xp.astype(T, xp.float64, copy=False)
            part.yy += float(xp.sum(T_64 * T_64))
            A, T = xp.astype(A, dtype, copy=False), xp.astype(T, dtype, copy=False)
            with np.errstate(over="ignore", invalid="ignore"):  # refused below
                B = xp.astype(A.mT @ T, xp.float64, copy=False)
            if part.n == 0 and self.products == "float64":
                _square(A, part._G)
            else:
                _square(A, product := self._space("product"))
                part._G = _plus(part._G, product, 1, part._G) if part.n else xp.astype(product, xp.float64)
            part._B = _plus(part._B, B, 1, part._B) if part.n else B
            part.n += A.shape[0]
        part._touched, part._touched_yy = _trace(part._G), part.yy
        if not part._touched + part.yy < math.inf:  # a NaN or Inf in the batch gets here, too: no pass to look for them
            self._refuse_values(Phi, Y)
            raise ValueError(f"the squares of Phi or Y overflow {self.products}: scale them; nothing was changed")
        if part._touched == 0 and bool(xp.any(Phi[:: max(1, part.n // 64), :] != 0)):
            raise ValueError(f"the squares of Phi underflow {self.products} to 0: scale them; nothing was changed")
        return part

    def _merge(self, other, sign):
        """Add or take away the sums of `other`: everything, or nothing where it is refused or interrupted."""
        self._same_shape(other)
        if other._G is None:
            return self
        if self._G is None:
            self._start(other._out(other._G))
        if other._place != self._place:
            raise TypeError(
                f"statistics kept by {self._place} and by {other._place} do not mix: save one, load it with like="
            )
        n, yy = self.n + sign * other.n, self.yy + sign * other.yy
        touched, touched_yy = self._touched + other._touched, self._touched_yy + other._touched_yy
        if n < 0:
            raise ValueError(f"{other.n} samples cannot be removed: there are {self.n}")
        xp = array_namespace(self._G)
        if sign < 0:
            left = xp.linalg.diagonal(self._G) - xp.linalg.diagonal(other._G)
            worst = int(xp.argmin(left))
            if float(left[worst]) < -100 * self._eps * touched:
                raise ValueError(
                    f"the sum of squares of feature {worst} would become {float(left[worst]):.3g}: these rows were not "
                    "among the samples; nothing was changed"
                )
            if yy < -100 * self._eps * touched_yy:
                raise ValueError(f"||Y||^2 would become {yy:.3g}: these targets were not among the samples")
            yy = max(0.0, yy)
        if not touched < math.inf:
            raise ValueError("the sums overflow float64: scale the features; nothing was changed")
        G, B = (_plus(*pair, sign, self._space(name)) for name, pair in
                (("G", (self._G, other._G)), ("B", (self._B, other._B))))  # fmt: skip
        if n == 0:  # nothing is left, rounding included
            G[:, :], B[:, :], yy, touched, touched_yy = 0.0, 0.0, 0.0, 0.0, 0.0
        work = {**self._work, "G": self._G, "B": self._B}  # the old sums are the next work space
        now = {"n": n, "yy": yy, "_touched": touched, "_touched_yy": touched_yy, "_G": G, "_B": B, "_work": work}
        self.__dict__.update(now)  # at once, for interrupts
        return self

    def _space(self, name):
        """Work space: `G`, `B` for the sums of a batch, `product` for the product of a chunk."""
        if name not in self._work:
            xp, like = array_namespace(self._G), self._B if name == "B" else self._G
            dtype = getattr(xp, self.products) if name == "product" else xp.float64
            self._work[name] = xp.zeros_like(like, dtype=dtype)
        return self._work[name]

    def _start(self, like):
        """Zero sums in the library and on the device of `like`; those of CPU tensors are kept as NumPy arrays."""
        place, where = _place(like, "like"), device(like)
        xp, where = (array_namespace(np.zeros(1)), "cpu") if place == "torch cpu" else (array_namespace(like), where)
        try:
            self._G, self._B = (xp.zeros((self.p, j), dtype=xp.float64, device=where) for j in (self.p, self.k))
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(
                f"statistics are summed in float64, which device {where} does not have; "
                "move the arrays to the CPU first"
            ) from error
        self._place = place

    def _started(self):
        if self._G is None:
            self._start(np.zeros(1))
        return self

    def _in(self, A, name):
        """`A` as it is kept inside, or refused where it is of another library or on another device."""
        place = _place(A, name)
        if self._G is None:
            self._start(A)
        if place != self._place:
            kind = ValueError if place.partition(" ")[0] == self._place.partition(" ")[0] else TypeError
            raise kind(
                f"{name} is an array of {place} and these statistics are kept by {self._place}: convert it, or make "
                "the statistics with like= (load has it too)"
            )
        A = A.detach() if place.startswith("torch") else A
        return A.numpy() if place == "torch cpu" else A

    def _out(self, A, copied=False):
        """An inside array in the library of the batches."""
        if isinstance(A, np.ndarray):
            A = A.copy() if copied else A
            return sys.modules["torch"].from_numpy(A) if self._place == "torch cpu" else A
        return A + 0.0 if copied else A

    def _shapes(self, Phi, Y):
        """Refuse what cannot be a batch for these statistics; values are not looked at."""
        for name, A, letter in (("Phi", Phi, "p"), ("Y", Y, "k")):
            if getattr(A, "ndim", None) != 2 or 0 in A.shape:
                check_arrays(**{name: A})  # refuses it by name
            if A.shape[1] != getattr(self, letter):
                columns = getattr(self, letter)
                raise ValueError(f"{name} has {A.shape[1]} columns and these statistics have {letter} = {columns}")
        if Phi.shape[0] != Y.shape[0]:
            raise ValueError(f"Phi has {Phi.shape[0]} rows and Y has {Y.shape[0]}; rows are samples and must match")
        check_arrays(**{name: array_namespace(A).zeros_like(A[:1, :]) for name, A in (("Phi", Phi), ("Y", Y))})

    def _chunks(self, Phi, Y):
        """Pieces of a batch: slices, not copies."""
        for start in range(0, Phi.shape[0], self._chunk):
            rows = slice(start, min(start + self._chunk, Phi.shape[0]))
            yield Phi[rows, :], Y[rows, :]

    def _refuse_values(self, Phi, Y):
        """Say in which rows there is a NaN or Inf, if there is one."""
        start = 0
        for A, T in self._chunks(Phi, Y):
            try:
                check_arrays(Phi=A, Y=T)
            except ValueError as error:
                raise ValueError(f"{error} (rows {start} to {start + len(A) - 1}); nothing was changed") from error
            start += len(A)

    def _same_shape(self, other):
        for name in ("p", "k", "products"):
            if getattr(self, name) != getattr(other, name):
                raise ValueError(
                    f"these statistics have {name} = {getattr(self, name)}, the others {name} = {getattr(other, name)}"
                )

    def _need_samples(self):
        if self.n == 0:
            raise ValueError("there are no samples in these statistics: update them first")
        if self.cancellation * self._eps > 1e-2:
            raise ValueError(
                f"fewer than two digits of G are left: it once was {self.cancellation:.1e} times larger; sum the "
                "samples that remain anew"
            )

    def _cutoff(self, rtol):
        return self.p * self._eps * self.cancellation if rtol is None else check_lam(rtol, "rtol")

    def _eigen(self, rtol):
        """The namespace, eigenvalues and eigenvectors of G, and the function lam -> 1 / (w + lam) on what is kept."""
        self._need_samples()
        xp = array_namespace(self._G)
        w, V = xp.linalg.eigh(self._G)
        largest = float(xp.max(xp.abs(w)))
        cut = self._cutoff(rtol) * largest
        if float(w[0]) < -cut:
            raise ValueError(
                f"G is not positive semi-definite, its eigenvalues lie between {float(w[0]):.3g} and "
                f"{float(w[-1]):.3g}: {NOT_ADDED}"
            )
        if rtol is None and self.products == "float32":
            cut = max(self.p * 2.0**-52 * self.cancellation * largest, -4 * float(w[0]))
        w = xp.where(w > 0, w, xp.zeros_like(w))
        significant = w > cut
        smallest_kept = xp.min(xp.where(significant, w, w[-1]))

        def gain(lam):
            keep = (significant | (smallest_kept <= lam)) & (w + lam > 0)
            if float(w[-1]) > 0 and not bool(xp.any(keep)):
                raise ValueError(
                    f"every eigenvalue of G lies below the cutoff {cut:.3g} (it once was {self.cancellation:.1e} times "
                    f"larger) and lam = {lam} too: sum the samples that remain anew, or use a larger lam"
                )
            return xp.where(keep, 1 / xp.where(keep, w + lam, xp.ones_like(w)), xp.zeros_like(w))

        return xp, w, V, gain

    def _choose(self, lams, scores, model):
        best = min(range(len(lams)), key=scores.__getitem__)
        return Choice(lams[best], model(best), scores)


def accumulate(loader, phi=None, *, classes=None, into=None, products="float64", progress=None):
    """Statistics of everything that `loader` gives, in one pass.

    Parameters
    ----------
    loader : iterable of (X, Y)
        Batches of any size: a list, a generator over memory-mapped files, a `torch.utils.data.DataLoader`. Batches of
        fewer rows than `CHUNK` are put together first, so that small ones cost no more.
    phi : callable, optional
        Feature map, from a batch `X` to an array (rows, p). Default: `X` itself.
    classes : int, optional
        Number of classes: the second part of each batch holds integers (rows,) and becomes one-hot rows.
    into : Statistics, optional
        Add to these. Default: new ones, in the library and on the device of the first features.
    products : {"float64", "float32"}
        As in `Statistics`, for new ones.
    progress : callable, optional
        Called with the number of samples read so far, after every batch.

    Returns
    -------
    Statistics

    Raises
    ------
    ValueError, TypeError
        With the number of the batch. What came before it stays counted in `into`.

    Notes
    -----
    Book: eq-statistics. `ddref.distributed` adds several processes, a progress bar and resuming.

    Examples
    --------
    >>> import numpy as np
    >>> X, y = np.array([[1.0], [2.0], [3.0]]), np.array([0, 1, 1])
    >>> s = accumulate([(X[:2], y[:2]), (X[2:], y[2:])], classes=2)
    >>> s.n, s.G, s.B
    (3, array([[14.]]), array([[1., 5.]]))
    """
    statistics, gathered, rows, seen, first = into, None, 0, 0, 1

    def flush(last):
        nonlocal rows, first
        if rows:
            _numbered(first, last, statistics.update, gathered[0][:rows, :], gathered[1][:rows, :])
        rows, first = 0, last + 1

    number = 0
    for number, batch in enumerate(loader, 1):
        Phi, Y = _numbered(number, number, _features, batch, phi, classes)
        if statistics is None:
            if getattr(Phi, "ndim", None) != 2 or Y.ndim != 2:
                _numbered(number, number, check_arrays, Phi=Phi, Y=Y)
            statistics = _numbered(number, number, Statistics, Phi.shape[1], Y.shape[1], like=Phi, products=products)
        _numbered(number, number, statistics._shapes, Phi, Y)
        kind, count = (_place(Phi, "Phi"), Phi.dtype), Phi.shape[0]
        if rows and (kind != gathered[2] or rows + count > CHUNK):
            flush(number - 1)
        if count >= CHUNK:
            _numbered(number, number, statistics.update, Phi, Y)
            first = number + 1
        else:
            if gathered is None or kind != gathered[2]:
                xp = array_namespace(Phi)
                space = [xp.empty((CHUNK, A.shape[1]), dtype=A.dtype, device=device(A)) for A in (Phi, Y)]
                gathered = (*space, kind)
            gathered[0][rows : rows + count, :], gathered[1][rows : rows + count, :] = Phi, Y
            rows += count
        seen += count
        if progress is not None:
            progress(seen)
    if statistics is None:
        raise ValueError("the loader has no batches")
    flush(number)
    return statistics


def _features(batch, phi, classes):
    """Features and targets of one batch, without gradients."""
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise TypeError(f"a batch must be a pair (X, Y), got {type(batch).__name__}")
    X, Y = batch
    Phi = X if phi is None else phi(X)
    Phi = Phi.detach() if hasattr(Phi, "detach") else Phi
    if classes is not None:
        return Phi, _one_hot(Y, _count(classes, "classes"), Phi)
    if getattr(Y, "ndim", None) == 1:
        raise ValueError(
            f"Y must have 2 dimensions, not shape {tuple(Y.shape)}: pass classes= for classes, Y[:, None] for numbers"
        )
    return Phi, Y.detach() if hasattr(Y, "detach") else Y


def _one_hot(y, classes, Phi):
    """Rows with a one at the class, like `Phi`."""
    y = np.asarray(y.cpu() if hasattr(y, "cpu") else y)
    if y.ndim != 1 or y.dtype.kind not in "iu":
        raise TypeError(f"with classes= the targets must be integers (rows,), got {y.dtype} of shape {y.shape}")
    if y.size and not 0 <= y.min() <= y.max() < classes:
        raise ValueError(f"classes must lie in 0..{classes - 1}, they reach from {y.min()} to {y.max()}")
    rows, xp = np.zeros((len(y), classes)), array_namespace(Phi)
    rows[np.arange(len(y)), y] = 1.0
    return xp.asarray(rows, dtype=Phi.dtype, device=device(Phi))


def _numbered(first, last, function, *arguments, **options):
    """Call `function`; an error names the batches."""
    try:
        return function(*arguments, **options)
    except (TypeError, ValueError) as error:
        raise type(error)(f"batch{f' {last}' if first == last else f'es {first} to {last}'}: {error}") from error


def _square(A, out):
    """``A^T A`` into `out`, with less work than a general product where the library allows it."""
    if isinstance(A, np.ndarray):
        with np.errstate(over="ignore", invalid="ignore"):  # refused by the caller
            np.matmul(A.T, A, out=out)  # NumPy sees one array twice and forms one triangle, even with out=
    elif array_api_compat.is_torch_array(A):
        p = A.shape[1]
        step = max(128, -(-p // 4))
        for i in range(0, p, step):  # the lower blocks; the others are their mirror images
            block = slice(i, min(i + step, p))
            out[block, : block.stop] = A[:, block].mT @ A[:, : block.stop]
            out[:i, block] = out[block, :i].mT
    else:
        out[:, :] = A.mT @ A


def _plus(A, B, sign, out):
    """``A + sign * B``, in `out` where the library can write there."""
    if isinstance(A, np.ndarray):
        return np.add(A, B, out=out) if sign > 0 else np.subtract(A, B, out=out)
    if array_api_compat.is_torch_array(A):
        return sys.modules["torch"].add(A, B, alpha=sign, out=out)
    return A + sign * array_namespace(A).astype(B, A.dtype)


def _place(A, name):
    """Library and device of an array, in words."""
    if array_api_compat.is_numpy_array(A):
        return "numpy"
    if array_api_compat.is_torch_array(A):
        return f"torch {A.device}"
    try:
        array_namespace(A)
    except TypeError as error:
        raise TypeError(f"{name} must be a NumPy or PyTorch array, got {type(A).__name__}") from error
    return f"{type(A).__module__.partition('.')[0]} {device(A)}"


def _trace(A):
    xp = array_namespace(A)
    return float(xp.linalg.trace(xp.astype(A, xp.float64, copy=False)))


def _count(value, name):
    """`value` as an int of at least 1."""
    try:
        number = operator.index(value)
    except TypeError as error:
        raise TypeError(f"{name} must be an integer, got {type(value).__name__}") from error
    if number < 1:
        raise ValueError(f"{name} = {number} must be at least 1")
    return number


def _grid(lams):
    if not hasattr(lams, "__iter__"):
        raise TypeError(f"lams must be a sequence of numbers, got {type(lams).__name__}; for one value pass [lam]")
    lams = [check_lam(lam, "a value of lams") for lam in lams]
    if not lams:
        raise ValueError("lams is empty")
    return lams


def _numpy(A):
    return A if isinstance(A, np.ndarray) else np.asarray(A.cpu() if hasattr(A, "cpu") else A)


def _read(file):
    """The checked content of a saved file: (p, k, n), (||Y||^2, two traces), products, note, G, B."""
    stored = np.load(file, allow_pickle=False)
    if not isinstance(stored, np.lib.npyio.NpzFile) or "format" not in stored.files:
        raise ValueError("it was not written by Statistics.save")
    with stored:
        sizes = {info.filename.removesuffix(".npy"): info.file_size for info in stored.zip.infolist()}
        if max((size for name, size in sizes.items() if name not in "GB"), default=0) > 2**16:
            raise ValueError("a field that should be short is not")
        version = stored["format"]
        if version.shape != () or version != FORMAT:
            raise ValueError(f"its format is {version}, this version reads {FORMAT}")
        missing = {"shape", "numbers", "products", "note", "G", "B"} - sizes.keys()
        if missing:
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
        shape, numbers = stored["shape"], stored["numbers"]
        if (shape.shape, shape.dtype.kind, numbers.shape, numbers.dtype.kind) != ((3,), "i", (3,), "f"):
            raise ValueError("its fields shape and numbers are of another kind")
        p, k, n = (int(value) for value in shape)
        squares = yy, touched, touched_yy = tuple(float(value) for value in numbers)
        if min(p, k) < 1 or n < 0 or not all(0 <= value < math.inf for value in squares):
            raise ValueError(f"p, k, n = {p}, {k}, {n} or the squares {yy}, {touched}, {touched_yy} are impossible")
        for name, columns in (("G", p), ("B", k)):
            if not 0 <= sizes[name] - 8 * p * columns <= 2**12:
                raise ValueError(f"{name} has {sizes[name]} bytes and should have {8 * p * columns}")
        G, B = stored["G"], stored["B"]
        products, note = str(stored["products"]), str(stored["note"])
    if (G.shape, B.shape, G.dtype, B.dtype) != ((p, p), (p, k), np.float64, np.float64):
        raise ValueError(f"G and B are {G.dtype} {G.shape} and {B.dtype} {B.shape} with p, k = {p}, {k}")
    slack = 100 * EPS.get(products, 0.0) * touched
    if products not in EPS or not (np.isfinite(G).all() and np.isfinite(B).all()):
        raise ValueError("it holds NaN or Inf, or products of an unknown kind")
    if np.abs(G - G.T).max() > slack or G.diagonal().min() < -slack or G.trace() > touched + slack:
        raise ValueError("its G is not a sum of squares")
    if n == 0 and (G.any() or B.any()):
        raise ValueError("it has sums and no samples")
    return (p, k, n), squares, products, note, G, B
