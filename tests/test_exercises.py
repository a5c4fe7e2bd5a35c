"""Every exercise marks itself: its marker accepts the solution and rejects a plausible wrong answer."""

import ast

import matplotlib
import numpy as np
import pytest

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
    },
    "02_necessity": {
        "check_count": ("(2, 1)", ["(2, 2)", "(1, 1)"]),
        "check_one_point": ("([1, 2, 2], [10, 20])", ["([1, 2, 2], [9, 18])"]),
        "check_cutoff": ("1e-6", ["1e-10", "0.5"]),
    },
    "03_sufficiency": {
        "check_two_points": ("(0.1, 0.3)", ["(0.1, 0.1)", "(0.2, 0.3)", "(0.1,)"]),
        "check_labels": (
            "lambda Phi_S, W, lam_S: (Phi_S + lam_S * np.linalg.pinv(Phi_S).T) @ W",
            ["lambda Phi_S, W, lam_S: Phi_S @ W", "lambda Phi_S, W, lam_S: (1 + lam_S) * Phi_S @ W"],
        ),
        "check_factor": ("1.001 * np.sqrt(1e3 / distill.largest_lam(W, np.eye(10)))", ["1.0", "1e3"]),
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
    },
    "08_deep_linear": {
        "check_one_point": ("(-1.5, -6.5)", ["(0, -2)", "(1, 1)"]),
        "check_label": ("-1", ["0", "1"]),
        "check_count": (
            "lambda W, T, b: np.linalg.matrix_rank(W) + int("
            "np.linalg.norm(np.linalg.pinv(np.vstack([T, b]))[:, -1] @ W) < 1e-9)",
            ["lambda W, T, b: np.linalg.matrix_rank(W)", "lambda W, T, b: np.linalg.matrix_rank(W) + 1"],
        ),
    },
    "07_fourier": {
        "check_factor": ("(0.25, 0.05)", ["(0.25, 0.2)", "(0.5, 0.2)"]),  # c used once; half-width forgotten
        "check_rows": (
            "lambda P, W, lam: (lambda F: (F, distill.labels(F, W, lam)))("
            "P * np.minimum(1, 0.999 * np.sqrt(2 / P.shape[1]) / np.abs(P).max(axis=1, keepdims=True)))",
            [
                "lambda P, W, lam: (P, distill.labels(P, W, lam))",  # outside the cube
                "lambda P, W, lam: fourier.into_cube(P, distill.labels(P, W, lam), lam)[:2]",  # one factor, lam kept
            ],
        ),
    },
    "05_fewer_or_all": {
        "check_tie": ("1.4", ["0.0", "3.0", "1.0"]),
        "check_two": (
            "([[2**0.5, 2**0.5, 0], [0, 0, 1]], [[2**0.5], [3]])",
            [
                "([[2, 0, 0], [0, 2, 0], [0, 0, 1]], [[1], [1], [3]])",  # three points
                "([[1, 1, 0], [0, 0, 1]], [[2], [3]])",  # B right, G wrong
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
    },
}


def names(tree, kind):
    nodes = list(ast.walk(tree))
    found = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, kind)}
    if kind is ast.Store:
        found |= {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
        imports = [alias for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names]
        found |= {alias.asname or alias.name.split(".")[0] for alias in imports}
    return found


def markers(chapter):
    """Marker functions of a chapter, each with the cells above it that it depends on, in order."""
    found, above = {}, []
    for cell in notebooks.code_cells(notebooks.read(chapter)):
        tree = notebooks.parse_cell(cell.source)
        if tree is None or "git+" in cell.source:
            continue  # the cell that installs
        if "marker" in cell.metadata.get("tags", []):
            needed, cells = names(tree, ast.Load), [tree]
            for other in reversed(above):
                if names(other, ast.Store) & needed:
                    needed |= names(other, ast.Load)
                    cells.insert(0, other)
            for node in tree.body:
                if isinstance(node, ast.FunctionDef):
                    found[node.name] = cells
        above.append(tree)
    return found


CHAPTERS = {path.stem: path for path in notebooks.find()}
CASES = [(chapter, name) for chapter, table in ANSWERS.items() for name in table]


@pytest.mark.parametrize("chapter, name", CASES, ids=[f"{chapter}-{name}" for chapter, name in CASES])
def test_the_marker_accepts_the_solution_and_rejects_wrong_answers(chapter, name, monkeypatch, recwarn):
    monkeypatch.chdir(notebooks.CHAPTERS)
    namespace = {"np": np}
    for tree in markers(CHAPTERS[chapter])[name]:
        exec(compile(tree, chapter, "exec"), namespace)
    solution, wrong = ANSWERS[chapter][name]

    def accepted(answer):
        verdict = namespace[name](eval(answer, namespace))
        return verdict is True or bool(verdict == "Correct.") or (isinstance(verdict, np.bool_) and bool(verdict))

    assert accepted(solution)
    assert not any(accepted(answer) for answer in wrong)


def test_every_exercise_has_a_marker_and_every_marker_is_tested():
    for stem, path in CHAPTERS.items():
        exercises = sum(cell.source.count("{exercise}") for cell in notebooks.read(path).cells)
        assert set(markers(path)) == set(ANSWERS.get(stem, {})), stem
        assert exercises == len(markers(path)) >= 2, stem
