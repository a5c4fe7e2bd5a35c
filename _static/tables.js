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
      for (const cell of row.cells) cell.setAttribute("role", cell.closest("thead") ? "columnheader" : "cell");
    }
    for (const row of table.tBodies[0]?.rows ?? [])
      [...row.cells].forEach((cell, i) => { cell.dataset.column = cell.textContent.trim() && (names[i] ?? ""); });
  }

  const fit = () => {
    for (const table of tables()) {
      table.classList.remove("as-cards");
      const place = table.parentElement;
      if (table.tHead && table.scrollWidth > place.clientWidth + 1) table.classList.add("as-cards");
    }
  };
  fit();
  addEventListener("resize", fit);
  addEventListener("load", () => {
    document.fonts.ready.then(fit);
    (window.MathJax?.startup?.promise ?? Promise.resolve()).then(fit);
  });
});
