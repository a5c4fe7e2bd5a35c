"""`tools/axe_check.py` passes a page that is in order and names what is grave in one that is not."""

import shutil
from pathlib import Path

import pytest

from tools import axe_check, pages_check

PAGE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Page</title>
<style>:root {{ color-scheme: light dark }} body {{ background: Canvas }}</style></head>
<body><main><h1>Title</h1>{}</main></body></html>"""

ROOT = Path(__file__).resolve().parent.parent
WIDE = f"""<div class="bd-article"><p style="overflow-x: auto"><span style="white-space: nowrap">{"Text, " * 60}</span></p>
<p style="overflow-x: auto">Short</p></div>"""


@pytest.mark.slow  # a browser
def test_grave_findings_fail_and_others_do_not(tmp_path, capsys):
    if not any(map(shutil.which, pages_check.BROWSERS)) or axe_check.script() is None:
        pytest.skip("`make axe` needs Chromium and axe-playwright-python")
    bodies = {
        "good": "<p>Text</p><h3>A level too low</h3>",
        "bad": '<img src="data:,">',
        "dark": '<p style="color: #333">Text</p>',
        "wide": WIDE,
        "scrolled": WIDE + '<script defer src="scrolling.js"></script>',
    }
    shutil.copy(ROOT / "_static" / "scrolling.js", tmp_path)
    for name, body in bodies.items():
        (tmp_path / f"{name}.html").write_text(PAGE.format(body), encoding="utf-8")
    assert axe_check.main([str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "ok   good.html" in printed and "FAIL bad.html" in printed and "FAIL dark.html" in printed
    assert "critical: wide: light: image-alt" in printed and "serious: wide: dark: color-contrast" in printed
    assert "light: color-contrast" not in printed and "2 of 5 pages" in printed
    assert "FAIL wide.html\n       serious: wide: light: scrollable-region" in printed and "ok   scrolled.html" in printed


@pytest.mark.slow  # a browser
def test_what_scrolls_sideways_is_a_stop_of_the_tab_key_and_nothing_else_is(tmp_path):
    if not any(map(shutil.which, pages_check.BROWSERS)):
        pytest.skip("no Chromium")
    shutil.copy(ROOT / "_static" / "scrolling.js", tmp_path)
    (tmp_path / "page.html").write_text(PAGE.format(WIDE + '<script defer src="scrolling.js"></script>'))
    with pages_check.opened_browser() as browser:
        page, complaints = pages_check.open_window(browser, (1400, 900), tmp_path)
        page.goto((tmp_path / "page.html").as_uri(), wait_until="load")
        wide, short = page.locator("p").all()
        assert (wide.get_attribute("tabindex"), wide.get_attribute("role")) == ("0", "group")
        assert wide.get_attribute("aria-label") == "Text with a formula, scrolls sideways"
        assert short.get_attribute("tabindex") is None and not complaints
        page.set_viewport_size({"width": 4000, "height": 900})
        page.wait_for_function("!document.querySelector('[tabindex]')")
        assert wide.get_attribute("role") is None


def test_without_the_package_nothing_is_looked_at_and_it_is_said(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(axe_check, "script", lambda: None)
    assert axe_check.main([str(tmp_path)]) == 0
    assert "skipped" in capsys.readouterr().out
