"""KIP, kernel inducing points: distilled sets by gradient descent on the training loss
of kernel ridge regression.

`X_S`, and the labels if asked, move by Adam so that the model trained on ``(X_S, Y_S,
lam_S)`` predicts the original targets. It needs no more of a kernel than that PyTorch
can differentiate it: `linear`, `gaussian`, `nngp`, `ntk`, or any function ``K(A, B)``
of two sets of rows; with `phi`, the same on the features of a map.

    state = train(start(X_S, Y_S), X, Y, steps=200, lam_S=1e-6 * float(linear(X_S,
    X_S).trace()) / len(X_S))

PyTorch tensors, on any device that has float64: systems with one row a distilled point
are solved in float64 whatever the dtype of the data.
"""

try:
    import torch  # noqa: F401
except ImportError as error:
    raise ImportError(
        "ddref.kip needs PyTorch: install torch, or ddref with its extra 'torch'"
    ) from error

from .coresets import herding
from .kernels import gaussian, linear, nngp, ntk
from .objective import coefficients, condense, loss, predict, solve_labels
from .training import State, load, start, train

__all__ = [
    "State",
    "coefficients",
    "condense",
    "gaussian",
    "herding",
    "linear",
    "load",
    "loss",
    "nngp",
    "ntk",
    "predict",
    "solve_labels",
    "start",
    "train",
]
