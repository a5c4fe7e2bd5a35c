"""The exported folder: what is in it trains the model, as its own README reads it; refusals; whole or not at all."""

import csv
import json
import re

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import Ridge

from ddref import distill, files, intercept, maps, measure
from ddref.command import export as exporting
from ddref.command import main
from ddref.command.eight_bits import coefficients, in_bytes, labels_for
from ddref.command.export import export
from ddref.command.readable import points_as_table
from ddref.tables import TableEncoder


def image_set(m=20, shape=(3, 4), *, k=2, scaling="global", centred=True, lam_S=0.1, seed=0, **fields):
    """An exact set of points that look like pixels, some of them darker than black."""
    rng, d = np.random.default_rng(seed), int(np.prod(shape))
    mean, scale = np.zeros(d), np.ones(d)
    if scaling != "none":
        mean, scale = np.full(d, 120.0), np.full(d, 60.0)
    if scaling == "columns":
        mean, scale = mean + rng.normal(size=d), scale * rng.uniform(0.5, 2, d)
    X = mean + scale * rng.normal(size=(m, d))
    Phi = (X - mean) / scale
    W = np.linalg.pinv(Phi - Phi.mean(0) * centred) @ rng.normal(size=(m, k))
    if centred:
        Y = intercept.labels(Phi, W, rng.normal(size=(1, k)), lam_S)
    else:
        Y = distill.labels(Phi, W, lam_S)
    return files.Saved(X, Y, lam_S, 1.0, centred, mean, scale, scaling, image_shape=shape, **fields)


def lines(folder, title):
    """A block of Python of the README."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    return re.search(rf"## {title}\n\n```python\n(.*?)```", text, re.DOTALL)[1]


def trained(folder, monkeypatch):
    """W and b that the lines for PyTorch give when they run in the folder."""
    names = {}
    with monkeypatch.context() as here:
        here.chdir(folder)
        exec(lines(folder, "PyTorch"), names)
    keras = {**names, "Z": names["Z"].numpy(), "y": names["y"].numpy()}
    closed = lines(folder, "Keras").split("\n\n")[-1].split("layer =")[0]  # what needs no Keras
    exec(closed, keras)
    assert measure.relative_error(keras["W"], names["W"].numpy()) < 1e-9
    b = names["b"]
    return names["W"].numpy(), np.zeros((1, names["W"].shape[1])) if isinstance(b, int) else b.numpy().reshape(1, -1)


CASES = {
    "pixels less one mean": {},
    "each pixel scaled": {"scaling": "columns"},
    "as they are": {"scaling": "none", "k": 1},
    "colours": {"shape": (2, 2, 3)},
    "one channel": {"shape": (3, 4, 1)},
    "no intercept": {"centred": False, "scaling": "none"},
    "lam_S = 0": {"lam_S": 0.0},
    "lam_S = 1e4": {"lam_S": 1e4},
}


@pytest.mark.parametrize("case", CASES)
def test_the_lines_for_pytorch_train_the_model_from_pictures_and_labels(case, tmp_path, monkeypatch):
    saved = image_set(**CASES[case])
    printed = export(saved, tmp_path / "out")
    assert "\nexact: " in printed and "NOT EXACT" not in printed
    W, b = trained(tmp_path / "out", monkeypatch)
    model = files.model(saved)
    assert measure.relative_error(W, model.W) < 1e-9 and np.abs(b - model.b).max() < 1e-9 * max(1, np.abs(saved.Y_S).max())
    with Image.open(tmp_path / "out" / "points" / "0000.png") as image:
        assert image.mode == ("RGB" if saved.image_shape[-1] == 3 else "L") and image.size == saved.image_shape[1::-1]
    assert len(list((tmp_path / "out" / "points").iterdir())) == 20
    assert np.array_equal(np.load(tmp_path / "out" / "X.npy"), saved.X_S)
    assert np.array_equal(np.load(tmp_path / "out" / "y.npy"), saved.Y_S)


def test_what_is_said_of_a_set_that_rounding_changes_is_what_others_measure(tmp_path, monkeypatch):
    saved = image_set(8, (5, 5))
    printed = export(saved, tmp_path / "out")
    assert "NOT EXACT in 8 bits: 8 rounded points miss a fraction" in printed and "26 points and more can be exact" in printed
    W, _ = trained(tmp_path / "out", monkeypatch)
    about = json.loads((tmp_path / "out" / "about.json").read_text())
    error = measure.relative_error(W, files.model(saved).W)
    assert 1e-6 < error < 1e-2 and abs(error / about["relative_error"] - 1) < 1e-6 and not about["exact"]
    pixels = [np.array(Image.open(name)).ravel() for name in sorted((tmp_path / "out" / "points").iterdir())]
    X = about["pixel_offset"] + about["pixel_scale"] * np.stack(pixels).astype(float)
    assert np.abs(X - saved.X_S).max() <= about["pixel_scale"] * (1 + 1e-12)
    said = re.search(r"by at most (\S+); relative error (\S+)", printed)
    np.testing.assert_allclose(float(said[1]), np.abs(X - saved.X_S).max(), rtol=1e-2)
    np.testing.assert_allclose(float(said[2]), measure.relative_error(X, saved.X_S), rtol=1e-2)
    Z = (X - 120) / 60
    rows = Z - Z.mean(0)
    nearest = np.linalg.pinv(rows) @ (rows @ files.model(saved).W)  # no labels come nearer than the projection
    assert measure.relative_error(W, nearest) < 1e-9


def test_rounding_whose_errors_cancel_costs_less_than_the_nearest_byte():
    saved = image_set(40, (8, 8))
    W, b = files.model(saved)
    Phi = files.features(saved, saved.X_S)
    alpha = coefficients(Phi, W, True)
    assert measure.relative_error((Phi - Phi.mean(0)).T @ alpha, W) < 1e-10
    plain, better = in_bytes(saved.X_S), in_bytes(saved.X_S, alpha)
    missed = [labels_for(files.features(saved, found.values), W, b, 0.1).parameters for found in (plain, better)]
    assert missed[1] < missed[0] / 4
    assert np.abs(better.values - saved.X_S).max() <= better.scale * (1 + 1e-12)


def test_a_pixel_that_varies_less_than_a_level_still_varies_where_labels_can_absorb_it():
    saved = image_set(20, (3, 4))
    X = saved.X_S.copy()
    X[:, :3] = 7 + 1e-6 * X[:, :3]
    found = in_bytes(X, enough=True)
    assert (np.ptp(found.pixels, axis=0) > 0).all() and (np.ptp(in_bytes(X).pixels, axis=0)[:3] == 0).all()
    assert np.linalg.matrix_rank(found.values - found.values.mean(0)) == 12


def test_whole_numbers_that_fit_stay_as_they_are(tmp_path):
    X = np.array([[0.0, 7.0], [255.0, 3.0], [12.0, 100.0]])
    found = in_bytes(X)
    assert (found.offset, found.scale) == (0.0, 1.0) and np.array_equal(found.values, X)
    assert in_bytes(X + 1).scale < 1.01 and in_bytes(X + 1).offset == 1.0
    constant = in_bytes(np.full((2, 2), -3.5))
    assert np.array_equal(constant.values, np.full((2, 2), -3.5))


@pytest.mark.parametrize("value", [1.7e308, 5e-324, 1e300])
def test_the_largest_and_smallest_numbers_are_written_or_refused_in_a_line(value, tmp_path, capsys):
    X = np.zeros((4, 12))
    X[0], X[1], X[2] = value, -value, value / 2
    saved = files.Saved(X, np.ones((4, 1)), 0.0, 1.0, False, np.zeros(12), np.ones(12), image_shape=(3, 4))
    files.save(tmp_path / "a.npz", saved)
    assert main(["export", str(tmp_path / "a.npz"), str(tmp_path / "out")]) == (2 if value == 1.7e308 else 0)
    assert "Traceback" not in capsys.readouterr().err
    assert (tmp_path / "out").exists() == (value != 1.7e308) and len(list(tmp_path.iterdir())) == 2 - (value == 1.7e308)


def test_names_of_classes_of_any_letters_are_read(tmp_path, monkeypatch):
    names = ('a,"b"', "# c\nd", "кот")
    saved = image_set(k=3, task="classification", classes=np.arange(3), class_names=names)
    export(saved, tmp_path / "out")
    W, _ = trained(tmp_path / "out", monkeypatch)
    assert measure.relative_error(W, files.model(saved).W) < 1e-9
    with open(tmp_path / "out" / "labels.csv", newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    assert head == ["point", 'a,"b"', "# c d", "кот"] and [row[0] for row in rows] == [str(i) for i in range(20)]
    assert json.loads((tmp_path / "out" / "about.json").read_text(encoding="utf-8"))["outputs"] == list(names)


def test_a_feature_map_lies_beside_the_pictures(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    phi = maps.RandomFourier(rng.normal(size=(12, 6)), rng.uniform(0, 6, 6))
    saved = image_set()._replace(feature_map=phi)
    W, b = rng.normal(size=(6, 2)), rng.normal(size=(1, 2))
    saved = saved._replace(Y_S=intercept.labels(files.features(saved, saved.X_S), W, b, 0.1))
    assert "\nexact: " in export(saved, tmp_path / "out")
    found, _ = trained(tmp_path / "out", monkeypatch)
    assert measure.relative_error(found, W) < 1e-9
    again = files.load(tmp_path / "out" / "set.npz")
    assert measure.relative_error(files.model(again).W, W) < 1e-9 and again.certificate["exact"]


# -- no pictures


@pytest.mark.parametrize("shape", [None, (2, 3, 2)])
def test_a_set_without_pictures_says_so_and_writes_its_numbers(shape, tmp_path, monkeypatch):
    saved = image_set(5, (2, 3, 2), scaling="columns")._replace(image_shape=shape)
    printed = export(saved, tmp_path / "out")
    why = "no image shape is known" if shape is None else "pictures have 1 or 3 colours, these 2"
    assert printed.splitlines()[0] == f"5 points of 12 values, no pictures ({why}): numbers in full precision alone"
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["README.md", "X.npy", "about.json", "labels.csv", "y.npy"]
    W, _ = trained(tmp_path / "out", monkeypatch)
    assert measure.relative_error(W, files.model(saved).W) < 1e-9


def table_set(target, k):
    """A set of a table with a number, words and this target, or these."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"size": [1.0, 2.0, 3.0, 5.0], "hue": ["red", "blue, pale", "red", "blue, pale"]})
    encoder = TableEncoder(target=target).fit(frame)
    return image_set(3, (1, 3), k=k, scaling="columns")._replace(image_shape=None, table=encoder.describe())


@pytest.mark.parametrize("target, k, names", [(("price", "age"), 2, ["price", "age"]), (None, 2, ["target 0", "target 1"]), (None, 1, ["target"])])
def test_targets_have_the_names_that_a_table_gives_them(target, k, names, tmp_path):
    saved = table_set(target, k)
    export(saved, tmp_path / "out")
    assert (tmp_path / "out" / "labels.csv").read_text().splitlines()[0] == ",".join(["point", *names])
    shown = [line.split("  ")[0] for line in points_as_table(saved).splitlines()[-k:]]
    assert shown == [f"label {name.removeprefix('target ')}" if k == 2 else "label 0" for name in names]


def test_the_points_of_a_table_are_a_table_that_trains_the_model(tmp_path):
    pandas = pytest.importorskip("pandas")
    saved = table_set("price", 1)
    export(saved, tmp_path / "out")
    points = pandas.read_csv(tmp_path / "out" / "points.csv", index_col="point")
    assert points.columns.tolist() == ["size", "hue=blue, pale", "hue=red"] and np.array_equal(points, saved.X_S)
    y = pandas.read_csv(tmp_path / "out" / "labels.csv", index_col="point")
    assert y.columns.tolist() == ["price"]
    about = json.loads((tmp_path / "out" / "about.json").read_text())
    Z = (points.to_numpy() - about["mean"]) / about["std"]
    assert measure.relative_error(Ridge(alpha=about["alpha"], solver="svd").fit(Z, y).coef_.reshape(-1, 1), files.model(saved).W) < 1e-9


# -- the folder


def test_a_folder_is_replaced_only_where_an_export_wrote_all_of_it(tmp_path, capsys):
    files.save(tmp_path / "a.npz", image_set())
    files.save(tmp_path / "b.npz", image_set(5))
    out = tmp_path / "out"
    out.mkdir()  # an empty one will do

    def run(name, *words):
        status = main(["export", str(tmp_path / name), str(out), *words])
        return status, capsys.readouterr().err

    assert run("a.npz") == (0, "")
    status, error = run("b.npz")
    assert status == 2 and "is not empty: pass --overwrite" in error and len(list((out / "points").iterdir())) == 20
    assert run("b.npz", "--overwrite") == (0, "") and len(list((out / "points").iterdir())) == 5
    (out / "notes.txt").write_text("mine")
    status, error = run("a.npz", "--overwrite")
    assert status == 2 and "holds 'notes.txt', which no export wrote" in error and (out / "notes.txt").exists()
    (out / "notes.txt").unlink()
    (out / "about.json").write_text("{}")
    status, error = run("a.npz", "--force")
    assert status == 2 and "not a folder that an export wrote" in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "b.npz", "out"]


@pytest.mark.parametrize("place, words", [("a.npz", "is a file"), ("no/out", "make that folder first"), ("..", "name a new folder")])
def test_a_place_that_cannot_be_written_is_refused(place, words, tmp_path, capsys):
    files.save(tmp_path / "a.npz", image_set())
    assert main(["export", str(tmp_path / "a.npz"), f"{tmp_path}/{place}"]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("before", [False, True])
def test_an_interruption_leaves_what_was_there(before, tmp_path, capsys, monkeypatch):
    files.save(tmp_path / "a.npz", image_set())
    line = ["export", str(tmp_path / "a.npz"), str(tmp_path / "out"), "--overwrite"]
    if before:
        assert main(line) == 0
    there = sorted(path for path in tmp_path.rglob("*"))

    def interrupt(*_):
        raise KeyboardInterrupt

    for step in ("_read_again", "readme", "_write_about"):
        with monkeypatch.context() as context:
            context.setattr(exporting, step, interrupt)
            assert main(line) == 130
    real = exporting.os.replace
    calls = []

    def interrupted(*paths):  # between the two renames
        calls.append(paths)
        if len(calls) == 1 + before:
            raise KeyboardInterrupt
        real(*paths)

    monkeypatch.setattr(exporting.os, "replace", interrupted)
    assert main(line) == 130
    assert sorted(path for path in tmp_path.rglob("*")) == there
