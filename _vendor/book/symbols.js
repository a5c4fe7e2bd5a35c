/* Symbols that answer: touch one in a formula and a card says what it is; what belongs to the data, to the set and to
regularisation has its colour. `ddrefSymbols` holds the symbols of this page (tools/book_symbols.py).

MathJax reads each formula into a tree before it draws it. There a symbol is found by its form: Φ with the index S is
one node, so that Φ_S^+ is never taken for Φ. The page keeps its order of the Tab key: one button lists all symbols. */
(() => {
  "use strict";
  const table = window.ddrefSymbols ?? [];
  const powers = /^(⊤|T|\+|[−-]?\d+([/.]\d+)?|[−-]?⊤)$/; // of a symbol, which stays what it is
  const byKey = new Map();

  /* The form of a node: letters, with _ for an index, ^ for what stands above. */
  function key(node) {
    if (!node) return "";
    const kids = node.childNodes ?? [];
    switch (node.kind) {
      case "mi": case "mo": case "mn": case "mtext": {
        const script = /script/.test(node.attributes.get("mathvariant") ?? "");
        return (script ? "script " : "") + kids.map((kid) => kid.getText?.() ?? "").join("").replace("-", "−");
      }
      case "msub": return `${key(kids[0])}_${key(kids[1])}`;
      case "msup": return `${key(kids[0])}^${key(kids[1])}`;
      case "msubsup": return `${key(kids[0])}_${key(kids[1])}^${key(kids[2])}`;
      case "mover": return `${key(kids[0])} under ${key(kids[1])}`;
      case "mspace": return "";
      default: return kids.map(key).join("");
    }
  }

  function mark(node, name) {
    const entry = byKey.get(name);
    const known = node.attributes.getExplicit("class");
    node.attributes.set("class", [known, "ddref-symbol", entry.kind && `ddref-${entry.kind}`].filter(Boolean).join(" "));
    node.attributes.set("data-symbol", entry.tex);
  }

  /* Marks what is known, and looks further inside what is not; an unknown index makes its letter another symbol. */
  function walk(node) {
    const kids = node.childNodes ?? [];
    if (byKey.has(key(node)) && ["mi", "msub", "msup", "msubsup", "mover"].includes(node.kind)) return mark(node, key(node));
    if (node.kind === "msubsup") {
      const base = `${key(kids[0])}_${key(kids[1])}`;
      if (byKey.has(base) && powers.test(key(kids[2]))) return mark(node, base);
      return kids.slice(1).forEach(walk);
    }
    if (node.kind === "msup" && !powers.test(key(kids[1])) && plain(kids[0])) return walk(kids[1]);
    if (["msub", "mover", "munder"].includes(node.kind) && plain(kids[0])) return kids.slice(1).forEach(walk);
    kids.forEach((kid) => kid && walk(kid));
  }
  const plain = (node) => byKey.has(key(node)); // one letter, and no bracket with letters in it

  function start() {
    const doc = MathJax.startup.document;
    const read = (tex) => doc.convert(tex, { end: MathJax._.core.MathItem.STATE.COMPILED });
    for (const entry of table) byKey.set(key(read(entry.tex)), entry);
    doc.inputJax[0].postFilters.add(({ data }) => walk(data.root));
  }
  const settings = (window.MathJax ??= {});
  settings.startup = { ...settings.startup, ready: () => { MathJax.startup.defaultReady(); start(); } };

  /* -- the card */

  const text = (tag, words, name) => Object.assign(document.createElement(tag), { textContent: words, className: name ?? "" });

  function fill(place, entry) {
    place.replaceChildren(text("b", entry.is));
    const more = document.createElement("span");
    if (entry.shape) more.append(entry.shape);
    if (entry.code) more.append(entry.shape ? " · in code " : "in code ", text("code", entry.code));
    if (more.hasChildNodes()) place.append(more);
  }

  function begin() {
    const card = text("div", "", "ddref-card");
    card.setAttribute("role", "status");
    card.hidden = true;
    document.body.append(card);
    let waiting, shown;

    const show = (node) => {
      clearTimeout(waiting);
      shown?.classList.remove("ddref-shown");
      shown = node;
      card.hidden = !node;
      if (!node) return;
      node.classList.add("ddref-shown");
      fill(card, table.find((entry) => entry.tex === node.dataset.symbol));
      const box = node.getBoundingClientRect(), width = document.documentElement.clientWidth;
      const below = box.bottom + card.offsetHeight + 16 < innerHeight;
      card.style.left = `${Math.max(8, Math.min(width - card.offsetWidth - 8, box.left)) + scrollX}px`;
      card.style.top = `${(below ? box.bottom + 8 : box.top - card.offsetHeight - 8) + scrollY}px`;
    };
    const symbol = (event) => event.target.closest?.("article .ddref-symbol, .ddref-symbols .ddref-symbol");
    document.addEventListener("click", (event) => show(symbol(event)));
    document.addEventListener("pointerover", (event) => {
      if (event.pointerType !== "mouse") return;
      clearTimeout(waiting);
      const node = symbol(event);
      if (node && node !== shown) waiting = setTimeout(show, 250, node);
      else if (!node && !card.contains(event.target)) waiting = setTimeout(show, 250, null);
    });
    document.addEventListener("keydown", (event) => { if (event.key === "Escape" && !card.hidden) show(null); });
    addEventListener("beforeprint", () => show(null));
    list();
  }

  /* One button for the keyboard, and for whoever wants all of them. */
  function list() {
    const bar = document.querySelector(".article-header-buttons");
    const here = new Set([...document.querySelectorAll("article .ddref-symbol")].map((node) => node.dataset.symbol));
    const entries = table.filter((entry) => here.has(entry.tex));
    if (!bar || !entries.length) return;
    const button = text("button", "Σ", "btn btn-sm ddref-symbols-button");
    button.type = "button";
    button.title = "Symbols of this page";
    button.setAttribute("aria-label", button.title);
    bar.prepend(button);
    let dialog;
    button.addEventListener("click", () => {
      dialog ??= opened(entries);
      dialog.showModal();
    });
  }

  function opened(entries) {
    const dialog = text("dialog", "", "ddref-symbols");
    const close = text("button", "Close", "btn btn-sm");
    const rows = document.createElement("dl");
    dialog.setAttribute("aria-label", "Symbols of this page");
    for (const entry of entries) {
      const name = document.createElement("dt"), said = document.createElement("dd");
      name.append(MathJax.tex2chtml(entry.tex));
      fill(said, entry);
      rows.append(name, said);
    }
    close.type = "button";
    close.addEventListener("click", () => dialog.close());
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
    const title = Object.assign(text("h2", "Symbols of this page"), { tabIndex: -1, autofocus: true });
    dialog.append(title, rows, close); // opens at its title, and not scrolled down to the button
    document.body.append(dialog);
    MathJax.startup.document.clear?.();
    MathJax.startup.document.updateDocument();
    return dialog;
  }

  addEventListener("load", () => (window.MathJax?.startup?.promise ?? Promise.resolve()).then(begin));
})();
