"""The rows that chapter 15 shows, from `results/tables.json` and `results/kip.json`: one plain list a table or picture.

    python -m tools.results_page

Nothing is measured here. The page reads `results/page.json`, whose rows need no more than a loop.
"""

import json
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).resolve().parent.parent / "results"
NAMES = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST", "cifar10": "CIFAR-10 (JPEG)"}
WEIGHTS = {"orthogonal": "orthogonal", "gaussian": "Gaussian"}
POINTS = (10, 100, 500)
SHOWN = ("data", "map", "points", "start", "exact", "relative_error", "condition", "rounding")
KIP_ROWS = {"minibatches": "minibatches", "statistics": "from sums"}
WAYS = {"ours": "this package", "published": "published procedure", "ridge": "Ridge", "ridge_cv": "RidgeCV"}


def page(tables, kip):
    """Everything that the chapter shows, as lists of flat rows."""
    runs = [run for name in NAMES for run in runs_of(name, tables[name])]
    return {
        "machine": tables["machine"],
        "sizes": sizes(tables),
        "models": models(runs, tables["paper"]["table3"]),
        "sets": [{key: row[key] for key in SHOWN} for run in runs for row in run["rows"]],
        "published": published(tables),
        "seconds": seconds(tables) + list(kip_at_length(kip)),
        "steps": [row for name, title in NAMES.items() for row in steps(title, tables[name])],
        "drivers": drivers(tables),
        "kip": beside_kip(tables, kip),
    }


def runs_of(name, part):
    """Each measured model with its sets: the linear map has one, a random map one a kind of weights and a seed."""
    for kind in ("linear", "network", "fourier"):
        for run in part[kind].get("runs", [part[kind]]):
            label = f"{kind}, {WEIGHTS[run['weights']]}" if "weights" in run else kind
            rows = [{"data": NAMES[name], "map": label, **row} for row in run["sets"]]
            yield {"data": NAMES[name], "key": name, "kind": kind, "map": label, "accuracy": run["accuracy"], "rows": rows}


def sizes(tables):
    """How large the data are, and how many points an exact set has at one regularisation and at every one."""
    paper = [{"data": name, "n": n, "d": d, "k": k} for name, (k, d, n) in tables["paper"]["table2"].items()]
    unmeasured = [row for row in paper if row["data"] in ("CIFAR-100", "ImageNet-1k")]
    measured = []
    for name, title in NAMES.items():
        points = tables[name]["linear"]["points"]
        ranks = {"one_lam": points["rank_W"], "every_lam": points["rank_X"], "widened": points["deep_linear"]}
        measured.append({"data": title, **{key: tables[name][key] for key in ("n", "d", "k", "fitting")}, **ranks})
    return measured + unmeasured


def models(runs, paper):
    """The accuracy of each model in percent, mean over its seeds, and what its sets give."""
    found = []
    for data, label in dict.fromkeys((run["data"], run["map"]) for run in runs):
        here = [run for run in runs if (run["data"], run["map"]) == (data, label)]
        rows = [row for run in here for row in run["rows"]]
        theirs = paper.get(here[0]["key"], {}).get(here[0]["kind"], [None])[0] if "orthogonal" not in label else None
        found.append({
            "data": data, "map": label, "paper": theirs,
            "original": 100 * float(np.mean([run["accuracy"] for run in here])),
            "spread": 100 * float(np.std([run["accuracy"] for run in here])),
            "distilled": [100 * float(np.mean([row["accuracy"] for row in rows if row["points"] == m])) for m in POINTS],
            "largest_error": max(row["relative_error"] for row in rows),
            "decisions_changed": sum(row["decisions_changed"] for row in rows),
            "moved": [mean_distance(rows, m) for m in POINTS],
        })  # fmt: skip
    return found


def mean_distance(rows, m):
    """How far the sets of m points that start from real images are from these."""
    return float(np.mean([row["input_distance"] for row in rows if (row["points"], row["start"]) == (m, "real")]))


def published(tables):
    """The errors of the sets of the published procedure, in float32; of random maps through the first of each kind."""
    found = []
    for name, title in NAMES.items():
        errors = {"linear": tables[name]["linear"]["timing"]["published"]["sets"]}
        for kind in ("network", "fourier"):
            errors[kind] = next(run["published"] for run in tables[name][kind]["runs"] if "published" in run)
        found += [{"data": title, "map": kind, "errors": [row["relative_error"] for row in errors[kind]]} for kind in errors]
    return found


def seconds(tables):
    """Seconds of each way to choose among 24 values, and its ratio to the first."""
    found = []
    for name, title in NAMES.items():
        for way, label in WAYS.items():
            one = tables[name]["linear"]["timing"][way]
            values = one["runs"][0].get("values", 24)
            found.append({"data": title, "way": label, "seconds": one["median_seconds"], "ratio": one["ratio"], "values": values})
    return found


def seconds_of_kip(part, row):
    """The steps that the paper gives KIP, at the seconds a step measured; and what the rows made of sums cost before the first."""
    spent = part["closed_form"]["seconds"]
    sums = spent["features"] + spent["statistics"] + part["seconds_condense"] if row["data"] == "statistics" else 0.0
    return row["extrapolated"]["seconds"] + sums


def kip_at_length(kip):
    """Seconds of KIP for ten points and the linear map, on minibatches of the samples and on the rows of their sums."""
    part = kip["mnist"]["linear"]
    for row in part["kip"]:
        if row["points"] == 10:
            yield {"data": NAMES["mnist"], "way": f"KIP, {KIP_ROWS[row['data']]}", "seconds": seconds_of_kip(part, row)}


def steps(title, part):
    """Median seconds of each step: of the linear map over the timed runs, of the random maps over their seeds."""
    for kind in ("linear", "network", "fourier"):
        one = part[kind]
        runs = [run["seconds"] for run in one["runs"]] if "runs" in one else one["timing"]["ours"]["runs"]
        names = [step for step in runs[0] if step != "total"]
        yield {"data": title, "map": kind, "seconds": {step: float(np.median([run[step] for run in runs])) for step in names}}


def drivers(tables):
    """For how many of the 24 values each way to solve worked in float32, and how far the chosen model is from right."""
    found = []
    for name, title in NAMES.items():
        one = tables[name]["linear"]["timing"]["published"]
        counts = {way: one["drivers"].count(way) for way in ("Cholesky", "LU", "none")}
        found.append({"data": title, **counts, "error": one["error_of_W"]})
    return found


def beside_kip(tables, kip):
    """The network on MNIST: accuracy and seconds of KIP and of the closed form, here and in the paper."""
    here = [run["accuracy"] for run in runs_of("mnist", tables["mnist"]) if run["map"] == "network, orthogonal"]
    cost = sum(next(row["seconds"] for row in steps("", tables["mnist"]) if row["map"] == "network").values())
    found = []
    part = kip["mnist"]["network"]
    for row in part["kip"]:
        found.append({"where": f"here, {KIP_ROWS[row['data']]}", "points": row["points"], "kip": 100 * row["accuracy"],
                      "steps": row["steps"], "kip_seconds": seconds_of_kip(part, row),
                      "ours": 100 * float(np.mean(here)), "ours_seconds": cost})  # fmt: skip
    for a_class, (theirs, cost, ours, ours_cost) in tables["paper"]["table4"]["mnist"].items():
        found.append({"where": "paper", "points": 10 * int(a_class), "kip": theirs, "steps": 30_000,
                      "kip_seconds": cost, "ours": ours, "ours_seconds": ours_cost})  # fmt: skip
    return found


def short(value):
    """The same with five digits in each number."""
    if isinstance(value, dict):
        return {key: short(part) for key, part in value.items()}
    if isinstance(value, list):
        return [short(part) for part in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def read(name):
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def main():
    text = json.dumps(short(page(read("tables"), read("kip"))), indent=1, ensure_ascii=False)
    (RESULTS / "page.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
