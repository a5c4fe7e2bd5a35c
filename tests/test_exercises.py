"""Every exercise marks itself: its marker accepts the solution and rejects a plausible wrong answer."""

import ast
import math
import re
import symtable
from typing import NamedTuple

import matplotlib
import numpy as np
import pytest
import torch
from answers import CODE, COMPUTED, NUMBERS

from ddref.exercises import GAP, entries, mark, verdict
from tools import notebooks

matplotlib.use("Agg")


def scopes(table):
    return [table, *(inner for child in table.get_children() for inner in scopes(child))]


def uses(node):
    """The global names that a statement binds, changes in place (an item, an attribute, a method called for its
    effect) and reads, also within its functions; their own variables do not count."""
    top, *inner = scopes(symtable.symtable(ast.unparse(node), "cell", "exec"))
    binds = {name.get_name() for name in top.get_symbols() if name.is_assigned() or name.is_imported()}
    reads = {name.get_name() for name in top.get_symbols() if name.is_referenced()}
    reads |= {name.get_name() for table in inner for name in table.get_symbols() if name.is_global()}
    changes = set()
    for part in ast.walk(node):
        called = isinstance(part, ast.Expr) and isinstance(part.value, ast.Call)
        place = part.value.func if called else part
        if called or isinstance(getattr(part, "ctx", None), ast.Store | ast.Del):
            while isinstance(place, ast.Attribute | ast.Subscript):
                place = place.value
                changes |= {place.id} if isinstance(place, ast.Name) else set()
    return binds, changes, reads


def needed(wanted, statements):
    """The statements, in order, that the names `wanted` come from, directly or through other names.

    A statement is kept wherever it stands, so a function finds what is defined below it. A call of a module's
    function is a setting of that module, `torch.manual_seed(0)`, when it reads nothing of the chapter; otherwise it
    changes nothing. What is missed shows: the name is missing, or the solution is not accepted.
    """
    imports = [node for node in statements if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = set().union(*(uses(node)[0] for node in imports))
    own = set().union(*(uses(node)[0] for node in statements)) - modules
    gives, reads = [], []
    for binds, changes, read in map(uses, statements):
        gives.append(binds | (changes if not read & own else changes - modules))
        reads.append(read)
    kept, wanted = set(), set(wanted)
    while more := [i for i, given in enumerate(gives) if i not in kept and given & wanted]:
        kept.update(more)
        wanted |= set().union(*(reads[i] for i in more))
    return [statements[i] for i in sorted(kept)]


class Marker(NamedTuple):
    """A cell that marks: the names of the answer and of the function that checks it, if any, this function as a
    statement, and the statements of the cells above."""

    answer: str
    check: str | None
    body: list
    above: list


def markers(chapter):
    """The markers of a chapter by the label of their exercise, in their order."""
    found, above = {}, []
    for cell in notebooks.code_cells(notebooks.read(chapter)):
        tree = notebooks.parse_cell(cell.source)
        if "marker" in cell.metadata.get("tags", []):
            label, *names = tree.body[-1].value.args
            answer, check = [name.id for name in names] + (2 - len(names)) * [None]
            found[label.value] = Marker(answer, check, tree.body[1:-1], list(above))
        above += tree.body
    return found


def namespace_of(marker_cell, above, answers):
    """Run a marker's cell after those statements above it that the cell and the answers need; the rest of the
    chapter, which its own test runs, costs nothing here."""
    read = set().union(*(uses(node)[2] for node in [*marker_cell, *map(ast.parse, answers)]))
    namespace = {"np": np}
    body = [*needed(read, above), *marker_cell]
    exec(compile(ast.Module(body=body, type_ignores=[]), "cells", "exec"), namespace)
    return namespace


@pytest.fixture
def settings_kept():
    """What a chapter may set for its whole process is set back: no other test may notice."""
    before = torch.get_default_dtype(), torch.get_rng_state(), np.random.get_state()
    with matplotlib.rc_context():
        yield
    torch.set_default_dtype(before[0])
    torch.set_rng_state(before[1])
    np.random.set_state(before[2])


CHAPTERS = {path.stem: path for path in notebooks.find()}


def flat(answer):
    """The numbers of an answer, nested in whatever way, in one list."""
    return [number for part in answer for number in flat(part)] if isinstance(answer, list | tuple) else [answer]


def typed(text):
    return eval(text, {"sqrt": math.sqrt})


@pytest.mark.parametrize("label", NUMBERS)
def test_the_right_numbers_are_those_that_the_package_computes(label, settings_kept):
    right, wrong = NUMBERS[label]
    known = [one["value"] for one in entries()[label]["wrong"]]
    for numbers in [flat(typed(text)) for text in right]:
        assert COMPUTED[label](*numbers) and verdict(label, numbers).right, numbers
    for numbers in [flat(typed(text)) for text in wrong] + known:
        assert not verdict(label, numbers).right, numbers
        assert len(numbers) != len(flat(typed(right[0]))) or not COMPUTED[label](*numbers), numbers


MARKERS = {label: (path, marker) for path in CHAPTERS.values() for label, marker in markers(path).items()}


def filled(label, choice):
    """The code of an exercise with one of its four lines in the gap."""
    return "\n".join(entries()[label]["frame"]).replace(GAP, choice["code"])


@pytest.mark.parametrize("label", CODE)
def test_the_check_accepts_the_solution_and_the_right_line_and_nothing_else(label, monkeypatch, recwarn, settings_kept):
    """The page asks for one line of four: each is put into the code around it, and the notebook's function checks it."""
    monkeypatch.chdir(notebooks.CHAPTERS)
    (solution, wrong), choices, marker = CODE[label], entries()[label]["choices"], MARKERS[label][1]
    codes = [filled(label, choice) for choice in choices]
    namespace = namespace_of(marker.body, marker.above, [solution, *wrong, *codes])
    answers = [eval(answer, namespace) for answer in [solution, *wrong]]
    for code in codes:
        own = dict(namespace)
        exec(code, own)
        answers.append(own[marker.answer])
    found = [verdict(label, answer, namespace[marker.check]).right for answer in answers]
    assert found == [True, *(False for _ in wrong), *("right" in choice for choice in choices)]


def test_every_exercise_is_known_marked_and_tested():
    written = [
        label
        for path in CHAPTERS.values()
        for cell in notebooks.read(path).cells
        for label in re.findall(r"{exercise}.*\n:label: (\S+)", cell.source)
    ]
    assert list(MARKERS) == written  # each below its exercise
    assert set(entries()) == set(written) == {*NUMBERS, *CODE} and not NUMBERS.keys() & CODE.keys()
    assert COMPUTED.keys() == NUMBERS.keys()
    assert {label for label, (_, marker) in MARKERS.items() if marker.check} == CODE.keys()


def test_an_exercise_without_an_answer_gives_nothing_away():
    """Hints and sentences about wrong answers do not state a right one, and there is one right line of four."""
    for label, entry in entries().items():
        said = [entry["hint"], *(one["say"] for one in [*entry.get("wrong", []), *entry.get("choices", [])] if "say" in one)]
        assert all(sentence[-1] in ".?" and len(sentence) < 120 for sentence in said), label
        if "choices" in entry:
            assert len({one["code"] for one in entry["choices"]}) == 4 and "\n".join(entry["frame"]).count(GAP) == 1, label
            assert [sorted(one) for one in entry["choices"]].count(["code", "right"]) == 1, label
            assert [sorted(one) for one in entry["choices"]].count(["code", "say"]) == 3, label
            assert max(map(len, entry["frame"])) <= 88, label
        elif entry.get("value"):
            words = re.findall(r"\d[\d.]*", " ".join(said))
            assert not {f"{abs(number):g}" for number in entry["value"] if number not in (1, 2)} & set(words), label


def test_what_is_printed(capsys):
    mark("ex-ridge-hand", None)
    mark("ex-ridge-hand", np.array([10.0]))
    mark("ex-ridge-hand", 5)
    mark("ex-ridge-hand", (10, 10))
    mark("ex-ridge-augment", "code", lambda answer: answer == "code")
    mark("ex-ridge-augment", "code", lambda answer: np.bool_(False))
    mark("ex-ridge-augment", "code", lambda answer: "Nearly.")
    assert capsys.readouterr().out.splitlines() == [
        "Not answered yet.",
        "Correct.",
        "Here λ is added once to G, not once for each sample.",
        "This takes 1 number.",
        "Correct.",
        "Which rows add λI to G, and nothing to B?",
        "Nearly.",
    ]


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (("ex-ridge", 1), ValueError, "no exercise of the book has the label 'ex-ridge'"),
        (("ex-ridge-hand", "10"), TypeError, "takes numbers, not '10'"),
        (("ex-ridge-hand", 10, bool), TypeError, "asks for numbers"),
        (("ex-ridge-augment", 10), TypeError, "asks for code"),
    ],
)
def test_what_cannot_be_marked_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        verdict(*arguments)


CELLS = {  # a name for each statement: the statement
    "math": "import math as m",
    "pair": "a, other = 1, 2",
    "use": "def use(x):\n    local = later_use(x)\n    return local + m.pi",
    "later_use": "def later_use(x):\n    other = x\n    return [other for y in range(3)][0] + sums[0]",
    "sums": "sums = []",
    "loop": "for i in (1, 2):\n    sums.append(i)",
    "table": "table = {}",
    "item": "table['k'] = lambda t: t + later[0]",
    "later": "later = [5]",
    "increment": "later[0] += 1",
    "heavy": "heavy = 1 / 0",
    "figure": "fig = m.log(heavy)\nfig.plot()",
    "numpy": "import numpy as np",
    "seed": "np.random.seed(0)",
    "draw": "with np.errstate():\n    np.random.shuffle(later)",
    "print": "print(use(1) + heavy)",
}


@pytest.mark.parametrize(
    "wanted, kept",
    [
        ("use", "math use later_use sums loop"),  # what its functions read, and what fills `sums`
        ("table", "table item later increment"),  # an item set afterwards, and what its function reads
        ("other", "pair"),  # a local variable of that name is another one
        ("np", "numpy seed"),  # a setting, which `draw` is not: it reads `later`
        ("print", ""),
    ],
)
def test_the_statements_that_a_marker_needs_are_found_and_no_others(wanted, kept):
    statements = {name: ast.parse(source).body[0] for name, source in CELLS.items()}
    found = [name for name, node in statements.items() if node in needed({wanted}, list(statements.values()))]
    assert found == [name for name in CELLS if name in kept.split()]


def test_a_marker_runs_after_what_it_needs_only():
    above = ast.parse("\n".join(CELLS.values())).body
    check = namespace_of(ast.parse("def check(answer): return answer == use(1)").body, above, ["a"])["check"]
    assert check(2 + np.pi) and not check(2)
    with pytest.raises(ZeroDivisionError):
        namespace_of([], above, ["heavy"])
