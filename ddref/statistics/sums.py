"""The sums over samples from which ridge regression is trained, and nothing else of the
data.
"""

import contextlib
import copy
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import array_namespace, device, is_numpy_array, is_torch_array

from ..arrays import Array, check_arrays, check_count, check_dense, check_lam, number
from ..npz import load_npz, save_npz
from ..spectrum import Spectrum, check_lams, from_gram, gcv, leave_one_out, models
from ..spectrum import solve as solve_sums

FORMAT = 1  # of saved files
CHUNK = 4096  # rows whose product is formed at a time
PRODUCTS = {"float64": 2.0**-52, "float32": 2.0**-23}  # and the eps of each
NOT_ADDED = "rows may have been removed that had not been added"


class Choice(NamedTuple):
    """A regularisation chosen among several, by `Statistics.validation`, `.gcv` or
    `.leave_one_out`.
    """

    lam: float  # the value with the smallest score (the first, where scores tie)
    W: Array  # (p, k), the model for it
    scores: list[float]  # mean over samples of squared errors summed over targets


class Statistics:
    """Sums over samples: ``G = Phi^T Phi``, ``B = Phi^T Y``, ``||Y||^2`` and their
    number.

    Parameters
    ----------
    p, k : int
        Columns of the features and of the targets.
    like : array, optional
        The sums live in the library and on the device of this array. Default: of the
        first batch.
    products : {"float64", "float32"}
        With "float32", batches must be float32, and the product of each chunk of rows
        is formed in float32, then added in float64. Up to twice as fast on a CPU, more
        on most graphics cards; the relative error of `G` rises from about 1e-16 to
        between 1e-7 and 1e-6, and that of `W` with it: 1e-3 was measured where `lam` is
        1e-6 of the largest eigenvalue.
    chunk : int
        Rows whose product is formed at a time.

    Attributes
    ----------
    n : int
        Samples added minus samples removed.
    yy : float
        ``||Y||_F^2``.
    G, B : array (p, p), array (p, k), float64
        Copies.
    cancellation : float
        How much larger the sums once were: squares ever added or removed over squares
        left. The relative rounding error of `G` is about this times eps; 1 where
        nothing was removed.

    Raises
    ------
    ValueError, TypeError
        Shapes that do not fit, NaN or Inf, integers, mixed libraries or devices,
        squares that overflow. The statistics stay as they were.

    Notes
    -----
    Book: eq-statistics. ``a + b`` holds the samples of both, ``a - b`` those of `a`
    without those of `b`; ``a += b`` does it in place.

    Examples
    --------
    >>> import numpy as np
    >>> X, Y = np.array([[1.0], [2.0], [2.0]]), np.array([[1.0], [3.0], [1.0]])
    >>> s = Statistics(1, 1).update(X, Y)
    >>> s
    Statistics(p=1, k=1, n=3)
    >>> s.solve(9.0)  # 9 / (9 + 9)
    array([[0.5]])
    >>> s.remove(np.array([[2.0]]), np.array([[3.0]])).solve(1.0)  # 3 / (5 + 1)
    array([[0.5]])
    """

    _ALIKE: tuple[str, ...] = ("p", "k", "products")  # of statistics that add up

    def __init__(
        self,
        p: int,
        k: int,
        *,
        like: Array | None = None,
        products: str = "float64",
        chunk: int = CHUNK,
    ) -> None:
        self.p = check_count(p, "p")
        self.k = check_count(k, "k")
        self._chunk = check_count(chunk, "chunk")
        if products not in PRODUCTS:
            raise ValueError(f'products = {products!r} must be "float64" or "float32"')
        self.products = products
        self._eps = PRODUCTS[products]
        self.n = 0
        self.yy = 0.0
        # Squares of all that was ever added or removed: rounding goes with them.
        self._touched = 0.0
        self._touched_yy = 0.0
        self._G: Any = None
        self._B: Any = None
        self._keeper = ""  # library and device, in words
        self._work: dict[str, Any] = {}
        if like is not None:
            self._make_zeros(like)

    def __repr__(self) -> str:
        return f"Statistics(p={self.p}, k={self.k}, n={self.n})"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_work": {}}

    # -- samples come and go

    def update(self, Phi: Array, Y: Array) -> "Statistics":
        """Add samples: rows of `Phi` (n, p) with the rows of `Y` (n, k). Returns the
        statistics.

        Large arrays, memory-mapped files among them, are read `chunk` rows at a time
        and never copied as a whole.
        """
        return self._change(Phi, Y, 1)

    def remove(self, Phi: Array, Y: Array) -> "Statistics":
        """Take samples away again, exactly as they were added. Returns the statistics.

        Exact up to rounding relative to all that was ever there, see `cancellation`.
        That these rows were added is for the caller to know; it is refused only when
        more samples or larger squares would be taken than there are.
        """
        return self._change(Phi, Y, -1)

    def __iadd__(self, other: Any) -> "Statistics":
        return (
            self._merge(other, 1) if isinstance(other, Statistics) else NotImplemented
        )

    def __isub__(self, other: Any) -> "Statistics":
        return (
            self._merge(other, -1) if isinstance(other, Statistics) else NotImplemented
        )

    def __add__(self, other: Any) -> "Statistics":
        return copy.deepcopy(self).__iadd__(other)

    def __sub__(self, other: Any) -> "Statistics":
        return copy.deepcopy(self).__isub__(other)

    def __radd__(self, other: Any) -> "Statistics":  # so that sum(parts) works
        start = isinstance(other, int) and other == 0
        return copy.deepcopy(self) if start else NotImplemented

    def all_reduce(self, group: Any = None) -> "Statistics":
        """Replace the sums by those over all processes of a `torch.distributed` group,
        with one all-reduce. Returns the statistics.

        Every process ends with the same numbers. Each may have added any number of
        samples, none included. Call it once: a second call would count every sample as
        often as there are processes. `gloo` reduces NumPy arrays and CPU tensors,
        `nccl` CUDA tensors.
        """
        import torch
        import torch.distributed as dist

        G, B = self._tensors(group)
        self._check_same_in(group, G.device)
        numbers = [self.n, self.yy, self._touched, self._touched_yy]
        numbers = torch.tensor(numbers, dtype=torch.float64, device=G.device)
        flat = torch.cat([G.reshape(-1), B.reshape(-1), numbers])
        dist.all_reduce(flat, group=group)
        G.copy_(flat[: G.numel()].reshape(G.shape))
        B.copy_(flat[G.numel() : -4].reshape(B.shape))
        n, self.yy, self._touched, self._touched_yy = flat[-4:].tolist()
        self.n = round(n)  # exact: float64 counts to 9e15
        return self

    # -- what was summed

    @property
    def G(self) -> Array:
        """Copy of ``Phi^T Phi`` (p, p)."""
        return self._in_library(self._started()._G, copied=True)

    @property
    def B(self) -> Array:
        """Copy of ``Phi^T Y`` (p, k)."""
        return self._in_library(self._started()._B, copied=True)

    @property
    def cancellation(self) -> float:
        """How much larger the sums once were."""
        if self._touched == 0:
            return 1.0
        left = _trace(self._G)
        return max(1.0, self._touched / left) if left > 0 else math.inf

    # -- models

    def solve(self, lam: float, *, rtol: float | None = None) -> Array:
        """Model ``W = (G + lam I)^-1 B`` (p, k), the least-norm one at ``lam = 0``.

        Parameters
        ----------
        lam : float
            Regularisation, added to the diagonal as given.
        rtol : float, optional
            Eigenvalues up to `rtol` times the largest count as zero where `lam` does
            not outweigh them. Default: p * eps * `cancellation`, or what noise is seen:
            four times the most negative eigenvalue.

        Raises
        ------
        ValueError
            Without samples, or when `G` is not positive semi-definite: rows were
            removed that had not been added.

        Notes
        -----
        Book: eq-ridge. The relative error of `W` is about ``eps * cancellation * (s_1^2
        + lam) / (s_min^2 + lam)``, s the singular values of the features with their
        columns scaled to one size. Where rounding hides directions that may carry part
        of the targets, there is a warning with numbers: then the rows are needed and
        not their sums.
        """
        lam = check_lam(lam)
        with self._deletions_suspected():
            W = solve_sums(self._G, self._B, lam, **self._rounding(rtol))
        return self._in_library(W)

    def path(self, lams: Iterable[float], *, rtol: float | None = None) -> Array:
        """Models (L, p, k) for the L regularisations in `lams`, from one decomposition
        of `G`; `rtol` as in `solve`.

        Notes
        -----
        Book: eq-path.
        """
        lams = check_lams(lams)
        return self._in_library(models(self._spectrum(rtol), lams))

    def squared_loss(self, W: Array) -> float | list[float]:
        """``||Phi W - Y||_F^2`` over the samples in these statistics, without their
        rows: a sum over samples and targets.

        A list of L numbers for models `W` (L, p, k).

        Notes
        -----
        Book: eq-loss. An absolute error of about eps times the largest of the three
        terms remains; a result below zero, which only rounding can produce, is returned
        as zero.
        """
        W = self._checked_model(W)
        if W.ndim == 3:
            return [self._loss(W[i, :, :]) for i in range(W.shape[0])]
        return self._loss(W)

    def _loss(self, W: Array) -> float:
        """``||Y||^2 - 2 <W, B> + <W, G W>``."""
        xp = array_namespace(W)
        linear = number(xp.sum(W * self._B))
        quadratic = number(xp.sum(W * (self._G @ W)))
        return max(0.0, self.yy - 2 * linear + quadratic)

    # -- choosing lam

    def validation(
        self, lams: Iterable[float], held: "Statistics", *, rtol: float | None = None
    ) -> Choice:
        """The value of `lams` whose model has the least squared loss on held-out
        samples, known by their statistics `held`.

        Its model is trained on these samples only; ``(self + held).solve(choice.lam)``
        uses all of them.

        Notes
        -----
        Book: eq-loss. Squared loss is what statistics can give. The best accuracy may
        lie at another `lam`: to know it, apply the models of `path` to the held-out
        rows.
        """
        if not isinstance(held, Statistics):
            raise TypeError(
                "held must be Statistics of the held-out samples, "
                f"got {type(held).__name__}"
            )
        held._need_samples()
        self._check_same_shape(held)
        lams = check_lams(lams)
        Ws = self.path(lams, rtol=rtol)
        losses = held.squared_loss(Ws)
        return _least(lams, [loss / held.n for loss in losses], lambda i: Ws[i, ...])

    def gcv(self, lams: Iterable[float], *, rtol: float | None = None) -> Choice:
        """The value of `lams` with the least generalised cross-validation score; no
        held-out samples are needed.

        ValueError also where the model has as many degrees of freedom as there are
        samples (`lam` = 0, n <= p).

        Notes
        -----
        Book: eq-gcv. Source: Golub, Heath and Wahba (1979). A training loss below ``p *
        eps * ||Y||^2`` is rounding, and counts as that much.
        """
        lams = check_lams(lams)
        spectrum = self._spectrum(rtol)
        scores = gcv(spectrum, lams)
        problem = (
            f"the model has as many degrees of freedom as samples ({self.n}): "
            "generalised cross-validation is 0/0 there"
        )
        _refuse_undefined(lams, scores, problem)
        return self._chosen(spectrum, lams, scores)

    def leave_one_out(
        self,
        lams: Iterable[float],
        rows: Iterable[tuple[Array, Array]],
        *,
        rtol: float | None = None,
    ) -> Choice:
        """The value of `lams` with the least leave-one-out error, exact, from a second
        pass over the samples.

        Each sample's error is that of the model trained on all others. It needs the
        leverages of the samples, hence `rows`: all the samples (Phi, Y) again, in
        batches of any size; for arrays at hand ``[(Phi, Y)]``. ValueError also where
        these are not as many as the samples here, and where a sample has leverage 1.

        Notes
        -----
        Book: eq-loo. Source: Allen (1974), as PRESS.
        """
        lams = check_lams(lams)
        spectrum = self._spectrum(rtol)
        pieces = (
            piece
            for Phi, Y in rows
            for piece in self._chunks(self._inside(Phi, "Phi"), self._inside(Y, "Y"))
        )
        scores = leave_one_out(spectrum, lams, pieces)
        problem = "a sample has leverage 1: without it the model is not determined"
        _refuse_undefined(lams, scores, problem)
        return self._chosen(spectrum, lams, scores)

    # -- files

    def save(self, path: str | Path, *, note: str = "") -> None:
        """Write the sums to a file, whole or not at all.

        NumPy's npz format, without pickle; the name is taken as given. `note` says
        which samples these are: `load` can insist on it.
        """
        self._started()
        arrays = {
            "format": np.array(FORMAT),
            "shape": np.array([self.p, self.k, self.n], dtype=np.int64),
            "numbers": np.array([self.yy, self._touched, self._touched_yy]),
            "products": np.array(self.products),
            "note": np.array(str(note)),
            "G": _off_device(self._G),
            "B": _off_device(self._B),
        }
        save_npz(path, arrays, compress=False)

    @classmethod
    def load(
        cls, path: str | Path, *, like: Array | None = None, note: str | None = None
    ) -> "Statistics":
        """Read what `save` wrote, into the library and onto the device of `like`
        (default: NumPy).

        ValueError for a file that is cut short, damaged, of another kind or format, or
        inconsistent in itself; and, where `note` is given, unless it was saved with it.
        """
        try:
            shape, numbers, products, found, G, B = _read_sums(path)
        except ValueError as error:
            why = str(error).removeprefix(f"{path}: ")
            raise ValueError(f"{path} does not hold statistics: {why}") from error
        if note is not None and found != note:
            raise ValueError(f"{path} holds the statistics of {found!r}, not {note!r}")
        statistics = cls(shape[0], shape[1], products=products)
        statistics._make_zeros(np.zeros(1) if like is None else like)
        statistics.n = shape[2]
        statistics.yy, statistics._touched, statistics._touched_yy = numbers
        xp, where = array_namespace(statistics._G), device(statistics._G)
        statistics._G = xp.asarray(G, device=where)
        statistics._B = xp.asarray(B, device=where)
        return statistics

    # -- inside: sums

    def _change(self, Phi: Array, Y: Array, sign: int) -> "Statistics":
        fresh = self._G is None
        try:
            return self._merge(self._sums(Phi, Y), sign)
        except BaseException:
            if fresh:  # the library of a batch that was refused does not count
                self._G = self._B = None
                self._keeper = ""
                self._work = {}
            raise

    def _sums(self, Phi: Array, Y: Array) -> "Statistics":
        """Statistics of one batch; their matrices are work space of these, good until
        the next call.
        """
        check_batch(Phi, Y, self.p, self.k)
        Phi = self._inside(Phi, "Phi")
        Y = self._inside(Y, "Y")
        part = Statistics(self.p, self.k, products=self.products)
        part._keeper = self._keeper
        part._G = self._space("G")
        part._B = self._space("B")
        for A, T in self._chunks(Phi, Y):
            self._add_product(part, A, T)
        part._touched = _trace(part._G)
        part._touched_yy = part.yy
        # A NaN or Inf in the batch gets here, too: no pass to look for them.
        if not part._touched + part.yy < math.inf:
            self._refuse_values(Phi, Y)
            raise ValueError(
                f"the squares of Phi or Y overflow {self.products}: scale them; "
                "nothing was changed"
            )
        if part._touched == 0 and _any(Phi[:: max(1, part.n // 64), :]):
            raise ValueError(
                f"the squares of Phi underflow {self.products} to 0: scale them; "
                "nothing was changed"
            )
        return part

    def _add_product(self, part: "Statistics", A: Array, T: Array) -> None:
        """Add the products of one chunk, in place; the first needs no addition."""
        xp = array_namespace(self._G)
        dtype = getattr(xp, self.products)
        if self.products == "float32" and A.dtype != dtype:
            raise TypeError(
                f'Phi and Y have dtype {A.dtype}; products="float32" needs float32'
            )
        T_64 = xp.astype(T, xp.float64, copy=False)
        part.yy += number(xp.sum(T_64 * T_64))
        A = xp.astype(A, dtype, copy=False)
        T = xp.astype(T, dtype, copy=False)
        with np.errstate(over="ignore", invalid="ignore"):  # refused by the caller
            B = xp.astype(A.mT @ T, xp.float64, copy=False)
        if part.n == 0 and self.products == "float64":
            square(A, part._G)
        else:
            product = self._space("product")
            square(A, product)
            part._G = (
                _plus(part._G, product, 1, part._G)
                if part.n
                else xp.astype(product, xp.float64)
            )
        part._B = _plus(part._B, B, 1, part._B) if part.n else B
        part.n += A.shape[0]

    def _merge(self, other: "Statistics", sign: int) -> "Statistics":
        """Add or take away the sums of `other`: everything, or nothing where it is
        refused or interrupted.
        """
        self._check_same_shape(other)
        if other._G is None:
            return self
        if self._G is None:
            self._make_zeros(other._in_library(other._G))
        if other._keeper != self._keeper:
            raise TypeError(
                f"statistics kept by {self._keeper} and by {other._keeper} do not mix: "
                "save one, load it with like="
            )
        n = self.n + sign * other.n
        yy = self.yy + sign * other.yy
        touched = self._touched + other._touched
        touched_yy = self._touched_yy + other._touched_yy
        if sign < 0:
            self._check_removal(other, yy, touched, touched_yy)
            yy = max(0.0, yy)
        if not touched < math.inf:
            raise ValueError(
                "the sums overflow float64: scale the features; nothing was changed"
            )
        G = _plus(self._G, other._G, sign, self._space("G"))
        B = _plus(self._B, other._B, sign, self._space("B"))
        if n == 0:  # nothing is left, rounding included
            G[:, :] = 0.0
            B[:, :] = 0.0
            yy = touched = touched_yy = 0.0
        now = {
            "n": n, "yy": yy, "_touched": touched, "_touched_yy": touched_yy,
            "_G": G, "_B": B,
            # the old sums are the next work space
            "_work": {**self._work, "G": self._G, "B": self._B},
        }  # fmt: skip
        self.__dict__.update(now)  # at once, for interrupts
        return self

    def _check_removal(
        self, other: "Statistics", yy: float, touched: float, touched_yy: float
    ) -> None:
        """Refuse to take away what shows that it cannot have been added."""
        if other.n > self.n:
            raise ValueError(f"{other.n} samples cannot be removed: there are {self.n}")
        xp = array_namespace(self._G)
        left = xp.linalg.diagonal(self._G) - xp.linalg.diagonal(other._G)
        worst = int(xp.argmin(left))
        if number(left[worst]) < -100 * self._eps * touched:
            raise ValueError(
                f"the sum of squares of feature {worst} would become "
                f"{number(left[worst]):.3g}: these rows were not among the samples; "
                "nothing was changed"
            )
        if yy < -100 * self._eps * touched_yy:
            raise ValueError(
                f"||Y||^2 would become {yy:.3g}: these targets were not among the "
                "samples; nothing was changed"
            )

    def _chunks(self, Phi: Array, Y: Array) -> Iterator[tuple[Array, Array]]:
        """Pieces of a batch: slices, not copies."""
        for start in range(0, Phi.shape[0], self._chunk):
            rows = slice(start, min(start + self._chunk, Phi.shape[0]))
            yield Phi[rows, :], Y[rows, :]

    def _space(self, name: str) -> Any:
        """Work space: `G`, `B` for the sums of a batch, `product` for the product of a
        chunk.
        """
        if name not in self._work:
            xp = array_namespace(self._G)
            like = self._B if name == "B" else self._G
            dtype = getattr(xp, self.products) if name == "product" else xp.float64
            self._work[name] = xp.zeros_like(like, dtype=dtype)
        return self._work[name]

    # -- inside: libraries and devices

    def _make_zeros(self, like: Array) -> None:
        """Zero sums in the library and on the device of `like`; those of CPU tensors
        are kept as NumPy arrays.
        """
        keeper = keeper_of(like, "like")
        if keeper == "torch cpu":
            like = np.zeros(1)
        xp, where = array_namespace(like), device(like)
        try:
            self._G = xp.zeros((self.p, self.p), dtype=xp.float64, device=where)
            self._B = xp.zeros((self.p, self.k), dtype=xp.float64, device=where)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(
                f"statistics are summed in float64, which device {where} does not "
                "have; move the arrays to the CPU first"
            ) from error
        self._keeper = keeper

    def _started(self) -> "Statistics":
        if self._G is None:
            self._make_zeros(np.zeros(1))
        return self

    def _inside(self, A: Array, name: str) -> Array:
        """`A` as it is kept inside, or refused where it is of another library or on
        another device.
        """
        keeper = keeper_of(A, name)
        if self._G is None:
            self._make_zeros(A)
        if keeper != self._keeper:
            one_library = keeper.split()[0] == self._keeper.split()[0]
            raise (ValueError if one_library else TypeError)(
                f"{name} is an array of {keeper} and these statistics are kept by "
                f"{self._keeper}: convert it, or make the statistics with like= (load "
                "has it too)"
            )
        A = A.detach() if keeper.startswith("torch") else A
        return A.resolve_neg().numpy() if keeper == "torch cpu" else A

    def _in_library(self, A: Array, copied: bool = False) -> Array:
        """An inside array in the library of the batches."""
        if not isinstance(A, np.ndarray):
            return A + 0.0 if copied else A
        A = A.copy() if copied else A
        if self._keeper == "torch cpu":
            import torch

            return torch.from_numpy(A)
        return A

    def _tensors(self, group: Any) -> tuple[Any, Any]:
        """The sums as tensors, sharing their memory, that `group` can reduce."""
        import torch
        import torch.distributed as dist

        if not (dist.is_available() and dist.is_initialized()):
            raise ValueError(
                "torch.distributed is not initialised: call init_process_group, or "
                "start with torchrun"
            )
        self._started()
        if not (self._keeper == "numpy" or self._keeper.startswith("torch")):
            raise TypeError(
                "all_reduce needs NumPy or PyTorch arrays; these statistics are kept "
                f"by {self._keeper}"
            )
        G, B = map(torch.as_tensor, (self._G, self._B))
        if "nccl" in str(dist.get_backend(group)) and G.device.type == "cpu":
            raise ValueError(
                "nccl reduces CUDA tensors and these statistics are on the CPU: use "
                "gloo, or pass like="
            )
        return G, B

    def _check_same_in(self, group: Any, where: Any) -> None:
        """Ten numbers travel first, so that a mistake is not a hang."""
        import torch
        import torch.distributed as dist

        single = float(self.products == "float32")
        bounds = [float(getattr(self, name, 0)) for name in ("clip", "bound")]
        mine = [self.p, self.k, *bounds, single]
        most = [x for number in mine for x in (number, -number)]
        most = torch.tensor(most, dtype=torch.float64, device=where)
        dist.all_reduce(most, op=dist.ReduceOp.MAX, group=group)
        high, low = most[::2].tolist(), (-most[1::2]).tolist()
        apart = [
            f"{name} from {low[i]:.6g} to {high[i]:.6g}"
            for i, name in enumerate(("p", "k", "clip", "bound"))
            if low[i] != high[i]
        ]
        if low[-1] != high[-1]:
            apart.append("products in float32 and in float64")
        if apart:
            raise ValueError(f"the processes differ: {', '.join(apart)}")

    # -- inside: models and refusals

    def _rounding(self, rtol: float | None) -> dict[str, Any]:
        """What counts as rounding in `G`: in its sums, and in the products besides.

        Noise of float32 products is judged by what is seen of it, the most negative
        eigenvalue: p * eps of float32 would drop directions that are still good.
        """
        self._need_samples()
        sums = self.p * 2.0**-52 * self.cancellation
        return {
            "rtol": sums if rtol is None else check_lam(rtol, "rtol"),
            "rounding": self.p * self._eps * self.cancellation,
        }

    def _spectrum(self, rtol: float | None) -> Spectrum:
        options = self._rounding(rtol)
        with self._deletions_suspected():
            found = from_gram(self._G, self._B, n=self.n, yy=self.yy, **options)
        # in sums over the eigenvalues, those of a score, float32 products are eps each
        return found._replace(
            rounding=max(self._eps, self.p * 2.0**-52 * self.cancellation)
        )

    def _chosen(
        self, spectrum: Spectrum, lams: list[float], scores: list[float]
    ) -> Choice:
        def model(i: int) -> Array:
            return self._in_library(models(spectrum, [lams[i]])[0, :, :])

        return _least(lams, scores, model)

    @contextlib.contextmanager
    def _deletions_suspected(self) -> Iterator[None]:
        """Say what makes a sum of squares indefinite."""
        try:
            yield
        except ValueError as error:
            if "positive" not in str(error):
                raise
            raise ValueError(f"{error}: {NOT_ADDED}") from error

    def _checked_model(self, W: Array) -> Array:
        self._need_samples()
        W = self._inside(W, "W")
        if W.ndim != 3:
            check_arrays(W=W)
        if tuple(W.shape[-2:]) != (self.p, self.k):
            raise ValueError(
                f"W has shape {tuple(W.shape)}, these statistics need "
                f"({self.p}, {self.k})"
            )
        return array_namespace(W).astype(W, self._G.dtype)

    def _refuse_values(self, Phi: Array, Y: Array) -> None:
        """Say in which rows there is a NaN or Inf, if there is one."""
        start = 0
        for A, T in self._chunks(Phi, Y):
            stop = start + A.shape[0]
            try:
                check_arrays(Phi=A, Y=T)
            except ValueError as error:
                raise ValueError(
                    f"{error} (rows {start} to {stop - 1}); nothing was changed"
                ) from error
            start = stop

    def _check_same_shape(self, other: "Statistics") -> None:
        for name in self._ALIKE:
            mine, theirs = getattr(self, name), getattr(other, name, None)
            if mine != theirs:
                raise ValueError(
                    f"these statistics have {name} = {mine}, the others {name} = "
                    f"{theirs}"
                )

    def _need_samples(self) -> None:
        if self.n == 0:
            raise ValueError(
                "there are no samples in these statistics: update them first"
            )
        if self.cancellation * self._eps > 1e-2:
            raise ValueError(
                "fewer than two digits of G are left: it once was "
                f"{self.cancellation:.1e} times larger; sum the samples that remain "
                "anew"
            )


def check_batch(
    Phi: Array, Y: Array, p: int | None = None, k: int | None = None
) -> None:
    """Refuse what cannot be a batch of `p` features and `k` targets (None: any); values
    are not looked at.
    """
    check_dense(Phi=Phi, Y=Y)
    for name, A, letter, columns in (("Phi", Phi, "p", p), ("Y", Y, "k", k)):
        if getattr(A, "ndim", None) != 2 or 0 in A.shape:
            check_arrays(**{name: A})  # refuses it by name
        if columns is not None and A.shape[1] != columns:
            raise ValueError(
                f"{name} has {A.shape[1]} columns and these statistics have "
                f"{letter} = {columns}"
            )
    if Phi.shape[0] != Y.shape[0]:
        raise ValueError(
            f"Phi has {Phi.shape[0]} rows and Y has {Y.shape[0]}; rows are samples and "
            "must match"
        )
    row, target = (array_namespace(A).zeros_like(A[:1, :]) for A in (Phi, Y))
    check_arrays(Phi=row, Y=target)


def square(A: Array, out: Array) -> None:
    """``A^T A`` into `out`, with less work than a general product where the library
    allows it.
    """
    if isinstance(A, np.ndarray):
        # NumPy sees one array twice and forms one triangle, with out= too. What
        # overflows is refused by the caller.
        with np.errstate(over="ignore", invalid="ignore"):
            np.matmul(A.T, A, out=out)
    elif is_torch_array(A):
        p = A.shape[1]
        step = max(128, -(-p // 4))
        for i in range(0, p, step):  # blocks on and below the diagonal, then mirrored
            block = slice(i, min(i + step, p))
            out[block, : block.stop] = A[:, block].mT @ A[:, : block.stop]
            out[:i, block] = out[block, :i].mT
    else:
        out[:, :] = A.mT @ A


def keeper_of(A: Array, name: str) -> str:
    """Library and device of an array, in words."""
    if is_numpy_array(A):
        return "numpy"
    if is_torch_array(A):
        return f"torch {A.device}"
    try:
        array_namespace(A)
    except TypeError as error:
        raise TypeError(
            f"{name} must be a NumPy or PyTorch array, got {type(A).__name__}"
        ) from error
    return f"{type(A).__module__.partition('.')[0]} {device(A)}"


def _plus(A: Array, B: Array, sign: int, out: Array) -> Array:
    """``A + sign * B``, in `out` where the library can write there."""
    if isinstance(A, np.ndarray):
        return np.add(A, B, out=out) if sign > 0 else np.subtract(A, B, out=out)
    if is_torch_array(A):
        import torch

        return torch.add(A, B, alpha=sign, out=out)
    return A + sign * array_namespace(A).astype(B, A.dtype)


def _trace(A: Array) -> float:
    xp = array_namespace(A)
    return number(xp.linalg.trace(xp.astype(A, xp.float64, copy=False)))


def _any(A: Array) -> bool:
    return bool(array_namespace(A).any(A != 0))


def _off_device(A: Array) -> np.ndarray:
    return np.asarray(A.cpu() if hasattr(A, "cpu") else A)


def _least(lams: list[float], scores: list[float], model: Any) -> Choice:
    best = min(range(len(lams)), key=scores.__getitem__)
    return Choice(lams[best], model(best), scores)


def _refuse_undefined(lams: list[float], scores: list[float], problem: str) -> None:
    for lam, score in zip(lams, scores, strict=True):
        if score == math.inf:
            raise ValueError(
                f"at lam = {lam} {problem}; leave out this value, or use held-out "
                "samples"
            )


def _read_sums(path: str | Path) -> tuple:
    """The checked content of a saved file: (p, k, n), (||Y||^2, its traces), products,
    note, G, B.
    """
    names = ("format", "shape", "numbers", "products", "note")
    short = load_npz(path, max_bytes=1 << 17, only=names)
    if "format" not in short:
        raise ValueError("it was not written by Statistics.save")
    if short["format"].shape != () or short["format"] != FORMAT:
        raise ValueError(
            f"its format is {short['format']}, this version reads {FORMAT}"
        )
    _check_present(names, short)
    shape, numbers = short["shape"], short["numbers"]
    if (shape.shape, shape.dtype.kind) != ((3,), "i") or (
        (numbers.shape, numbers.dtype.kind) != ((3,), "f")
    ):
        raise ValueError("its fields shape and numbers are of another kind")
    p, k, n = shape.tolist()
    yy, touched, touched_yy = numbers.tolist()
    if min(p, k) < 1 or n < 0 or not all(0 <= x < math.inf for x in numbers.tolist()):
        raise ValueError(
            f"p, k, n = {p}, {k}, {n} or the squares {yy}, {touched}, {touched_yy} are "
            "impossible"
        )
    large = load_npz(path, max_bytes=8 * p * (p + k) + (1 << 13), only=("G", "B"))
    _check_present(("G", "B"), large)
    G, B = large["G"], large["B"]
    products = str(short["products"])
    if products not in PRODUCTS:
        raise ValueError(f"its products are of an unknown kind, {products!r}")
    _check_sums(G, B, (p, k, n), 100 * PRODUCTS[products] * touched, touched)
    return (p, k, n), (yy, touched, touched_yy), products, str(short["note"]), G, B


def _check_present(names: Iterable[str], arrays: dict[str, np.ndarray]) -> None:
    missing = set(names) - arrays.keys()
    if missing:
        raise ValueError(f"it lacks {', '.join(sorted(missing))}")


def _check_sums(
    G: np.ndarray, B: np.ndarray, shape: tuple, slack: float, touched: float
) -> None:
    """Refuse matrices that no samples have as sums."""
    p, k, n = shape
    if (G.shape, B.shape, G.dtype, B.dtype) != ((p, p), (p, k), np.float64, np.float64):
        raise ValueError(
            f"G and B are {G.dtype} {G.shape} and {B.dtype} {B.shape} with p, k = "
            f"{p}, {k}"
        )
    if not (np.isfinite(G).all() and np.isfinite(B).all()):
        raise ValueError("it holds NaN or Inf")
    asymmetry = np.abs(G - G.T).max()
    smallest = G.diagonal().min()
    if asymmetry > slack or smallest < -slack or G.trace() > touched + slack:
        raise ValueError("its G is not a sum of squares")
    if n == 0 and (G.any() or B.any()):
        raise ValueError("it has sums and no samples")
