"""The exercises of the book: which answers are right, and what is said to the others.

`data/exercises.json` has an entry for every exercise, by its label in the book. `mark`,
in the notebooks, and the fields under the exercises of the built pages read the same
entries; the tests feed both the same answers.

An exercise whose answer is numbers has one of `value` (a list), `between` (a lower
bound and one that is not reached) and `equations`; a `count` where these do not tell
it; `tol`, relative; `unordered`; `example`; `hint`; and known `wrong` answers, each
with what to `say`. Nested answers count as one list of numbers. An equation is a number
and the terms that add up to it: ``[-1, "ab"]`` says that the product of the first two
numbers of the answer is -1, ``[0, "c", "-aa"]`` that the third is the square of the
first.

An exercise whose answer is code has a `frame`, lines with a gap ``___``, and four
`choices` for it, one of them `right`, the others with what to `say`; the notebook takes
the code itself, and a function that checks it.
"""

import json
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from math import prod
from numbers import Real
from typing import Any, NamedTuple

TOL = 1e-6  # relative, where an entry has no other
GAP = "___"  # in a frame, where one of the choices belongs


class Verdict(NamedTuple):
    """Whether an answer is right, and what is said to it."""

    right: bool
    said: str


def mark(label: str, answer: Any, check: Callable[[Any], Any] | None = None) -> None:
    """Print what is to be said to an answer, None for one that is not there yet.

    Parameters
    ----------
    label : str
        Label of the exercise in the book.
    answer : numbers, or code
        A number, or numbers in lists, tuples or arrays; where `check` is given, what it
        takes.
    check : function, optional
        For exercises that ask for code: returns True, False or a hint.

    Raises
    ------
    ValueError, TypeError
        For a label that is not known, for an answer that is not numbers where numbers
        are asked for, and for a check that is missing, or that nothing asks for.

    Examples
    --------
    >>> from ddref.exercises import mark
    >>> mark("ex-ridge-hand", None)
    Not answered yet.
    >>> mark("ex-ridge-hand", 10)
    Correct.
    """
    print("Not answered yet." if answer is None else verdict(label, answer, check).said)


def verdict(
    label: str, answer: Any, check: Callable[[Any], Any] | None = None
) -> Verdict:
    """Whether an answer is right, and what `mark` prints.

    Examples
    --------
    >>> from ddref.exercises import verdict
    >>> verdict("ex-ridge-half", 1 / 100).right
    True
    """
    entry = _entry(label, check)
    if check is not None:
        outcome = check(answer)
        hint = outcome if isinstance(outcome, str) else entry["hint"]
        right = not isinstance(outcome, str) and bool(outcome)
    else:
        numbers = _numbers(label, answer)
        hint, right = _hint(entry, numbers), _is_right(entry, numbers)
    return Verdict(right, f"Correct. {entry.get('why', '')}".strip() if right else hint)


@cache
def entries() -> dict[str, dict[str, Any]]:
    """What is known of every exercise, by its label; not to be changed."""
    text = files(__package__).joinpath("data/exercises.json").read_text("utf-8")
    return json.loads(text)


def _entry(label: str, check: Any) -> dict[str, Any]:
    if label not in entries():
        raise ValueError(f"no exercise of the book has the label {label!r}")
    entry = entries()[label]
    if "choices" in entry and check is None:
        raise TypeError(f"{label} asks for code: give the function that checks it")
    if "choices" not in entry and check is not None:
        raise TypeError(f"{label} asks for numbers: nothing else is to check them")
    return entry


def _numbers(label: str, answer: Any) -> list[float]:
    """The numbers of an answer, nested in whatever way, one after another."""
    if hasattr(answer, "tolist"):
        answer = answer.tolist()
    if isinstance(answer, list | tuple):
        return [number for part in answer for number in _numbers(label, part)]
    if not isinstance(answer, Real):
        raise TypeError(f"{label} takes numbers, not {answer!r:.40}")
    return [float(answer)]


# The functions below have twins of the same names in _vendor/book/answers.js.


def _is_right(entry: dict[str, Any], numbers: list[float]) -> bool:
    if len(numbers) != _count(entry):
        return False
    if "between" in entry:
        low, high = entry["between"]
        return low <= numbers[0] < high
    if "equations" in entry:
        return all(_holds(equation, numbers, entry) for equation in entry["equations"])
    return _same(numbers, entry["value"], entry)


def _hint(entry: dict[str, Any], numbers: list[float]) -> str:
    count = _count(entry)
    if len(numbers) != count:
        return f"This takes {count} number{'s' if count > 1 else ''}."
    known = [one for one in entry["wrong"] if _same(numbers, one["value"], entry)]
    return known[0]["say"] if known else entry["hint"]


def _count(entry: dict[str, Any]) -> int:
    return entry.get("count", len(entry.get("value", [0])))


def _same(found: list[float], wanted: list[float], entry: dict[str, Any]) -> bool:
    if entry.get("unordered"):
        found, wanted = sorted(found), sorted(wanted)
    tol = entry.get("tol", TOL)
    return all(
        abs(a - b) <= tol * (abs(b) or 1) for a, b in zip(found, wanted, strict=True)
    )


def _holds(equation: list, numbers: list[float], entry: dict[str, Any]) -> bool:
    wanted, *terms = equation
    values = [_term(term, numbers) for term in terms]
    size = abs(wanted) + sum(map(abs, values))
    return abs(sum(values) - wanted) <= entry.get("tol", TOL) * size


def _term(term: str, numbers: list[float]) -> float:
    """A product of numbers of the answer: a is the first of them, b the second."""
    named = prod(numbers["abcdefgh".index(name)] for name in term.lstrip("-"))
    return -named if term.startswith("-") else named
