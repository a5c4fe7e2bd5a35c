"""How much Gaussian noise buys which (epsilon, delta), exactly.

Noise of standard deviation `sigma` on a vector that one sample moves by at most
`sensitivity` is told by one number, ``mu = sensitivity / sigma``: to see whether the
sample is there is to tell N(0, 1) from N(mu, 1). Such numbers add in squares over
several releases of the same data.
"""

import math
from collections.abc import Callable

MOST = 700.0  # epsilon: beyond, exp(epsilon) overflows, and nothing is protected
LEAST = 1e-4, 1e-100  # epsilon, delta: below, rounding would decide how much is enough
SCALES = (1e-2, 1e15)  # where the noise for sensitivity 1 is looked for
NOISIEST = 1e6  # sigma over sensitivity: more noise counts as this much


def gaussian_delta(epsilon: float, mu: float) -> float:
    """Smallest delta for which Gaussian noise with ``sensitivity / sigma = mu`` is
    (epsilon, delta)-private.

    ``Phi(mu/2 - epsilon/mu) - exp(epsilon) Phi(-mu/2 - epsilon/mu)``, Phi the normal
    distribution function.

    Notes
    -----
    Book: eq-analytic-gaussian. Source: Balle and Wang (2018), Theorem 8.

    Examples
    --------
    >>> round(gaussian_delta(0.0, 1.0), 6)  # the total variation distance
    0.382925
    """
    near = _normal(mu / 2 - epsilon / mu)
    return near - math.exp(epsilon) * _normal(-mu / 2 - epsilon / mu)


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Smallest epsilon for which Gaussian noise with ``sensitivity / sigma = mu`` is
    (epsilon, delta)-private; 0 where delta alone is enough.

    For several releases of the same data `mu` is the root of the sum of their squares.

    Notes
    -----
    Book: eq-analytic-gaussian. Source: Balle and Wang (2018); composition: Dong, Roth
    and Su (2022).

    Examples
    --------
    >>> round(gaussian_epsilon(0.268051, 1e-5), 4)
    1.0
    >>> round(gaussian_epsilon(math.hypot(0.268051, 0.268051), 1e-5), 4)  # twice
    1.4652
    """
    delta = _between(delta, "delta", 1.0, LEAST[1])
    mu = max(_between(mu, "mu", math.inf), 1 / NOISIEST)
    if gaussian_delta(0.0, mu) <= delta:
        return 0.0
    if gaussian_delta(MOST, mu) > delta:
        raise ValueError(f"mu = {mu:g} protects nothing: epsilon is above {MOST:g}")
    return _bisect(lambda epsilon: gaussian_delta(epsilon, mu) <= delta, 0.0, MOST)


def noise_scale(epsilon: float, delta: float, sensitivity: float = 1.0) -> float:
    """Smallest standard deviation of Gaussian noise that makes a release of this
    `sensitivity` (epsilon, delta)-private.

    Parameters
    ----------
    epsilon : float
        In nats: adding or removing one sample changes the probability of any outcome
        by at most the factor exp(epsilon), up to `delta`.
    delta : float
        Between 0 and 1, well below one over the number of samples.
    sensitivity : float
        Most that one sample moves what is released, in Euclidean length.

    Raises
    ------
    ValueError
        Where one of the numbers is out of range.

    Notes
    -----
    Book: eq-analytic-gaussian. Source: Balle and Wang (2018). The scale of the
    textbooks, ``sqrt(2 log(1.25 / delta)) / epsilon``, is larger, and proved for
    epsilon below 1 only.

    Examples
    --------
    >>> round(noise_scale(1.0, 1e-5), 4)
    3.7306
    """
    epsilon = _between(epsilon, "epsilon", MOST, LEAST[0])
    delta = _between(delta, "delta", 1.0, LEAST[1])
    sensitivity = _between(sensitivity, "sensitivity", math.inf)
    enough = _bisect(lambda scale: gaussian_delta(epsilon, 1 / scale) <= delta, *SCALES)
    return sensitivity * enough


def _bisect(enough: Callable[[float], bool], low: float, high: float) -> float:
    """Smallest number at which `enough` holds, to rounding and from above."""
    while True:
        # the orders of magnitude are halved, where there are two ends to do it
        middle = math.sqrt(low * high) if low > 0 else (low + high) / 2
        if not low < middle < high:
            return high
        if enough(middle):
            high = middle
        else:
            low = middle


def _between(value: float, name: str, most: float, least: float = 0.0) -> float:
    if not 0 < float(value) < most:
        raise ValueError(f"{name} = {value} must be above 0 and below {most:g}")
    if float(value) < least:
        raise ValueError(
            f"{name} = {value} must be at least {least:g}: below, rounding would "
            "decide how much noise is enough"
        )
    return float(value)


def _normal(x: float) -> float:
    """Distribution function of N(0, 1), to relative precision in the left tail."""
    return math.erfc(-x / math.sqrt(2)) / 2
