"""What a distilled set and its model reveal of the data, and a release that is private.

`recover_model`, `membership` and `reconstruct` are attacks: what anyone can compute who
has the set, or the model. A distilled set is no anonymised copy of the data; it stands
for the model, and says as much as the model does.

`release` adds Gaussian noise to the sums over samples that are clipped by `clip_rows`
(`ClippedStatistics`), so that the model and every set distilled from it are (epsilon,
delta)-private. `noise_scale`, `gaussian_delta` and `gaussian_epsilon` do the accounts,
`audit` attacks a mechanism to see whether its claim holds.

Files are loaded on first use: only `reconstruct` needs PyTorch.
"""

from importlib import import_module
from typing import Any

_FILE_OF = {
    "Audit": "auditing",
    "ClippedStatistics": "mechanism",
    "Reconstruction": "reconstruction",
    "Release": "mechanism",
    "audit": "auditing",
    "clip_rows": "mechanism",
    "gaussian_delta": "accounting",
    "gaussian_epsilon": "accounting",
    "membership": "attacks",
    "noise_scale": "accounting",
    "outcomes": "auditing",
    "reconstruct": "reconstruction",
    "recover_model": "attacks",
    "release": "mechanism",
}
_FILES = ("accounting", "attacks", "auditing", "mechanism", "reconstruction")
__all__ = [
    "Audit",
    "ClippedStatistics",
    "Reconstruction",
    "Release",
    "audit",
    "clip_rows",
    "gaussian_delta",
    "gaussian_epsilon",
    "membership",
    "noise_scale",
    "outcomes",
    "reconstruct",
    "recover_model",
    "release",
]


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
