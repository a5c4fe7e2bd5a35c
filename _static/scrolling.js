/* What scrolls sideways in its own box, a wide formula above all, is a stop of the Tab key, so that the arrow keys
   scroll it; nothing else becomes one. */
(() => {
  const BOXES = 'mjx-container[display="true"], .bd-article p, .bd-article .pst-scrollable-table-container';
  const mark = () => {
    const boxes = [...document.querySelectorAll(BOXES)];
    const wide = boxes.map((box) => box.scrollWidth > box.clientWidth + 1 && getComputedStyle(box).overflowX !== "visible");
    boxes.forEach((box, i) => {
      if (wide[i] === box.hasAttribute("data-scrolls")) return;
      box.toggleAttribute("data-scrolls", wide[i]);
      if (!wide[i]) return ["tabindex", "role", "aria-label"].forEach((name) => box.removeAttribute(name));
      const what = box.matches("mjx-container") ? "Formula" : box.matches("p") ? "Text with a formula" : "Table";
      box.setAttribute("tabindex", "0");
      box.setAttribute("role", "group");
      box.setAttribute("aria-label", `${what}, scrolls sideways`);
    });
  };
  addEventListener("load", () => (window.MathJax?.startup?.promise ?? Promise.resolve()).then(mark));
  addEventListener("resize", mark);
  document.addEventListener("toggle", mark, true); /* formulas in what was folded */
  document.addEventListener("click", (event) => { if (event.target.closest(".toggle-button")) setTimeout(mark); });
})();
