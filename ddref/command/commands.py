"""The commands: distill, verify, predict, show, export, info, copy."""

import argparse
import contextlib
import csv
import io
import json
import os
import platform
import sys
import warnings
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__, files, recipe
from ..arrays import Array
from ..datasets.pictures import pillow
from ..maps.devices import as_numpy, check_device, on_device
from ..npz import shortened, whole_file
from ..statistics.rows import FileRows, Lazy
from ..tables.cells import alike
from ..tables.cells import shown as names_shown
from . import private
from .arguments import parser
from .devices import features_on, scores_on
from .export import export
from .inputs import (
    MAX_BYTES,
    Data,
    as_numbers,
    check_classes,
    check_labels,
    check_options,
    guessed_task,
    read,
    samples,
    targets_of,
)
from .picture import sheet
from .points import outputs
from .readable import points_as_table
from .report import (
    Progress,
    blocks_of,
    comparison,
    errors,
    predicted,
    scored,
    sensitivity,
    summary,
)
from .trained import Trained, described, distilled, read_trained

DONE, NOT_EXACT, MISTAKE, INTERRUPTED = 0, 1, 2, 130  # exit codes


def main(argv: list[str] | None = None) -> int:
    """Run the command with the arguments `argv`; returns the exit code."""
    for stream in (sys.stdout, sys.stderr):  # letters that a terminal lacks end nothing
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    words = parser()
    options = words.parse_args(argv)
    if options.command is None:
        words.print_help()
        return MISTAKE
    overflow = options.command in ("verify", "show", "export", "info")
    quiet: Any = "ignore" if overflow else None
    try:
        # what a file says can overflow: it is refused, or called not exact, in words
        with _warnings_in_one_line(), np.errstate(all=quiet):
            return COMMANDS[options.command](options)
    except KeyboardInterrupt:
        written = getattr(options, "written", None)
        what = f"{written} is complete" if written else "nothing was written"
        print(f"ddref: interrupted; {what}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe has gone
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except (ValueError, TypeError, OSError, ImportError, MemoryError) as error:
        if options.debug:
            raise
        print(f"ddref: error: {_said(error)}", file=sys.stderr)
        return MISTAKE


@contextlib.contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Warnings without the place in the code that they come from."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        print(f"ddref: warning: {shortened(str(message))}", file=sys.stderr)

    before, warnings.showwarning = warnings.showwarning, show
    try:
        yield
    finally:
        warnings.showwarning = before


def _said(error: BaseException) -> str:
    """A message in one line; of a long one the middle is left out."""
    text = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        text = (
            f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        )
    line = shortened(text, len(text) * 10)
    return line if len(line) <= 285 else f"{line[:180]} ... {line[-100:]}"


# ------------------------------------------------------------------------- commands


def _distill(options: argparse.Namespace) -> int:
    out = Path(options.out)
    _check_out(out, ".npz", options.force)
    lam = _lam(options.lam)
    estimator = _estimators()
    if options.device is not None:
        check_device(options.device)
    trained = read_trained(options.input, options.max_bytes)
    if trained is not None:
        return _distill_trained(trained, options, out)
    if private.is_private(options):
        return _distill_private(options, out, lam)
    with Progress(options.quiet) as progress:
        data = read(options, progress)
        for note in data.notes:
            progress.note(note)
        task = options.task
        if task is None:
            task = guessed_task(data)
            progress.note(f"task: {task} (by the targets; --task says otherwise)")
        if task == "regression":
            as_numbers(data.y, "the targets")
        elif task == "multilabel":
            check_labels(data)
        else:
            check_classes(data)
            twins = alike(np.unique(data.y).tolist())
            if twins:
                progress.note(f"{names_shown(twins, 60)} are different classes")
        make = estimator.DistilledRidge
        if task != "regression":
            make = estimator.DistilledRidgeClassifier
        model = make(
            options.points,
            feature_map=options.map,
            lam=lam,
            select=options.select,
            lam_s=options.lam_s,
            init=options.init or "real",
            fit_intercept=not options.no_intercept,
            scaling=_scaling(options.scaling, data),
            image_shape=options.image_shape or data.image_shape,
            random_state=options.seed,
            dtype=options.dtype,
            device=options.device,
        )
        model._report = progress
        _note_constants(data, progress)
        with warnings.catch_warnings():
            if task == "multilabel":  # as was asked for
                warnings.filterwarnings("ignore", "every row of y", UserWarning)
            fit = model._fit_file if isinstance(data.X, FileRows) else model.fit
            fit(data.X, data.y)
        model.table_ = data.table
        model.save(
            out,
            overwrite=options.force,
            data=(data.X, data.y),
            map_arrays=options.map_arrays,
            source_names=_names_of_sources(model, data),
            class_names=data.labels if task == "multilabel" else None,
        )
        options.written = out
    print(summary(files.load(out)))
    print(f"training samples       {len(data.X):,}")
    for name, X, y in data.parts():
        if task == "multilabel":
            right = np.mean(predicted(model, X) == y)
            print(f"{f'labels right on {name}':23} {right:.1%}")
        elif task == "classification":
            print(f"{f'accuracy on {name}':23}{scored(model, X, y):.1%}")
        else:
            print(f"{f'R^2 on {name}':23}{scored(model, X, y):.4f}")
    print(f"wrote {out}")
    return DONE


def _distill_trained(
    trained: Trained | str, options: argparse.Namespace, out: Path
) -> int:
    """The set of a model that ``python -m ddref.statistics`` trained."""
    if isinstance(trained, str):
        raise ValueError(f"{options.input} holds {trained}: see ddref info")
    check_options(options, ".npz")
    with Progress(options.quiet) as progress:
        progress("distilling")
        distilled(trained, options, progress.note).save(out, overwrite=options.force)
        options.written = out
    print(summary(files.load(out)))
    print(f"training samples       {trained.n:,}")
    print(f"wrote {out}")
    return DONE


def _distill_private(options: argparse.Namespace, out: Path, lam: Any) -> int:
    """A set of a model that is private; its file has nothing else of the data."""
    with Progress(options.quiet) as progress:
        data = read(options, progress)
        private.check_data(options, data)
        for note in (*data.notes, "no intercept, which needs the means of the data"):
            progress.note(note)
        estimator = _estimators()
        model = private.distilled(options, data, lam, estimator, progress.note)
        model._report = progress
        fit = model._fit_file if isinstance(data.X, FileRows) else model.fit
        fit(data.X, data.y)
        model.save(out, overwrite=options.force, map_arrays=options.map_arrays)
        options.written = out
    print(summary(files.load(out)))
    for name, X, y in data.parts():
        if name != "training":
            what = "accuracy" if options.classes else "R^2"
            print(f"{f'{what} on {name}':23}{scored(model, X, y):.4f} (not private)")
    print(f"wrote {out}")
    return DONE


def _verify(options: argparse.Namespace) -> int:
    saved = files.load(options.file)
    if saved.privacy is not None:
        raise ValueError(
            f"{options.file} trains a private model, with noise that no training on "
            "the data has: ddref info says that it is exact, ddref predict predicts"
        )
    _estimators()  # before any work
    features = features_on(saved, options.device)
    with Progress(options.quiet) as progress:
        data = read(options, progress, saved)
        if data.X.shape[1] != saved.X_S.shape[1]:
            raise ValueError(
                f"{options.input} has {data.X.shape[1]} columns, "
                f"{options.file} {saved.X_S.shape[1]}"
            )
        others = saved.data_sha256 not in (None, files.digest(data.X, data.y))
        progress("training on the data")
        Y, y = targets_of(saved, data.y, options)
        Y = on_device(Y, options.device)
        training = _trained_on(saved, data.X, Y, features, progress)
        W, b = map(as_numpy, training.fit(saved.lam, classes=y is not None))
        progress("training on the distilled set")
        W_S, b_S = files.model(saved)
    certificate = recipe.certified(
        lambda X: files.features(saved, X),
        saved.X_S.astype(np.float64),
        saved.Y_S.astype(np.float64),
        saved.lam_S,
        W,
        b if saved.fit_intercept else None,
        dtype=saved.X_S.dtype.name,
        data_condition=training.condition(saved.lam),
    )
    if others:
        print("not the data this set was made from: their checksum is another")
    print(errors(certificate))
    for name, X, y in data.parts():
        scores = scores_on(saved, options.device)
        print(comparison(saved, X, y, (W, b), (W_S, b_S), scores, name, options))
    if certificate.exact:
        print("exact: the distilled set trains the same model")
        return DONE
    print("NOT EXACT: the models differ")
    return NOT_EXACT


def _predict(options: argparse.Namespace) -> int:
    saved, out = files.load(options.file), Path(options.out)
    _check_out(out, ".csv", options.force)
    scores_of, model = scores_on(saved, options.device), saved.train()
    blocks = blocks_of(samples(options, saved))
    scores = np.concatenate([scores_of(A, *model) for A in blocks])
    if not np.isfinite(scores).all():
        raise ValueError(f"{options.input}: predictions overflow; are these its units?")
    names, columns = _predicted(saved, scores)
    with whole_file(out) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        csv.writer(text).writerows([names, *zip(*columns, strict=True)])
        text.detach()
    options.written = out
    print(f"wrote {out}: {len(scores):,} predictions")
    return DONE


def _predicted(saved: files.Saved, scores: np.ndarray) -> tuple[list[str], list[list]]:
    """Names and columns of a table of predictions: what is decided, then scores."""
    k, columns = scores.shape[1], scores.T.tolist()
    if saved.class_names is None:
        names = outputs(saved) or range(k)
        return [f"prediction {n}" for n in names] if k > 1 else ["prediction"], columns
    named = [f"score {name}" for name in saved.class_names]
    if saved.classes is None:
        labels = (scores > files.PRESENT).astype(int).T.tolist()
        return [f"prediction {n}" for n in saved.class_names] + named, labels + columns
    words = [saved.class_names[i] for i in scores.argmax(axis=1)]
    return ["prediction", *named], [words, *columns]


def _show(options: argparse.Namespace) -> int:
    saved = files.load(options.file)
    out = Path(options.out or Path(options.file).with_suffix(".png"))
    _check_out(out, ".png", options.force)
    PIL = pillow("show")
    shades, mapping = sheet(saved)
    with whole_file(out) as file:
        PIL.Image.fromarray(shades).save(file, format="PNG")
    options.written = out
    print(summary(saved))
    if saved.table is not None:
        print(f"\n{points_as_table(saved)}\n")
    print(f"wrote {out}: {mapping}")
    return DONE


def _export(options: argparse.Namespace) -> int:
    folder = Path(options.folder).expanduser()
    saved = files.load(options.file)
    printed = export(saved, folder, overwrite=options.overwrite)
    options.written = folder
    print(printed)
    return DONE


def _info(options: argparse.Namespace) -> int:
    if options.file is not None:
        trained = read_trained(options.file, MAX_BYTES)
        if trained is not None:
            print(described(trained))
            return DONE
        saved = files.load(options.file)
        print(summary(saved))
        print(f"{'changes':23}{sensitivity(saved)}")
        print(f"\nto train on it:\n{files.how_to(saved, options.file)}\n")
        print(json.dumps({"certificate": saved.certificate}, indent=1))
        return DONE
    print(f"ddref {__version__}, file format {files.FORMAT}")
    system = f"{platform.system()} {platform.machine()}"
    print(f"Python {platform.python_version()} on {system}")
    for name, use in (
        ("numpy", "needed"),
        ("array-api-compat", "needed"),
        ("scikit-learn", "distill, verify"),
        ("pandas", "tables with words, dates, gaps"),
        ("pillow", "image folders, show, export"),
        ("torch", "convolutional maps, GPU"),
    ):
        try:
            found = version(name)
        except PackageNotFoundError:
            found = "not installed"
        print(f"{name:18} {found:14} {use}")
    return DONE


def _copy(options: argparse.Namespace) -> int:
    from ..copying import copied

    print(copied(options.names, numpy=options.numpy), end="")
    return DONE


COMMANDS = {
    "distill": _distill,
    "verify": _verify,
    "predict": _predict,
    "show": _show,
    "export": _export,
    "info": _info,
    "copy": _copy,
}


# ---------------------------------------------------------------------- small parts


def _trained_on(
    saved: files.Saved, X: Any, Y: Array, features: Any, progress: Progress
) -> Any:
    """Ridge regression on data, as the estimators do it."""
    estimator = _estimators()
    if isinstance(X, FileRows):
        train, Phi = estimator.streaming.StreamedTraining, Lazy(X, features)
    else:
        train, Phi = estimator.training.Training, features(X)
    return train(Phi, Y, saved.fit_intercept, progress)


def _scaling(wanted: str, data: Data) -> str | None:
    if wanted == "auto":
        return "global" if data.images else "columns"
    return None if wanted == "none" else wanted


def _names_of_sources(model: Any, data: Data) -> list[str] | None:
    """Files, or lines of a table, that the points started from."""
    if model.sources_ is None or data.name_of is None:
        return None
    return [data.name_of(row) for row in model.sources_.tolist()]


def _note_constants(data: Data, progress: Progress) -> None:
    constant = np.flatnonzero(data.X.max(axis=0) == data.X.min(axis=0))
    if len(constant) and not data.images:
        names = [data.columns[i] if data.columns else f"column {i}" for i in constant]
        progress.note(
            f"{len(constant)} constant columns, which no model uses: "
            f"{shortened(', '.join(names), 80)}"
        )


def _lam(values: list[str]) -> str | float | list[float]:
    if values == ["auto"]:
        return "auto"
    try:
        numbers = [float(value) for value in values]
    except ValueError as error:
        raise ValueError(
            f"--lam {' '.join(values)}: numbers, or auto, are needed"
        ) from error
    return numbers[0] if len(numbers) == 1 else numbers


def _check_out(out: Path, ending: str, force: bool) -> None:
    """Refuse a name that cannot be written before any work is done."""
    if out.suffix != ending:
        raise ValueError(f"{out}: the name of the file must end in {ending}")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"{out.parent} does not exist: make the folder first")
    if out.exists() and not force:
        raise FileExistsError(
            f"{out} exists: pass --force to replace it, or another name"
        )


def _estimators() -> Any:
    from .. import estimator  # where scikit-learn is not installed, this says so

    return estimator
