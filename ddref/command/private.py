"""`ddref distill --epsilon`: a set whose file says no more of the data than a private
release does. What the file holds is private; notes, errors and the score on the test
samples are a look of your own at the data.
"""

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np

from ..maps.fourier import orthogonal_features
from .inputs import Data

ONLY_HERE = ("delta", "clip", "bound", "classes", "bandwidth")
PUBLIC = (
    "public, so not from a look at these samples: clip {clip:g}, {targets}, the map, "
    "lam if given, the number of columns, what was done to the data before"
)


def is_private(options: argparse.Namespace) -> bool:
    """Whether the set has to be private.

    ValueError for what is said about a private set without --epsilon, and for what a
    private set cannot be made from, before the data are read.
    """
    if options.epsilon is None:
        for name in ONLY_HERE:
            if vars(options)[name] is not None:
                raise ValueError(
                    f"--{name} is for a private set: pass --epsilon too, or leave it "
                    "out"
                )
        return False
    if (options.classes is None) == (options.bound is None):
        raise ValueError(
            "--epsilon needs --classes, all that there are to be, or for targets "
            "--bound, the most length of a row of them: neither from a look at them"
        )
    if options.map == "fourier" and options.bandwidth is None:
        raise ValueError(
            "--epsilon and --map fourier: the bandwidth would come from the samples; "
            "pass --bandwidth, a distance in units of the data, known beforehand"
        )
    if options.bandwidth is not None and options.map != "fourier":
        raise ValueError("--bandwidth is for --map fourier")
    if options.select != "gcv":
        raise ValueError(
            f"--epsilon: --select {options.select} looks at the samples; leave it out, "
            "and lam comes from the noise"
        )
    if options.test is not None:
        raise ValueError(
            "--epsilon: with one sample more --test draws others, too; put the test "
            "images into a folder test/ beside train/"
        )
    task = "regression" if options.classes is None else "classification"
    if options.task not in (None, task):
        raise ValueError(f"--task {options.task}: --classes or --bound say {task}")
    options.task = task  # so that nobody looks at the targets for it
    return True


def check_data(options: argparse.Namespace, data: Data) -> None:
    """Refuse data whose columns were found by a look at the samples."""
    if data.table is not None:
        raise ValueError(
            f"--epsilon: what the columns of {options.input} are is read from the "
            "samples; write its numbers to an .npz with X and y, words coded by a "
            "public list"
        )


def distilled(
    options: argparse.Namespace,
    data: Data,
    lam: Any,
    estimator: Any,
    note: Callable[[str], None],
) -> Any:
    """The estimator that is to be fitted, privately."""
    clip = 1.0 if options.clip is None else options.clip
    shared = {
        "feature_map": _map(options, data.X.shape[1]),
        "lam": None if lam == "auto" else lam,
        "lam_s": options.lam_s,
        "init": options.init or "orthonormal",
        "fit_intercept": False,
        "scaling": None if options.scaling in ("auto", "none") else options.scaling,
        "image_shape": options.image_shape or data.image_shape,
        "random_state": options.seed,
        "dtype": options.dtype,
        "device": options.device,
        **{"epsilon": options.epsilon, "delta": options.delta, "clip": clip},
    }
    if options.classes is None:
        note(PUBLIC.format(clip=clip, targets=f"bound {options.bound:g}"))
        return estimator.DistilledRidge(options.points, bound=options.bound, **shared)
    classes = _classes(options.classes, data.y)
    note(PUBLIC.format(clip=clip, targets=f"{len(classes)} classes"))
    make = estimator.DistilledRidgeClassifier
    return make(options.points, classes=classes, **shared)


def _map(options, d):
    """A map of which nothing comes from the samples, or its name."""
    if options.bandwidth is None:
        return options.map
    like = None
    if options.device is not None:
        import torch

        like = torch.zeros(1, dtype=torch.float64, device=options.device)
    return orthogonal_features(d, d, options.bandwidth, seed=options.seed, like=like)


def _classes(words, y):
    """Classes as the targets have them: words, or numbers."""
    kind = np.asarray(y).dtype.kind
    if kind not in "iufb":
        return np.array(words)
    try:
        numbers = np.array([float(word) for word in words])
    except ValueError as error:
        raise ValueError(
            f"--classes {' '.join(words[:5])}: the classes of the data are numbers"
        ) from error
    return numbers if kind == "f" else numbers.astype(int)
