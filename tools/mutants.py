"""Do the tests see it when a threshold, a guard or a comparison of the package is changed? `make mutants`.

    python tools/mutants.py --file krr --sample 40
    python tools/mutants.py --again LOG        only the changes that survived in what an earlier run printed

One small change after the other is made in a copy of the package, and the tests of that file are run on the copy: a
change that no test sees has survived. The tests are collected once; a change inside a function is the code of that
function in a fork, other changes are written into the copy. Exits with 1 where fewer than nine in ten are killed, or listed with the reason
why they change nothing in `tools/mutants_equivalent.txt` (one line each: the change as printed, two colons, the reason).
"""

import argparse
import ast
import importlib
import inspect
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EQUIVALENT = Path(__file__).with_name("mutants_equivalent.txt")
FLIPPED = {ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "=="}
SWAPPED = {"min": "max", "max": "min"}
GUARDS = ("check", "_check", "warn", "_warn", "_refuse")
# Each file with the tests that belong to it, its own first.
FILES = {
    "arrays": "arrays",
    "krr": "krr",
    "spectrum": "spectrum",
    "distill": "distill",
    "nearest": "nearest",
    "measure": "measure distill",
    "statistics/sums": "statistics",
    "deep_linear": "deep_linear",
    "files": "files",
    "maps/base": "maps",
    "maps/linear": "maps",
    "maps/activations": "maps",
    "maps/coupling": "maps",
    "maps/networks": "maps",
    "maps/drawn": "maps files",
    "maps/written": "maps upgrade files",
    "maps/fourier": "fourier maps",
    "maps/conv": "conv",
    "maps/sequential": "conv maps",
    "privacy/accounting": "privacy",
    "privacy/mechanism": "privacy",
    "privacy/auditing": "privacy",
    "privacy/attacks": "privacy_attacks",
    "privacy/reconstruction": "privacy_attacks",
}
# Other libraries and devices repeat what NumPy has shown, real data and random searches are slow.
FAST = "not torch-cpu and not cuda and not mnist and not scikit and not real_ and not over_shapes and not gradients"


def changes(source: str) -> list[tuple[int, int, str]]:
    """(start, end, new text) of every change, as places in `source`."""
    tree = ast.parse(source)
    begins = [0]
    for line in source.splitlines(keepends=True):
        begins.append(begins[-1] + len(line))  # sources are ASCII: columns are characters
    found: list[tuple[int, int, str]] = []

    def change(node, *texts):
        start = begins[node.lineno - 1] + node.col_offset
        end = begins[node.end_lineno - 1] + node.end_col_offset
        found.extend((start, end, text) for text in texts if text != source[start:end])

    def look(node):
        if isinstance(node, ast.JoinedStr | ast.Raise | ast.Import | ast.ImportFrom):
            return  # messages, and names
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            change(node, *_numbers(node.value))
        elif isinstance(node, ast.Compare) and type(node.ops[0]) in FLIPPED and len(node.ops) == 1:
            left, right = ast.unparse(node.left), ast.unparse(node.comparators[0])
            change(node, f"({left} {FLIPPED[type(node.ops[0])]} {right})")
        elif isinstance(node, ast.BoolOp):
            word = " or " if isinstance(node.op, ast.And) else " and "
            change(node, "(" + word.join(f"({ast.unparse(value)})" for value in node.values) + ")")
        elif isinstance(node, ast.Name) and node.id in SWAPPED:
            change(node, SWAPPED[node.id])
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            name = ast.unparse(node.value.func).removeprefix("self.")
            if name.startswith(GUARDS):
                change(node, "pass")
        elif isinstance(node, ast.BinOp) and re.fullmatch(r"\(1 - (\w+)\) \* \(1 \+ \1\)", ast.unparse(node)):
            change(node, "(1 - {0} * {0})".format(ast.unparse(node.left.right)))
        if isinstance(node, ast.If | ast.IfExp):
            change(node.test, "False", "True")
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "slice") or (isinstance(node, ast.keyword) and node.arg == "axis"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    look(child)

    look(tree)
    return found


def _numbers(value):
    if value == 0:
        return ("1",)
    if isinstance(value, int) and value <= 4:  # counts and exponents
        return str(2 * value), "0"
    return repr(2 * value), repr(1000 * value), repr(value / 1000), "0", f"(-{value!r})"


def described(name: str, source: str, start: int, end: int, text: str) -> str:
    """A change as its lines before and after, whatever their number and indentation."""
    first = source.rfind("\n", 0, start) + 1
    last = source.find("\n", end) if "\n" in source[end:] else len(source)
    before, after = source[first:last], source[first:start] + text + source[end:last]
    return f"{name}: {' '.join(before.split())} => {' '.join(after.split())}"


def equivalent(path: Path = EQUIVALENT) -> dict[str, str]:
    """The changes that change nothing, each with the reason why."""
    lines = [line for line in path.read_text().splitlines() if line and line[0] != "#"]
    pairs = [line.rsplit(" :: ", 1) for line in lines]
    assert all(len(pair) == 2 and pair[1].strip() for pair in pairs), f"{path}: a line without a reason"
    return {change: reason for change, reason in pairs}


class QuickFirst:
    """Random tests come last, and with few examples: most changes have been seen by then."""

    @staticmethod
    def pytest_collection_modifyitems(items):
        import hypothesis

        random = [item for item in items if getattr(item.obj, "is_hypothesis_test", False)]
        for item in random:
            own = item.obj._hypothesis_internal_use_settings
            item.obj._hypothesis_internal_use_settings = hypothesis.settings(own, max_examples=20)
        items.sort(key=lambda item: item in random)


def survived_in(logs: list[Path]) -> set[str]:
    """The changes that survived in what earlier runs printed."""
    said = [line for log in logs for line in log.read_text().splitlines()]
    return {line.removeprefix("SURVIVED ") for line in said if line.startswith("SURVIVED ")}


def tests_pass(folder: Path, tests: list[str], seconds: float, plugins: tuple = ()) -> bool:
    """Whether the tests pass in `folder`, in a process of their own."""
    child = os.fork()
    if child == 0:
        limited(seconds)
        said = os.open(folder / "said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(said, 1), os.dup2(said, 2)
        os.chdir(folder)
        sys.path[:] = [str(folder)] + [part for part in sys.path if part not in ("", str(ROOT), str(ROOT / "tools"))]
        os.environ["PYTHONPATH"] = str(folder)
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # their imports take longer than the tests
        sys.dont_write_bytecode = False  # or every child compiles every module
        import pytest

        code = 3
        try:
            options = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow", "-k", FAST]
            options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
            code = pytest.main([*tests, *options], plugins=[QuickFirst(), *plugins])
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(int(code))
    return os.waitpid(child, 0)[1] == 0


class InForks:
    """Runs the collected tests once for each change, in a fork in which one function has the code of the change.

    The quickest come first: most changes are seen by them. Writes an outcome a line into `said`.
    """

    def __init__(self, name: str, source: str, jobs: list[tuple[int, int, int, str]], said: Path):
        self.name, self.source, self.jobs, self.said = name, source, jobs, said

    def pytest_runtestloop(self, session):
        if session.testsfailed or not session.items:
            return True  # not collected: said stays empty
        passed, seconds, used = self._in_fork(session, session.items, None, 600)
        if passed:
            order = sorted(session.items, key=lambda item: seconds[item.nodeid])
            module = importlib.import_module("ddref." + self.name.replace("/", "."))
            for number, start, end, text in self.jobs:
                target, code = function_at(module, self.source, start, end, text)
                outcome = "written"
                if target is not None:
                    seen = not self._in_fork(session, order, (target, code), 10 + 3 * used)[0]
                    outcome = "killed" if seen else "SURVIVED"
                with self.said.open("a") as file:
                    print(number, outcome, f"{used:.1f}", file=file)
        return True

    def _in_fork(self, session, items, change, limit):
        """Whether the items pass, the seconds that each took, and the CPU seconds of all."""
        times = self.said.with_suffix(".json")
        child = os.fork()
        if child == 0:
            limited(limit)
            if change is not None:
                change[0].__code__ = change[1]
            seconds = {}
            for item, following in zip(items, [*items[1:], None], strict=True):
                before = time.process_time()
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                seconds[item.nodeid] = time.process_time() - before
                if session.testsfailed:
                    os._exit(1)
            if change is None:
                times.write_text(json.dumps(seconds))
            os._exit(0)
        _, status, used = os.wait4(child, 0)
        seconds = json.loads(times.read_text()) if change is None and status == 0 else {}
        return status == 0, seconds, used.ru_utime + used.ru_stime


def function_at(module, source: str, start: int, end: int, text: str):
    """The function of `module` in whose body the change lies, and its code after it; (None, None) elsewhere."""
    lines = [0]
    for line in source.splitlines(keepends=True):
        lines.append(lines[-1] + len(line))
    inside, body, owner = None, ast.parse(source).body, module
    while inside is None:
        around = [
            node
            for node in body
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
            and lines[node.body[0].lineno - 1] <= start < lines[node.end_lineno]
        ]
        if not around:
            return None, None
        found = vars(owner).get(around[0].name)
        if isinstance(around[0], ast.ClassDef):
            body, owner = around[0].body, found
        else:
            inside = found
    inside = getattr(inside, "fget", None) or getattr(inside, "func", None) or inspect.unwrap(inside)
    name = getattr(getattr(inside, "__code__", None), "co_qualname", None)
    codes = [compile(source[:start] + text + source[end:], module.__file__, "exec", dont_inherit=True)]
    for code in codes:
        codes += [const for const in code.co_consts if inspect.iscode(const)]
        if code.co_qualname == name:
            return inside, code
    return None, None


def limited(seconds: float) -> None:
    """This process ends after so many CPU seconds, or where it sleeps."""
    os.setpgid(0, 0)
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 1))
    signal.alarm(int(20 * seconds) + 60)


def copied(root: Path, folder: Path) -> None:
    """The package and its tests, without what was compiled."""
    leave = shutil.ignore_patterns("__pycache__", ".*")
    for name in ("ddref", "tests", "tools"):
        if (root / name).is_dir():
            shutil.copytree(root / name, folder / name, ignore=leave)
    for name in ("conftest.py", "pyproject.toml"):
        if (root / name).is_file():
            shutil.copy(root / name, folder / name)


def survivors(
    root: Path, files: dict[str, str], sample: int, accepted: dict[str, str], seed: int = 0, only: set[str] | None = None
):
    """Runs the tests on a sample of the changes (of `only` these); prints the outcome of each; (survivors, number run)."""
    planned = []
    for name in files:
        source = (root / "ddref" / f"{name}.py").read_text()
        found = [(name, source, *change) for change in changes(source)]
        planned += [one for one in found if only is None or described(*one) in only]
    picked = random.Random(seed).sample(planned, min(sample, len(planned))) if sample else planned
    survived: list[str] = []
    for name in files:
        here = [change for change in picked if change[0] == name]
        counts = {"same": 0, "killed": 0, "SURVIVED": 0}
        for outcome, change in outcomes(root, name, files[name].split(), here, accepted):
            print(f"{outcome:8s}{' ' * (outcome == 'SURVIVED')}{change}", flush=True)
            counts[outcome] += 1
            survived += [change] * (outcome == "SURVIVED")
        if here:
            print(f"        {name}: {len(here)} changes, " + ", ".join(f"{v} {k}" for k, v in counts.items()), flush=True)
    print(f"{len(picked) - len(survived)} of {len(picked)} changes killed or listed as the same")
    return survived, len(picked)


def outcomes(root: Path, name: str, tests: list[str], picked: list, accepted: dict[str, str]):
    """(killed, SURVIVED or same, the change) of each change of one file."""
    said = [described(*change) for change in picked]
    yield from (("same", change) for change in said if change in accepted)
    jobs = [(i, *change[2:]) for i, change in enumerate(picked) if said[i] not in accepted]
    if not jobs:
        return
    tests = [f"tests/test_{test}.py" for test in tests]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve()
        copied(root, folder)
        source, target, found = picked[0][1], folder / "ddref" / f"{name}.py", folder / "outcomes.txt"
        tests_pass(folder, tests, 10**6, (InForks(name, source, jobs, found),))
        assert found.exists(), f"{name}: its tests fail as it is\n{(folder / 'said.txt').read_text()}"
        lines = [line.split() for line in found.read_text().splitlines()]
        assert len(lines) == len(jobs), f"{name}: not every change was tried\n{(folder / 'said.txt').read_text()}"
        for i, outcome, used in lines:
            change = picked[int(i)]
            if outcome == "written":
                start, end, text = change[2:]
                target.write_text(source[:start] + text + source[end:])
                os.utime(target, (10**9 + int(i),) * 2)  # a time for each: what was compiled before is stale
                outcome = "SURVIVED" if tests_pass(folder, tests, 10 + 3 * float(used)) else "killed"
                target.write_text(source)
            yield outcome, said[int(i)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--file", action="append", help="a file, as krr or maps/conv, or a folder: maps")
    parser.add_argument("--sample", type=int, default=120, help="number of changes that are tried; 0: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", metavar="LOG", action="append", type=Path, help="only what survived in this output")
    parser.add_argument("--list", action="store_true", help="count the changes there are, and run nothing")
    asked = parser.parse_args()
    wanted = {n: t for n, t in FILES.items() if not asked.file or any(f"{n}/".startswith(f"{f}/") for f in asked.file)}
    only = None
    if asked.again:
        only, asked.sample = survived_in(asked.again), 0
    if asked.list:
        for name in wanted:
            print(name, len(changes((ROOT / "ddref" / f"{name}.py").read_text())))
        return 0
    import array_api_compat.torch  # noqa: F401  what takes seconds to import is there before the first fork
    import hypothesis.extra.numpy  # noqa: F401
    import pytest  # noqa: F401
    import sklearn.linear_model  # noqa: F401

    left, tried = survivors(ROOT, wanted, asked.sample, equivalent(), asked.seed, only)
    return int(10 * len(left) > tried)


if __name__ == "__main__":
    sys.exit(main())
