"""A field under every exercise that `ddref.exercises` knows; `_config.yml` loads this as an extension.

The form is part of the page, hidden, so that a page without JavaScript has the exercise alone; the script
`_vendor/book/answers.js`, which only pages with exercises load, shows and judges it.
"""

import html
import json

from docutils import nodes
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from sphinx.util import logging
from sphinx_exercise.nodes import is_exercise_node

from ddref.exercises import GAP, entries

SCRIPT, STYLE = "../book/answers.js", "../book/answers.css"  # seen from _static
OF_ONE_NUMBER = "a number, such as 0.5, 3/4 or sqrt(2)"

FORM = """<form class="exercise-answer" data-exercise="{label}" data-entry="{entry}" hidden>
{fields}
</form>
"""
OF_NUMBERS = """<label for="{label}-answer">Your answer <small>{like}</small></label>
<div class="exercise-row"><input id="{label}-answer" type="text" aria-describedby="{label}-said" autocomplete="off"
autocapitalize="off" spellcheck="false" enterkeyhint="done"><button type="submit">check</button></div>
<output id="{label}-said" for="{label}-answer" aria-live="polite"></output>"""
OF_CODE = """<details><summary>Answer here: choose the right line</summary>
<fieldset><legend>Which line belongs in the place of <code>{gap}</code>?</legend>
<pre class="highlight">{frame}</pre>
{choices}
</fieldset>
<div class="exercise-row"><button type="submit">check</button></div>
<output id="{label}-said" aria-live="polite"></output></details>"""
CHOICE = """<label><input type="radio" name="{label}-line" value="{code}" aria-describedby="{label}-said"><code \
class="highlight">{shown}</code></label>"""


class exercise_answer(nodes.General, nodes.Element):
    """The form under an exercise."""


def colored(code):
    return highlight(code, PythonLexer(), HtmlFormatter(nowrap=True)).rstrip("\n")


def form_of(label, entry):
    """The form of an exercise as HTML."""
    if "choices" in entry:
        choices = (CHOICE.format(label=label, code=html.escape(one["code"]), shown=colored(one["code"])) for one in entry["choices"])
        fields = OF_CODE.format(label=label, gap=GAP, frame=colored("\n".join(entry["frame"])).replace(GAP, f"<mark>{GAP}</mark>"), choices="\n".join(choices))
    else:
        fields = OF_NUMBERS.format(label=label, like=html.escape(entry.get("example", OF_ONE_NUMBER)))
    return FORM.format(label=label, entry=html.escape(json.dumps(entry, ensure_ascii=False)), fields=fields)


def add_forms(app, doctree):
    """Put a form at the end of every exercise."""
    for node in doctree.findall(is_exercise_node):
        if node["label"] in entries():
            node += exercise_answer(label=node["label"])
        else:
            message = f"ddref/data/exercises.json has no entry for {node['label']}"
            logging.getLogger(__name__).warning(message, location=node)


def visit_exercise_answer(writer, node):
    writer.body.append(form_of(node["label"], entries()[node["label"]]))
    raise nodes.SkipNode


def leave_out(writer, node):
    raise nodes.SkipNode


def add_script(app, pagename, templatename, context, doctree):
    """Load the script and its style on pages that have a form."""
    if app.builder.format == "html" and 'class="exercise-answer"' in context.get("body", ""):
        app.add_js_file(SCRIPT, loading_method="defer")
        app.add_css_file(STYLE)


def setup(app):
    hidden = (leave_out, None)
    app.add_node(exercise_answer, html=(visit_exercise_answer, None), latex=hidden, text=hidden, man=hidden)
    app.connect("doctree-read", add_forms)
    app.connect("html-page-context", add_script, priority=400)  # before book_extension puts another list of scripts
    return {"parallel_read_safe": True, "parallel_write_safe": True}
