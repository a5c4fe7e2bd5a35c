"""tools/mutants.py: it kills what a test sees, reports what none sees, and lets pass what is known to be the same."""

import subprocess
import sys

import pytest

from tools import mutants

SOURCE = '''"""A message: 5 < 6."""


def clipped(x: float) -> object:
    if x < 2:
        return "small"
    return x
'''
TESTS = """from ddref.planted import clipped


def test_clipped():
    assert clipped(1) == "small" and clipped(3) == 3
"""


def texts(source):
    return [source[:start] + text + source[end:] for start, end, text in mutants.changes(source)]


@pytest.mark.parametrize(
    "before, after",
    [
        ("x = 100 * eps", ["200 * eps", "100000 * eps", "0.1 * eps", "x = 0 * eps", "(-100) * eps"]),
        ("x = 0", ["x = 1"]),
        ("x = 2", ["x = 4", "x = 0"]),
        ("x = a <= b", ["(a < b)"]),
        ("x = a or b", ["((a) and (b))"]),
        ("x = min(a, b)", ["max(a, b)"]),
        ("if ready:\n    pass", ["if False:", "if True:"]),
        ("_check_map(saved)", ["pass"]),
        ("self._check_removal(a)", ["pass"]),
        ("x = (1 - a) * (1 + a)", ["x = (1 - a * a)"]),
    ],
)
def test_constants_comparisons_guards_and_operators_are_changed(before, after):
    found = texts(before)
    assert all(any(part in text for text in found) for part in after)
    assert all(compile(text, "", "exec") for text in found)


@pytest.mark.parametrize("source", ['"""a < 1"""', 'raise ValueError(f"{1 < 2}")', "from a import min", "A[:1, 0]"])
def test_messages_names_and_places_are_left_alone(source):
    assert texts(source) == []


def test_a_reason_is_asked_for_each_change_that_is_called_the_same(tmp_path):
    path = tmp_path / "same.txt"
    path.write_text("# a comment\na: x => y :: rounding hides it\n")
    assert mutants.equivalent(path) == {"a: x => y": "rounding hides it"}
    path.write_text("a: x => y :: \n")
    with pytest.raises(AssertionError, match="without a reason"):
        mutants.equivalent(path)


def test_each_listed_change_exists_and_each_file_has_its_tests():
    known = set()
    for name, tests in mutants.FILES.items():
        source = (mutants.ROOT / "ddref" / f"{name}.py").read_text()
        known |= {mutants.described(name, source, *change) for change in mutants.changes(source)}
        assert all((mutants.ROOT / "tests" / f"test_{test}.py").is_file() for test in tests.split())
    assert set(mutants.equivalent()) <= known


def test_a_planted_change_is_killed_and_a_planted_survivor_is_reported(tmp_path):
    """In a process of its own, which forks: `if x < 2` may become `if x <= 2`, as no test asks for 2."""
    for name, text in (("ddref/planted.py", SOURCE), ("tests/test_planted.py", TESTS), ("ddref/__init__.py", "")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    script = f"""
from pathlib import Path
import pytest
from tools import mutants
accepted = {{"planted: if x < 2: => if x < 4:"}}
left, tried = mutants.survivors(Path({str(tmp_path)!r}), {{"planted": "planted"}}, 0, accepted)
print("left:", *left, sep=chr(10))
again = mutants.survivors(Path({str(tmp_path)!r}), {{"planted": "planted"}}, 0, {{}}, only=set(left))
assert again == (left, 1), again
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=mutants.ROOT)
    assert done.returncode == 0, done.stderr
    printed, left = done.stdout.split("left:\n")
    (tmp_path / "log").write_text(printed)
    assert mutants.survived_in([tmp_path / "log"]) == {"planted: if x < 2: => if (x <= 2):"}
    assert left.startswith("planted: if x < 2: => if (x <= 2):\n")
    assert "SURVIVED planted: if x < 2: => if (x <= 2):" in printed
    assert "killed  planted: if x < 2: => if False:" in printed
    assert "same    planted: if x < 2: => if x < 4:" in printed and "4 of 5 changes" in printed
    assert (tmp_path / "ddref/planted.py").read_text() == SOURCE
