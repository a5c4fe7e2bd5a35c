"""Networks with random weights that are onto: LeakyReLU networks and flows."""

import math
import numbers
from typing import Any, TypeVar

import numpy as np
from array_api_compat import array_namespace, device

from ..arrays import Array, check_count, check_lam
from .activations import LeakyReLU, Tanh
from .base import Chain, Drawn, Map
from .coupling import AffineCoupling
from .linear import Linear

AnyMap = TypeVar("AnyMap", bound=Map)


def leaky_relu_network(
    widths: Any,
    *,
    seed: Any,
    slope: float = 0.1,
    weights: str = "orthogonal",
    bias: float = 0.0,
    like: Array | None = None,
) -> Chain:
    """A LeakyReLU network with random weights: a `Linear` and a `LeakyReLU` a layer.

    Orthogonal weights keep inputs near the data and rounding errors small; Gaussian
    ones, the paper's, amplify both: a square Gaussian matrix of width 784 has a
    condition number of 1e3 to 1e4, and depth multiplies.

    Parameters
    ----------
    widths : sequence of int
        d, hidden widths, p; onto if and only if they never increase.
    seed : int or numpy.random.Generator
        Of the random weights: the same seed gives the same weights in every library, up
        to the dtype.
    slope : float
        Of the LeakyReLU.
    weights : str
        "orthogonal" (columns orthonormal, or rows where a layer widens) or "gaussian"
        (variance 1 / inputs).
    bias : float
        Standard deviation of Gaussian biases; 0, the default, for none.
    like : array, optional
        The map gets the library, dtype and device of this array. Default: NumPy,
        float64.

    Returns
    -------
    Chain

    Raises
    ------
    ValueError, TypeError
        For fewer than two widths, widths below 1, an unknown kind of weights.

    Notes
    -----
    Book: thm-surjective. Source: Chen, Huang and Weng (2024), Example 5.2 (with
    Gaussian weights).

    Examples
    --------
    >>> import numpy as np
    >>> phi = leaky_relu_network([3, 2], seed=0)
    >>> Phi = np.array([[1.0, -1.0]])
    >>> phi.is_onto(), bool(np.allclose(phi(phi.preimage(Phi)), Phi, rtol=1e-12))
    (True, True)
    """
    widths = [check_count(width, "a width") for width in widths]
    if len(widths) < 2:
        raise ValueError(
            f"widths = {widths} needs the number of inputs and at least one number of "
            "features"
        )
    if weights not in ("orthogonal", "gaussian"):
        raise ValueError(f"weights must be 'orthogonal' or 'gaussian', got {weights!r}")
    rng, bias, steps = generator(seed), check_lam(bias, "bias"), []
    for d, p in zip(widths, widths[1:], strict=False):
        A = rng.normal(size=(d, p)) / math.sqrt(d)
        A = orthonormalised(A) if weights == "orthogonal" else A
        b = as_like(bias * rng.normal(size=p), like) if bias else None
        steps += [Linear(as_like(A, like), b), LeakyReLU(slope)]
    options = {"widths": widths, "slope": float(slope), "weights": weights}
    return drawn_by("leaky_relu_network", seed, Chain(steps), options | {"bias": bias})


def flow(
    d: int,
    steps: int = 4,
    *,
    seed: Any,
    hidden: int = 32,
    log_scale: float = 0.5,
    like: Array | None = None,
) -> Chain:
    """A small flow with random weights: affine couplings that change the two halves in
    turn.

    s and t are networks with one hidden layer of tanh; each entry of s is at most
    `log_scale` in size, so a step stretches by at most ``exp(log_scale)``, and each
    entry of t at most 1.

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
        The map gets the library, dtype and device of this array. Default: NumPy,
        float64.

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
    d, hidden = check_count(d, "d", 2), check_count(hidden, "hidden")
    rng, half, couplings = generator(seed), d // 2, []
    for i in range(check_count(steps, "steps")):
        s, t = (
            _bounded_network(half, hidden, d - half, bound, rng, like)
            for bound in (check_lam(log_scale, "log_scale"), 1.0)
        )
        couplings.append(AffineCoupling(d, s, t, half=half, swap=i % 2 == 1))
    options = {"d": d, "steps": len(couplings), "hidden": hidden}
    return drawn_by(
        "flow", seed, Chain(couplings), options | {"log_scale": float(log_scale)}
    )


def _bounded_network(d, hidden, p, bound, rng, like):
    """One hidden layer of tanh; no output is larger than `bound`."""
    first = rng.normal(size=(d, hidden)) / math.sqrt(d)
    second = rng.normal(size=(hidden, p))
    second *= bound / np.abs(second).sum(axis=0)  # |tanh| <= 1
    b = rng.normal(size=hidden)
    hidden_layer = Linear(as_like(first, like), as_like(b, like))
    return Chain([hidden_layer, Tanh(), Linear(as_like(second, like))])


def orthonormalised(A: np.ndarray) -> np.ndarray:
    """Orthonormal columns (rows, where A is wide) from a Gaussian matrix, uniformly
    distributed: the signs are fixed by R.
    """
    if A.shape[0] < A.shape[1]:
        return orthonormalised(A.T).T
    Q, R = np.linalg.qr(A)
    return Q * np.where(np.diag(R) < 0, -1.0, 1.0)


def as_like(A: np.ndarray, like: Array | None) -> Array:
    """A NumPy array in the library, dtype and device of `like`."""
    if like is None:
        return A
    return array_namespace(like).asarray(A, dtype=like.dtype, device=device(like))


def drawn_by(maker: str, seed: Any, phi: AnyMap, arguments: dict[str, Any]) -> AnyMap:
    """The map, with what draws it again; a generator may have been used before, and
    does not.
    """
    if isinstance(seed, numbers.Integral):
        phi.drawn = Drawn(maker, {**arguments, "seed": int(seed)})
    return phi


def generator(seed: Any) -> np.random.Generator:
    """The generator of a seed, refused where there is none."""
    if seed is None:
        raise TypeError(
            "seed must be an integer or a numpy.random.Generator, so that the weights "
            "can be drawn again"
        )
    return np.random.default_rng(seed)
