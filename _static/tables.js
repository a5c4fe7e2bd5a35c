/* Tables: long names break after their marks, and a table that is wider than its place becomes one card a row. */
document.addEventListener("DOMContentLoaded", () => {
  const tables = () => document.querySelectorAll(".bd-article table");

  for (const piece of document.querySelectorAll(".bd-article table code .pre, .bd-article table code:not(:has(.pre))")) {
    const parts = piece.textContent.split(/(?<=[_./:])(?![_./:])/);
    piece.replaceChildren(...parts.flatMap((part, i) => (i ? [document.createElement("wbr"), part] : [part])));
  }

  /* Roles are said again, since a table that is shown as cards is no table to a screen reader. */
  for (const table of tables()) {
    const names = [...(table.tHead?.rows[0]?.cells ?? [])].map((cell) => cell.textContent.trim());
    if (!names.length) continue;
    table.setAttribute("role", "table");
    for (const row of table.rows) {
      row.setAttribute("role", "row");
      for (const cell of row.cells)
        cell.setAttribute("role", cell.matches("thead *") && cell.textContent.trim() ? "columnheader" : "cell");
    }
    for (const row of table.tBodies[0]?.rows ?? [])
      [...row.cells].forEach((cell, i) => { cell.dataset.column = cell.textContent.trim() && (names[i] ?? ""); });
  }

  /* All are read before any is written: the page is laid out once, and not once a table. */
  const fit = () => {
    const all = [...tables()].filter((table) => table.tHead);
    for (const table of all) table.classList.remove("as-cards");
    const wide = all.filter((table) => table.scrollWidth > table.parentElement.clientWidth + 1);
    for (const table of wide) table.classList.add("as-cards");
  };
  fit();
  addEventListener("resize", fit);
  addEventListener("load", () => {
    document.fonts.ready.then(fit);
    (window.MathJax?.startup?.promise ?? Promise.resolve()).then(fit);
  });
});
