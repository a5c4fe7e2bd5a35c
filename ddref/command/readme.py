"""The text in an exported folder: what is in it, and lines that train on it."""

from .. import __version__, files
from ..npz import shortened

FILES = {
    "points/": "a picture a point, 8 bits; value = pixel_offset + pixel_scale * byte",
    "points.csv": "the points, a line each, words as one column a word",
    "labels.csv": "a line a point: its scores, in the order of `outputs`",
    "X.npy, y.npy": "points and labels in full precision",
    "set.npz": "the same set as a file of ddref, with the feature map",
    "about.json": "the numbers that the lines below need",
}


DESCENT = (
    "Gradient descent has the same goal with the loss `mse`, all points in one batch, "
    "`kernel_regularizer=keras.regularizers.L2(lam / y.size)` and "
    '`kernel_initializer="zeros"`, and takes long to reach it.'
)


def readme(saved: files.Saved, colours: int | None, cost: str) -> str:
    """The README of a set whose pictures have 1 or 3 `colours`, or that has none."""
    m = len(saved.X_S)
    names = ["X.npy, y.npy", "labels.csv", "about.json"]
    names += ["points/"] if colours else []
    names += ["points.csv"] if saved.table else []
    names += ["set.npz"] if saved.feature_map is not None else []
    listed = "\n".join(f"- `{name}`: {FILES[name]}" for name in FILES if name in names)
    how = "with" if saved.fit_intercept else "without"
    parts = [
        f"# {m} distilled point{'s' * (m != 1)}",
        f"Written by ddref {__version__}. Ridge regression {how} an intercept, with "
        f"`alpha = {saved.lam_S!r}`, trains the model of the original data on these "
        "points and labels. Another alpha, or the class of the largest score in place "
        "of the scores, trains another model.",
        f"What is in one line of `labels.csv` are the {_outputs(saved)}.",
        _spent(saved),
        cost,
        listed,
    ]
    if colours:
        parts.append(
            "The pictures belong to `labels.csv`, whose labels were computed from "
            "their rounded pixels; `X.npy` belongs to `y.npy`. All lines below run in "
            "this folder."
        )
    if saved.feature_map is not None:
        parts.append("The feature map needs the package ddref, as `set.npz` does.")
    parts += ["## PyTorch", _code(_pytorch(saved, colours))]
    parts += ["## Keras", _code(_keras(saved, colours)), DESCENT]
    parts += ["## scikit-learn, with Z, y, lam of NumPy", _code(_sklearn(saved))]
    return "\n\n".join(part for part in parts if part) + "\n"


def _outputs(saved):
    if saved.class_names is None:
        return "targets"
    return f"scores of {shortened(', '.join(saved.class_names), 2000)}"


def _spent(saved):
    """What a private release of the model cost, in a sentence; "" for no release."""
    if saved.privacy is None:
        return ""
    return (
        "The model has noise that makes it and this set differentially private: "
        "epsilon = {epsilon!r}, delta = {delta!r}, for data sets that differ by this: "
        "{relation}. Features were clipped to length {clip!r}, targets to {bound!r}; "
        "the noise has deviation {sigma!r}.".format(**saved.privacy)
    )


def _code(lines):
    return "\n".join(["```python", *lines, "```"])


# ---------------------------------------------------------------------- lines of code


def _pytorch(saved, colours):
    imports = ["import torch"] + ["from PIL import Image"] * bool(colours)
    return [
        *_loading(saved, colours, imports, "np.array(Image.open(f))"),
        "",
        "Z, y = torch.from_numpy(Z), torch.from_numpy(y)",
        "data = torch.utils.data.TensorDataset(Z, y)  # for a DataLoader",
        "",
        *_closed_form(saved, "torch"),
    ]


def _keras(saved, colours):
    mode = "rgb" if colours == 3 else "grayscale"
    read = f'np.array(keras.utils.load_img(f, color_mode="{mode}"))'
    weights = "[W, b]" if saved.fit_intercept else "[W]"
    return [
        *_loading(saved, colours, ["import keras"], read),
        "",
        *_closed_form(saved, "np"),
        f"layer = keras.layers.Dense(y.shape[1], use_bias={saved.fit_intercept})",
        "model = keras.Sequential([keras.Input(Z.shape[1:]), layer])",
        f"layer.set_weights({weights})",
    ]


def _sklearn(saved):
    return [
        "from sklearn.linear_model import Ridge",
        "",
        f"model = Ridge(alpha=lam, fit_intercept={saved.fit_intercept}).fit(Z, y)",
    ]


def _closed_form(saved, library):
    """Lines that make W and b of Z, y and lam, in PyTorch or NumPy (np)."""
    lines = ["# the model, in closed form: predictions are Z @ W + b"]
    if saved.fit_intercept:
        lines += ["Z0, y0 = Z - Z.mean(0), y - y.mean(0)"]
    else:
        lines += ["Z0, y0 = Z, y"]
    if saved.lam_S == 0 and library == "torch":
        solved = 'torch.linalg.lstsq(Z0, y0, rcond=1e-12, driver="gelsd").solution'
        lines += [f"W = {solved}"]
    elif saved.lam_S == 0:
        lines += ["W = np.linalg.lstsq(Z0, y0, rcond=1e-12)[0]"]
    else:
        kind = ", dtype=Z.dtype" if library == "torch" else ""
        lines += [f"K = Z0 @ Z0.T + lam * {library}.eye(len(Z){kind})"]
        lines += [f"W = Z0.T @ {library}.linalg.solve(K, y0)"]
    return [*lines, f"b = {'y.mean(0) - Z.mean(0) @ W' if saved.fit_intercept else 0}"]


def _loading(saved, colours, imports, pixels):
    """Lines that make Z, what is trained on, y and lam."""
    mapped = ["import ddref"] if saved.feature_map is not None else []
    imports = sorted(["import numpy as np", *imports, *mapped], key=_module)
    lines = ["import json", "from pathlib import Path", "", *imports]
    lines += ["", 'about = json.loads(Path("about.json").read_text(encoding="utf-8"))']
    if colours:
        lines += [
            'names = sorted(Path("points").glob("*.png"))',
            f"pixels = [{pixels} for f in names]",
            "pixels = np.stack(pixels).reshape(len(names), -1).astype(float)",
            'X = about["pixel_offset"] + about["pixel_scale"] * pixels',
            'y = np.loadtxt("labels.csv", delimiter=",", skiprows=1, encoding="utf-8",',
            f"               ndmin=2, usecols=range(1, {saved.Y_S.shape[1] + 1}))",
        ]
    else:
        lines += [
            'X, y = np.load("X.npy").astype(float), np.load("y.npy").astype(float)'
        ]
    return [*lines, *_rows(saved), 'lam = about["alpha"]']


def _module(line):
    """Where an import comes in the order that is usual."""
    return line.split()[0] == "from", line.split()[1]


def _rows(saved):
    if saved.feature_map is not None:
        return ['Z = ddref.files.features(ddref.load("set.npz"), X)']
    scaled = "X" if saved.scaling == "none" else '(X - about["mean"]) / about["std"]'
    return [f"Z = {scaled}"]
