"""Exact distilled sets of inputs for maps that are not onto: how many points to expect,
and a solver (PyTorch).

With more features than inputs, p > d, most feature vectors belong to no input. A set
can still be exact: what counts is that the rows of ``phi(X_S)`` span the columns of
`W`, ``W = phi(X_S)^T alpha`` for some coefficients `alpha`. `generic_count` counts
equations and unknowns; `solve` looks for such inputs by Levenberg-Marquardt steps from
given points, real images for instance. Each step is a small one, so the inputs stay
near where they started: the same solver gives realistic exact sets for every
differentiable map, onto or not. `solve_twice` finds a set for every model, of twice as
many points, where the rank of a derivative is full.

`phi` is any function of a batch of rows whose rows do not influence each other.
`OneLayer` is one with known structure, for which the steps are much cheaper.

Files are loaded on first use: `generic_count` and `smooth_count` need no
PyTorch.
"""

from ..lazy import lazily

_FILE_OF = {
    "generic_count": "count",
    "smooth_count": "count",
    "OneLayer": "layer",
    "solve": "solver",
    "solve_many": "solver",
    "solve_twice": "twice",
    "SolvedSet": "solver",
    "ManyStarts": "solver",
    "NoConvergence": "solver",
    "Progress": "solver",
}
_FILES = ("count", "layer", "linearised", "systems", "solver", "twice")
__all__ = [
    "ManyStarts",
    "NoConvergence",
    "OneLayer",
    "Progress",
    "SolvedSet",
    "generic_count",
    "smooth_count",
    "solve",
    "solve_many",
    "solve_twice",
]

__getattr__ = lazily(__name__, _FILE_OF, _FILES)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, *_FILES])
