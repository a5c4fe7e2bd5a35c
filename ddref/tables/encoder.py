"""Tables as matrices: what a column becomes is found once, written down, and done again
with any later table.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .cells import alike, may_be_quantities, shown
from .columns import Column, Misfit, from_cells, from_series
from .text import Text

MANY = 50  # words in a column; with more it is left out
DISTINCT = 0.8  # of the rows have a word of their own: names
COUNTERS = re.compile(
    r"|unnamed: 0|index|level_0|row|rows|row_?(?:names?|numbers?|id)|no\.?|nr\.?|#|id",
    re.IGNORECASE,
)
IDENTIFIER = re.compile(r"(?:.*[\W_])?(?:[iI][dD]|uuid|UUID|guid)|.*[a-z0-9]I[dD]")
KINDS = ("number", "date", "words", "left out")
FILLED = ("number", "date")
ALLOWED = (None, "drop", "mean")
QUOTE = "'"
WAY_OUT = (
    "drop these rows or fill them (--missing drop or mean; missing='mean'; or pandas)"
)


class Entry(NamedTuple):
    """What one column becomes."""

    name: str
    kind: str  # "number", "date" (days since 1970), "words" (one-hot), "left out"
    levels: tuple[Any, ...] = ()  # of words, in order; None where missing is one
    fill: float | None = None  # of numbers and dates: the mean
    format: str | None = None  # of a date that was a text
    forced: bool = False  # words because it was said so
    why: str = ""  # it is left out

    @property
    def width(self) -> int:
        """The number of columns of the matrix."""
        if self.kind == "left out":
            return 0
        return len(self.levels) if self.kind == "words" else 1


class TableEncoder:
    """A data frame, or a text table, as a matrix of numbers with named columns.

    Numbers stay as they are, dates become days since 1970, words and categories one
    column a word (as scikit-learn's `OneHotEncoder`). Left out, with a reason in
    `entries`: words of more than 50 kinds or nearly all different, identifiers, columns
    that count the rows. The same is done with every later table, its columns taken by
    their names.

    Parameters
    ----------
    missing : {None, "drop", "mean"}
        What happens to missing values: they are refused, all columns in one message;
        the rows are to be dropped (`complete` says which are whole); or numbers and
        dates get the mean of their column, and words have "missing" as one more word.
    words : sequence of str
        Names of columns that hold words even where they look like numbers.
    leave_out : sequence of str
        Names of columns not to use.
    target : str or sequence of str, optional
        Names of the columns of targets: never one of the features.

    Attributes
    ----------
    entries : tuple of Entry
        A column of the table each.

    Examples
    --------
    >>> import pandas
    >>> hues = ["red", "blue", "red"]
    >>> frame = pandas.DataFrame({"size": [1.0, 2.0, 3.0], "hue": hues})
    >>> encoder = TableEncoder().fit(frame)
    >>> encoder.get_feature_names_out().tolist()
    ['size', 'hue=blue', 'hue=red']
    >>> again = TableEncoder.from_dict(encoder.describe())
    >>> again.transform(frame[["hue", "size"]])
    array([[1., 0., 1.],
           [2., 1., 0.],
           [3., 0., 1.]])
    """

    def __init__(
        self,
        *,
        missing: str | None = None,
        words: Sequence[str] = (),
        leave_out: Sequence[str] = (),
        target: str | Sequence[str] | None = None,
    ) -> None:
        if missing not in ALLOWED:
            raise ValueError(f"missing = {missing!r} must be None, 'drop' or 'mean'")
        self.missing = missing
        self.target = (
            target if target is None or isinstance(target, str) else tuple(target)
        )
        self.words, self.leave_out = tuple(words), tuple(leave_out)
        self.entries: tuple[Entry, ...] = ()
        self.filled: dict[str, int] = {}  # gaps of the table it was fitted to

    # ---------------------------------------------------------------------- finding

    def fit(
        self,
        table: Any,
        rows: np.ndarray | None = None,
        *,
        weights: np.ndarray | None = None,
    ) -> "TableEncoder":
        """Find what each column of `table` (DataFrame or Text) becomes, by those of its
        `rows` (bool) that have a target. Means that fill gaps are weighted by `weights`
        (n,).

        ValueError names every column with missing values, and every one that cannot be
        taken as it is.
        """
        names = names_of(table)
        unknown = [n for n in (*self.words, *self.leave_out) if n not in names]
        if unknown:
            raise ValueError(f"no columns {shown(unknown)}: there are {shown(names)}")
        names = [name for name in names if name not in self.targets]
        columns = self._columns(table, names, None)
        keep = np.ones(rows_of(table), dtype=bool) if rows is None else rows.copy()
        entries = {n: _found(n, c, n in self.words) for n, c in columns.items()}
        used = {n: columns[n] for n, e in entries.items() if e.kind != "left out"}
        self._check_missing(used, table)
        if self.missing == "drop":
            for column in used.values():
                keep &= ~column.missing
            if not keep.any():
                raise ValueError(
                    "no row is without missing values: --missing mean, or --leave-out "
                    f"{' '.join(_with_missing(used))}"
                )
        for name, column in used.items():
            if entries[name].kind != "left out":
                entries[name] = _completed(
                    entries[name], column, keep, self.missing, weights
                )
        if self.missing == "mean":
            gaps = {n: int((keep & c.missing).sum()) for n, c in used.items()}
            self.filled = {name: count for name, count in gaps.items() if count}
        why = "as you said"
        self.entries = tuple(
            entries.get(name, Entry(name, "left out", why=why)) for name in names
        )
        if not any(entry.width for entry in self.entries):
            why = "; ".join(self.notes()) or "the table has none"
            raise ValueError(f"no column is left: {why}")
        return self

    def _columns(self, table, names, entries):
        """Columns by name, typed; one ValueError for all that do not fit."""
        columns, wrong = {}, []
        places = {name: place for place, name in enumerate(names_of(table))}
        for name in names:
            entry = entries[name] if entries else None
            if name in self.leave_out or (entry and entry.kind == "left out"):
                continue
            try:
                columns[name] = _typed(
                    table, places[name], name, entry, name in self.words
                )
            except Misfit as misfit:
                place = "" if misfit.row is None else f", {place_of(table, misfit.row)}"
                wrong.append(f"column {shown([name])}{place}: {misfit}")
        if wrong:
            more = f"; and {len(wrong) - 2} more columns" if len(wrong) > 2 else ""
            hint = "correct it, or --words or --leave-out and its name"
            raise ValueError(f"{'; '.join(wrong[:2])}{more}; {hint}")
        return columns

    def _check_missing(self, columns, table):
        if self.missing is not None:
            return
        counts = {name: int(c.missing.sum()) for name, c in columns.items()}
        gone = [f"{name} {count}" for name, count in counts.items() if count]
        if gone:
            name = next(name for name in counts if counts[name])
            row = int(np.argmax(columns[name].missing))
            raise ValueError(
                f"missing values: {shown(gone, 100).replace(QUOTE, '')} of "
                f"{rows_of(table)} rows, the first in {place_of(table, row)}"
                f"{_word(table, name, row)}; {WAY_OUT}"
            )

    # ------------------------------------------------------------------------ using

    def complete(self, table: Any) -> np.ndarray:
        """Which rows (n,) of bool have a value in every column that is used."""
        entries = self._used(table)
        columns = self._columns(table, entries, entries)
        whole = np.ones(rows_of(table), dtype=bool)
        for column in columns.values():
            whole &= ~column.missing
        return whole

    def transform(self, table: Any, rows: np.ndarray | None = None) -> np.ndarray:
        """The matrix (n, p) in float64 of a table with the columns of the first one, in
        any order; of those `rows` (bool) alone.

        ValueError for columns that are missing or new, words that were not there, and
        missing values where they are not filled.
        """
        entries = self._used(table)
        columns = self._columns(table, entries, entries)
        if rows is not None:
            columns = {
                name: c._replace(values=c.values[rows], missing=c.missing[rows])
                for name, c in columns.items()
            }
        n = rows_of(table) if rows is None else int(np.sum(rows))
        if self.missing != "mean":
            self._check_filled(columns, n)
        parts, unknown = [], []
        for name, entry in entries.items():
            try:
                parts.append(_matrix(entry, columns[name]))
            except Misfit as misfit:
                unknown.append(f"column {shown([name])} has {misfit}")
        if unknown:
            raise ValueError(
                f"{'; '.join(unknown[:2])}, which the first table did not have"
            )
        return np.hstack(parts)

    def _check_filled(self, columns, n):
        counts = {name: int(c.missing.sum()) for name, c in columns.items()}
        gone = [f"{name} {count}" for name, count in counts.items() if count]
        if gone:
            raise ValueError(
                f"missing values: {shown(gone, 100).replace(QUOTE, '')} of {n} rows: "
                "drop these rows; the set was made without fills (--missing mean)"
            )

    def _used(self, table):
        """The entries in use, once the names of the table are seen to be theirs."""
        names = names_of(table)
        known = {entry.name for entry in self.entries} | set(self.targets)
        used = {entry.name: entry for entry in self.entries if entry.width}
        absent = [name for name in used if name not in names]
        new = [name for name in names if name not in known]
        if absent or new:
            parts = [f"missing columns: {shown(absent)}"] if absent else []
            index = " (one without a name: an index?)" if "" in new else ""
            parts += [
                f"columns that the first table did not have: {shown(new)}{index}"
            ] * bool(new)
            raise ValueError("; ".join(parts))
        return used

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns of the matrix: ``hue=red`` for a word."""
        names = []
        for entry in self.entries:
            if entry.kind == "words":
                for level in entry.levels:
                    word = "(missing)" if level is None else level
                    names.append(f"{entry.name}={word}")
            elif entry.width:
                names.append(entry.name)
        return np.array(names, dtype=object)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns of the table."""
        return tuple(entry.name for entry in self.entries)

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the columns of targets."""
        if self.target is None:
            return ()
        return (self.target,) if isinstance(self.target, str) else self.target

    @property
    def plain(self) -> bool:
        """Whether every column is a number and used: the matrix is the table."""
        return all(entry.kind == "number" for entry in self.entries)

    def notes(self) -> list[str]:
        """What was done with columns that are not numbers, a sentence each."""
        of = {kind: [e for e in self.entries if e.kind == kind] for kind in KINDS}
        notes = []
        if of["words"]:
            said = [f"{e.name} ({len(e.levels)} words)" for e in of["words"]]
            notes.append(f"one-hot: {_listed(said)}")
        for entry in of["words"]:
            twins = alike([level for level in entry.levels if level is not None])
            if twins:
                notes.append(f"{entry.name}: {shown(twins, 60)} are different words")
        if of["date"]:
            notes.append(f"days since 1970: {_listed([e.name for e in of['date']])}")
        if self.filled:
            said = [f"{name} {count}" for name, count in self.filled.items()]
            notes.append(f"gaps filled with the mean, or 'missing': {_listed(said)}")
        if of["left out"]:
            said = [f"{e.name or 'no name'} ({e.why})" for e in of["left out"]]
            notes.append(f"left out: {_listed(said)}")
        return notes

    # ---------------------------------------------------------------------- writing

    def describe(self) -> dict[str, Any]:
        """All of it as plain data, for JSON."""
        columns = []
        for entry in self.entries:
            usual = Entry(entry.name, entry.kind)._asdict()
            said = {
                k: v
                for k, v in entry._asdict().items()
                if k in ("name", "kind") or v != usual[k]
            }
            said |= {"levels": list(entry.levels)} if entry.levels else {}
            columns.append(said)
        target = list(self.target) if isinstance(self.target, tuple) else self.target
        return {"columns": columns, "missing": self.missing, "target": target}

    @classmethod
    def from_dict(cls, described: Any) -> "TableEncoder":
        """The encoder that `describe` describes; ValueError for anything else."""
        try:
            columns, target = described["columns"], described["target"]
            encoder = cls(missing=described["missing"], target=target)
            if set(described) != {"columns", "missing", "target"}:
                raise ValueError("keys")
            entries = [
                Entry(**{**said, "levels": tuple(said.get("levels", ()))})
                for said in columns
            ]
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise ValueError(f"the table is not described ({error})") from error
        names = [entry.name for entry in entries]
        sound = all(map(_sound, entries)) and any(entry.width for entry in entries)
        targets = encoder.targets
        text = all(isinstance(one, str) for one in targets)
        if encoder.missing == "mean":
            sound &= all(e.fill is not None for e in entries if e.kind in FILLED)
        different = len({*names, *targets}) == len(names) + len(targets)
        if not (sound and text and different):
            raise ValueError("the table is not described by columns of different names")
        encoder.entries = tuple(entries)
        return encoder


# ----------------------------------------------------------------------- small parts


def names_of(table: Any) -> list[str]:
    """Names of the columns of a data frame or text table, as texts.

    >>> import pandas
    >>> names_of(pandas.DataFrame({"a": [1], 2: [3]}))
    ['a', '2']
    """
    if isinstance(table, Text):
        return list(table.names)
    names = [str(name) for name in table.columns]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"several columns have the same name: {shown(twice)}")
    return names


def rows_of(table: Any) -> int:
    """The number of rows of a data frame or text table."""
    return len(table.lines) if isinstance(table, Text) else len(table)


def place_of(table: Any, row: int) -> str:
    """Where a row is: its line in a file, or its number from 0."""
    if isinstance(table, Text):
        return f"line {table.lines[row]}"
    return f"row {row}"


def _word(table: Any, name: str, row: int) -> str:
    """What a text table has where a value is missing."""
    cell = (
        table.columns[table.names.index(name)][row] if isinstance(table, Text) else ""
    )
    return f" ({cell!r}: --words if it is one)" if cell else ""


def _typed(table: Any, at: int, name: str, entry: Entry | None, forced: bool) -> Column:
    kind, format = (entry.kind, entry.format) if entry else (None, None)
    forced = entry.forced if entry else forced
    if not isinstance(table, Text):
        series = table.iloc[:, at]
        column = from_series(series, kind, format=format, forced=forced)
    else:
        levels = entry.levels if entry else ()
        column = from_cells(
            table.columns[at], name, kind, format=format, levels=levels, forced=forced
        )
    if kind is not None and column.kind != kind:
        if kind == "words" and column.kind == "number":  # of numbers that are levels
            values = column.values.astype(object)
            return column._replace(kind="words", values=values)
        if not column.missing.all():
            raise Misfit(f"{column.kind}s, where {kind}s were".replace("ss", "s"))
    return column


def _found(name: str, column: Column, forced: bool) -> Entry:
    """What a column becomes, but for levels and fills."""
    n, values = len(column.values), column.values[~column.missing]

    def left_out(why: str) -> Entry:
        return Entry(name, "left out", why=why)

    if not len(values):
        return left_out("empty")
    if column.kind == "unclear":
        return left_out(column.why)
    if column.kind == "number" and len(values) == n > 1 and not forced:
        labels = COUNTERS.fullmatch(name) or IDENTIFIER.fullmatch(name)
        if labels and (values == np.rint(values)).all() and len(set(values)) == n:
            if (np.diff(values) == 1).all():
                return left_out("counts the rows")
            return left_out(f"{n} different numbers in {n} rows")
    if column.kind == "words":
        different = len(set(values))
        there = len(values)
        names = different >= DISTINCT * there and there > 2
        if different > MANY or (names and not forced):
            hint = "; of dates or numbers? write 2019-01-31, numbers without units"
            hint *= may_be_quantities(values)
            return left_out(f"{different} different words in {there} rows{hint}")
    return Entry(name, column.kind, format=column.format, forced=forced)


def _completed(
    entry: Entry,
    column: Column,
    keep: np.ndarray,
    missing: str | None,
    weights: np.ndarray | None,
) -> Entry:
    """The entry with its levels, or its mean."""
    whole = keep & ~column.missing
    values = column.values[whole]
    if entry.kind != "words":
        fill = None
        if missing == "mean":
            each = None if weights is None else weights[whole]
            fill = float(np.average(values, weights=each))
        return entry._replace(fill=fill)
    levels: list[Any] = sorted(set(values), key=lambda v: (isinstance(v, str), v))
    if missing == "mean" and column.missing.any():
        levels.append(None)
    return entry._replace(levels=tuple(levels))


def _matrix(entry: Entry, column: Column) -> np.ndarray:
    """The columns (n, width) that a column becomes."""
    if entry.kind != "words":
        fill = np.nan if entry.fill is None else entry.fill
        return np.where(column.missing, fill, column.values)[:, None]
    places = {
        str(level): i for i, level in enumerate(entry.levels) if level is not None
    }
    places |= {level: i for i, level in enumerate(entry.levels)}
    values = [
        None if gone else value
        for value, gone in zip(column.values, column.missing, strict=True)
    ]
    unknown = sorted({str(value) for value in values if value not in places})
    if unknown:
        raise Misfit(f"the words {shown(unknown, 60)}")
    matrix = np.zeros((len(values), entry.width))
    matrix[np.arange(len(values)), [places[value] for value in values]] = 1.0
    return matrix


def _with_missing(columns: dict[str, Column]) -> list[str]:
    return [name for name, column in columns.items() if column.missing.any()]


def _listed(parts: list[str]) -> str:
    more = f" and {len(parts) - 8} more" if len(parts) > 8 else ""
    return ", ".join(parts[:8]) + more


def _sound(entry: Entry) -> bool:
    """Whether an entry that was read is one that is written."""
    fill, levels = entry.fill, entry.levels
    texts = (entry.name, entry.why, entry.format or "")
    if not all(isinstance(text, str) for text in texts) or entry.kind not in KINDS:
        return False
    if fill is not None and not (isinstance(fill, float | int) and math.isfinite(fill)):
        return False
    kinds = all(
        level is None or isinstance(level, str | int | float) for level in levels
    )
    different = len(set(map(str, levels))) == len(levels)
    words = bool(levels) == (entry.kind == "words")
    return kinds and different and words and isinstance(entry.forced, bool)
