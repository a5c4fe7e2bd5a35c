"""Distil your own data: scikit-learn estimators that carry an exact distilled set.

`DistilledRidge` and `DistilledRidgeClassifier` fit ridge regression (on the columns, or
on the features of a map of `ddref.maps`) and hold a small set that trains the same
model: handed to scikit-learn's own `Ridge(alpha=lam_s_, fit_intercept=...)`, it gives
`coef_` and `intercept_`. `Distiller` is what the two share. `from_model` gives the set
of a linear model that is trained already, whatever trained it.

Two classes and not one that looks at `y`: whole numbers can be classes or measurements,
and only you know which.
"""

try:
    import sklearn  # noqa: F401
except ImportError as error:
    raise ImportError(
        "ddref.estimator, and distill and verify in a terminal, need scikit-learn: "
        "install scikit-learn, or ddref with its extra 'sklearn'"
    ) from error

from .estimators import DistilledRidge, DistilledRidgeClassifier, Distiller
from .images import Images, displayed
from .models import from_model
from .training import trained

__all__ = [
    "DistilledRidge",
    "DistilledRidgeClassifier",
    "Distiller",
    "Images",
    "displayed",
    "from_model",
    "trained",
]
