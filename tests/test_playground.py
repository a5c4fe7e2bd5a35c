"""The playground computes what the package computes, and says so (_vendor/book/playground.js)."""

import contextlib
import io
import json
import re
import shutil
import warnings

import numpy as np
import pytest

from ddref import distill, frontier, krr, measure
from tools import pages_check, playground_stills

SCRIPT = (playground_stills.VENDOR / "playground.js").read_text(encoding="utf-8")

# Each problem goes to the functions of the script under the names of those of the package. As one text, since the
# driver of the browser takes ten times as long to hand over as many small objects.
ANSWERS = """text => JSON.stringify(JSON.parse(text).map(({X, Y, lam, P, lamS, Q, Z, signs, share}) => {
  const {fit, labels, largestLam, features, verify, centre, shortfall} = window.ddref;
  const W = fit(X, Y, lam), bound = largestLam(W, Q, Z), labelled = labels(P, W, lamS);
  const found = features(W, Q, share * bound, {Z, signs});
  return {W, labelled, bound, found, judged: verify(P, labelled, lamS, W),
          other: verify(P, labelled, 1.5 * lamS + 0.1, W), centred: centre(W), shortfall: shortfall(W, 1)};
}))"""


def problem(rng):
    """Numbers as a page may meet them, and what is asked of them."""
    k, p, each = rng.integers(2, 4), rng.integers(2, 4), rng.integers(1, 4)
    n, m = rng.integers(6, 19), rng.integers(p, 7)
    X = rng.normal(size=(n, p))
    Y = np.eye(k)[rng.permutation(np.arange(n) % k)]
    Q = np.repeat(np.eye(k), each, axis=0)
    Z = rng.normal(size=(p, len(Q))) if rng.random() < 0.5 and each > 1 else None
    return {
        "X": X, "Y": Y, "lam": 10 ** rng.uniform(-3, 2), "P": rng.normal(size=(m, p)), "Q": Q, "Z": Z,
        "lamS": 10 ** rng.uniform(-3, 1), "signs": rng.choice([-1, 1], 3), "share": rng.choice([0, *rng.uniform(0, 1.2, 7)]),
    }  # fmt: skip


def plain(problem):
    """The problem as the browser takes it; what is None is left out."""
    values = {name: v.tolist() if hasattr(v, "tolist") else v for name, v in problem.items()}
    return {name: v for name, v in values.items() if v is not None}


def from_labels(W, Q, Z, share, signs):
    """Bound and features by the package, None where it refuses, and how they may differ by rounding."""
    D = distill.carrier(W, Q, Z)
    s = np.linalg.svd(D, compute_uv=False)
    s = s[s > 1e-10 * s[0]]
    condition, signs = s[0] / s[-1], [int(sign) for sign in signs[: len(s)]]
    if len(set(signs)) > 1:  # the singular vectors count
        condition /= np.min(1 - s[1:] / s[:-1])
    bound = distill.largest_lam(W, Q, Z=Z)
    with contextlib.suppress(ValueError):
        return bound, distill.features(W, Q, share * bound, Z=Z, signs=signs), condition
    return bound, None, condition


@pytest.fixture(scope="module")
def window(tmp_path_factory):
    """A page of a browser with the playgrounds of the book; any error in it is an error here."""
    if not any(map(shutil.which, pages_check.BROWSERS)):
        pytest.skip("no Chromium; it is needed to run the script")
    path = tmp_path_factory.mktemp("page") / "playground.html"
    tags = "".join(f"{tag}</div>" for tag in playground_stills.shown().values())
    path.write_text(playground_stills.page(tags), encoding="utf-8")
    with pages_check.opened_browser() as browser:
        window, errors = browser.new_page(viewport={"width": 700, "height": 800}), []
        window.on("pageerror", lambda error: errors.append(error))
        window.goto(path.as_uri())
        yield window
        assert errors == []


def set_to(window, **state):
    """The first playground from its beginning, with some controls moved: (kind of verdict, its text)."""
    return window.evaluate(
        """state => {
          const root = document.querySelector(".ddref-playground");
          root.querySelector(".pg-button").click();
          Object.assign(root.playground.state, state);
          root.playground.draw();
          const said = root.querySelector(".pg-said");
          return [said.className.split("pg-").at(-1), said.textContent.replace(/\\u00a0/g, " ")];
        }""",
        state,
    )


def in_python(window):
    """What the package makes of the code that the page offers: (exact, what it prints), or (None, its refusal)."""
    code = window.evaluate("document.querySelector('.ddref-playground').playground.python()")
    names, printed = {}, io.StringIO()
    with contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of mixed branches
        try:
            exec(code, names)  # noqa: S102
        except ValueError as error:
            return None, str(error)
    return "exact=True" in printed.getvalue(), printed.getvalue()


@pytest.mark.slow  # a browser
def test_a_thousand_random_problems_have_the_answers_of_the_package(window):
    rng = np.random.default_rng(0)
    problems = [problem(rng) for _ in range(1000)]
    answers = json.loads(window.evaluate(ANSWERS, json.dumps([plain(one) for one in problems])))
    refused = 0
    for one, answer in zip(problems, answers, strict=True):
        def near(name, wanted, condition):
            error = measure.relative_error(np.asarray(answer[name]), wanted)  # noqa: B023
            assert error <= 1e-12 * condition, (name, one, error)  # noqa: B023

        W = krr.fit(one["X"], one["Y"], one["lam"])
        near("W", W, np.linalg.cond(one["X"]))
        near("centred", frontier.centre(W), np.linalg.cond(one["X"]))
        condition = np.linalg.cond(one["P"])
        Y_S = distill.labels(one["P"], W, one["lamS"])
        near("labelled", Y_S, condition * np.linalg.cond(one["X"]))
        name, lam_S = ("judged", one["lamS"]) if rng.random() < 0.7 else ("other", 1.5 * one["lamS"] + 0.1)
        wanted = measure.verify(one["P"], Y_S, lam_S, W)
        assert answer[name]["exact"] == wanted.exact == (name == "judged")
        assert abs(answer[name]["condition"] / condition - 1) <= 1e-12 * condition
        assert abs(answer[name]["error"] - wanted.relative_error) <= wanted.tolerance
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of mixed branches
            bound, Phi_S, loss = from_labels(W, one["Q"], one["Z"], one["share"], one["signs"])
        assert abs(answer["bound"] / bound - 1) <= 1e-12 * np.linalg.cond(one["X"])
        assert (answer["found"] is None) == (Phi_S is None)
        refused += Phi_S is None
        if Phi_S is not None:
            near("found", Phi_S, loss * np.linalg.cond(one["X"]))
        s = np.linalg.svd(W, compute_uv=False)
        assert abs(answer["shortfall"] - np.linalg.norm(s[1:]) / np.linalg.norm(s)) <= 1e-12
    assert 100 < refused < 500


@pytest.mark.slow
def test_the_page_judges_as_the_package_does_when_given_its_own_code(window):
    rng, kinds = np.random.default_rng(1), []
    for _ in range(40):
        state = {
            "classes": int(rng.integers(2, 4)), "mode": str(rng.choice(["labels", "points"])), "m": int(rng.integers(1, 7)),
            "each": int(rng.integers(1, 4)), "decisions": bool(rng.random() < 0.4), "constant": bool(rng.random() < 0.4),
            "near": bool(rng.random() < 0.5), "lam": float(10 ** rng.uniform(-2, 2)), "lamS": float(rng.choice([0, 0.3])),
            "share": float(rng.choice([0, 0.4, 1, 1.1])), "signs": rng.choice([-1, 1], 2).tolist(),
            "own": rng.normal(size=(6, 2)).tolist(),
        }  # fmt: skip
        kind, text = set_to(window, **state)
        exact, said = in_python(window)
        assert (kind == "exact") == (exact is True), (state, text, said)
        kinds.append(kind)
    assert set(kinds) == {"exact", "other", "none"}


@pytest.mark.slow
def test_a_regularisation_above_the_bound_is_refused_with_the_reason_of_the_package(window):
    kind, text = set_to(window, share=1.21)
    refusal = in_python(window)[1]
    bound = float(re.search(r"‖²\) = ([\d.]+)", text)[1])
    assert kind == "none" and abs(bound / float(re.search(r"4 s_max\^2\) = ([\d.]+)", refusal)[1]) - 1) < 0.01
    assert "Labels 1.10 times as large would do" in text and "at least 1.1," in refusal
    assert window.locator(".pg-panel").nth(1).locator(".pg-point").count() == 0
    assert set_to(window, share=1.0)[0] == "exact"
    kind, text = set_to(window, share=0, signs=[1, -1])
    assert kind == "none" and "only the + branch" in text and "only the + branch" in in_python(window)[1]


@pytest.mark.slow
def test_one_point_too_few_is_as_far_away_as_the_corollary_says_and_enough_for_two_classes(window):
    kind, text = set_to(window, mode="points", m=1)
    away, best = (int(found) for found in re.findall(r"(\d+) % away", text))
    assert kind == "other" and away > best
    W = np.asarray(window.evaluate("document.querySelector('.ddref-playground').playground.found.W"))
    s = np.linalg.svd(W, compute_uv=False)
    assert best == round(100 * s[1] / np.linalg.norm(s))
    kind, text = set_to(window, mode="points", m=1, near=True)
    assert kind == "other" and f"{best} % away" in text and "No set of 1 comes closer" in text
    assert set_to(window, mode="points", m=1, classes=2, decisions=True)[0] == "other"
    assert set_to(window, mode="points", m=1, classes=2, decisions=True, near=True)[0] == "exact"
    line = {"mode": "points", "m": 2, "constant": True, "decisions": True}
    assert set_to(window, **line)[0] == "other" and set_to(window, **line, near=True)[0] == "exact"
    on_a_line = {"mode": "points", "m": 3, "own": [[0.2, 0.3], [0.4, 0.6], [-1, -1.5]]}
    assert "on one line through the origin" in set_to(window, **on_a_line)[1]


@pytest.mark.slow
def test_a_sample_is_dragged_by_mouse_and_by_keys_and_the_set_stays_exact(window):
    set_to(window)
    sample = window.locator(".pg-point").first
    sample.scroll_into_view_if_needed()
    box = sample.locator(".pg-dot").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    before = window.evaluate("document.querySelector('.ddref-playground').playground.found.P")
    window.mouse.move(x + 3, y - 3)
    window.mouse.down()
    window.mouse.move(x - 60, y + 40, steps=3)
    window.mouse.up()
    window.mouse.move(x, y)  # not held any more
    found = "document.querySelector('.ddref-playground').playground.found"
    (moved, *_), after, exact = (window.evaluate(f"{found}.{name}") for name in ("X", "P", "exact"))
    assert moved[0] < 0.6 and moved[1] < 0.1 and exact
    assert measure.relative_error(np.asarray(after), np.asarray(before)) > 0.01
    window.keyboard.press("ArrowRight")
    window.keyboard.press("Shift+ArrowUp")
    window.keyboard.press("]")
    window.keyboard.press("ArrowLeft")
    first, second = window.evaluate(f"{found}.X")[:2]
    assert np.allclose([first, second], [[moved[0] + 0.05, moved[1] + 0.2], [1.05, -0.2]])
    assert window.evaluate("document.activeElement.getAttribute('aria-label')").startswith("sample 2 of class 1, at 1.05")


@pytest.mark.slow
def test_a_voice_is_told_the_verdict_and_finds_it_once_when_it_reads_on(window):
    _, text = set_to(window)
    window.wait_for_function("document.querySelector('.pg-heard').textContent !== ''")
    heard = window.evaluate("document.querySelector('.pg-heard').textContent")
    assert heard and heard.split()[:3] == text.split()[:3]
    window.wait_for_function("document.querySelector('.pg-heard').textContent === ''", timeout=10_000)


@pytest.mark.slow  # a browser
def test_fingers_find_targets_of_44_pixels_and_every_control_has_a_name(window):
    set_to(window)
    sizes = window.evaluate(
        """[...document.querySelectorAll(".pg-hit, .pg-row, .pg-row label, .pg-row input[type=range], .pg-button, summary")]
           .filter(node => node.checkVisibility()).map(node => node.getBoundingClientRect().height)"""
    )
    assert len(sizes) > 30 and min(sizes) >= 43.9
    nameless = "[...document.querySelectorAll('.ddref-playground input')].filter(node => !node.closest('label')?.textContent.trim())"
    assert window.evaluate(f"{nameless}.length") == 0


@pytest.mark.slow
def test_the_still_pictures_are_what_the_script_draws_first(window):
    window.reload()
    number = re.compile(r"-?\d+\.?\d*")
    for name, drawn in playground_stills.drawn(window).items():
        kept = (playground_stills.ROOT / "_static" / name).read_text(encoding="utf-8")
        assert number.sub("", kept) == number.sub("", drawn), f"python -m tools.playground_stills writes {name} again"
        assert np.allclose([float(v) for v in number.findall(kept)], [float(v) for v in number.findall(drawn)], atol=0.1)


def test_the_script_is_small_and_asks_for_nothing():
    style = (playground_stills.VENDOR / "playground.css").read_text(encoding="utf-8")
    assert len(SCRIPT) + len(style) < 60_000
    asks = re.compile(r"fetch\(|^ *import |import\(|XMLHttp|Worker|localStorage|https?://(?!www\.w3\.org/2000/svg)|url\(", re.MULTILINE)
    assert asks.findall(SCRIPT + style) == []


def test_the_theorems_that_it_names_are_where_its_links_lead():
    names = dict(re.findall(r'(\w+): "(\d\d_\w+)"', SCRIPT))
    links = re.findall(r"\$\{PAGES\.(\w+)\}\.html#([\w-]+)", SCRIPT)
    assert len(links) == 4
    for page, label in links:
        text = (playground_stills.ROOT / "chapters" / f"{names[page]}.ipynb").read_text(encoding="utf-8")
        assert f":label: {label}" in text
