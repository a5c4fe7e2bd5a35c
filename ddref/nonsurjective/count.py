"""How many points an exact set needs for almost every model, and how many are enough
for tanh and cosine layers. No PyTorch.
"""

from ..arrays import check_count


def generic_count(p: int, d: int, r: int, *, homogeneous: bool = False) -> int:
    """How many points an exact set needs at least, for almost every model:
    ``max(r, ceil(r p / (d + r)))``.

    This counts dimensions. `m` points reach, over all inputs and all labels, a set of
    models of dimension at most ``m (d + r)`` where ``r p`` is needed; below the count
    almost no model of rank r is reached. It is not a bound for every single model: one
    that was trained on two points has an exact set of two points. And it does not
    promise that so many points are enough: that depends on the map. For the monomials
    of degree 2 and one target almost every model needs more; see `smooth_count` for
    maps where twice some more are always enough, and `solve`, which finds out.

    Parameters
    ----------
    p, d : int
        Number of features (the dimension of their span), and of inputs.
    r : int
        Rank of the model W. With the rank of the centred model, k - 1 in general, it
        counts the points for that model. Decisions at all *inputs* may need fewer; for
        maps that are onto they do not.
    homogeneous : bool
        True for maps with ``phi(t x) = t phi(x)``, t > 0, such as ReLU without biases:
        scaling a point is then no freedom of its own, and the count is
        ``max(r, ceil(r p / (d + r - 1)))``.

    Raises
    ------
    ValueError, TypeError
        For numbers that are not positive integers, and for r > p.

    Notes
    -----
    Book: thm-point-count.

    Examples
    --------
    >>> generic_count(3, 1, 1), generic_count(256, 64, 10)
    (2, 35)
    >>> generic_count(256, 64, 10, homogeneous=True)
    36
    """
    p = check_count(p, "p")
    d = check_count(d, "d")
    r = check_count(r, "r")
    if r > p:
        raise ValueError(
            f"r = {r} exceeds p = {p}: a model of p rows has at most rank p"
        )
    unknowns = d + r - bool(homogeneous)  # of one point and its coefficients
    return max(r, -(-r * p // unknowns))  # -(-a // b) is a / b rounded up


def smooth_count(p: int, d: int, r: int) -> int:
    """At how many points almost every tanh or cosine layer has a derivative of full
    rank: the least ``m >= r`` with ``m + floor(m / r) d >= p``.

    With so many points an open set of models of rank r has exact sets, and with twice
    as many *every* model has; `solve_twice` finds them. Where twice this is more than
    p, any p points with independent features are enough.

    Parameters
    ----------
    p, d, r : int
        Number of features, of inputs, and rank of the model.

    Raises
    ------
    ValueError, TypeError
        As `generic_count`.

    Notes
    -----
    Book: thm-smooth-rank. The theorem is about tanh and cosine with almost every matrix
    and biases, after any smooth map that keeps the points and their neighbourhoods
    apart. Less than r above `generic_count`.

    Examples
    --------
    >>> generic_count(256, 64, 10), smooth_count(256, 64, 10)
    (35, 40)
    """
    generic_count(p, d, r)  # checks
    full, rest = divmod(p, d + r)  # full points for each column: r of them, d + r each
    return r * full + min(r, rest)
