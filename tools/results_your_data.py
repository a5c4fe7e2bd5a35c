"""Measure `results/your_data.json`: from 70,000 image files of a user's own to the first distilled images.

    python -m tools.results_your_data [DATA_FOLDER]

MNIST is written out as a folder of PNG files and as a tar file of it, as a user would have their own images; then the
command `ddref distill` runs on each in a new process. Needs the data folder (an argument, or DDREF_DATA).
"""

import os
import re
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn import datasets as toys
from sklearn.linear_model import Ridge

from ddref import datasets, files
from ddref.estimator import DistilledRidge, DistilledRidgeClassifier
from tools.results import ROOT, save

THREADS = "2"


def write_images(data, folder):
    """A data set as train/<class>/<number>.png and test/<class>/<number>.png."""
    for split, X, y in (("train", data.X_train, data.y_train), ("test", data.X_test, data.y_test)):
        for name in data.class_names:
            (folder / split / name).mkdir(parents=True)
        for i, (image, c) in enumerate(zip(X, y, strict=True)):
            Image.fromarray(image).save(folder / split / data.class_names[c] / f"{i:05}.png")


def command(*arguments):
    """Run ddref in a new process: its output, seconds on the clock, seconds of computing, peak memory in MB."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": THREADS, "OPENBLAS_NUM_THREADS": THREADS}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "ddref", *map(str, arguments)], env=environment, capture_output=True,
                          text=True)  # fmt: skip
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"ddref {arguments[0]} ended with {done.returncode}: {done.stderr}")
    computing = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.stdout, wall, computing, after.ru_maxrss / 1024  # peak of the largest child so far


def percents(text, name):
    return [float(number) / 100 for number in re.findall(r"([\d.]+)%", re.search(rf"accuracy on {name}.*", text)[0])]


def own_images(root):
    """MNIST as a user's own images: distil, show, verify, from a folder and from a tar file."""
    data, found = datasets.load("mnist", root), {}
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        write_images(data, place / "images")
        with tarfile.open(place / "images.tar", "w") as tar:
            tar.add(place / "images", "images")
        for kind, source in (("folder", place / "images"), ("tar", place / "images.tar")):
            out = place / f"{kind}.npz"
            text, *distil, peak = command("distill", source, "--out", out)
            _, *show, _ = command("show", out)
            check, *_ = command("verify", out, source)
            saved, accuracy = files.load(out), percents(check, "test")
            found[kind] = {
                "seconds": distil[0] + show[0], "computing_seconds": distil[1] + show[1], "peak_megabytes": peak,
                "points": len(saved.X_S), "lam": saved.lam, "relative_error": saved.certificate["relative_error"],
                "relative_error_verify": float(re.search(r"relative error +(\S+)", check)[1]),
                "decisions_changed": saved.certificate["decisions_changed"], "accuracy": accuracy[0],
                "accuracy_distilled": accuracy[1], "file_kilobytes": out.stat().st_size / 1024,
            }  # fmt: skip
            print(kind, found[kind], flush=True)
    return {"images": len(data.X_train) + len(data.X_test), "threads": int(THREADS), **found}


def toy_sets():
    """Default arguments on scikit-learn's small sets, columns as they are; errors also by scikit-learn's Ridge."""
    found = {}
    for name in ("iris", "wine", "breast_cancer", "digits", "diabetes"):
        X, y = getattr(toys, f"load_{name}")(return_X_y=True)
        model = (DistilledRidge() if name == "diabetes" else DistilledRidgeClassifier()).fit(X, y)
        small = Ridge(alpha=model.lam_s_).fit(model.X_distilled_, model.y_distilled_)
        found[name] = {
            "samples": len(X), "points": model.n_points_, "relative_error": model.certificate_.relative_error,
            "prediction_error": model.certificate_.prediction_error, "condition": model.certificate_.condition,
            "ridge_error": float(np.linalg.norm(small.coef_ - model.coef_) / np.linalg.norm(model.coef_)),
            "ridge_intercept_error": float(
                np.linalg.norm(small.intercept_ - model.intercept_) / np.linalg.norm(model.intercept_)),
        }  # fmt: skip
    return found


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("DDREF_DATA")
    if not root:
        raise SystemExit("the data folder is needed: set DDREF_DATA, or pass it as an argument")
    save("your_data", {"own_images": own_images(root), "toy_sets": toy_sets()})


if __name__ == "__main__":
    main()
