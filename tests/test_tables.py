"""Tables as they come: each spelling is read as it is meant or refused with its place, and nothing goes missing."""

import contextlib
import datetime
import gzip
import importlib.util
import json
import re
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn import datasets as toys
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from conftest import error, refusal
from ddref import files
from ddref.command import main
from ddref.estimator import DistilledRidge, DistilledRidgeClassifier
from ddref.tables import TableEncoder
from ddref.tables.cells import slip
from ddref.tables.columns import from_cells, target_from_cells
from ddref.tables.text import read_text

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 3)).round(3)
Y = (X @ [1.0, 2.0, 3.0] + 0.1 * RNG.normal(size=24)).round(3)
KINDS = np.where(X[:, 0] > 0, "lily", "rose")


def written(path, rows, header=("a", "b", "c", "y"), mark=","):
    """A file of rows, all cells as they are."""
    lines = [mark.join(map(str, row)) for row in ([header] if header else []) + list(rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def rows_with(target):
    return [[*x, t] for x, t in zip(X.tolist(), target, strict=True)]


def distilling(path, *arguments, target="y"):
    """The words of `ddref distill`, into out.npz beside the table."""
    target = ["--target", target] if target else []
    return ["distill", str(path), *target, "--out", str(path.parent / "out.npz"), "--force", *map(str, arguments)]


def distil(path, *arguments, target="y"):
    """Exit code of `ddref distill`."""
    return main(distilling(path, *arguments, target=target))


def refused(capsys, path, *arguments, target="y"):
    """The message of a refusal: one short line, and no file."""
    last = refusal(capsys, *distilling(path, *arguments, target=target))
    assert len(last.replace(str(path), "")) < 300 and not (path.parent / "out.npz").exists()
    return last


def saved(path):
    return files.load(path.parent / "out.npz")


# -- text tables


def test_a_first_line_that_may_be_a_sample_is_asked_for(tmp_path, capsys):
    path = written(tmp_path / "t.csv", rows_with(KINDS), header=None)
    for target in ("-1", "3"):
        text = refused(capsys, path, target=target)
        assert "pass --header" in text and "pass --no-header" in text and repr(str(KINDS[0])) in text
    assert distil(path, "--no-header", target="-1") == 0
    assert "training samples       24" in capsys.readouterr().out
    assert distil(path, "--header", target="-1") == 0
    assert "training samples       23" in capsys.readouterr().out


def test_words_alone_tell_names_by_whether_they_come_again(tmp_path, capsys):
    words = [
        ["red", "big", "yes"],
        ["blue", "small", "no"],
        ["red", "small", "yes"],
        ["blue", "big", "no"],
    ] * 6
    assert "looks like the lines below" in refused(capsys, written(tmp_path / "a.csv", words, None), target="-1")
    assert read_text(written(tmp_path / "b.csv", words, ("hue", "size", "ok"))).names == ("hue", "size", "ok")


@pytest.mark.parametrize("years", [(1990, 1995, 2000), (0, 1, 2), (400.0, 402.5, 405.0), ("", 0, 1)])
def test_a_line_of_numbers_that_count_or_are_years_is_asked_for(years, tmp_path, capsys):
    path = written(
        tmp_path / "t.csv",
        rows_with(Y),
        header=(*years, years[-1] + (years[-1] - years[-2])),
    )
    assert "is it names (pass --header)" in refused(capsys, path, target="-1")


def test_years_beside_a_word_are_names(tmp_path, capsys):
    path = written(tmp_path / "t.csv", rows_with(Y), header=(1990, 1995, 2000, "y"))
    assert distil(path, target="-1") == 0
    assert "training samples       24" in capsys.readouterr().out
    other = [row[::-1] for row in rows_with(KINDS)]
    path = written(tmp_path / "u.csv", other, header=("kind", 1990, 1995, 2000))
    (tmp_path / "out.npz").unlink()
    assert "is it names" in refused(capsys, path, target="0")
    assert read_text(path, known=["kind"]).names == ("kind", "1990", "1995", "2000")


def test_plain_numbers_without_names_are_all_read_and_it_is_said(tmp_path, capsys):
    path = written(tmp_path / "t.csv", rows_with(Y), header=None)
    assert distil(path, target="-1") == 0
    printed = capsys.readouterr()
    assert "training samples       24" in printed.out and "no line of names" in printed.err


@pytest.mark.parametrize(
    "change, line",
    [
        ({5: ',"rose'}, 5),  # never closed
        ({5: ',"rose', 9: ',lily"'}, 5),  # closed by the next mistake, four lines below
        ({5: ',"rose', 6: ',lily"'}, 5),
        ({5: ',"ro"se'}, 5),  # closed, and going on
        ({25: ',"rose'}, 25),
        ({1: ',"kind', 3: ',rose"'}, 1),  # from the names on
    ],
)
def test_a_quote_that_is_not_closed_is_refused_with_its_line(change, line, tmp_path, capsys):
    path = written(tmp_path / "t.csv", rows_with(KINDS), ("a", "b", "c", "kind"))
    lines = path.read_text().splitlines()
    for at, cell in change.items():
        lines[at - 1] = lines[at - 1].rpartition(",")[0] + cell
    path.write_text("\n".join(lines))
    text = refused(capsys, path, target="kind")
    assert f"line {line}:" in text and "quote" in text


def test_a_quoted_cell_may_hold_delimiters_quotes_and_lines(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('note,y\n"a; ""b"", c\nd",1\n"x, y",2\n', encoding="utf-8-sig")
    table = read_text(path)
    assert table.names == ("note", "y") and table.lines == [2, 4]
    assert table.columns == (['a; "b", c\nd', "x, y"], ["1", "2"])


@pytest.mark.parametrize("word", ["NA", "N/A", "null", "?", "nan", "", "-", "#N/A", "None"])
@pytest.mark.parametrize("task", [[], ["--task", "regression"], ["--task", "classification"]])
def test_a_missing_target_is_refused_with_line_and_word_and_never_a_class(word, task, tmp_path, capsys):
    target = list(map(str, Y))
    target[10] = word
    text = refused(capsys, written(tmp_path / "t.csv", rows_with(target)), *task)
    assert "line 12:" in text and f"({word or 'empty'!r})" in text and "--missing drop" in text


def test_rows_without_a_target_are_left_out_when_asked(tmp_path, capsys):
    target = list(map(str, Y))
    target[10] = "NA"
    path = written(tmp_path / "t.csv", rows_with(target))
    assert distil(path, "--missing", "drop") == 0
    printed = capsys.readouterr()
    assert "training samples       23" in printed.out and "23 of 24" in printed.err
    assert main(["verify", str(tmp_path / "out.npz"), str(path)]) == 0


def test_a_word_among_numbers_is_a_slip_and_not_a_class(tmp_path, capsys):
    target = list(map(str, Y))
    target[10] = "1.2.3"
    text = refused(capsys, written(tmp_path / "t.csv", rows_with(target)))
    assert "line 12: the target 'y': '1.2.3' among 23 numbers" in text and "--words and its name" in text
    assert slip(["1", "2", "x"]) and not slip(["a", "b", "2"]) and not slip(["A 1", "12", "13", "A 7", "C3", "B9"])


@pytest.mark.parametrize(
    "codes",
    [
        ("2019_01", "20190_1"),
        ("007", "7"),
        ("1_0", "10"),
        ("00", "0"),
        ("12345678901234567890", "12345678901234567891"),
    ],
)
def test_codes_stay_texts(codes, tmp_path, capsys):
    target = [codes[i] for i in (X[:, 0] > 0).astype(int)]
    assert distil(written(tmp_path / "t.csv", rows_with(target)), "--task", "classification") == 0
    assert sorted(saved(tmp_path / "t.csv").classes.tolist()) == sorted(codes)
    y, missing = target_from_cells(list(codes))
    assert y.tolist() == list(codes) and not missing.any()
    assert from_cells(codes, "code").values.tolist() == list(codes)


def test_targets_are_whole_numbers_numbers_or_words():
    assert target_from_cells(["1", "-2", "+3"])[0].dtype == np.int64
    assert target_from_cells(["1", "2.0"])[0].dtype == np.float64
    assert target_from_cells(["1", "2"], words=True)[0].tolist() == ["1", "2"]


def test_columns_of_one_name_or_of_none_are_refused(tmp_path, capsys):
    assert "2 columns have 'b' (columns 1, 2" in refused(
        capsys, written(tmp_path / "t.csv", rows_with(Y), ("a", "b", "b", "y"))
    )
    assert "2 columns have no name" in refused(capsys, written(tmp_path / "t.csv", rows_with(Y), ("a", "", "", "y")))


@pytest.mark.parametrize("name, start", [("", 0), ("Unnamed: 0", 0), ("id", 1), ("index", 7)])
def test_a_column_that_counts_the_rows_is_left_out_and_said(name, start, tmp_path, capsys):
    counted = [[start + i, *row] for i, row in enumerate(rows_with(Y))]
    path = written(tmp_path / "t.csv", counted, (name, "a", "b", "c", "y"))
    assert distil(path) == 0
    assert f"left out: {name or 'no name'} (counts the rows)" in capsys.readouterr().err
    assert saved(path).X_S.shape[1] == 3
    assert main(["verify", str(tmp_path / "out.npz"), str(path)]) == 0
    without = written(tmp_path / "u.csv", rows_with(Y))
    assert main(["verify", str(tmp_path / "out.npz"), str(without)]) == 0


@pytest.mark.parametrize("rows", [slice(None, None, -1), [1, 2, 5, *range(7, 24)]])
def test_an_index_of_rows_that_were_chosen_is_left_out(rows, tmp_path, capsys):
    frame = pd.DataFrame(X, columns=list("abc")).assign(y=Y).iloc[rows]
    frame.to_csv(tmp_path / "t.csv")
    assert distil(tmp_path / "t.csv") == 0 and saved(tmp_path / "t.csv").X_S.shape[1] == 3
    assert "left out: no name (" in capsys.readouterr().err


def test_a_table_without_names_is_verified_without_being_asked_again(tmp_path):
    for target in (KINDS, Y):
        path = written(tmp_path / "t.csv", rows_with(target), header=None)
        assert distil(path, "--no-header", target="-1") == 0
        assert main(["verify", str(tmp_path / "out.npz"), str(path)]) == 0
    path = written(tmp_path / "t.csv", rows_with(Y), header=(0, 1, 2, 3))
    assert distil(path, "--header", target="3") == 0
    assert main(["verify", str(tmp_path / "out.npz"), str(path)]) == 2
    assert main(["verify", str(tmp_path / "out.npz"), str(path), "--header"]) == 0


def test_a_count_that_has_another_name_is_a_feature(tmp_path):
    counted = [[i, *row] for i, row in enumerate(rows_with(Y))]
    path = written(tmp_path / "t.csv", counted, ("week", "a", "b", "c", "y"))
    assert distil(path) == 0 and saved(path).X_S.shape[1] == 4


def test_rows_with_names_above_all_but_their_first_column_are_read(tmp_path, capsys):
    named = [[f"row {i}", *row] for i, row in enumerate(rows_with(Y))]  # as R writes them
    path = written(tmp_path / "t.csv", named)
    assert distil(path) == 0 and saved(path).X_S.shape[1] == 3
    assert "24 different words in 24 rows" in capsys.readouterr().err


@pytest.mark.parametrize("mark", [",", ";", "\t", "|", " "])
def test_the_delimiter_is_found_and_quotes_are_respected(mark, tmp_path):
    head = ("a", '"b, c; d | e"', "y")
    path = written(
        tmp_path / "t.txt",
        [[x, 2 * x, y] for (x, _, _), y in zip(X.tolist(), Y, strict=True)],
        head,
        mark,
    )
    table = read_text(path)
    assert table.names == ("a", "b, c; d | e", "y") and np.array_equal(np.array(table.columns[2], float), Y)


def test_arrays_that_numpy_wrote_as_text_are_read(tmp_path):
    np.savetxt(tmp_path / "t.txt", np.column_stack([X, Y]))
    table = read_text(tmp_path / "t.txt")
    assert np.array_equal(np.array(table.columns, float).T, np.column_stack([X, Y]))


def test_decimal_commas_are_read_and_said(tmp_path, capsys):
    plain = written(tmp_path / "p.csv", rows_with(Y))
    table = read_text(plain)
    european = [[str(cell).replace(".", ",") for cell in row] for row in rows_with(Y)]
    for mark, quote in ((";", ""), (",", '"'), ("\t", "")):
        rows = [[f"{quote}{cell}{quote}" for cell in row] for row in european]
        assert read_text(written(tmp_path / "e.csv", rows, mark=mark)).columns == table.columns
        assert distil(tmp_path / "e.csv") == 0
        assert "decimal comma: 'a', 'b', 'c', 'y'" in capsys.readouterr().err
    bare = written(tmp_path / "n.csv", european, None, ";")
    assert read_text(bare).columns == table.columns


def test_a_comma_that_may_separate_thousands_is_asked_for(tmp_path, capsys):
    rows = [[f'"{i + 1},{100 + i}"', i % 5, i % 7, f"{y}"] for i, y in enumerate((10 * Y).astype(int))]
    path = written(tmp_path / "t.csv", rows)
    assert "'1,100' may have a decimal comma or a separator" in refused(capsys, path, "--task", "regression")
    assert read_text(path, decimal_comma=True).columns[0][0] == "1.100"
    path = written(tmp_path / "t.csv", [[*row[:3], y] for row, y in zip(rows, Y, strict=True)])
    text = refused(capsys, path)
    assert "column 'a': '1,100' has a comma, and line 2" in text and "a point" in text
    for dressed in ("1 100.5", "12%", "$3", "1'100", "(2.5)", "<5", "10+"):
        cells = [[dressed, *row[1:3], y] for row, y in zip(rows, Y, strict=True)]
        assert "without its signs" in refused(capsys, written(tmp_path / "t.csv", cells, mark=";"))


@pytest.mark.parametrize("cell", ["1_000", "inf", "1e999", "\u0663", "0x10", "1.2.3"])
def test_what_only_python_takes_for_a_number_is_none(cell, tmp_path, capsys):
    rows = rows_with(Y)
    rows[4][1] = cell
    text = refused(capsys, written(tmp_path / "t.csv", rows))
    assert "column 'b', line 6" in text and repr(cell) in text


def test_every_column_with_missing_values_is_named_with_its_count(tmp_path, capsys):
    rows = rows_with(Y)
    for i, j, word in ((3, 0, ""), (4, 0, "NA"), (9, 2, "?")):
        rows[i][j] = word
    path = written(tmp_path / "t.csv", rows)
    text = refused(capsys, path)
    assert "a 2, c 1 of 24 rows, the first in line 5" in text and "--missing drop or mean" in text
    assert distil(path, "--missing", "drop") == 0
    assert "training samples       21" in capsys.readouterr().out
    assert distil(path, "--missing", "mean") == 0
    printed = capsys.readouterr()
    assert "training samples       24" in printed.out and "gaps filled with the mean, or 'missing': a 2, c 1\n" in printed.err
    table = saved(path).table
    a = [row[0] for row in rows if row[0] not in ("", "NA")]
    assert np.isclose(table["columns"][0]["fill"], np.mean(a), rtol=1e-15) and table["target"] == "y"


def test_words_nearly_all_different_are_no_classes_without_being_asked(tmp_path, capsys):
    path = written(tmp_path / "t.csv", rows_with([f"about {y}" for y in Y]))
    assert "texts with 24 different values among 24" in refused(capsys, path)


def test_what_is_no_text_is_refused(tmp_path, capsys):
    for content in (b"a,b,y\n1,\0,2\n", "a,b,y\n1,2,3\n".encode("utf-16"), "a,y\n\xe9,2\n".encode("latin-1")):
        (tmp_path / "t.csv").write_bytes(content)
        assert "not a text file in UTF-8" in refused(capsys, tmp_path / "t.csv")


@pytest.mark.parametrize("target", ["y", "c"])
def test_no_name_and_no_cell_is_so_long_that_a_message_is(target, tmp_path, capsys):
    long = "name " * 200
    for cell in (long, "", "9" * 4000 + ".", "NA", "1" * 4000 + ",5", "$" + "9" * 4000):
        rows = rows_with(Y)
        rows[4][0] = rows[5][1] = rows[6][2] = rows[7][3] = f'"{cell}"'
        refused(capsys, written(tmp_path / "t.csv", rows, (f"a{long}", f"b{long}", "c", "y")), target=target)
        refused(capsys, written(tmp_path / "t.csv", rows, None), target=long)
        refused(
            capsys,
            written(tmp_path / "t.csv", rows, (f"a{long}", f"b{long}", "c", f"y{long}")),
            target=f"y{long.strip()}",
        )


def test_packed_tables_are_read_and_their_size_is_limited(tmp_path, capsys):
    plain = written(tmp_path / "p.csv", rows_with(Y))
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(plain.read_bytes()))
    assert read_text(path).columns == read_text(plain).columns
    assert "larger than --max-bytes 100" in refused(capsys, path, "--max-bytes", "100")
    path.write_bytes(path.read_bytes()[:-20])
    assert "damaged, or not .gz" in refused(capsys, path)
    assert distil(plain) == 0


# -- arrays


def arrays(path, **named):
    np.savez(path, **named)
    return path


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels_come_last_wherever_they_were(channels, tmp_path, capsys):
    images = RNG.normal(size=(24, channels, 8, 8))
    path = arrays(tmp_path / "x.npz", X=images, y=KINDS)
    assert distil(path, target=None) == 0
    assert saved(path).image_shape == (8, 8, channels) and "channels first" in capsys.readouterr().err
    assert main(["verify", str(tmp_path / "out.npz"), str(path)]) == 0
    first = saved(path).X_S
    path = arrays(tmp_path / "x.npz", X=images.transpose(0, 2, 3, 1), y=KINDS)
    assert distil(path, target=None) == 0 and np.array_equal(saved(path).X_S, first)


def test_channels_that_cannot_be_told_are_asked_for(tmp_path, capsys):
    path = arrays(tmp_path / "x.npz", X=RNG.normal(size=(24, 3, 5, 3)), y=KINDS)
    assert "pass --channels first or --channels last" in refused(capsys, path, target=None)
    assert distil(path, "--channels", "first", target=None) == 0 and saved(path).image_shape == (5, 3, 3)


def test_one_hot_targets_are_classes_and_it_is_said(tmp_path, capsys):
    one_hot = np.eye(2)[(KINDS == "rose").astype(int)]
    path = arrays(tmp_path / "x.npz", X=X, y=one_hot, X_test=X, y_test=one_hot)
    for task in ([], ["--task", "classification"]):
        assert distil(path, *task, target=None) == 0
        assert "one-hot: class i is its column i (argmax)" in capsys.readouterr().err
        assert saved(path).classes.tolist() == [0, 1]
        assert main(["verify", str(tmp_path / "out.npz"), str(path)]) == 0
    assert distil(path, "--task", "regression", target=None) == 0 and saved(path).classes is None
    (tmp_path / "out.npz").unlink()
    path = arrays(tmp_path / "x.npz", X=X, y=one_hot + one_hot[::-1])
    assert "argmax first" in refused(capsys, path, "--task", "classification", target=None)


@pytest.mark.parametrize(
    "y, y_test",
    [
        (KINDS, (KINDS == "rose").astype(int)),
        (np.arange(24) % 3, np.arange(24) % 3 + 1),
        (np.arange(24) % 3, np.eye(3)[np.arange(24) % 3]),
        (np.arange(24) % 2, 2 * (np.arange(24) % 2) - 1),
    ],
)
def test_test_targets_in_another_coding_are_refused(y, y_test, tmp_path, capsys):
    path = arrays(tmp_path / "x.npz", X_train=X, y_train=y, X_test=X, y_test=y_test)
    assert "coded in" in refused(capsys, path, "--task", "classification", target=None)


def test_objects_beside_the_arrays_are_not_unpickled(tmp_path):
    names = np.array(["a", "b", None], dtype=object)
    path = arrays(tmp_path / "x.npz", X=X, y=KINDS, feature_names=names)
    assert distil(path, target=None) == 0


def test_the_file_holds_the_table_as_plain_data(tmp_path):
    assert distil(written(tmp_path / "t.csv", rows_with(Y))) == 0
    table = saved(tmp_path / "t.csv").table
    assert json.loads(json.dumps(table)) == table
    assert [column["name"] for column in table["columns"]] == ["a", "b", "c"]


# -- data frames


def frame_of_every_kind(n=60, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "size": rng.normal(size=n),
            "count": rng.integers(0, 9, n),
            "hue": rng.choice(["red", "green", "blue"], n),
            "ward": pd.Categorical(rng.choice([1, 2, 5], n)),
            "text": pd.array(rng.choice(["x", "y"], n), dtype="string"),
            "flag": rng.choice([True, False], n),
            "nullable": pd.array(rng.integers(0, 5, n), dtype="Int64"),
            "seen": pd.date_range("2020-01-01", periods=n, freq="36h"),
            "zoned": pd.date_range("2020-01-01", periods=n, freq="D", tz="Asia/Tokyo"),
            "written": [f"{1 + i % 28:02d}/{1 + i % 12:02d}/2021" for i in range(n)],
            "bins": pd.cut(rng.normal(size=n), [-9, -1, 1, 9]),
            "object": pd.Series(rng.integers(0, 5, n), dtype=object),
            "name": [f"person {i}" for i in range(n)],
            "id": rng.permutation(n) + 1000,
            "Unnamed: 0": np.arange(n),
        }
    )


LEFT_OUT = ["name", "id", "Unnamed: 0"]


def fitted(model, X, y):
    """A fit that says which columns it leaves out."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with contextlib.ExitStack() as stack:
            if set(X.columns) & set(LEFT_OUT):
                stack.enter_context(pytest.warns(UserWarning, match="columns left out: "))
            return model.fit(X, y)


def test_a_frame_of_every_kind_becomes_numbers_and_comes_back_from_plain_data():
    frame = frame_of_every_kind()
    encoder = TableEncoder().fit(frame)
    names = encoder.get_feature_names_out().tolist()
    assert [e.name for e in encoder.entries if not e.width] == LEFT_OUT
    assert names[2:5] == ["hue=blue", "hue=green", "hue=red"] and "ward=5" in names and "bins=(-1, 1]" in names
    A = encoder.transform(frame)
    assert A.shape == (60, len(names)) and np.isfinite(A).all()
    at = {name: A[:, i] for i, name in enumerate(names)}
    assert np.array_equal(at["hue=red"], frame["hue"] == "red") and np.array_equal(at["flag"], frame["flag"])
    assert at["seen"][:3].tolist() == [18262.0, 18263.5, 18265.0] and at["zoned"][0] == 18262 - 9 / 24
    assert at["written"][12] == (datetime.date(2021, 1, 13) - datetime.date(1970, 1, 1)).days
    again = TableEncoder.from_dict(json.loads(json.dumps(encoder.describe())))
    assert again.entries == encoder.entries
    shuffled = frame[frame.columns[::-1]].drop(columns=["name"])
    assert np.array_equal(again.transform(shuffled), A)


@pytest.mark.parametrize("scaled", [False, True])
def test_the_model_is_that_of_a_scikit_learn_pipeline(scaled):
    frame = frame_of_every_kind(200)[["size", "count", "hue", "ward", "text", "flag"]]
    y = RNG.normal(size=200) + frame["size"] + (frame["hue"] == "red")
    model = fitted(DistilledRidge(lam=0.7, scaling="columns" if scaled else None), frame, y)
    assert model.certificate_.exact
    steps = [ColumnTransformer([("words", OneHotEncoder(), ["hue", "ward", "text"])], remainder="passthrough")]
    steps += [StandardScaler()] * scaled
    pipeline = make_pipeline(*steps, Ridge(alpha=0.7)).fit(frame, y)
    new = frame_of_every_kind(50, seed=1)[frame.columns]
    assert np.allclose(model.predict(new), pipeline.predict(new), rtol=0, atol=1e-9)
    assert np.allclose(model.predict(new[new.columns[::-1]]), pipeline.predict(new), rtol=0, atol=1e-9)
    small = Ridge(alpha=model.lam_s_).fit(model.transform_distilled(), model.y_distilled_)
    rows = (model.table_.transform(new) - model.mean_) / model.scale_
    assert np.allclose(small.predict(rows), pipeline.predict(new), rtol=0, atol=1e-9)


def test_an_estimator_keeps_names_and_its_file_the_table(tmp_path):
    frame = frame_of_every_kind()
    model = fitted(DistilledRidgeClassifier(), frame, frame["hue"].astype("category"))
    assert model.n_features_in_ == 15 and model.feature_names_in_.tolist() == list(frame.columns)
    assert model.get_feature_names_out().tolist() == model.table_.get_feature_names_out().tolist()
    model.save(tmp_path / "s.npz")
    loaded = files.load(tmp_path / "s.npz")
    assert loaded.classes.tolist() == ["blue", "green", "red"]
    rows = TableEncoder.from_dict(loaded.table).transform(frame)
    W, b = files.model(loaded)
    found = loaded.classes[np.argmax(files.features(loaded, rows) @ W + b, axis=1)]
    assert np.array_equal(found, model.predict(frame))
    assert np.array_equal(model.predict(rows), model.predict(frame))  # rows as the points are
    with pytest.raises(ValueError, match="X has 2 columns: pass a data frame"):
        model.predict(rows[:, :2])
    model.fit(X, KINDS)
    assert model.table_ is None and not hasattr(model, "feature_names_in_") and model.n_features_in_ == 3


def test_dates_as_classes_are_saved_as_texts(tmp_path):
    for days, texts in (
        (["2020-01-01", "2021-05-01"], None),
        (["2020-01-01 12:30:00", "2021-05-01"], "2020-01-01T12:30:00"),
    ):
        y = pd.Series(pd.to_datetime(days * 12, format="mixed")).dt.as_unit("s")
        DistilledRidgeClassifier().fit(X, y).save(tmp_path / "s.npz", overwrite=True)
        assert files.load(tmp_path / "s.npz").classes[0] == (texts or days[0])


@pytest.mark.parametrize("dtype", ["object", "str", "string", "category"])
def test_classes_of_every_dtype_of_words_are_saved(dtype, tmp_path):
    y = pd.Series(KINDS).astype(dtype)
    model = DistilledRidgeClassifier().fit(pd.DataFrame(X, columns=list("abc")), y)
    model.save(tmp_path / "s.npz")
    assert files.load(tmp_path / "s.npz").classes.tolist() == ["lily", "rose"]


def test_missing_and_new_columns_and_new_words_are_named():
    frame = frame_of_every_kind()[["size", "hue", "ward"]]
    encoder = TableEncoder().fit(frame)
    with pytest.raises(ValueError, match="missing columns: 'hue'; columns that the first table did not have: 'tint'"):
        encoder.transform(frame.rename(columns={"hue": "tint"}))
    with pytest.raises(ValueError, match=r"did not have: '' \(one without a name: an index\?\)"):
        encoder.transform(frame.assign(**{"": 1}))
    with pytest.raises(ValueError, match="column 'hue' has the words 'mauve', which the first table did not have"):
        encoder.transform(frame.assign(hue="mauve"))
    with pytest.raises(ValueError, match="column 'size', row 0: 'big', where numbers were"):
        encoder.transform(frame.assign(size="big"))
    with pytest.raises(ValueError, match="missing values: size 60 of 60 rows: drop"):
        encoder.transform(frame.assign(size=np.nan))
    with pytest.raises(ValueError, match="several columns have the same name: 'size'"):
        TableEncoder().fit(pd.concat([frame, frame[["size"]]], axis=1))


def test_missing_values_of_a_frame_are_counted_or_filled():
    frame = frame_of_every_kind()[["size", "hue", "seen", "nullable", "name"]]
    for column, count in (("size", 3), ("hue", 2), ("seen", 1), ("nullable", 4), ("name", 5)):
        frame.loc[frame.index[:count], column] = None
    with pytest.raises(
        ValueError, match="missing values: size 3, hue 2, seen 1, nullable 4 of 60 rows, the first in row 0"
    ):
        DistilledRidge().fit(frame, Y.repeat(3)[:60])
    model = fitted(DistilledRidge(missing="mean"), frame, Y.repeat(3)[:60])
    names, A = model.get_feature_names_out().tolist(), model.table_.transform(frame)
    assert "hue=(missing)" in names
    for column in ("size", "nullable"):
        assert np.allclose(A[:3, names.index(column)], frame[column].mean(), rtol=1e-14)
    assert A[:3, names.index("hue=(missing)")].tolist() == [1.0, 1.0, 0.0]
    whole = TableEncoder(missing="drop").fit(frame).complete(frame)
    assert whole.tolist() == [False] * 4 + [True] * 56
    with pytest.raises(ValueError, match="missing = 'median' must be None or 'mean'"):
        DistilledRidge(missing="median").fit(X, Y)


@pytest.mark.parametrize("make", [DistilledRidge, DistilledRidgeClassifier])
def test_a_sample_of_weight_two_fills_gaps_as_two_do_and_one_of_weight_zero_is_absent(make):
    frame = pd.DataFrame({"a": X[:, 0], "hue": KINDS, "b": X[:, 1]}, index=np.arange(24)[::-1])
    y = pd.Series(Y if make is DistilledRidge else np.where(Y > 0, "up", "down"), index=frame.index)
    frame.iloc[3, 0] = frame.iloc[9, 2] = None
    frame.iloc[5] = [None, "word of an absent sample", 1e9]
    w = np.array([0, 1, 2, 1])[np.arange(24) % 4]
    w[5] = 0
    repeated = frame.iloc[np.repeat(np.arange(24), w)]
    once = make(missing="mean").fit(repeated, np.repeat(y.to_numpy(), w))
    for targets in (y, y.tolist()):
        model = make(missing="mean").fit(frame, targets, sample_weight=w)
        assert model.table_.get_feature_names_out().tolist() == ["a", "hue=lily", "hue=rose", "b"]
        assert np.allclose(model.table_.transform(frame.iloc[3:4])[0, 0], repeated["a"].mean(), rtol=1e-14)
        assert error(model.coef_, once.coef_) < 1e-9 and w[model.sources_].all()
    assert error(make(missing="mean").fit(frame[["b"]], y, sample_weight=w).coef_,
                 make().fit(repeated[["b"]].fillna(repeated["b"].mean()), np.repeat(y.to_numpy(), w)).coef_) < 1e-9  # fmt: skip


def test_what_a_frame_hides_is_refused_by_column():
    good = pd.DataFrame({"a": X[:, 0]})
    wrong = {
        "numbers as texts such as": X[:, 1].astype(str),
        "'x' among 23 numbers": [*X[:23, 1].astype(str), "x"],
        "values of several types": pd.Series([[1]] * 12 + [{}] * 12),
        "'inf' is not a finite number": [np.inf, *X[1:, 1]],
        "values of complex128": X[:, 1] + 1j,
    }
    if np.dtype(np.longdouble).itemsize > 8:  # elsewhere it is float64
        wrong["values of float128, of which float64 holds a part"] = X[:, 1].astype(np.longdouble)
    for words, values in wrong.items():
        with pytest.raises(ValueError, match=words) as error:
            TableEncoder().fit(good.assign(b=values))
        assert "column 'b'" in str(error.value)
    dates = [f"0{1 + i % 9}/0{1 + i % 7}/2021" for i in range(24)]
    assert TableEncoder().fit(good.assign(b=dates)).entries[1].why.startswith("dates of which day and month")
    with pytest.raises(ValueError, match="no column is left: left out: b"):
        TableEncoder().fit(pd.DataFrame({"b": [f"name {i}" for i in range(60)]}))
    forced = TableEncoder(words=["b"], leave_out=["a"]).fit(good.assign(b=np.arange(24) % 3))
    assert forced.get_feature_names_out().tolist() == ["b=0", "b=1", "b=2"]
    with pytest.raises(ValueError, match="no columns 'c': there are 'a'"):
        TableEncoder(words=["c"]).fit(good)


@pytest.mark.parametrize("change", [
    {"columns": []}, {"columns": 3}, {"columns": [{"name": "a", "kind": "nonsense"}]}, {"missing": "median"}, {"target": 3},
    {"columns": [{"name": "a", "kind": "number"}] * 2}, {"columns": [{"name": "a", "kind": "words"}]}, {"more": 1},
        {"missing": "mean"},
    {"columns": [{"name": "a", "kind": "number", "fill": "x"}]}, {"columns": [{"name": "a", "kind": "number", "color": 1}]},
    {"columns": [{"name": "a", "kind": "words", "levels": ["x", "x"]}]}, {"columns": [{"name": "a", "kind": "words", "levels": [[1]]}]},
])  # fmt: skip
def test_a_description_that_was_changed_is_refused(change):
    described = {"columns": [{"name": "a", "kind": "number"}], "missing": None, "target": None}
    assert TableEncoder.from_dict(described).names == ("a",)
    with pytest.raises(ValueError, match="the table is not described"):
        TableEncoder.from_dict({**described, **change})


BLOCKED = """
import importlib.abc, sys
class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "pandas":
            raise ModuleNotFoundError("No module named 'pandas'")
sys.meta_path.insert(0, Block())
from ddref.command import main
plain = main(["distill", "t.csv", "--target", "y", "--out", "o.npz"]), main(["verify", "o.npz", "t.csv"])
words = main(["distill", "w.csv", "--target", "y", "--out", "p.npz"])
other = main(["distill", "x.parquet", "--target", "y", "--out", "p.npz"])
print(plain, words, other)
"""


def worded(folder):
    """A table of which one column holds words."""
    words = [[kind, *x, y] for kind, x, y in zip(KINDS, X.tolist(), Y, strict=True)]
    return written(folder / "w.csv", words, ("kind", "a", "b", "c", "y"))


def test_words_without_pandas_are_refused_with_the_extra(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert 'need pandas: pip install "ddref[tables]"' in refused(capsys, worded(tmp_path))


@pytest.mark.slow
def test_without_pandas_plain_numbers_are_read_and_anything_else_names_the_extra(tmp_path):
    written(tmp_path / "t.csv", rows_with(KINDS))
    worded(tmp_path)
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    done = subprocess.run([sys.executable, "-c", BLOCKED], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.stdout.splitlines()[-1] == "(0, 0) 2 2", done.stderr
    said = [line for line in done.stderr.splitlines() if "error" in line]
    assert f"words such as {str(KINDS[0])!r} in column 'kind' need pandas" in said[0] and ".parquet" in said[1]
    assert all('pip install "ddref[tables]"' in line for line in said)


# -- real tables, by one command each


def penguins(n=120):
    rng = np.random.default_rng(3)
    species = rng.integers(0, 3, n)
    frame = pd.DataFrame({
        "species": np.array(["Adelie", "Chinstrap", "Gentoo"])[species],
        "island": np.where(species == 2, "Biscoe", rng.choice(["Dream", "Torgersen"], n)),
        "bill_length_mm": (38 + 5 * species + rng.normal(size=n)).round(1),
        "body_mass_g": 3700 + 500 * species + rng.integers(-200, 200, n),
        "sex": rng.choice(["male", "female"], n),
    })  # fmt: skip
    frame.loc[[3, 50], ["bill_length_mm", "body_mass_g", "sex"]] = None
    return frame


def titanic(n=200):
    rng = np.random.default_rng(4)
    sex = rng.choice(["male", "female"], n)
    return pd.DataFrame({
        "PassengerId": np.arange(1, n + 1),
        "Survived": ((sex == "female") ^ (rng.random(n) < 0.1)).astype(int),
        "Pclass": rng.integers(1, 4, n),
        "Name": [f'O\'Dwyer, Mrs. {i} (Ellen "Nellie")' for i in range(n)],
        "Sex": sex,
        "Age": np.where(rng.random(n) < 0.2, np.nan, rng.integers(1, 80, n)),
        "Ticket": [f"A/5 {31 * i}" if i % 4 == 0 else str(100000 + 31 * i) for i in range(n)],
        "Fare": rng.exponential(30, n).round(4),
        "Cabin": [f"C{i}" if i % 5 == 0 else None for i in range(n)],
        "Embarked": rng.choice(["S", "C", "Q", None], n, p=[0.7, 0.2, 0.09, 0.01]),
    })  # fmt: skip


def cars(n=60):
    rng = np.random.default_rng(5)
    weight = rng.normal(3000, 500, n).round()
    frame = pd.DataFrame({"mpg": (50 - weight / 100 + rng.normal(size=n)).round(1), "cyl": rng.choice([4, 6, 8], n),
                          "wt": weight, "origin": rng.choice(["usa", "japan", "europe"], n)})  # fmt: skip
    return frame.set_index(pd.Index([f"Car {i}" for i in range(n)])).reset_index(names="")


def sales(n=100):
    rng = np.random.default_rng(6)
    days = pd.date_range("2024-02-01", periods=n, freq="D")
    frame = pd.DataFrame(
        {"day": days.strftime("%Y-%m-%d"), "shop": rng.choice(["01", "02", "17"], n), "open": rng.random(n) > 0.3}
    )
    return frame.assign(sold=(np.arange(n) / 7 + 3 * frame["open"] + rng.normal(size=n)).round(3))


def wide():
    frame = pd.DataFrame(np.random.default_rng(7).normal(size=(30, 90)).round(3))
    return frame.assign(label=np.where(frame[0] > 0, "up", "down"))


def tall():
    frame = pd.DataFrame(np.random.default_rng(8).normal(size=(3000, 4)).round(3), columns=list("abcd"))
    return frame.assign(city=frame["a"].map(lambda a: "north" if a > 0 else "south"), y=frame["b"] * 3 + frame["c"])


def of_scikit_learn(name):
    data = getattr(toys, f"load_{name}")(as_frame=True)
    frame = data.frame.copy()
    if name == "linnerud":
        return frame.drop(columns=["Waist", "Pulse"])
    if hasattr(data, "target_names") and name != "diabetes":
        frame["target"] = np.array(data.target_names)[frame["target"]]
    return frame


TABLES = {
    "iris": (lambda: of_scikit_learn("iris"), "target", []),
    "wine": (lambda: of_scikit_learn("wine"), "target", []),
    "breast_cancer": (lambda: of_scikit_learn("breast_cancer"), "target", []),
    "diabetes": (lambda: of_scikit_learn("diabetes"), "target", ["--task", "regression"]),
    "linnerud": (lambda: of_scikit_learn("linnerud"), "Weight", ["--task", "regression"]),
    "penguins": (penguins, "species", ["--missing", "drop"]),
    "penguins, filled": (penguins, "species", ["--missing", "mean"]),
    "titanic": (titanic, "Survived", ["--missing", "mean"]),
    "cars": (cars, "mpg", []),
    "dates": (sales, "sold", []),
    "wide": (wide, "label", []),
    "tall": (tall, "y", []),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_real_table_is_distilled_and_verified_by_one_command_each(name, tmp_path, capsys):
    make, target, options = TABLES[name]
    frame, path = make(), tmp_path / "t.csv"
    frame.to_csv(path, index=False)
    assert distil(path, *options, target=target) == 0
    backwards = tmp_path / "backwards.tsv"
    frame[frame.columns[::-1]].to_csv(backwards, index=False, sep="\t")
    for other in (path, backwards):
        capsys.readouterr()
        assert main(["verify", str(tmp_path / "out.npz"), str(other)]) == 0
        assert "exact: the distilled set trains the same model" in capsys.readouterr().out
    table = saved(path).table
    capsys.readouterr()
    assert main(["info", str(tmp_path / "out.npz")]) == 0
    text = capsys.readouterr().out
    assert f"table                  {len(frame.columns) - 1} columns: " in text and f"target {target!r}" in text
    assert ("missing values         " in text) == ("--missing" in options)
    if name == "titanic":
        kinds = {column["name"]: column["kind"] for column in table["columns"]}
        assert [n for n, kind in kinds.items() if kind == "left out"] == ["PassengerId", "Name", "Ticket", "Cabin"]
        assert (kinds["Sex"], kinds["Embarked"], kinds["Age"]) == ("words", "words", "number")
    if name == "dates":
        assert [column["kind"] for column in table["columns"]] == ["date", "words", "words"]


def test_titanic_is_refused_with_all_its_gaps_in_one_line(tmp_path, capsys):
    frame = titanic()
    frame.to_csv(tmp_path / "t.csv", index=False)
    text = refused(capsys, tmp_path / "t.csv", target="Survived")
    assert f"Age {frame['Age'].isna().sum()}, Embarked {frame['Embarked'].isna().sum()} of 200 rows" in text


def test_excel_and_parquet_are_read_by_pandas(tmp_path, capsys):
    frame = penguins().dropna()
    frame.to_excel(tmp_path / "t.xlsx", index=False)
    written_files = [tmp_path / "t.xlsx"]
    if importlib.util.find_spec("pyarrow"):
        frame.to_parquet(tmp_path / "t.parquet")
        written_files.append(tmp_path / "t.parquet")
    frame.to_csv(tmp_path / "t.csv.gz", index=False)
    for path in written_files:
        assert distil(path, target="species") == 0
        for other in (path, tmp_path / "t.csv.gz"):
            assert main(["verify", str(tmp_path / "out.npz"), str(other)]) == 0
    (tmp_path / "out.npz").unlink()
    (tmp_path / "t.xlsx").write_bytes(b"PK nothing")
    assert "damaged, or not .xlsx" in refused(capsys, tmp_path / "t.xlsx", target="species")


def test_of_several_sheets_the_first_is_read_and_the_others_are_named(tmp_path, capsys):
    pytest.importorskip("openpyxl")
    frame = pd.DataFrame(X, columns=["a", "b", "c"]).assign(y=KINDS)
    with pd.ExcelWriter(tmp_path / "t.xlsx") as book:
        for name in ("first", "second", "third"):
            frame.to_excel(book, sheet_name=name, index=False)
    assert distil(tmp_path / "t.xlsx") == 0
    assert "sheet 'first' is read, not looked at: 'second', 'third'\n" in capsys.readouterr().err


def test_a_column_may_be_called_as_an_attribute_is(tmp_path, capsys):
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame(X, columns=["notes", "lines", "columns"]).assign(y=KINDS)
    frame.attrs = {"notes": ["of another program"]}
    frame.to_parquet(tmp_path / "t.parquet")
    assert distil(tmp_path / "t.parquet") == 0 and "another program" not in capsys.readouterr().err
    assert [column["name"] for column in saved(tmp_path / "t.parquet").table["columns"]] == ["notes", "lines", "columns"]


# -- several targets


def several(path, *columns, names=("a", "b", "c", "u", "v, w")):
    rows = [[*x, *targets] for x, *targets in zip(X.tolist(), *columns, strict=True)]
    return written(path, rows, [f'"{name}"' for name in names])


@pytest.mark.parametrize("target", [["u", "v, w"], ['u,"v, w"'], ["3,4"], ["u", "-1"]])
def test_several_targets_are_named_one_by_one_or_with_commas_and_predicted_by_name(target, tmp_path, capsys):
    path = several(tmp_path / "t.csv", Y, (Y**2).round(3))
    assert distil(path, *(word for name in target for word in ("--target", name)), target=None) == 0
    printed = capsys.readouterr()
    assert "task: regression" in printed.err and "targets 'u', 'v, w'" in printed.out
    found = saved(path)
    assert found.table["target"] == ["u", "v, w"] and found.Y_S.shape == (3, 2) and found.task == "regression"
    assert main(["verify", str(tmp_path / "out.npz"), str(path)]) == 0
    theirs = Ridge(alpha=found.lam).fit(StandardScaler().fit_transform(X), np.c_[Y, (Y**2).round(3)])
    written(tmp_path / "new.csv", X[:, ::-1].tolist(), ("c", "b", "a"))  # no targets, columns in another order
    assert main(["predict", str(tmp_path / "out.npz"), str(tmp_path / "new.csv"), "--out", str(tmp_path / "p.csv")]) == 0
    table = pd.read_csv(tmp_path / "p.csv")
    assert table.columns.tolist() == ["prediction u", "prediction v, w"]
    assert np.allclose(table.to_numpy(), theirs.predict(StandardScaler().fit_transform(X)), rtol=0, atol=1e-9)


@pytest.mark.parametrize("task", [[], ["--task", "multilabel"]])
def test_columns_of_0_and_1_are_labels_each_of_them_there_or_not(task, tmp_path, capsys):
    labels = (X[:, :2] > 0).astype(int)
    path = several(tmp_path / "t.csv", *labels.T)
    assert distil(path, "--target", "u", "--target", "v, w", *task, target=None) == 0
    printed = capsys.readouterr()
    assert "multilabel, 2 labels: u, v, w" in printed.out and "labels right on training" in printed.out
    found = saved(path)
    model = DistilledRidgeClassifier(lam=found.lam, scaling="columns").fit(X, labels)
    assert (found.task, found.class_names) == ("multilabel", ("u", "v, w")) and model.multilabel_
    assert np.array_equal(found.predict(X), model.predict(X))
    assert main(["verify", str(tmp_path / "out.npz"), str(path)]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^labels right on training \d+\.\d\d% .*; 0 differ$", printed, re.MULTILINE)
    assert main(["predict", str(tmp_path / "out.npz"), str(path), "--out", str(tmp_path / "p.csv")]) == 0
    table = pd.read_csv(tmp_path / "p.csv")
    assert table.columns.tolist() == ["prediction u", "prediction v, w", "score u", "score v, w"]
    assert np.array_equal(table.to_numpy()[:, :2], model.predict(X))
    assert np.allclose(2 * table.to_numpy()[:, 2:] - 1, model.decision_function(X), rtol=0, atol=1e-9)
    arrays(tmp_path / "x.npz", X=X, y=labels.astype(bool), X_test=X, y_test=labels.astype(bool))
    assert distil(tmp_path / "x.npz", *task, target=None) == 0 and saved(path).class_names == ("0", "1")
    assert "labels right on test" in capsys.readouterr().out
    assert main(["verify", str(tmp_path / "out.npz"), str(tmp_path / "x.npz")]) == 0


def test_one_hot_columns_are_classes_by_the_names_of_their_columns(tmp_path, capsys):
    one_hot = np.eye(2, dtype=int)[(KINDS == "rose").astype(int)]
    path = several(tmp_path / "t.csv", *one_hot.T, names=("a", "b", "c", "lily", "rose"))
    assert distil(path, target="lily,rose") == 0
    assert "classes are the names of its columns" in capsys.readouterr().err
    assert saved(path).classes.tolist() == ["lily", "rose"]
    assert main(["verify", str(tmp_path / "out.npz"), str(path)]) == 0
    assert distil(path, "--task", "multilabel", target="lily,rose") == 0 and saved(path).task == "multilabel"
    assert distil(path, "--task", "regression", target="lily,rose") == 0 and saved(path).class_names is None


@pytest.mark.parametrize("target, task, words", [
    ("u,x", [], "has no column 'x'"),
    ("u,u", [], "the target 'u' is named twice"),
    ("a,b,c,u,4", [], "every column is a target"),
    ("u,4", [], "the target 'v, w' has words such as"),
    ("u,a", ["--task", "multilabel"], "the training targets have shape (24, 2), of float64: labels are"),
    ("u", ["--task", "multilabel"], "the training targets have shape (24,)"),
    ("u,a", ["--task", "classification"], "its rows are not one-hot"),
])  # fmt: skip
def test_targets_that_are_none_are_refused_by_name(target, task, words, tmp_path, capsys):
    path = several(tmp_path / "t.csv", (Y > 0).astype(int), KINDS)
    assert words in refused(capsys, path, *task, target=target)


def test_a_row_without_one_of_the_targets_is_refused_or_left_out(tmp_path, capsys):
    path = several(tmp_path / "t.csv", ["NA", *Y[1:]], [*Y[:-1], "?"])
    assert "line 2: the target 'u' is missing ('NA')" in refused(capsys, path, target="u,4")
    assert distil(path, "--missing", "drop", target="u,4") == 0
    assert "training samples       22" in capsys.readouterr().out
    assert main(["verify", str(tmp_path / "out.npz"), str(path)]) == 0


@pytest.mark.parametrize("target", [[1], ["y", "y"], ["a"], "a"])
def test_targets_of_a_description_have_names_of_their_own(target):
    described = {"columns": [{"name": "a", "kind": "number"}], "missing": None, "target": ["y", "z"]}
    assert TableEncoder.from_dict(described).targets == ("y", "z")
    with pytest.raises(ValueError, match="the table is not described"):
        TableEncoder.from_dict({**described, "target": target})


@pytest.mark.parametrize("words", [[], ["--words", "y"]])
def test_missing_classes_are_missing_when_verified_and_words_where_they_were_said_to_be(words, tmp_path, capsys):
    kinds = np.where(np.arange(24) % 5 == 0, "NA", KINDS)
    towns = np.where(kinds == "NA", "abroad", np.where(X[:, 1] > 0, "north", "south"))  # only where rows are left out
    path = written(tmp_path / "t.csv", [[*x, t, k] for x, t, k in zip(X.tolist(), towns, kinds, strict=True)], ("a", "b", "c", "town", "y"))
    assert distil(path, "--missing", "drop", *words) == 0
    assert f"training samples       {24 if words else 19}" in capsys.readouterr().out
    assert main(["verify", str(tmp_path / "out.npz"), str(path)]) == 0


# The tables that the package vega_datasets ships: what to predict, options, samples, points, columns of a point, and what
# the model is worth on the samples.
REAL = {
    "cars": ("Miles_per_Gallon", ["--missing", "drop"], 392, 2, 9, "0.8234"),
    "cars, two targets": ("Miles_per_Gallon,Acceleration", ["--missing", "drop"], 392, 3, 8, "0.7212"),
    "barley": ("yield", [], 120, 2, 17, "0.6656"),
    "seattle_weather": ("weather", [], 1461, 5, 5, "71.5%"),
    "la_riots": ("gender", ["--missing", "mean"], 63, 2, 50, "88.9%"),
    "airports": ("state", ["--missing", "drop"], 3364, 3, 3, "20.8%"),
    "us_employment": ("nonfarm", ["--task", "regression"], 120, 2, 23, "1.0000"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_a_table_that_others_collected_is_distilled_and_verified_by_one_command_each(name, tmp_path, capsys):
    from vega_datasets import local_data

    target, options, samples, points, width, worth = REAL[name]
    path = tmp_path / "t.csv"
    shipped = getattr(local_data, name.partition(",")[0]).filepath
    (pd.read_json if shipped.endswith(".json") else pd.read_csv)(shipped).to_csv(path, index=False)
    assert distil(path, *options, target=target) == 0
    printed = capsys.readouterr().out
    assert f"training samples       {samples:,}\n" in printed and worth in printed
    assert saved(path).X_S.shape == (points, width) and saved(path).certificate["relative_error"] < 1e-12
    assert main(["verify", str(tmp_path / "out.npz"), str(path)]) == 0
    assert "exact: the distilled set trains the same model" in capsys.readouterr().out
