"""What a distilled set and its model reveal of the data.

`recover_model`, `membership` and `reconstruct` are attacks: what anyone can compute who
has the set, or the model. A distilled set is no anonymised copy of the data; it stands
for the model, and says as much as the model does.

Files are loaded on first use: only `reconstruct` needs PyTorch.
"""

from importlib import import_module
from typing import Any

_FILE_OF = {
    "membership": "attacks",
    "recover_model": "attacks",
    "Reconstruction": "reconstruction",
    "reconstruct": "reconstruction",
}
_FILES = ("attacks", "reconstruction")
__all__ = ["Reconstruction", "membership", "reconstruct", "recover_model"]


def __getattr__(name: str) -> Any:
    if name in _FILE_OF:
        try:
            return getattr(import_module(f"{__name__}.{_FILE_OF[name]}"), name)
        except ModuleNotFoundError as error:
            raise ImportError(
                f"privacy.{name} needs PyTorch: install torch, or ddref with its extra "
                "'torch'"
            ) from error
    if name in _FILES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, *_FILES])
