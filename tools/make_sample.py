"""Write the shipped sample, ddref/data/fashion_sample.npz, from the official Fashion-MNIST files.

    python tools/make_sample.py FOLDER [--output FILE]

FOLDER holds the four idx files, or a folder `fashion-mnist` with them; by default the environment variable
DDREF_DATA names it. Nothing is downloaded. The official files are verified before anything is written.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np

from ddref import datasets
from ddref.datasets.samples import SAMPLE, SAMPLE_SHA256, sha256_of

TRAIN, TEST = 6000, 1000


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", default=os.environ.get("DDREF_DATA"))
    parser.add_argument("--output", type=Path, default=SAMPLE)
    options = parser.parse_args(arguments)
    if not options.folder:
        parser.error("name the folder of the Fashion-MNIST files, or set DDREF_DATA")

    full = datasets.load("fashion-mnist", options.folder, download=False)
    sample = {
        "X_train": full.X_train[:TRAIN],
        "y_train": full.y_train[:TRAIN].astype(np.uint8),
        "X_test": full.X_test[:TEST],
        "y_test": full.y_test[:TEST].astype(np.uint8),
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(options.output, **sample)
    found = sha256_of(*sample.values())
    print(f"{options.output}: {options.output.stat().st_size:,} bytes, SHA-256 of the arrays {found}")
    if found != SAMPLE_SHA256:
        sys.exit(f"set SAMPLE_SHA256 in ddref/datasets/samples.py to {found} (it is {SAMPLE_SHA256})")


if __name__ == "__main__":
    main()
