"""Measure `results/ten_points.json`: what the README says first, ten points of MNIST, linear and behind Fourier features.

    python -m tools.results_ten_points [DATA_FOLDER]

The estimator as it comes, from 60,000 images in memory to ten points whose certificate is checked. Seconds are those on
the clock and those of computing, all threads added up. Needs the data folder (an argument, or DDREF_DATA).
"""

import os
import sys
import time

from ddref import datasets
from ddref.estimator import DistilledRidgeClassifier
from tools.results import save

MODELS = {
    "linear": {"lam": 1000.0, "fit_intercept": False, "scaling": "global"},
    "fourier": {"feature_map": "fourier", "scaling": "global"},
}


def measured(parameters, X, y, X_test, y_test):
    computing, start = time.process_time(), time.perf_counter()
    model = DistilledRidgeClassifier(**parameters).fit(X, y)
    seconds, computing = time.perf_counter() - start, time.process_time() - computing
    return {
        "points": model.n_points_,
        "lam": model.lam_,
        "accuracy": model.score(X_test, y_test),
        "relative_error": model.certificate_.relative_error,
        "exact": model.certificate_.exact,
        "decisions_changed": model.certificate_.decisions_changed,
        "seconds": seconds,
        "computing_seconds": computing,
    }


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("DDREF_DATA")
    if not root:
        raise SystemExit("the data folder is needed: set DDREF_DATA, or pass it as an argument")
    data = datasets.load("mnist", root)
    X, X_test = (A.reshape(len(A), -1).astype(float) for A in (data.X_train, data.X_test))
    found = {kind: measured(parameters, X, data.y_train, X_test, data.y_test) for kind, parameters in MODELS.items()}
    for kind, one in found.items():
        print(f"{kind}: {one['points']} points, {one['accuracy']:.1%}, {one['seconds']:.0f} s ({one['computing_seconds']:.0f} s of computing)")
    save("ten_points", {"images": len(X), "load_average": os.getloadavg()[0], **found})


if __name__ == "__main__":
    main()
