"""The devices of PyTorch that are there; without PyTorch nothing of this is needed."""

from typing import Any

import numpy as np

from ..arrays import Array


def check_device(name: Any) -> None:
    """Refuse what is no device of this machine that computes in float64.

    Examples
    --------
    >>> import pytest
    >>> _ = pytest.importorskip("torch")
    >>> check_device("cpu")
    """
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f'device = {name!r} needs PyTorch: pip install "ddref[torch]"'
        ) from error
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device = {name!r} is none of PyTorch's; here there is {_there()}"
        ) from error
    try:
        usable = not torch.zeros(1, dtype=torch.float64, device=device).is_meta
    except (RuntimeError, AssertionError, NotImplementedError, TypeError):
        usable = False
    if not usable:
        why = "is not there, or cannot be used"
        if device.type == "mps":
            why = "has no float64, in which the algebra is"
        raise ValueError(f"device = {name!r} {why}; here there is {_there()}")


def _there() -> str:
    """The devices that can be used, in words."""
    import torch

    found = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    return ", ".join(["cpu", *found])


def as_numpy(A: Any) -> Any:
    """A tensor as an array of NumPy, without its gradient; all else as it is."""
    return A.detach().cpu().numpy() if hasattr(A, "detach") else A


def on_device(A: Any, device: str | None) -> Array:
    """An array in float64: of NumPy, or a tensor where a device is named."""
    A = np.asarray(as_numpy(A), dtype=np.float64)
    if device is None:
        return A
    import torch

    return torch.tensor(A, device=device)
