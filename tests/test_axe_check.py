"""`tools/axe_check.py` passes a page that is in order and names what is grave in one that is not."""

import shutil

import pytest

from tools import axe_check, pages_check

PAGE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Page</title>
<style>:root {{ color-scheme: light dark }} body {{ background: Canvas }}</style></head>
<body><main><h1>Title</h1>{}</main></body></html>"""


@pytest.mark.slow  # a browser
def test_grave_findings_fail_and_others_do_not(tmp_path, capsys):
    if not any(map(shutil.which, pages_check.BROWSERS)) or axe_check.script() is None:
        pytest.skip("`make axe` needs Chromium and axe-playwright-python")
    bodies = {
        "good": "<p>Text</p><h3>A level too low</h3>",
        "bad": '<img src="data:,">',
        "dark": '<p style="color: #333">Text</p>',
    }
    for name, body in bodies.items():
        (tmp_path / f"{name}.html").write_text(PAGE.format(body), encoding="utf-8")
    assert axe_check.main([str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "ok   good.html" in printed and "FAIL bad.html" in printed and "FAIL dark.html" in printed
    assert "critical: light: image-alt" in printed and "serious: dark: color-contrast" in printed
    assert "light: color-contrast" not in printed and "1 of 3 pages" in printed


def test_without_the_package_nothing_is_looked_at_and_it_is_said(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(axe_check, "script", lambda: None)
    assert axe_check.main([str(tmp_path)]) == 0
    assert "skipped" in capsys.readouterr().out
