/* The results of a search lead to sections, each with the words around what was found.

Sphinx finds pages, and reads their text with `fetch`, which a browser refuses to pages on a disk. The texts of
all sections stand above, in `sections`: {page: [[anchor, title, text], ...]}. */
document.addEventListener("DOMContentLoaded", () => {
  const escaped = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;");
  /* A word begins with the stem that Sphinx looks for, which may end in another vowel. */
  const pattern = (stem) => new RegExp("(?<![\\p{L}\\p{N}])" + stem.replace(/[iye]$/, "").replace(/\W/g, "\\$&"), "giu");
  const hits = (text, terms) => [...terms].map((term) => [...text.matchAll(pattern(term))].length);
  const sectionsOf = (page) => sections[page] ?? [];

  const found = Search._performSearch;
  Search._performSearch = (query, terms, ...rest) => {
    const results = found(query, terms, ...rest).reverse(); // best first
    const led = results.flatMap((result) => {
      const [page, title, anchor, description, score, file] = result;
      if (anchor || description) return [result];
      const best = sectionsOf(page)
        .map(([id, name, text]) => ({ id, name, counts: hits(`${name} ${text}`, terms) }))
        .map((section) => ({ ...section, all: section.counts.filter(Boolean).length,
                             sum: section.counts.reduce((a, b) => a + b, 0) }))
        .filter((section) => section.sum)
        .sort((a, b) => b.all - a.all || b.sum - a.sum)
        .filter((section, i, list) => i < 3 && section.all === list[0].all);
      if (!best.length) return [result];
      return best.map(({ id, name }) =>
        [page, name === title ? title : `${title} &gt; ${escaped(name)}`, `#${id}`, null, score, file]);
    });
    const seen = new Set();
    return led.filter((result) => !seen.has(result[0] + result[2]) && seen.add(result[0] + result[2])).reverse();
  };

  /* Sphinx asks for the page and hands what comes to makeSearchSummary: here that is the page's name. */
  const root = document.documentElement.dataset.content_root;
  const fetched = window.fetch;
  window.fetch = (address, ...rest) => {
    const page = String(address).slice(root.length).replace(/\.html$/, "");
    return page in sections ? Promise.resolve({ text: async () => page }) : fetched(address, ...rest);
  };
  Search.makeSearchSummary = (page, terms, anchor) => {
    const ours = sectionsOf(page).find(([id]) => `#${id}` === anchor) ?? sectionsOf(page)[0];
    const summary = document.createElement("p");
    summary.classList.add("context");
    if (!ours) return summary;
    const text = ours[2], first = [...terms].map((term) => text.search(pattern(term))).filter((i) => i >= 0);
    const start = first.length ? Math.max(0, text.lastIndexOf(" ", Math.max(0, Math.min(...first) - 80))) : 0;
    const piece = text.slice(start, start + 240);
    summary.textContent = (start ? "… " : "") + piece.trim() + (start + 240 < text.length ? " …" : "");
    return summary;
  };
});
