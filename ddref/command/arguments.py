"""The words and options that the commands are called with."""

import argparse
from typing import Any

from .. import __version__
from .inputs import MAX_BYTES

EXAMPLES = """\
examples:
  ddref distill photos/ --out ten.npz
      a folder train/<class>/*.png, test/<class>/*.png, or a tar of it
  ddref distill wine.csv --target quality --task regression --out wine.npz
  ddref distill data.npz --points 100 --out data100.npz
      arrays X and y (or X_train, y_train, ...)
  ddref distill X.npy --targets y.npy --out small.npz
      features of an encoder, say; a large file is read in blocks
  ddref distill model.npz --out small.npz
      a model that python -m ddref.statistics has trained
  ddref distill X.npz --epsilon 1 --delta 1e-5 --classes 0 1 2 --out private.npz
      whether one sample was there cannot be told from the file
  ddref verify ten.npz photos/
      trains on both; exit code 1 where the models differ
  ddref predict wine.npz new.csv --out predictions.csv
      trains on the set, predicts new rows
  ddref show ten.npz
      writes ten.png and prints what the file holds
  ddref export ten.npz ten/
      a PNG a point, labels.csv, and lines for PyTorch and Keras
  ddref info ten.npz
      the header of the file; without a file, versions
  ddref copy nearest.nearest > nearest.py
      one function and all it needs, as one file

exit codes: 0 done, 1 not exact (verify), 2 a mistake in the input, 130 interrupted
"""


def parser() -> argparse.ArgumentParser:
    """Reads the words after `ddref`; `command` is the first of them."""
    about = (
        "Distil a data set into a few points that train the same ridge regression, "
        "exactly."
    )
    kind: dict[str, Any] = {
        "formatter_class": argparse.RawDescriptionHelpFormatter,
        "epilog": EXAMPLES,
    }
    made = argparse.ArgumentParser(prog="ddref", description=about, **kind)
    made.add_argument("--version", action="version", version=f"ddref {__version__}")
    made.set_defaults(debug=False)
    commands = made.add_subparsers(dest="command", metavar="COMMAND")

    one = commands.add_parser(
        "distill", help="fit, distil, check, write one file", **kind
    )
    _add_input(one)
    _add_distill(one)

    one = commands.add_parser(
        "verify", help="train on the file and on the data, compare", **kind
    )
    one.add_argument("file", metavar="OUT.npz")
    _add_input(one)

    one = commands.add_parser(
        "predict", help="train on the file, predict new samples, write a table", **kind
    )
    one.add_argument("file", metavar="SET.npz")
    _add_input(one)
    one.add_argument(
        "--out", required=True, metavar="PREDICTIONS.csv", help="the table to write"
    )
    one.add_argument(
        "--force", action="store_true", help="replace the table if it exists"
    )

    one = commands.add_parser(
        "show", help="a picture of the points, and what the file says", **kind
    )
    one.add_argument("file", metavar="OUT.npz")
    one.add_argument(
        "--out",
        metavar="SHEET.png",
        help="default: the name of the file, ending in .png",
    )
    one.add_argument(
        "--force", action="store_true", help="replace the picture if it exists"
    )

    one = commands.add_parser(
        "export", help="a folder that PyTorch and Keras read: PNG, CSV, NPY", **kind
    )
    one.add_argument("file", metavar="SET.npz")
    one.add_argument("folder", metavar="FOLDER", help="the folder to make")
    one.add_argument(
        "--overwrite",
        "--force",
        action="store_true",
        help="replace FOLDER if an export wrote it",
    )

    one = commands.add_parser("info", help="the header of a file; versions", **kind)
    one.add_argument("file", metavar="OUT.npz", nargs="?")

    one = commands.add_parser(
        "copy", help="functions and all they need, as one file", **kind
    )
    one.add_argument("names", metavar="NAME", nargs="+", help="such as nearest.nearest")
    one.add_argument(
        "--numpy", action="store_true", help="a file that needs NumPy alone"
    )
    for one in commands.choices.values():
        one.add_argument(
            "--debug", action="store_true", help="show where in the code an error arose"
        )
    return made


def _add_input(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "input",
        metavar="INPUT",
        help=".npz, .npy with --targets, .csv with --target, folder, tar or zip",
    )
    add(
        "--test",
        type=float,
        metavar="PART",
        help="of a folder without test images: the part of each class to draw, as 0.2",
    )
    add(
        "--size",
        type=int,
        metavar="PIXELS",
        help="of a folder: bring images to squares, longer sides cut",
    )
    add(
        "--target",
        metavar="COLUMN",
        action="append",
        help="of a table: the name of the column, or its number from 0; of several "
        "targets --target a --target b, or --target a,b",
    )
    add(
        "--header",
        action=argparse.BooleanOptionalAction,
        help="of a .csv: whether its first line is names; default: by the lines",
    )
    add(
        "--decimal-comma",
        action="store_true",
        help="of a .csv: 1,234 is a little more than one",
    )
    add(
        "--channels",
        choices=("first", "last"),
        help="of arrays of images: where their colours are; default: by the shape",
    )
    add("--targets", metavar="Y.npy", help="of a .npy: the file of the targets")
    add(
        "--max-bytes",
        type=int,
        default=MAX_BYTES,
        metavar="N",
        help="limit for what is unpacked",
    )
    add("--quiet", action="store_true", help="no progress")
    add(
        "--device",
        metavar="DEVICE",
        help="cpu, cuda, cuda:0: compute with PyTorch there; default: NumPy",
    )


def _add_distill(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--out", required=True, metavar="OUT.npz", help="the file to write")
    add(
        "--task",
        choices=("classification", "regression", "multilabel"),
        help="multilabel: columns of 0 and 1; default: by the targets, and said",
    )
    add(
        "--points",
        type=int,
        metavar="M",
        help="number of distilled points; default: the fewest",
    )
    add(
        "--lam",
        nargs="+",
        default=["auto"],
        metavar="LAM",
        help="regularisation; of several values --select chooses; "
        "default: auto, 25 values",
    )
    add(
        "--select",
        choices=("gcv", "loo", "validation"),
        default="gcv",
        help="how; default: %(default)s",
    )
    add(
        "--lam-s",
        type=float,
        metavar="LAM",
        help="regularisation to train on the distilled set with",
    )
    add(
        "--init",
        choices=("real", "noise", "orthonormal"),
        help="what the points are near to; default: real samples",
    )
    add(
        "--map",
        choices=("fourier", "network"),
        help="a feature map; default: none, the columns",
    )
    add(
        "--map-arrays",
        action="store_true",
        help="store the weights of the map; default: the seed that draws them again",
    )
    add(
        "--scaling",
        choices=("auto", "none", "columns", "global"),
        default="auto",
        help="default: global for images, columns for tables",
    )
    add("--no-intercept", action="store_true", help="a model without an intercept")
    add(
        "--image-shape",
        type=int,
        nargs="+",
        metavar="SIDE",
        help="height width [channels] of a row",
    )
    add("--seed", type=int, default=0, help="draws the samples; default: %(default)s")
    add(
        "--dtype", choices=("float64", "float32"), default="float64", help="of the file"
    )
    add(
        "--missing",
        choices=("drop", "mean"),
        help="of a table: leave rows with missing values out, or fill in means; "
        "default: refused",
    )
    add(
        "--words",
        metavar="COLUMN",
        nargs="+",
        default=[],
        help="of a table: columns that hold words although they look like numbers",
    )
    add(
        "--leave-out",
        metavar="COLUMN",
        nargs="+",
        default=[],
        help="of a table: columns not to use",
    )
    add("--force", action="store_true", help="replace OUT.npz where it exists")
    _add_private(parser.add_argument_group("a private set"))


def _add_private(parser: Any) -> None:
    add = parser.add_argument
    add(
        "--epsilon",
        type=float,
        metavar="E",
        help="with --delta: whether one sample was there changes the odds of any file "
        "by at most exp(E); lam auto is then what the noise asks for",
    )
    add(
        "--delta",
        type=float,
        metavar="D",
        help="but for this, well below one over the number of samples",
    )
    add(
        "--clip",
        type=float,
        metavar="C",
        help="most length of a row of features, longer ones are shortened; default: 1",
    )
    add(
        "--classes",
        nargs="+",
        metavar="NAME",
        help="all classes that there are to be, from no look at the data",
    )
    add(
        "--bound",
        type=float,
        metavar="B",
        help="of targets: most length of a row, longer ones are shortened",
    )
    add(
        "--bandwidth",
        type=float,
        metavar="H",
        help="of --map fourier, in units of the data",
    )
