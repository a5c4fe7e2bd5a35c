"""Images for the chapters: digits, a shipped sample of Fashion-MNIST, the full MNIST
and Fashion-MNIST, CIFAR, yours.

Every loader returns a `Dataset` of raw pixels; `standardize` and `one_hot` turn it into
the `X` and `Y` of the formulas. Nothing is scaled, shuffled or encoded on the way in.

scikit-learn is imported inside `digits`, Pillow inside `image_folder`; pooch, with tqdm
for its progress bar, only when a file has to be downloaded.
"""

from .cifar import cifar10, cifar100
from .folder import image_folder
from .official import load
from .pixels import Standardized, one_hot, standardize, unstandardize
from .samples import Dataset, digits, fashion_sample

__all__ = [
    "Dataset",
    "Standardized",
    "cifar10",
    "cifar100",
    "digits",
    "fashion_sample",
    "image_folder",
    "load",
    "one_hot",
    "standardize",
    "unstandardize",
]
