"""Tables in text files, read strictly: nothing is dropped, joined or guessed."""

import bz2
import contextlib
import csv
import gzip
import io
import itertools
import lzma
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from .cells import COMMA, THOUSANDS, is_missing, is_number, shown

DELIMITERS = ",;\t|"
PACKED: dict[str, Any] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zip": None,
}
SAMPLE = 100  # records by which the delimiter is found


class Text(NamedTuple):
    """A table as its file has it: texts, without the blanks around them."""

    name: str  # of the file
    names: tuple[str, ...]  # of the columns
    columns: tuple[list[str], ...]
    lines: list[int]  # where in the file each row begins
    notes: tuple[str, ...] = ()  # what was decided on the way


def read_text(
    path: str | Path,
    *,
    header: bool | None = None,
    known: Sequence[str] = (),
    decimal_comma: bool = False,
    words: Sequence[str] = (),
    max_bytes: int = 1 << 32,
) -> Text:
    """The cells of a .csv, .tsv or .txt file, or of one of them compressed: as .gz,
    .bz2 or .xz, or alone in a .zip.

    Parameters
    ----------
    path : str or path
    header : bool, optional
        Whether the first line is names. Default: what the lines show; where they do not
        show it, it is asked.
    known : sequence of str
        Names that are there if any are: a first line that has all of them is names. If
        they are numbers, one that has not all of them is a sample.
    decimal_comma : bool
        Whether 1,234 is a little more than one. Default: where the table shows it.
    words : sequence of str
        Columns that hold words, whatever they look like.
    max_bytes : int
        Limit for the text, unpacked.

    Raises
    ------
    ValueError
        No text in UTF-8; a quote that is not closed; rows of different lengths; columns
        of one name; numbers of two spellings; no telling whether the first line is
        names.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.csv")
    ...     _ = path.write_text("size;kind\\n1,5;red\\n2,25;blue\\n")
    ...     table = read_text(path)
    >>> table.names, table.columns
    (('size', 'kind'), (['1.5', '2.25'], ['red', 'blue']))
    """
    path = Path(path)
    content = _content(path, max_bytes)
    said = re.match(r"sep=(.)\r?\n", content)  # a line that a spreadsheet writes
    body = content[said.end() :] if said else content
    delimiter = said[1] if said else _delimiter(body)
    rows = list(_records(path, body, delimiter, 1 if said else 0))
    if not rows:
        raise ValueError(f"{path} is empty")
    _check_swallowed(path, rows, delimiter)
    names, rows, notes = _named(path, rows, header, known)
    _check_widths(path, names, rows)
    _check_names(path, names)
    columns = [list(column) for column in zip(*(row for row, _ in rows), strict=True)]
    lines = [line for _, line in rows]
    notes += _undo_commas(path, names, columns, lines, words, decimal_comma)
    return Text(str(path), tuple(names), tuple(columns), lines, tuple(notes))


# ---------------------------------------------------------------------------- records


def _content(path: Path, max_bytes: int) -> str:
    ending = path.suffix.lower()
    try:
        with _opened(path, ending) as file:
            content = file.read(max_bytes + 1)
    except Exception as error:  # each of the unpackers raises its own
        if ending not in PACKED:
            raise
        raise ValueError(f"{path}: damaged, or not {ending} ({error})") from error
    if len(content) > max_bytes:
        raise ValueError(f"{path} is larger than --max-bytes {max_bytes:,}")
    if b"\0" in content:
        raise ValueError(
            f"{path}: not a text file in UTF-8 (it has zero bytes); save it in that "
            "encoding"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}, line {line}: not a text file in UTF-8 ({error.reason}); save it "
            "in that encoding"
        ) from error


@contextlib.contextmanager
def _opened(path: Path, ending: str) -> Iterator[IO[bytes]]:
    """The bytes of a table, unpacked on the way."""
    if ending == ".zip":
        with zipfile.ZipFile(path) as archive:
            tables = [name for name in archive.namelist() if not name.endswith("/")]
            tables = [name for name in tables if not name.startswith("__MACOSX/")]
            if len(tables) != 1:
                raise zipfile.BadZipFile(f"{len(tables)} files in it, one is needed")
            with archive.open(tables[0]) as file:
                yield file
    else:
        with PACKED.get(ending, open)(path, "rb") as file:
            yield file


def _delimiter(content: str) -> str:
    """The character between cells, by the first records; quotes are respected."""

    def fit(mark: str) -> tuple[float, int]:
        """How evenly a mark parts the records, into how many cells."""
        lines = csv.reader(io.StringIO(content, newline=""), delimiter=mark)
        rows = [row for row in itertools.islice(lines, SAMPLE) if any(row)]
        if not rows:
            return 0.0, 0
        width, often = Counter(map(len, rows)).most_common(1)[0]
        cells = [cell.strip() for row in rows for cell in row]
        whole = sum(_quantity(c) or not set(c) & set(DELIMITERS) for c in cells)
        return (often / len(rows) + whole / len(cells), width) if width > 1 else (0, 0)

    try:
        best = max(DELIMITERS, key=fit)
        return best if fit(best)[1] else " " if fit(" ")[1] else ","
    except csv.Error:  # a quote that swallows a file: _records says where
        return ","


def _records(
    path: Path, content: str, delimiter: str, skipped: int
) -> Iterator[tuple[list[str], int]]:
    """The rows that are not blank, each with the line where it begins."""
    if delimiter == " ":
        content = re.sub(r"[ \t]+(?=\r?\n|\r|$)", "", content)
    reader = csv.reader(
        io.StringIO(content, newline=""),
        delimiter=delimiter,
        skipinitialspace=delimiter != "\t",
        strict=True,
    )
    while True:
        line = reader.line_num + 1 + skipped
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ValueError(
                f"{path}, line {line}: a quote is opened here and not closed where the "
                f"cell ends ({error}); close it, or double quotes that belong to a text"
            ) from error
        row = [cell.strip() for cell in row]
        if any(row):
            yield row, line


def _check_swallowed(path, rows, delimiter):
    """Refuse a cell in which whole rows are: two quotes, each of them not closed."""
    torn = [(row, line) for row, line in rows if "\n" in "".join(row)]
    whole = [row for row, _ in rows[1 : SAMPLE + 1] if "\n" not in "".join(row)]
    if not torn or not whole:
        return
    columns = list(zip(*whole, strict=False))
    numeric = [2 * sum(map(is_number, cells)) > len(cells) for cells in columns]
    for row, line in torn:
        for place, cell in enumerate(row):
            ends = cell.count("\n")
            if not ends or cell.count(delimiter) != ends * (len(columns) - 1):
                continue
            text = delimiter.join([*row[:place], cell, *row[place + 1 :]])
            inner = [part.split(delimiter) for part in text.splitlines()]
            inner = inner[1:] if row is rows[0][0] else inner  # names are no numbers
            if all(_are_samples(part, numeric) for part in inner):
                raise ValueError(
                    f"{path}, line {line}: a quote is opened here and closed {ends} "
                    "lines below, with whole rows between; close it where the cell ends"
                )


def _are_samples(row: list[str], numeric: list[bool]) -> bool:
    """Whether numbers are where they usually are, and some are."""
    there = [
        (is_number(cell.strip()), usual)
        for cell, usual in zip(row, numeric, strict=False)
        if not is_missing(cell.strip())
    ]
    return (
        len(row) == len(numeric)
        and (True, True) in there
        and all(found == usual for found, usual in there)
    )


def _check_widths(path, names, rows):
    wrong = [(len(row), line) for row, line in rows if len(row) != len(names)]
    if wrong:
        width, line = wrong[0]
        others = f" (and {len(wrong) - 1} other lines)" if len(wrong) > 1 else ""
        if len(names) == 1 and len(wrong) == len(rows):  # a title, or remarks
            others += f"; if {shown(names, 40)} above is no line of names, remove it"
        raise ValueError(
            f"{path}, line {line}: {width} columns, where there should be "
            f"{len(names)}{others}"
        )


# ------------------------------------------------------------------------------ names


def _named(path, rows, header, known):
    """Names of the columns, the rows below them, and what there is to say."""
    first, line = rows[0]
    if header is None:
        header = _first_is_names(path, rows, known)
    if not header:
        numbered = [str(i) for i in range(len(first))]
        return numbered, rows, ["no line of names: the columns are called 0, 1, ..."]
    below = rows[1:]
    if not below:
        raise ValueError(f"{path} has a line of names and no samples")
    names, notes = list(first), []
    if all(len(row) == len(names) + 1 for row, _ in below):
        if not any(row[-1] for row, _ in below):  # each line ends in a delimiter
            below = [(row[:-1], line) for row, line in below]
        elif _label_rows([row[0] for row, _ in below]):
            names = ["", *names]
            notes = ["the first column has no name"]
    return names, below, notes


def _label_rows(cells):
    """Whether cells are words or whole numbers, all different: names of rows."""
    kinds = {is_number(cell) for cell in cells}
    whole = kinds == {False} or all(cell.isdigit() for cell in cells)
    return whole and len(set(cells)) == len(cells)


def _first_is_names(path, rows, known):
    """Whether the first line is names, by the columns below it; asked where they do not
    tell.
    """
    first, below = rows[0][0], [row for row, _ in rows[1:]]
    columns = [
        [row[i] for row in below if i < len(row) and not is_missing(row[i])]
        for i in range(len(first))
    ]
    numeric = [i for i, c in enumerate(columns) if c and all(map(_quantity, c))]
    heads = [first[i] for i in numeric]
    if any(not is_missing(head) and not _quantity(head) for head in heads):
        return True  # a word above numbers
    numbered = all(name.isdigit() for name in known)  # or nothing is known
    if not numbered and set(known) <= set(first):
        return True
    if known and numbered and not set(known) <= set(first):
        return False
    asked = "is it names (pass --header) or a sample (pass --no-header)?"
    if all(_quantity(cell) or is_missing(cell) for cell in first):
        if below and any(map(_quantity, first)) and _looks_like_a_scale(first):
            raise ValueError(f"{path}: the first line is {shown(first, 60)}: {asked}")
        return not any(map(_quantity, first))
    again = [i for i, column in enumerate(columns) if first[i] in column]
    if any(map(_quantity, first)) or again:
        raise ValueError(
            f"{path}: the first line, {shown(first, 60)}, looks like the lines below "
            f"it: {asked}"
        )
    return True


def _quantity(cell: str) -> bool:
    return is_number(cell) or COMMA.fullmatch(cell) is not None


def _looks_like_a_scale(first: list[str]) -> bool:
    """Whether numbers are such as years, wavelengths or places: they could be names."""
    cells = [cell for cell in first if _quantity(cell)]
    values = [float(cell.replace(",", ".")) for cell in cells]
    steps = [b - a for a, b in itertools.pairwise(values)]
    whole = all(value.is_integer() for value in values)
    if whole and len(values) > 1 and all(1500 <= value <= 2200 for value in values):
        return len(set(values)) == len(values)
    even = all(abs(step - steps[0]) <= 1e-6 * abs(steps[0]) for step in steps)
    rising = all(step > 0 for step in steps)
    return len(steps) > 1 and rising and (even or len(steps) > 5)


def _check_names(path, names):
    counts = Counter(names)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        what = shown(twice, 80) if any(twice) else "no name"
        places = [str(i) for i, name in enumerate(names) if name == twice[0]]
        raise ValueError(
            f"{path}: {counts[twice[0]]} columns have {what} (columns "
            f"{', '.join(places[:8])}, from 0): give each a name of its own"
        )


# --------------------------------------------------------------------- decimal commas


def _undo_commas(path, names, columns, lines, words, decimal_comma):
    """Write decimal commas as points, in place, where the table is of that kind."""
    with_commas, points = [], []
    if not any("," in cell for cells in columns for cell in cells):
        return []
    for name, cells in zip(names, columns, strict=True):
        found = [(i, cell) for i, cell in enumerate(cells) if not is_missing(cell)]
        if name in words or not all(_quantity(cell) for _, cell in found):
            continue
        commas = [(i, cell) for i, cell in found if "," in cell]
        points += [(i, cell) for i, cell in found if "." in cell][:1]
        with_commas += [(name, cells, commas)] if commas else []
    if not with_commas:
        return []
    name, _, ((row, cell), *_) = with_commas[0]
    place = f"{path}, line {lines[row]}, column {shown([name])}: {shown([cell])}"
    if points:
        row, point = points[0]
        raise ValueError(
            f"{place} has a comma, and line {lines[row]} {shown([point])} a point: "
            "write all numbers with points, and without separators of thousands"
        )
    every = [cell for _, _, commas in with_commas for _, cell in commas]
    if not decimal_comma and all(map(THOUSANDS.fullmatch, every)):
        raise ValueError(
            f"{place} may have a decimal comma or a separator of thousands: pass "
            "--decimal-comma if it is the former, else write the numbers without it"
        )
    for _, cells, commas in with_commas:
        for i, cell in commas:
            cells[i] = cell.replace(",", ".")
    read = shown([name for name, _, _ in with_commas], 80)
    return [f"read with a decimal comma: {read}"]
