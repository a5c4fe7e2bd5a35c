"""What every feature map has, and maps one after the other.

A map is called on rows, ``Phi = phi(X)``, and where it is onto,
``phi(phi.preimage(Phi)) = Phi``. Where it leaves freedom, `preimage` returns the inputs
nearest to `near`. Weights decide library, dtype and device; gradients flow through
inputs and features.
"""

import math
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

from array_api_compat import array_namespace, to_device
from array_api_compat import device as device_of

from ..arrays import Array, check_arrays, check_count, check_lam, eps_of, number

EPS = 2.0**-52  # of float64, in which everything is inverted
# The way out where a map or a network is not onto.
OTHERWISE = (
    "otherwise ddref.nonsurjective.solve, or feature_map=net (PyTorch) in an estimator"
)


class Written(NamedTuple):
    """What a map is made from: arguments of its class, by name."""

    numbers: dict[str, Any]  # plain data
    arrays: dict[str, Array | None]
    maps: dict[str, Any]  # maps, and lists of maps


class Drawn(NamedTuple):
    """How a map with random weights is drawn again."""

    maker: str  # a function of ddref.maps
    arguments: dict[str, Any]  # plain data, the seed among them


class Map:
    """A feature map; a new one is a class of its own with these parts.

    To be called and undone: `forward` and `inverse`. To be saved, restored and moved:
    `kind`, a name of its own, and in `numbers`, `arrays` and `maps` the arguments of
    its class, kept as attributes of these names. To be judged: `obstacle`, where it is
    not onto, and `lipschitz` and `condition` where they are known.
    """

    kinds: ClassVar[dict[str, type["Map"]]] = {}  # every map that a file may name
    kind: ClassVar[str]
    numbers: ClassVar[tuple[str, ...]] = ()
    arrays: ClassVar[tuple[str, ...]] = ()
    maps: ClassVar[tuple[str, ...]] = ()
    # Layers of PyTorch that it is: names in torch.nn, or classes.
    torch_modules: ClassVar[tuple[Any, ...]] = ()

    input_dim: int | None = None  # None: any
    output_dim: int | None = None
    drawn: Drawn | None = None  # where it came from a seed, whatever was done since

    def __init_subclass__(cls) -> None:
        if "kind" in cls.__dict__:
            taken = Map.kinds.setdefault(cls.kind, cls)
            if (taken.__module__, taken.__qualname__) != (
                cls.__module__,
                cls.__qualname__,
            ):
                raise TypeError(f"kind {cls.kind!r} is taken by {taken.__module__}")
            Map.kinds[cls.kind] = cls

    @classmethod
    def from_torch(cls, layer: Any) -> "Map":
        """This map from a layer, one of its `torch_modules`."""
        return cls()

    def __repr__(self) -> str:
        sizes = (size or "any" for size in (self.input_dim, self.output_dim))
        return f"{type(self).__name__}({' -> '.join(map(str, sizes))})"

    # -- what a map of your own defines

    def forward(self, X: Array) -> Array:
        """Features of rows, unchecked."""
        raise NotImplementedError

    def inverse(self, Z: Array, near: Array | None) -> Array:
        """Inputs with features `Z`, the nearest to `near`: one pass, unchecked."""
        raise NotImplementedError

    @property
    def obstacle(self) -> str | None:
        """Why the map is not onto, with the numbers; None for a map that is."""
        return None

    def check_reach(self, Phi: Array) -> None:
        """Refuse features that are not reached."""
        if self.obstacle is not None:
            raise ValueError(f"{self.obstacle}; {OTHERWISE}")

    def lipschitz(self) -> float | None:
        """A bound on how much it stretches differences; None where none is known."""
        return None

    def condition(self) -> float | None:
        """Condition number or a bound on it; None where none is known."""
        return None

    def rounding(self, X: Array, Z: Array) -> Array | None:
        """What rounding in float64 does to ``phi(X) - Z``, row by row, at most."""
        stretch = self.lipschitz()
        if stretch is None:
            return None
        return 100 * EPS * (stretch * row_norms(X) + row_norms(Z))

    def range_scale(self, Phi: Array, *, margin: float | None = None) -> Array:
        """Largest c <= 1, one a row (m, 1), for which ``c * Phi`` is in the range."""
        check_arrays(Phi=Phi)
        return 0 * Phi[:, :1] + 1

    # -- what every map has from here

    def written(self) -> Written:
        """The arguments that make this map again."""
        return Written(
            *({name: getattr(self, name) for name in names} for names in self._names())
        )

    def _names(self):
        return self.numbers, self.arrays, self.maps

    @cached_property
    def like(self) -> Array | None:
        """One number (1, 1) of the library, dtype and device of the weights."""
        _, arrays, parts = self.written()
        for A in arrays.values():
            if A is not None:
                return array_namespace(A).reshape(A, (-1,))[:1][None, :]
        for part in (part for listed in parts.values() for part in as_list(listed)):
            if isinstance(part, Map) and part.like is not None:
                return part.like
        return None

    @property
    def dtype(self) -> Any:
        """Of the weights; None where there are none."""
        return None if self.like is None else self.like.dtype

    @property
    def device(self) -> Any:
        """Of the weights; None where there are none."""
        return None if self.like is None else device_of(self.like)

    def is_onto(self) -> bool:
        """Whether every row of R^p is the feature vector of some input."""
        return self.obstacle is None

    def __call__(self, X: Array) -> Array:
        """Features (n, p) of the rows `X` (n, d)."""
        try:
            check_arrays(X=X, weights=self.like)
        except RuntimeError:
            pass  # inside torch.func.vmap no entry can be looked at
        check_width(X, self.input_dim, "X")
        return self.forward(X)

    def preimage(self, Phi: Array, near: Array | None = None) -> Array:
        """Inputs (n, d) with features `Phi` (n, p), step by step the nearest to `near`.

        Without `near` (n, d) each step takes the inputs of smallest norm. They are
        computed in float64, corrected by what the map makes of them, and rounded to the
        dtype of `Phi`. ValueError where `Phi` is not reached, or is missed by more than
        rounding explains.
        """
        check_arrays(Phi=Phi, near=near, weights=self.like)
        check_width(Phi, self.output_dim, "Phi")
        check_near(near, Phi, self.input_dim)
        self.check_reach(Phi)
        phi = self._precise
        Z, start = (rounded(A, Phi if phi is None else None) for A in (Phi, near))
        X = rounded((phi or self).solved(Z, start), Phi)
        check_overflow(self, Phi, X)
        (phi or self).check_missed(rounded(X, Z), Z, eps_of(Phi))
        return X

    @cached_property
    def _precise(self):
        """The map in float64, in which it is inverted; None where parts of it are
        functions of your own.
        """
        try:
            return self.to(dtype="float64")
        except TypeError:
            return None

    def solved(self, Z: Array, near: Array | None) -> Array:
        """Inputs with features `Z`, corrected: once, and again while it halves what is
        missed in some row.
        """
        xp = array_namespace(Z)
        X = self.inverse(Z, near)
        check_overflow(self, Z, X)
        missed = row_norms(self.forward(X) - Z)
        for _ in range(4):
            again = self.inverse(Z, X)
            now = row_norms(self.forward(again) - Z)
            halved = bool(xp.any(now < missed / 2))
            X = xp.where((now < missed)[:, None], again, X)
            missed = xp.where(now < missed, now, missed)
            if not halved:
                break
        return X

    def check_missed(self, X: Array, Z: Array, eps: float) -> None:
        """Refuse inputs that miss `Z` by more than rounding to `eps` explains."""
        xp, allowed = array_namespace(Z), self.rounding(X, Z)
        if allowed is None:
            return
        allowed = allowed * (eps / EPS)
        missed = row_norms(self.forward(X) - Z)
        if not bool(xp.all(missed <= allowed)):
            i = int(xp.argmax(missed - allowed))
            raise ValueError(
                f"row {i}: the pre-image misses Phi by {number(missed[i]):.3g}, more "
                f"than the {number(allowed[i]):.3g} that rounding explains (condition "
                f"number of the map: at most {self.condition() or math.inf:.3g}); use "
                "float64, or better conditioned layers"
            )

    def to(self, *, dtype: Any = None, device: Any = None) -> Any:
        """The map in another dtype (float64 or float32) or on another device.

        Itself where nothing changes; TypeError where a part is a function of your own.
        """
        name = str(getattr(dtype, "__name__", dtype)).rpartition(".")[2]
        if name not in ("float64", "float32", "None"):
            raise TypeError(f"dtype must be float64 or float32, got {dtype}")
        same = self.dtype is None or name in ("None", str(self.dtype).split(".")[-1])
        if same and device is None and not self.maps:
            return self

        def moved(part: Any) -> Any:
            if isinstance(part, list):
                return [moved(each) for each in part]
            if isinstance(part, Map):
                return part.to(dtype=dtype, device=device)
            if callable(part):
                raise TypeError(f"{part!r} is a function of your own, it has no dtype")
            if part is None:
                return None
            xp = array_namespace(part)
            A = part if name == "None" else xp.astype(part, getattr(xp, name))
            return A if device is None else to_device(A, device)

        numbers, arrays, parts = self.written()
        changed = {key: moved(part) for key, part in (arrays | parts).items()}
        phi = type(self)(**numbers, **changed)
        phi.drawn = self.drawn
        return phi


class Identity(Map):
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

    kind, numbers = "Identity", ("d",)

    def __init__(self, d: int | None = None):
        self.d = None if d is None else check_count(d, "d")
        self.input_dim = self.output_dim = self.d

    def forward(self, X: Array) -> Array:
        """A copy."""
        return 1 * X

    def inverse(self, Z: Array, near: Array | None) -> Array:
        """A copy: no other input has these features."""
        return 1 * Z

    def lipschitz(self) -> float:
        """1."""
        return 1.0

    def condition(self) -> float:
        """1."""
        return 1.0


class Chain(Map):
    """Steps one after the other, ``phi(X) = ... step_1(step_0(X))``.

    Parameters
    ----------
    steps : sequence of maps
        First applied first. Anything with `__call__`, `preimage`, `input_dim`,
        `output_dim` and `is_onto` is a step.

    Raises
    ------
    ValueError, TypeError
        When widths, libraries, dtypes or devices of the steps differ. `preimage` passes
        on the refusal of a step, with its number.

    Notes
    -----
    Book: thm-surjective, prop-steps. "Nearest to `near`" holds step by step: under each
    step nearest to what `near` becomes there. It holds globally where all steps after
    the first are bijective and the first is linear.

    Examples
    --------
    >>> import numpy as np
    >>> from ddref.maps import LeakyReLU, Linear
    >>> phi = Chain([Linear(np.array([[2.0]])), LeakyReLU(0.5)])
    >>> phi(np.array([[3.0], [-3.0]])).T, phi.preimage(np.array([[6.0], [-3.0]])).T
    (array([[ 6., -3.]]), array([[ 3., -3.]]))
    """

    kind, maps = "Chain", ("steps",)

    def __init__(self, steps: Any):
        self.steps = list(steps)
        if not self.steps:
            raise ValueError(
                "a chain needs at least one step; for none, use Identity()"
            )
        self._steps = [
            step if isinstance(step, Map) else MapOfYours(step) for step in self.steps
        ]
        weights = {f"step {i}": step.like for i, step in enumerate(self._steps)}
        if any(like is not None for like in weights.values()):
            check_arrays(**weights)
        width, giver = None, ""
        for i, step in enumerate(self._steps):
            if self.input_dim is None:
                self.input_dim = step.input_dim
            if None not in (width, step.input_dim) and width != step.input_dim:
                raise ValueError(
                    f"step {i} ({step!r}) takes {step.input_dim} entries, {giver} "
                    f"gives {width}"
                )
            if step.output_dim is not None:
                width, giver = step.output_dim, f"step {i} ({step!r})"
        self.output_dim = width

    def __repr__(self) -> str:
        return f"{type(self).__name__}([{', '.join(map(repr, self._steps))}])"

    def forward(self, X: Array) -> Array:
        """Step by step, the first one first."""
        for step in self._steps:
            X = step.forward(X)
        return X

    def inverse(self, Z: Array, near: Array | None) -> Array:
        """Step by step, the last one first: each near what `near` becomes there."""
        nears = [near]
        for step in self._steps[:-1]:
            nears.append(None if near is None else step.forward(nears[-1]))
        for i in reversed(range(len(self._steps))):
            if i < len(self._steps) - 1:
                self._at_step(i, "check_reach", Z)
            Z = self._at_step(i, "solved", Z, nears[i])
        return Z

    def _at_step(self, i, method, *arguments):
        """What a method of step i returns; its refusals say which step it was."""
        step = self._steps[i]
        try:
            return getattr(step, method)(*arguments)
        except ValueError as error:
            name = type(self.steps[i]).__name__
            raise ValueError(
                f"step {i} of {len(self.steps)} ({name}): {error}"
            ) from error

    @property
    def obstacle(self) -> str | None:
        """That of the first step that is not onto."""
        for i, step in enumerate(self._steps):
            if not step.is_onto():
                name = type(self.steps[i]).__name__
                return f"step {i} of {len(self.steps)} ({name}): {step.obstacle}"
        return None

    def check_reach(self, Phi: Array) -> None:
        """That of the last step; the others are asked on the way back."""
        self._at_step(len(self._steps) - 1, "check_reach", Phi)

    def range_scale(self, Phi: Array, *, margin: float | None = None) -> Array:
        """`range_scale` of the last step."""
        return self._steps[-1].range_scale(Phi, margin=margin)

    def lipschitz(self) -> float | None:
        """The product of those of the steps."""
        return product(step.lipschitz() for step in self._steps)

    def condition(self) -> float | None:
        """The product of those of the steps: an upper bound."""
        return product(step.condition() for step in self._steps)

    def rounding(self, X: Array, Z: Array) -> Array | None:
        """What each step adds, stretched by the steps after it."""
        bound: Any = 0.0
        for step in self._steps:
            out = step.forward(X)
            stretch, own = step.lipschitz(), step.rounding(X, out)
            if stretch is None or own is None:
                return None
            bound, X = stretch * bound + own, out
        return bound + EPS * row_norms(Z)


class MapOfYours(Map):
    """Any object with `__call__` and `preimage`, as a step of a chain."""

    maps = ("phi",)

    def __init__(self, phi: Any):
        needed = ("__call__", "preimage", "input_dim", "output_dim", "is_onto")
        if missing := [name for name in needed if not hasattr(phi, name)]:
            raise TypeError(
                f"a step is a map of ddref.maps or has {', '.join(needed)}; "
                f"{type(phi).__name__} has no {', '.join(missing)}; {OTHERWISE}"
            )
        self.phi, self.forward = phi, phi
        self.inverse = phi.preimage
        self.input_dim, self.output_dim = phi.input_dim, phi.output_dim

    @property
    def obstacle(self) -> str | None:
        """Whether it says that it is onto."""
        return None if self.phi.is_onto() else f"{type(self.phi).__name__} is not onto"

    def check_reach(self, Phi: Array) -> None:
        """Left to its `preimage`."""

    def range_scale(self, Phi: Array, *, margin: float | None = None) -> Array:
        """Its own, where it has one."""
        if not hasattr(self.phi, "range_scale"):
            return super().range_scale(Phi)
        options = {} if margin is None else {"margin": margin}
        return self.phi.range_scale(Phi, **options)


# ------------------------------------------------------------------------- small parts


def row_norms(A: Array) -> Array:
    """Norms of the rows (n,), safe from overflow of the squares."""
    xp = array_namespace(A)
    size = xp.max(xp.abs(A), axis=1, keepdims=True)
    size = xp.where(size > 0, size, xp.ones_like(size))
    return size[:, 0] * xp.sqrt(xp.sum((A / size) ** 2, axis=1))


def rounded(A: Array | None, like: Array | None) -> Array | None:
    """`A` in the dtype of `like`, in float64 without one."""
    if A is None:
        return None
    xp = array_namespace(A)
    return xp.astype(A, xp.float64 if like is None else like.dtype)


def as_list(part: Any) -> list:
    """A list as it is, and one thing as a list."""
    return part if isinstance(part, list) else [part]


def product(factors: Any) -> float | None:
    """None where a factor is."""
    known = list(factors)
    return None if None in known else math.prod(known)


def own_copy(A: Array) -> Array:
    """A copy without gradient, which nobody else can change."""
    return A.detach().clone() if hasattr(A, "detach") else 1 * A


def check_width(A: Array, width: int | None, name: str) -> None:
    """Refuse rows of another width."""
    if width is not None and A.shape[1] != width:
        raise ValueError(
            f"{name} has {A.shape[1]} columns, this map needs {width}: its shape is "
            f"{tuple(A.shape)}"
        )


def check_near(near: Array | None, Phi: Array, width: int | None) -> None:
    """Refuse references that are not one input a row of `Phi`."""
    needed = Phi.shape[0], Phi.shape[1] if width is None else width
    if near is not None and tuple(near.shape) != needed:
        raise ValueError(
            f"near has shape {tuple(near.shape)}, one input a row of Phi is needed: "
            f"{needed}"
        )


def check_overflow(phi: Map, Phi: Array, X: Array) -> None:
    """Refuse inputs that are not finite."""
    xp = array_namespace(Phi)
    if not bool(xp.all(xp.isfinite(X))):
        raise ValueError(
            f"the inputs overflow: {type(phi).__name__} takes "
            f"{number(xp.max(xp.abs(Phi))):.3g}, the largest feature, at no finite "
            f"{X.dtype}; scale the features down"
        )


def room_factors(Phi: Array, bound: float, margin: float) -> Array:
    """Largest c <= 1 (m, 1) for which the entries of ``c * Phi`` are at most
    ``(1 - margin) * bound`` in size.
    """
    xp, margin = check_arrays(Phi=Phi), check_lam(margin, "margin")
    if margin >= 1:
        raise ValueError(
            f"margin = {margin} must be below 1: nothing is left of the range"
        )
    size, room = xp.max(xp.abs(Phi), axis=1, keepdims=True), (1 - margin) * bound
    one = xp.ones_like(size)
    return xp.where(size > room, room / xp.where(size > 0, size, one), one)
