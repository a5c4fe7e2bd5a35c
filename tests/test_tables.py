"""Tables as they come: each spelling is read as it is meant or refused with its place, and nothing goes missing."""

import gzip
import json

import numpy as np
import pytest

from ddref import files
from ddref.command import main
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


def distil(path, *arguments, target="y", out=None):
    """Exit code of `ddref distill`, into out.npz beside the table."""
    out = out or path.parent / "out.npz"
    target = ["--target", target] if target else []
    return main(
        [
            "distill",
            str(path),
            *target,
            "--out",
            str(out),
            "--force",
            *map(str, arguments),
        ]
    )


def refused(capsys, path, *arguments, target="y"):
    """The message of a refusal: one short line, and no file."""
    capsys.readouterr()
    assert distil(path, *arguments, target=target) == 2
    printed = capsys.readouterr()
    last = printed.err.splitlines()[-1]
    assert printed.out == "" and last.startswith("ddref: error: ")
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
    assert read_text(path, target="kind").names == ("kind", "1990", "1995", "2000")


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
    assert "line 12: the target 'y': '1.2.3' among 23 numbers" in text and "--words y" in text
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
    assert f"left out: {name} (counts the rows)" in capsys.readouterr().err
    assert saved(path).X_S.shape[1] == 3
    assert main(["verify", str(tmp_path / "out.npz"), str(path)]) == 0
    without = written(tmp_path / "u.csv", rows_with(Y))
    assert main(["verify", str(tmp_path / "out.npz"), str(without)]) == 0


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
    for dressed in ("1 100.5", "12%", "$3", "1'100"):
        cells = [[dressed, *row[1:3], y] for row, y in zip(rows, Y, strict=True)]
        assert "without its separators" in refused(capsys, written(tmp_path / "t.csv", cells, mark=";"))


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
    assert "training samples       24" in capsys.readouterr().out
    table = saved(path).table
    a = [row[0] for row in rows if row[0] not in ("", "NA")]
    assert np.isclose(table["columns"][0]["fill"], np.mean(a), rtol=1e-15) and table["target"] == "y"


def test_packed_tables_are_read_and_their_size_is_limited(tmp_path, capsys):
    plain = written(tmp_path / "p.csv", rows_with(Y))
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(plain.read_bytes()))
    assert read_text(path).columns == read_text(plain).columns
    assert "larger than --max-bytes 100" in refused(capsys, path, "--max-bytes", "100")
    path.write_bytes(path.read_bytes()[:-20])
    assert "damaged, or not gzip" in refused(capsys, path)
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
