"""Every exercise marks itself: its marker accepts the solution and rejects a plausible wrong answer."""

import ast
import symtable

import matplotlib
import numpy as np
import pytest
import torch

from tools import notebooks

matplotlib.use("Agg")

# chapter -> marker -> (the solution, wrong answers), as Python expressions
DIGITS = "datasets.standardize(datasets.digits().X_train, max_value=16).X_train"
TARGETS, CLASSES = "datasets.one_hot(datasets.digits().y_train, 10)", "datasets.digits().y_train"
ANSWERS = {
    "01_ridge": {
        "check_hand": ("10.0", ["5.0"]),  # 5.0 divides by the number of samples
        "check_half": ("0.01", ["0.1"]),  # 0.1 is not squared
        "check_forget": (
            "(lambda Phi, Y, y: krr.path(*(a - b for a, b in zip(krr.gram(Phi, Y), krr.gram(Phi[y == 9], Y[y == 9]))),"
            f" [10.0])[0])({DIGITS}, {TARGETS}, {CLASSES})",
            [f"krr.fit({DIGITS}, {TARGETS}, 10.0)"],  # nothing forgotten
        ),
        "check_samples": (
            "lambda P, Y, lam: (np.vstack([P, np.sqrt(lam) * np.eye(P.shape[1])]),"
            " np.vstack([Y, np.zeros((P.shape[1], Y.shape[1]))]))",
            [
                "lambda P, Y, lam: (P, Y)",  # nothing added
                "lambda P, Y, lam: (np.vstack([P, lam * np.eye(P.shape[1])]),"  # no square root
                " np.vstack([Y, np.zeros((P.shape[1], Y.shape[1]))]))",
                "lambda P, Y, lam: (np.vstack([P, np.sqrt(lam) * np.eye(P.shape[1])]),"  # targets that count
                " np.vstack([Y, np.ones((P.shape[1], Y.shape[1]))]))",
                "lambda P, Y, lam: (np.eye(P.shape[1]), krr.fit(P, Y, lam))",  # the model itself, as samples
            ],
        ),
    },
    "02_necessity": {
        "check_count": ("(2, 1)", ["(2, 2)", "(1, 1)"]),
        "check_one_point": ("([1, 2, 2], [10, 20])", ["([1, 2, 2], [9, 18])"]),
        "check_cutoff": ("1e-6", ["1e-10", "0.5"]),
        "check_pair": (
            "lambda p, r: (np.eye(p, r), np.eye(p, r) * np.arange(1, r + 1))",
            [
                "lambda p, r: (np.eye(p, r), 2 * np.eye(p, r))",  # a multiple
                "lambda p, r: (np.eye(p, r), np.eye(p)[:, -r:])",  # other columns
                "lambda p, r: (np.eye(p, r), np.ones((p, r)))",  # of rank one
            ],
        ),
    },
    "03_sufficiency": {
        "check_two_points": ("(0.1, 0.3)", ["(0.1, 0.1)", "(0.2, 0.3)", "(0.1,)"]),
        "check_labels": (
            "lambda Phi_S, W, lam_S: (Phi_S + lam_S * np.linalg.pinv(Phi_S).T) @ W",
            [
                "lambda Phi_S, W, lam_S: Phi_S @ W",
                "lambda Phi_S, W, lam_S: (1 + lam_S) * Phi_S @ W",
                "lambda Phi_S, W, lam_S: Phi_S @ W + lam_S * Phi_S @ np.linalg.inv(Phi_S.T @ Phi_S) @ W",
            ],
        ),
        "check_factor": ("1.001 * np.sqrt(1e3 / distill.largest_lam(W, np.eye(10)))", ["1.0", "1e3"]),
        "check_doubling": (
            "lambda W, lam_1, lam_2: np.sqrt(lam_2 - 2 * lam_1) * np.linalg.qr(W)[0].T",
            [
                "lambda W, lam_1, lam_2: np.linalg.qr(W)[0].T",  # any size
                "lambda W, lam_1, lam_2: np.sqrt(lam_2 - 2 * lam_1) * W.T",  # singular values that differ
                "lambda W, lam_1, lam_2: np.sqrt(lam_2 - 2 * lam_1) / 2**0.5"
                " * np.vstack(2 * [np.linalg.qr(W)[0].T])",  # twice as many points
            ],
        ),
    },
    "06_surjective": {
        "check_input": ("(2, -6)", ["(2, -3)", "(2, -4)"]),  # (2, -3) does not undo the LeakyReLU
        "check_nearest": ("(2.4, -2.8)", ["(3, -4)", "(2, -2)"]),  # (3, -4) is nearest step by step only
        "check_relu": (
            "lambda W: (lambda Q: np.vstack([Q.T + abs(Q).max(), np.full((1, len(W)), abs(Q).max())]))"
            "(np.linalg.qr(W)[0])",
            [
                "lambda W: np.linalg.qr(W)[0].T",
                "lambda W: np.vstack([abs(np.linalg.qr(W)[0].T), np.ones((1, len(W)))])",
            ],
        ),
        "check_preimage": (
            "lambda A, s, P, V: np.where(P < 0, P / s, P) @ np.linalg.pinv(A) + V - V @ A @ np.linalg.pinv(A)",
            [
                "lambda A, s, P, V: np.where(P < 0, P / s, P) @ np.linalg.pinv(A)",  # V forgotten
                "lambda A, s, P, V: np.where(P < 0, P / s, P) @ np.linalg.pinv(A) + V",  # V moves the features
                "lambda A, s, P, V: P @ np.linalg.pinv(A) + V - V @ A @ np.linalg.pinv(A)",  # LeakyReLU left
            ],
        ),
    },
    "08_deep_linear": {
        "check_one_point": ("(-1.5, -6.5)", ["(0, -2)", "(1, 1)"]),
        "check_count": (
            "lambda W, T, b: np.linalg.matrix_rank(W) + int("
            "np.linalg.norm(np.linalg.pinv(np.vstack([T, b]), rcond=1e-10)[:, -1] @ W) < 1e-9)",
            [
                "lambda W, T, b: np.linalg.matrix_rank(W)",
                "lambda W, T, b: np.linalg.matrix_rank(W) + 1",
                "lambda W, T, b: np.linalg.matrix_rank(W) + int(np.linalg.norm(W[2]) < 1e-9)",  # a row of W, not c
                "lambda W, T, b: np.linalg.matrix_rank(W) + int(np.linalg.norm(b @ W) < 1e-9)",  # b in the place of h
            ],
        ),
        "check_labels": (
            "lambda W, T, b, Y: (lambda heights: Y / heights if np.abs(heights).min() > 1e-9 else None)("
            "Y @ np.linalg.pinv(W) @ np.linalg.pinv(np.vstack([T, b]), rcond=1e-10)[:, -1:])",
            [
                "lambda W, T, b, Y: Y / (Y @ np.linalg.pinv(W)"  # never None
                " @ np.linalg.pinv(np.vstack([T, b]), rcond=1e-10)[:, -1:])",
                "lambda W, T, b, Y: Y / (Y @ W.T @ np.linalg.pinv(np.vstack([T, b]), rcond=1e-10)[:, -1:])",  # c for g
                "lambda W, T, b, Y: Y / Y.sum(axis=1, keepdims=True)",  # on the hyperplane of g = 1
                "lambda W, T, b, Y: None",
            ],
        ),
    },
    "07_fourier": {
        "check_factor": ("(0.25, 0.05)", ["(0.25, 0.2)", "(0.5, 0.2)"]),  # c used once; half-width forgotten
        "check_rows": (
            "lambda P, W, lam: (lambda F: (F, distill.labels(F, W, lam)))("
            "P * np.minimum(1, 0.999 * np.sqrt(2 / P.shape[1]) / np.abs(P).max(axis=1, keepdims=True)))",
            [
                "lambda P, W, lam: (P, distill.labels(P, W, lam))",  # outside the cube
                "lambda P, W, lam: maps.into_cube(P, distill.labels(P, W, lam), lam)[:2]",  # one factor, lam kept
            ],
        ),
        "check_far": (
            "lambda A, x, R: (lambda u: x + np.ceil(R / np.linalg.norm(u)) * u)(2 * np.pi * np.linalg.inv(A)[:1])",
            [
                "lambda A, x, R: x + 2 * np.pi * np.linalg.inv(A)[:1]",  # a period, not far
                "lambda A, x, R: (lambda u: x + R / np.linalg.norm(u) * u)(np.linalg.inv(A)[:1])",  # no whole number
                "lambda A, x, R: x + 2 * np.pi * np.ceil(R) * np.eye(1, len(A))",  # a period of x, not of x A
            ],
        ),
    },
    "10_infinite": {
        "check_label": ("9 / 16", ["0", "1.5"]),
        "check_parabola": ("([1, -1], [2, 2])", ["([1, 2], [2, 5])", "([1, -1], [0.5, 0.5])"]),
        "check_without": (
            "lambda K, Y, lam, i: (lambda I: Y[i] - (I @ Y)[i] / I[i, i])(np.linalg.inv(K + lam * np.eye(len(K))))",
            [
                "lambda K, Y, lam, i: K[i] @ np.linalg.solve(K + lam * np.eye(len(K)), Y)",  # point i still in it
                "lambda K, Y, lam, i: (lambda I: Y[i] - lam * (I @ Y)[i])(np.linalg.inv(K + lam * np.eye(len(K))))",
            ],
        ),
    },
    "12_scale": {
        "check_loss": ("2.0", ["11.0", "0.0"]),  # 11.0: nothing subtracted
        "check_centre": (
            "lambda s: s.G[:-1, :-1] - np.outer(s.G[-1, :-1], s.G[-1, :-1]) / s.n",
            ["lambda s: s.G[:-1, :-1]", "lambda s: s.G[:-1, :-1] - np.outer(s.G[-1, :-1], s.G[-1, :-1])"],
        ),
        "check_downdate": (
            "lambda R, x: (lambda q: np.linalg.qr(R - (1 - np.sqrt(1 - q @ q)) / (q @ q) * np.outer(q, q @ R))[1])("
            "np.linalg.solve(R.T, x))",
            [
                "lambda R, x: R",  # nothing taken out
                "lambda R, x: (lambda w, V: np.linalg.qr((V * np.sqrt(abs(w))).T)[1])("
                "*np.linalg.eigh(R.T @ R - np.outer(x, x)))",  # through the Gram matrix
            ],
        ),
        "check_share": ("2 / 1001", ["0.001", "0.002 * 2"]),  # 0.001 counts what was added only
    },
    "13_privacy": {
        "check_sample": ("(3, 183)", ["(3, 182)", "(-3, 183)", "(3, 2)"]),  # 182: without lam * alpha
        "check_labels_back": (
            "lambda X_S, W_S, lam_S: X_S @ W_S + lam_S * np.linalg.pinv(X_S.T) @ W_S",
            ["lambda X_S, W_S, lam_S: X_S @ W_S", "lambda X_S, W_S, lam_S: (1 + lam_S) * X_S @ W_S"],
        ),
        "check_replace": ("3 / math.sqrt(2)", ["2.0", "2 * math.sqrt(2)", "math.sqrt(2)"]),
        "check_year": (
            "lambda sensitivity: math.sqrt(12) * privacy.noise_scale(1.0, 1e-5, sensitivity)",
            [
                "lambda sensitivity: 12 * privacy.noise_scale(1.0, 1e-5, sensitivity)",  # not in squares
                "lambda sensitivity: privacy.noise_scale(1.0 / 12, 1e-5, sensitivity)",  # epsilon shared out
            ],
        ),
    },
    "16_photographs": {
        "check_patch": ("(0.6, -0.6)", ["(3, -3)", "(1, -1)", "(0.75, -0.75)"]),  # no variance; no c
        "check_photographs": ("10", ["9", "11", "36"]),
    },
    "14_your_data": {
        "check_alpha": ("255**2 * 0.02", ["255 * 0.02", "0.02", "0.02 / 255**2"]),
        "check_points": ("(7, 4, 21)", ["(7, 3, 100)", "(8, 4, 21)", "(7, 4, 100)"]),
        "check_rows": (
            "lambda X, y, w: (np.sqrt(w)[:, None] * (X - np.average(X, 0, w)), np.sqrt(w) * (y - np.average(y, 0, w)))",
            [
                "lambda X, y, w: (np.sqrt(w)[:, None] * X, np.sqrt(w) * y)",  # no means
                "lambda X, y, w: (np.sqrt(w)[:, None] * (X - X.mean(0)), np.sqrt(w) * (y - y.mean()))",  # plain means
                "lambda X, y, w: (w[:, None] * (X - np.average(X, 0, w)), w * (y - np.average(y, 0, w)))",  # no roots
                "lambda X, y, w: (lambda A, b: (A - A.mean(0), b - b.mean()))(np.sqrt(w)[:, None] * X, np.sqrt(w) * y)",
            ],
        ),
    },
    "09_nonsurjective": {
        "check_partner": ("1.5", ["3.0", "-1.5"]),  # 3.0: the same point twice
        "check_counts": ("(26, 23)", ["(25, 22)", "(26, 26)"]),  # rounded down; the rank not reduced
        "check_quadratic": (
            "lambda S: (lambda E: (E / E[0])[1:].T)(np.linalg.eigh(S)[1])",
            ["lambda S: np.linalg.eigh(S)[1][1:].T", "lambda S: np.eye(len(S))[:, 1:]"],  # not scaled; any points
        ),
    },
    "comparison": {
        "check_table": ("(5, 28)", ["(5, 30)", "(28, 28)", "(5, 5)"]),
        "check_three": ("(400, 16, 12)", ["(400, 15, 11)", "(400, 16, 16)", "(100, 16, 12)"]),
        "check_between": (
            "lambda r, s: (np.diag(np.arange(1.0, s + 1)), np.eye(r)[np.arange(s) % r])",
            [
                "lambda r, s: (np.eye(s), np.eye(r)[np.arange(s) % r])",  # one eigenvalue
                "lambda r, s: (np.diag(np.arange(1.0, s + 1)), np.eye(s, r))",  # eigenvalues without targets
                "lambda r, s: (np.diag(np.arange(1.0, s + 1)), np.ones((s, r)))",  # a model of rank one
            ],
        ),
    },
    "11_kip": {
        "check_excess": ("3.2", ["0.64", "0.0"]),  # 0.64: without G
        "check_labels": (
            "lambda K_SS, K_TS, Y, lam_S: (lambda alpha: K_SS @ alpha + lam_S * alpha)(np.linalg.lstsq(K_TS, Y)[0])",
            ["lambda K_SS, K_TS, Y, lam_S: K_SS @ np.linalg.lstsq(K_TS, Y)[0]"],  # lam_S forgotten
        ),
        "check_rows": (
            "lambda Phi, Y: (np.vstack([Phi, 0 * Phi[:1]]), np.vstack([Y, 1 + 0 * Y[:1]]))",
            ["lambda Phi, Y: (Phi, Y)", "lambda Phi, Y: (Phi, 2 * Y)"],  # not longer; the second equation lost
        ),
    },
    "15_results": {
        "check_rows": ("258", ["257", "65793"]),  # 65793 = 2**24 // 255: one pixel, not a product of two
        "check_pays": (
            "lambda n, p: (n + 9 * p) // (2 * n) + 1",
            ["lambda n, p: (n + 9 * p) // (2 * n)", "lambda n, p: 24"],
        ),
    },
    "05_fewer_or_all": {
        "check_tie": ("1.4", ["0.0", "3.0", "1.0", "1.39", "1.414"]),
        "check_two": (
            "([[2**0.5, 2**0.5, 0], [0, 0, 1]], [[2**0.5], [3]])",
            [
                "([[2, 0, 0], [0, 2, 0], [0, 0, 1]], [[1], [1], [3]])",  # three points
                "([[1, 1, 0], [0, 0, 1]], [[2], [3]])",  # B right, G wrong
            ],
        ),
        "check_best": (
            "lambda W, H, w, m: frontier.truncate(W * np.sqrt(w), m, H).W / np.sqrt(w)",
            [
                "lambda W, H, w, m: frontier.truncate(W, m, H).W",  # weights forgotten
                "lambda W, H, w, m: frontier.truncate(W * w, m, H).W / w",  # their squares
                "lambda W, H, w, m: frontier.truncate(W * np.sqrt(w), m).W / np.sqrt(w)",  # H forgotten
                "lambda W, H, w, m: W",  # of full rank
            ],
        ),
    },
    "04_realistic": {
        "check_distance": ("3.0", ["4.0", "5.0"]),  # 4.0 keeps the smaller singular value, 5.0 keeps neither
        "check_nearest": (
            "lambda P, W: (lambda I, U, s, V: I + (U * np.where(np.arange(len(s)) < len(P) - 2, s, 0)) @ V)("
            "P @ W @ np.linalg.pinv(W), *np.linalg.svd(P - P @ W @ np.linalg.pinv(W), full_matrices=False))",
            ["lambda P, W: P @ W @ np.linalg.pinv(W)", "lambda P, W: P"],  # nothing outside the span; nothing moved
        ),
        "check_for_coefficients": (
            "lambda P, W, a: P + np.linalg.pinv(a).T @ (W - P.T @ a).T",
            [
                "lambda P, W, a: np.linalg.pinv(a).T @ W.T",  # nearest to zero
                "lambda P, W, a: P + a @ (W - P.T @ a).T",  # the pseudo-inverse forgotten
                "lambda P, W, a: P",
            ],
        ),
    },
}


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


def markers(chapter):
    """Marker functions of a chapter, each with its own cell and the statements of all cells above it."""
    found, above = {}, []
    for cell in notebooks.code_cells(notebooks.read(chapter)):
        tree = notebooks.parse_cell(cell.source)
        if tree is None or "git+" in cell.source:
            continue  # the cell that installs
        if "marker" in cell.metadata.get("tags", []):
            found |= {node.name: (tree.body, list(above)) for node in tree.body if isinstance(node, ast.FunctionDef)}
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
CASES = [(chapter, name) for chapter, table in ANSWERS.items() for name in table]


def accepted(chapter, name, answers):
    """What the marker says to each of the answers."""
    namespace = namespace_of(*markers(CHAPTERS[chapter])[name], answers)
    verdicts = [namespace[name](eval(answer, namespace)) for answer in answers]
    return [bool(one == "Correct.") or (isinstance(one, bool | np.bool_) and bool(one)) for one in verdicts]


@pytest.mark.parametrize("chapter, name", CASES, ids=[f"{chapter}-{name}" for chapter, name in CASES])
def test_the_marker_accepts_the_solution_and_rejects_wrong_answers(chapter, name, monkeypatch, recwarn, settings_kept):
    monkeypatch.chdir(notebooks.CHAPTERS)
    solution, wrong = ANSWERS[chapter][name]
    assert accepted(chapter, name, [solution, *wrong]) == [True] + len(wrong) * [False]


@pytest.mark.parametrize(
    "chapter, name, right, wrong",
    [
        ("03_sufficiency", "check_factor", ["11.3", "11.34", "11.4"], ["11.2", "11.5"]),  # "to 1 %", of 11.343
        ("03_sufficiency", "check_two_points", ["(0.3, 0.1)"], ["(0.1, 0.3, 0.1)"]),
        ("12_scale", "check_share", ["0.002", "0.001998"], ["0.0021"]),
    ],
)
def test_right_answers_may_be_rounded_as_the_text_allows(chapter, name, right, wrong, monkeypatch, settings_kept):
    monkeypatch.chdir(notebooks.CHAPTERS)
    assert accepted(chapter, name, right + wrong) == len(right) * [True] + len(wrong) * [False]


def test_every_exercise_has_a_marker_and_every_marker_is_tested():
    for stem, path in CHAPTERS.items():
        exercises = sum(cell.source.count("{exercise}") for cell in notebooks.read(path).cells)
        assert set(markers(path)) == set(ANSWERS.get(stem, {})), stem
        assert exercises == len(markers(path)) >= 2, stem


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
