"""What the commands print."""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .. import files, measure
from ..intercept import contrasts
from ..measure import Certificate
from ..npz import shortened
from ..statistics.rows import FileRows
from ..tables.cells import shown as names_shown
from .inputs import targets_of


def summary(saved: files.Saved) -> str:
    """What a file holds, as lines of text."""
    m, d = saved.X_S.shape
    certificate = saved.certificate or {}
    lines = {
        "distilled set": f"{m} points of {d} values, {saved.X_S.dtype}{_shape(saved)}",
        **_table(saved),
        "task": saved.task + _classes(saved),
        "model": f"ridge regression {_model(saved)}",
        "lam, lam_S": f"{saved.lam:.6g} on the data, {saved.lam_S:.6g} on the set",
        "scaling": _scaling(saved),
        "labels": f"from {saved.Y_S.min():.4g} to {saved.Y_S.max():.4g}",
        **_certified(certificate),
        **_private(saved),
        "started from": _sources(saved),
        "seed, written by": f"{saved.seed}, ddref {saved.version}",
    }
    return aligned(lines)


def aligned(lines: dict[str, str]) -> str:
    """A line a name, with its text; texts of a file do not steer the terminal."""
    return "\n".join(f"{name:23}{shortened(text)}" for name, text in lines.items())


def _shape(saved: files.Saved) -> str:
    if not saved.image_shape:
        return ""
    return f", images of {' x '.join(map(str, saved.image_shape))}"


def _table(saved: files.Saved) -> dict[str, str]:
    """What kinds of columns a table had, where the set is of one."""
    if saved.table is None:
        return {}
    columns = saved.table["columns"]
    counts = Counter(column["kind"] for column in columns)
    said = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    lines = {"table": f"{len(columns)} columns: {said}"}
    if isinstance(saved.table["target"], str):
        lines["table"] += f"; target {shortened(saved.table['target'], 40)!r}"
    elif saved.table["target"] is not None:
        lines["table"] += f"; targets {names_shown(saved.table['target'], 60)}"
    if saved.table["missing"] is not None:
        how = {"drop": "their rows are left out", "mean": "filled in"}
        lines["missing values"] = how[saved.table["missing"]]
    return lines


def _classes(saved: files.Saved) -> str:
    if saved.class_names is None:
        return ""
    names = shortened(", ".join(saved.class_names), 80)
    what = "labels" if saved.classes is None else "classes"
    return f", {len(saved.class_names)} {what}: {names}"


def _model(saved: files.Saved) -> str:
    how = "with" if saved.fit_intercept else "without"
    phi: Any = saved.feature_map
    on = "the columns"
    if phi is not None:
        sizes = f"{phi.input_dim} values, {phi.output_dim} features"
        on = f"the features of {type(phi).__name__} ({sizes})"
    return f"{how} an intercept on {on}"


def _scaling(saved: files.Saved) -> str:
    if saved.scaling == "global":
        return f"(value - {saved.mean[0]:.6g}) / {saved.scale[0]:.6g}"
    return {"none": "none", "columns": "each column by its mean and deviation"}[
        saved.scaling
    ]


def _private(saved: files.Saved) -> dict[str, str]:
    """What a private release of the model cost, and which rows it is for."""
    if saved.privacy is None:
        return {}
    found = saved.privacy
    said = "epsilon {epsilon:.6g}, delta {delta:.3g}; neighbours: {relation}"
    clipped = "features to {clip:.6g}, targets to {bound:.6g}; noise {sigma:.6g}"
    return {"private": said.format(**found), "clipped": clipped.format(**found)}


def _sources(saved: files.Saved) -> str:
    """The samples that the points started from, in their order."""
    if saved.sources is None:
        return "no samples on record"
    rows = f"samples {shortened(', '.join(map(str, saved.sources.tolist())), 60)}"
    if saved.source_names is None:
        return f"{rows} (rows from 0)"
    return f"{rows}: {shortened(', '.join(saved.source_names), 100)}"


def _certified(certificate: dict[str, Any]) -> dict[str, str]:
    """Lines about the certificate, as far as the file has its numbers."""
    lines = {}
    error, condition = map(certificate.get, ("relative_error", "condition"))
    if error is not None and condition is not None:
        lines["relative error"] = f"{error:.1e}, condition number {condition:.3g}"
    distance, bound = map(certificate.get, ("distance", "lower_bound"))
    if distance is not None:
        lines["distance to samples"] = f"{distance:.3g}"
        if bound is not None:
            lines["distance to samples"] += (
                f" (no exact set is nearer than {bound:.3g})"
            )
    copies = certificate.get("copies")
    if copies:
        lines["copies"] = f"{copies:,} of these points are copies of your samples"
    changed, samples = map(certificate.get, ("decisions_changed", "samples"))
    if changed is not None and samples is not None:
        lines["decisions changed"] = f"{changed} of {samples:,} training samples"
    return lines


def sensitivity(saved: files.Saved) -> str:
    """How far the model moves when features or labels of the set are changed."""
    if saved.fit_intercept and len(saved.Y_S) == 1:
        return "the model is a constant, whatever the features"
    with np.errstate(all="ignore"):
        Phi_S = files.features(saved, saved.X_S)
        Y_S = saved.Y_S.astype(np.float64)
        if saved.fit_intercept:
            Phi_S, Y_S = contrasts(Phi_S), contrasts(Y_S)
        found = measure.sensitivity(Phi_S, Y_S, saved.lam_S)
        most = [
            1e-6 * float(per_unit * np.linalg.norm(of))
            for per_unit, of in zip(found, (Phi_S, Y_S), strict=True)
        ]
    if not np.isfinite(most).all():
        return "a change, however small, may give another model: keep all digits"
    features, labels = most
    return (
        f"1e-6 of the features moves the model by up to {features:.1g} of its norm, "
        f"of the labels by up to {labels:.1g}"
    )


def errors(certificate: Certificate) -> str:
    """Lines about the errors of a set that was trained on, and what is allowed."""
    error, allowed = certificate.relative_error, certificate.tolerance
    lines = [f"relative error         {error:.2e} (exact: at most {allowed:.1e})"]
    if certificate.uncertain is not None:
        lines.append(
            f"known to               {certificate.uncertain:.1e} (rounding: not enough)"
        )
    error, allowed = certificate.intercept_error, certificate.intercept_tolerance
    if error is not None:
        lines.append(
            f"of the intercept       {error:.2e} (exact: at most {allowed:.1e})"
        )
    return "\n".join(lines)


def comparison(
    saved: files.Saved,
    X: Any,
    y: np.ndarray,
    model: tuple[np.ndarray, np.ndarray],
    small: tuple[np.ndarray, np.ndarray],
    scores: Callable[..., np.ndarray],
    name: str,
    options: argparse.Namespace,
) -> str:
    """One line about the two models on samples."""
    both = ([scores(A, W, b) for W, b in (model, small)] for A in blocks_of(X))
    P, P_S = map(np.concatenate, zip(*both, strict=True))
    Y, classes = targets_of(saved, y, options)
    if saved.task == "multilabel":
        there, there_S = P > files.PRESENT, P_S > files.PRESENT
        good, good_S = (f"{np.mean(found == Y):.2%}" for found in (there, there_S))
        said, after = "labels right on", f"; {int(np.sum(there != there_S))} differ"
        return _compared(f"{said} {name}", good, good_S, len(saved.X_S), after)
    if classes is None:
        total = np.sum((Y - Y.mean(axis=0)) ** 2) or 1.0
        good, good_S = (f"{1 - np.sum((Y - A) ** 2) / total:.6f}" for A in (P, P_S))
        said, after = "R^2", ""
    else:
        c, c_S = (np.argmax(A, axis=1) for A in (P, P_S))
        good, good_S = (f"{np.mean(found == classes):.2%}" for found in (c, c_S))
        said = "accuracy"
        after = f"; {int(np.sum(c != c_S))} of {len(X):,} decisions differ"
    return _compared(f"{said} on {name}", good, good_S, len(saved.X_S), after)


def _compared(what: str, good: str, good_S: str, points: int, after: str) -> str:
    return f"{what:22} {good} trained on the data, {good_S} on {points} points{after}"


def scored(model: Any, X: Any, y: np.ndarray) -> float:
    """Accuracy of a classifier, or R^2, on samples; those of a file in blocks."""
    from sklearn import metrics

    score = metrics.accuracy_score if hasattr(model, "classes_") else metrics.r2_score
    return score(y, predicted(model, X))


def predicted(model: Any, X: Any) -> np.ndarray:
    """Predictions of a model on samples, a block at a time."""
    return np.concatenate([model.predict(A) for A in blocks_of(X)])


def blocks_of(X: Any) -> Iterable[np.ndarray]:
    """Samples in blocks; of an array one block."""
    return X.blocks() if isinstance(X, FileRows) else [X]


# -------------------------------------------------------------------------- progress


class Progress:
    """Stages of long work on stderr: one line on a terminal, else a line a stage."""

    def __init__(self, quiet: bool) -> None:
        self.quiet, self.terminal = quiet, sys.stderr.isatty()
        self.start, self.shown = time.perf_counter(), 0.0
        self.stage: str | None = None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self.terminal and not self.quiet and self.stage:
            print(file=sys.stderr)

    def __call__(
        self, stage: str, done: int | None = None, total: int | None = None
    ) -> None:
        if self.quiet:
            return
        now = time.perf_counter() - self.start
        soon = now - self.shown < 0.2 and done != total
        if stage == self.stage and (not self.terminal or soon):
            return
        far = "" if done is None else f" {done:,} of {total:,}"
        if self.terminal:
            line = f"\r\x1b[K[{now:5.1f} s] {stage}{far}"
            print(line, end="", file=sys.stderr, flush=True)
        else:
            print(f"[{now:5.1f} s] {stage}", file=sys.stderr, flush=True)
        self.stage, self.shown = stage, now

    def note(self, text: str) -> None:
        """A line that stays."""
        if not self.quiet:
            clear = "\r\x1b[K" if self.terminal else ""
            print(clear + text, file=sys.stderr, flush=True)
