/* Answers in the page. tools/exercise_answers.py writes a hidden form under every exercise, with its entry of
   ddref/data/exercises.json; this script shows the forms, judges what is typed or chosen, and keeps it in the
   browser. No library, no network, no eval. */
(() => {
  "use strict";

  const LIKE = "Write numbers, such as 0.5, 3/4 or sqrt(2).";

  /* -- Numbers as a reader writes them: 0.01, 1e-6, 9/16, sqrt(5), -2^3, 255²·0.02, 0.2 %, λ = 10; separated by
     commas, semicolons or "and", in any brackets. The result is one flat list, whatever the brackets are. */
  function read(written) {
    const text = written
      .replace(/\b(?:math|np|numpy)\./g, "").replace(/\*\*/g, "^").replace(/[−–]/g, "-").replace(/[·×⋅]/g, "*")
      .replace(/½/g, "(1/2)").replace(/√/g, "sqrt").replace(/π/g, " pi")
      .replace(/[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+/g, raised => `^(${[...raised].map(one => "-0123456789"["⁻⁰¹²³⁴⁵⁶⁷⁸⁹".indexOf(one)]).join("")})`)
      .replace(/\band\b|;/g, ",");
    let at = 0;
    const rest = () => text.slice(at).trimStart();
    const next = () => rest()[0];
    const fail = () => {
      const where = rest().slice(0, 12);
      throw new SyntaxError(where ? `This cannot be read from “${where}” on. ${LIKE}` : `Something is missing at the end. ${LIKE}`);
    };
    function take(pattern) {
      const found = pattern.exec(rest());
      if (found) at = text.length - rest().length + found[0].length;
      return found && found[0];
    }
    const number = value => (typeof value === "number" ? value : fail());
    function atom() {
      if (take(/^[([]/)) {
        const items = list();
        if (!take(/^[)\]]/)) fail();
        return items.length === 1 ? items[0] : items;
      }
      if (take(/^sqrt/)) return Math.sqrt(number(atom()));
      if (take(/^pi\b/)) return Math.PI;
      const digits = take(/^(\d+\.?\d*|\.\d+)(e[-+]?\d+)?/i);
      return digits ? Number(digits) : fail();
    }
    function power() {
      let value = atom();
      if (take(/^\^/)) value = number(value) ** signed();
      return take(/^%/) ? number(value) / 100 : value;
    }
    function signed() {
      if (take(/^-/)) return -number(signed());
      return take(/^\+/) ? number(signed()) : power();
    }
    function product() {
      let value = signed();
      for (;;) {
        if (take(/^\*/)) value = number(value) * number(signed());
        else if (take(/^\//)) value = number(value) / number(signed());
        else if (/^(sqrt|pi\b)/.test(rest())) value = number(value) * number(power()); // 2 sqrt(2)
        else return value;
      }
    }
    function sum() {
      take(/^\p{L}[\p{L}\p{N}_]*\s*=/u); // the name in λ = 10
      let value = product();
      for (;;) {
        if (take(/^\+/)) value = number(value) + number(product());
        else if (take(/^-/)) value = number(value) - number(product());
        else return value;
      }
    }
    function list() {
      const items = [sum()];
      while (take(/^,/)) {
        if (next() === undefined || /[)\]]/.test(next())) break; // (1,)
        items.push(sum());
      }
      return items;
    }
    const items = list();
    if (next() !== undefined) fail();
    return items.flat(Infinity);
  }

  /* -- Twins of the functions of the same names in ddref/exercises.py. */
  const TOL = 1e-6;
  const count = entry => entry.count ?? entry.value?.length ?? 1;
  function same(found, wanted, entry) {
    const order = list => (entry.unordered ? [...list].sort((a, b) => a - b) : list);
    const [ours, theirs] = [order(found), order(wanted)];
    return ours.every((a, i) => Math.abs(a - theirs[i]) <= (entry.tol ?? TOL) * (Math.abs(theirs[i]) || 1));
  }
  function term(written, numbers) {
    const names = [...written.replace(/^-/, "")];
    const value = names.reduce((product, name) => product * numbers["abcdefgh".indexOf(name)], 1);
    return written.startsWith("-") ? -value : value;
  }
  function holds([wanted, ...terms], numbers, entry) {
    const values = terms.map(one => term(one, numbers));
    const size = values.reduce((all, value) => all + Math.abs(value), Math.abs(wanted));
    return Math.abs(values.reduce((all, value) => all + value, 0) - wanted) <= (entry.tol ?? TOL) * size;
  }
  function isRight(entry, numbers) {
    if (numbers.length !== count(entry)) return false;
    if (entry.between) return entry.between[0] <= numbers[0] && numbers[0] < entry.between[1];
    if (entry.equations) return entry.equations.every(equation => holds(equation, numbers, entry));
    return same(numbers, entry.value, entry);
  }
  function hint(entry, numbers) {
    const many = count(entry);
    if (numbers.length !== many) return `This takes ${many} number${many > 1 ? "s" : ""}.`;
    return entry.wrong.find(one => same(numbers, one.value, entry))?.say ?? entry.hint;
  }

  const correct = entry => [true, `Correct. ${entry.why ?? ""}`.trim()];
  /* Whether an answer is right, and what is said to it: of text for numbers, or of one line of four. */
  function verdict(entry, answer) {
    if (entry.choices) {
      const chosen = entry.choices.find(one => one.code === answer);
      return chosen.right ? correct(entry) : [false, chosen.say];
    }
    try {
      const numbers = read(answer);
      return isRight(entry, numbers) ? correct(entry) : [false, hint(entry, numbers)];
    } catch (error) {
      return [false, error instanceof SyntaxError ? error.message : `This cannot be read. ${LIKE}`];
    }
  }

  /* -- What is kept in the browser; where it keeps nothing, answers last as long as the page. */
  const kept = {
    get: key => { try { return localStorage.getItem(key); } catch { return null; } },
    set: (key, value) => {
      try { value ? localStorage.setItem(key, value) : localStorage.removeItem(key); } catch { /* not kept */ }
    },
  };

  function start(form, changed) {
    const entry = JSON.parse(form.dataset.entry);
    const [key, said] = [`ddref ${form.dataset.exercise}`, form.querySelector("output")];
    const fields = [...form.elements].filter(field => field.tagName === "INPUT");
    const given = () => (entry.choices ? fields.find(field => field.checked)?.value ?? "" : fields[0].value.trim());

    function tell(right, text) {
      said.textContent = (right ? "✓ " : "") + text;
      form.classList.toggle("right", right);
      form.classList.toggle("wrong", !right && text !== "");
      for (const field of fields) field.setAttribute("aria-invalid", String(!right && text !== ""));
      changed();
    }
    function judge() {
      const answer = given();
      if (answer) tell(...verdict(entry, answer));
      else tell(false, entry.choices ? "Choose a line first." : LIKE);
    }
    form.addEventListener("submit", event => {
      event.preventDefault();
      judge();
      kept.set(key, given());
    });
    form.addEventListener("input", () => { if (form.matches(".right, .wrong")) tell(false, ""); });
    form.addEventListener("forget", () => {
      form.reset();
      kept.set(key, "");
      tell(false, "");
    });

    const before = kept.get(key);
    if (entry.choices) for (const field of fields) field.checked = field.value === before;
    else fields[0].value = before ?? "";
    if (given()) judge();
    form.hidden = false;
  }

  function startAll() {
    const forms = [...document.querySelectorAll("form.exercise-answer")];
    if (!forms.length) return;
    const line = document.createElement("p");
    line.className = "exercise-count";
    line.innerHTML = '<span role="status"></span> <button type="button">forget my answers</button>';
    const [status, forget] = line.children;
    const changed = () => {
      const right = forms.filter(form => form.matches(".right")).length;
      const text = `${right} of ${forms.length} exercises answered${right === forms.length ? " ✓" : ""}`;
      if (status.textContent !== text) status.textContent = text;
    };
    (forms.at(-1).closest("section:has(> h2)") ?? document.body).append(line);
    forget.addEventListener("click", () => {
      for (const form of forms) form.dispatchEvent(new Event("forget"));
      forms[0].scrollIntoView({block: "center"});
    });
    for (const form of forms) start(form, changed);
    changed();
  }
  window.ddrefAnswers = {read, verdict};
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", startAll);
  else startAll();
})();
