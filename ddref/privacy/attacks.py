"""What is read off a released set or model: the model of a set, and who trained it.

With h the leverage of a sample f against the *other* samples, h = f (G + lam)^-1 f^T,
training on (f, y) divides its residual by 1 + h:

    out   r = y - f W      about N(0, s^2)
    in    (1 + h) r        about N(0, s^2)

`membership` is the logarithm of the ratio of the two densities of r.
"""

from ..arrays import (
    Array,
    check_arrays,
    check_positive,
    check_shapes,
    check_symmetric,
)
from ..krr import fit
from ..spectrum import solve_definite


def recover_model(Phi_S: Array, Y_S: Array, lam_S: float = 0.0) -> Array:
    """The model W (p, k) that a released set stands for: ridge regression on the set.

    Whoever has an exact set, with its labels, has `W`, to rounding. Noise in the choice
    of the points changes nothing: that they train `W` is what makes the set exact.

    Parameters
    ----------
    Phi_S : array (m, p)
        Features of the released points.
    Y_S : array (m, k)
        Their labels.
    lam_S : float
        The regularisation that the set is meant for.

    Raises
    ------
    ValueError, TypeError
        As `krr.fit`.

    Notes
    -----
    Book: prop-set-is-model, prop-null-noise. At most about ``eps`` times the condition
    number of `Phi_S` is lost: noise of 1e6 times W costs six digits of sixteen.

    Examples
    --------
    >>> import numpy as np
    >>> D = np.array([[1.0, 3e6], [2.0, 4e6]])  # the second column is noise
    >>> W = recover_model(np.linalg.inv(D), np.array([[1.0], [0.0]]))
    >>> W.ravel().round(9)  # what the labels ask for: the first column
    array([1., 2.])
    """
    return fit(Phi_S, Y_S, lam_S)


def membership(
    Phi: Array,
    Y: Array,
    W: Array,
    G: Array,
    lam: float,
    *,
    variance: float,
) -> Array:
    """How much the model `W` speaks for each sample having been trained on: a score
    (n,), the log-likelihood ratio of "in" against "out".

    The adversary has the model and the sample, knows the feature map and `lam`, and
    guesses two things from similar data of its own: `G`, and the `variance`.

    Parameters
    ----------
    Phi, Y : array (n, p), array (n, k)
        Features and targets of the samples in question, each judged on its own.
    W : array (p, k)
        The released model, or `recover_model` of a released set.
    G : array (p, p)
        Guess of ``Phi^T Phi`` of the training samples without the one in question: that
        of other samples of the same kind, times the ratio of the numbers.
    lam : float
        Regularisation of the model, above 0.
    variance : float
        Of an entry of the residual ``y - phi(x) W`` of samples that were not trained
        on: its mean square over such samples.

    Returns
    -------
    array (n,)
        ``k log(1 + h) - ((1 + h)^2 - 1) ||y - phi(x) W||^2 / (2 variance)``, h the
        leverage. Above 0: more likely in than out.

    Raises
    ------
    ValueError, TypeError
        For arrays that do not fit, a `variance` or `lam` that is not positive.

    Notes
    -----
    Book: prop-membership. Where residuals of outsiders are normal with this variance
    and G is right, no other test of the residual finds more members at the same rate of
    false alarms (Neyman and Pearson). With guesses it is a score all the same, and the
    order it gives is what counts.

    Examples
    --------
    >>> import numpy as np
    >>> G, W = np.eye(2), np.zeros((2, 1))
    >>> Phi, Y = np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[0.1], [3.0]])
    >>> membership(Phi, Y, W, G, 1.0, variance=1.0).round(2)
    array([ 0.4 , -5.22])
    """
    xp = check_arrays(Phi=Phi, Y=Y, W=W, G=G)
    check_shapes(Phi=(Phi, "np"), Y=(Y, "nk"), W=(W, "pk"), G=(G, "pp"))
    check_symmetric(G, "G")
    lam = check_positive(lam, "lam")
    variance = check_positive(variance, "variance")
    h = xp.sum(Phi * solve_definite(G, Phi.mT, lam).mT, axis=1)
    squares = xp.sum((Y - Phi @ W) ** 2, axis=1)
    return Y.shape[1] * xp.log1p(h) - h * (2 + h) * squares / (2 * variance)
