"""How many points an exact set needs for almost every model. No PyTorch."""

from ..arrays import check_count


def generic_count(p: int, d: int, r: int, *, homogeneous: bool = False) -> int:
    """How many points an exact set needs for almost every model:
    ``max(r, ceil(r p / (d + r)))``.

    This counts dimensions. `m` points reach, over all inputs and all labels, a set of
    models of dimension at most ``m (d + r)`` where ``r p`` is needed; below the count
    almost no model of rank r is reached. It is not a bound for every single model: one
    that was trained on two points has an exact set of two points. And it does not
    promise that so many points are enough; `solve` finds out.

    Parameters
    ----------
    p, d : int
        Number of features (the dimension of their span), and of inputs.
    r : int
        Rank of the model W; where only the decisions matter, the rank of the centred
        model, k - 1 in general.
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
