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

from ..lazy import lazily

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

__getattr__ = lazily(__name__, _FILE_OF, _FILES)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, *_FILES])
