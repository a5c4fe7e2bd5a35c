"""The picture of a set and the table of its points: classes together, colours that mean something, units again."""

import re

import numpy as np
import pytest
from sklearn import datasets as toys

from ddref import files
from ddref.command import main
from ddref.command.canvas import STOPS, Canvas, Shades
from ddref.command.picture import GAP, sheet
from ddref.command.points import caption, groups
from ddref.command.readable import points_as_table
from ddref.estimator import DistilledRidge, DistilledRidgeClassifier


def pictures(values, classes=None, shape=(24, 32), **fields):
    """A set of which point i is a picture of the one value values[i], and of class classes[i]."""
    values = np.asarray(values, dtype=float)
    d = int(np.prod(shape))
    Y = np.ones((len(values), 1))
    if classes is not None:
        names = sorted(set(classes))
        Y = np.array([[float(c == name) for name in names] for c in classes])
        fields |= {"task": "classification", "classes": np.array(names), "class_names": tuple(names)}
    X = np.repeat(values[:, None], d, axis=1)
    return files.Saved(X, Y, 0.0, 1.0, True, np.zeros(d), np.ones(d), image_shape=shape, **fields)


def greys(line, wanted):
    """The grey values of `wanted` in a line of pixels, from left to right."""
    found = [int(r) for r, g, b in line if r == g == b and int(r) in wanted]
    return [grey for i, grey in enumerate(found) if i == 0 or found[i - 1] != grey]


def test_each_class_has_a_row_of_its_own_and_its_name_in_front():
    values, classes = [0, 40, 80, 120, 160, 200, 255], list("bacabca")
    page, said = sheet(pictures(values, classes))
    assert "black is 0, white 255" in said
    rows = [greys(page[y], {0, *values} - {255}) for y in range(GAP + 12, len(page) - 40, 24 * 3 + GAP * 2 + 17)]
    # 24 x 32 is drawn three times as large; the darkest and the lightest are the letters and the page
    assert [[v for v in row if v] for row in rows[:3]] == [[40, 120], [160], [80, 200]]
    assert len(sheet(pictures([10, 90], ["a", "b"]))[0]) < 150  # one row for all


def test_points_stand_with_the_samples_they_started_from_where_these_are_known():
    """And where the model finds another class, its name is behind the number of the point."""
    saved = pictures([10, 20, 30, 40], ["a", "b", "b", "b"])
    assert [group.rows.tolist() for group in groups(saved)] == [[0], [1, 2, 3]]
    known = saved._replace(sources=np.arange(4), source_classes=(0, 0, 1, 1))
    assert [(group.name, group.rows.tolist()) for group in groups(known)] == [("a", [0, 1]), ("b", [2, 3])]
    page, said = sheet(known)
    assert "behind >: the class of the largest score" in said and "behind" not in sheet(saved)[1]
    alike = sheet(known._replace(Y_S=np.eye(2)[[0, 0, 1, 1]]))[0]
    changed = np.flatnonzero((page != alike).any(axis=(0, 2)))
    assert GAP + 96 < changed.min() and changed.max() < 2 * GAP + 300  # below point 1, the second of its row


def test_a_picture_says_what_each_point_is():
    saved = pictures([0, 1], ["boot", "shirt"])
    assert [caption(saved, i) for i in (0, 1)] == ["boot", "shirt"]
    plain, named = sheet(saved)[0], sheet(saved._replace(class_names=("    ", "    ")))[0]
    height = GAP + 24 * 3
    assert np.array_equal(plain[:height], named[:height]) and (plain[height : height + 18] != named[height : height + 18]).any()
    regression = saved._replace(Y_S=np.array([[2.5], [1e6]]), classes=None, class_names=None, task="regression")
    assert [caption(regression, i) for i in (0, 1)] == ["2.5", "1e+06"]


def test_signed_values_are_blue_white_and_red_and_pictures_like_the_data_are_grey():
    saved = pictures([-50, 0, 100], value_range=(-128.0, 127.0))
    page, said = sheet(saved)
    tops = [page[GAP + 9, GAP + 9 + i * (96 + GAP)] for i in range(3)]
    assert np.array_equal(tops[1], STOPS[2]) and np.array_equal(tops[2], STOPS[4]) and np.array_equal(tops[0], STOPS[1])
    assert "blue is below 0, red above, up to 100 either way" in said
    for low, grey in ((-30, True), (-90, False)):
        page, said = sheet(pictures([low, 0, 250], value_range=(0.0, 255.0)))
        tile = page[GAP : GAP + 9, GAP : GAP + 9]
        assert (np.ptp(tile, axis=2).max() == 0) == grey and ("black is -30" in said) == grey


def test_colours_stay_colours_and_signed_ones_have_zero_in_the_middle():
    X = np.zeros((2, 27))
    X[0, :3], X[1] = (10, 20, 30), 255
    saved = pictures([0, 0], shape=(3, 3, 3))._replace(X_S=X)
    page, _ = sheet(saved)
    assert page[GAP + 1, GAP + 1].tolist() == [10, 20, 30]
    page, said = sheet(saved._replace(X_S=X - 255 * (X == 0)))
    assert page[GAP + 90, GAP + 90].tolist() == [0, 0, 0] and "black is -255, white 255" in said
    assert Shades(-2.0, 2.0).rgb(np.zeros((1, 1, 3)), True).tolist() == [[[128, 128, 128]]]


@pytest.mark.parametrize("points, columns", [(3, 4), (40, 30), (300, 90)])
def test_features_without_names_are_drawn_class_after_class(points, columns):
    rng = np.random.default_rng(0)
    X, zero = rng.normal(size=(points, columns)), np.zeros(columns)
    Y = np.eye(3)[np.arange(points) % 3]
    names = ("x" * 300, "\u202e\n", "ok")
    saved = files.Saved(X, Y, 0.0, 1.0, True, zero, zero + 1, "none", task="classification", classes=np.arange(3), class_names=names)
    page, said = sheet(saved)
    assert page.dtype == np.uint8 and page.shape[2] == 3 and max(page.shape) < 4000
    assert ("a line a column" in said) == (points == 3) and ("a line a point" in said) == (points > 3)


def test_letters_that_no_font_has_are_written_as_codes_and_long_names_are_cut():
    canvas = Canvas(["ab\U000f1234"])
    canvas.write("ab\U000f1234", 0, 0)
    canvas.write("a long name" * 20, 0, 20, 60)
    (first, *_), (second, *_) = canvas.texts
    assert first == "ab\\U000f1234" and second.endswith("..") and canvas.width(second) <= 60
    assert canvas.drawn(0).shape[1] < 200


# -- tables


@pytest.fixture(scope="module")
def wine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wine")
    frame = toys.load_wine(as_frame=True).frame
    frame["target"] = frame["target"].map(dict(enumerate(["barolo", "grignolino", "barbera"])))
    frame.to_csv(folder / "wine.csv", index=False)
    assert main(["distill", str(folder / "wine.csv"), "--target", "target", "--out", str(folder / "o.npz"), "--quiet"]) == 0
    return frame, folder / "o.npz"


def test_show_prints_the_points_of_a_table_in_its_units_beside_the_mean_of_their_class(wine, tmp_path, capsys):
    frame, path = wine
    assert main(["show", str(path), "--out", str(tmp_path / "p.png")]) == 0
    printed = capsys.readouterr().out
    assert "in brackets the difference from the mean of their class" in printed
    saved, means = files.load(path), frame.groupby("target").mean()
    table = printed[printed.index("the points in units") :].split("\n\n")[0].splitlines()
    assert table[1].split() == ["barbera", "barolo", "grignolino"]
    order = np.argsort(saved.Y_S.argmax(axis=1))
    for i, name in enumerate(frame.columns[:-1]):
        cells = re.findall(r"(\S+) \((\S+)\)", table[2 + i])
        assert table[2 + i].startswith(name) and len(cells) == 3
        for (value, away), row, kind in zip(cells, order, ("barbera", "barolo", "grignolino"), strict=True):
            exact = saved.X_S[row, i]
            np.testing.assert_allclose(float(value.replace(",", "")), exact, rtol=6e-4)
            np.testing.assert_allclose(float(away.replace(",", "")), exact - means.loc[kind, name], rtol=0.06)
    scores = np.array([line.split()[-3:] for line in table[-3:]], dtype=float)
    np.testing.assert_allclose(scores, saved.Y_S[order].T, rtol=6e-4)


def test_words_and_dates_are_read_and_what_is_between_words_is_said_in_parts(tmp_path):
    pandas = pytest.importorskip("pandas")
    from ddref.tables import TableEncoder

    days = pandas.to_datetime(["2020-01-01", "2020-01-03", "2020-03-01", "2020-03-07"])
    frame = pandas.DataFrame({"hue": ["red", "blue", "red", "red"], "day": days, "size": [1.0, 2.0, 3.0, 6.0]})
    encoder = TableEncoder().fit(frame)
    X, y = encoder.transform(frame), np.array([1.0, 2.0, 3.0, 9.0])
    model = DistilledRidge(2, lam=1.0, init=X[:2]).fit(X, y)
    model.table_ = encoder
    model.save(tmp_path / "o.npz", data=(X, y))
    saved = files.load(tmp_path / "o.npz")
    X_S = np.array([[0.01, 0.99, 18262.2, 4.0], [1.3, -0.3, 18264.0, 123456.0]])
    text = points_as_table(saved._replace(X_S=X_S, class_names=None)).splitlines()
    assert "difference from the mean of the samples" in text[0] and text[1].split() == ["no.", "0", "no.", "1"]
    assert text[2].split() == ["hue", "red", "blue", "1.3,", "red", "-0.3"]
    assert "2020-01-01 (-32 d)" in text[3] and "2020-01-03 (-30 d)" in text[3]
    assert "4 (+1)" in text[4] and "123,456 (+123,453)" in text[4]
    page, said = sheet(saved._replace(X_S=X_S))
    assert "a line a column" in said and page.shape[0] < 200


def test_of_many_points_and_columns_the_first_of_each_class_are_printed():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 80))
    columns = [{"name": f"a long name of column {i}", "kind": "number"} for i in range(80)]
    table = {"columns": columns, "missing": None, "target": None}
    model = DistilledRidgeClassifier(30, lam=1.0, scaling="columns").fit(X, np.arange(90) % 3)
    text = points_as_table(model._saved()._replace(table=table))
    lines = text.splitlines()
    assert "the first of each class:" in lines[0] and "of 30 points" in lines[0] and max(map(len, lines[1:])) <= 110
    assert len(lines) == 63 and lines[-1] == "and 23 more lines: ddref export writes all"
