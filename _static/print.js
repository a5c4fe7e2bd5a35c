/* On paper proofs are open; solutions stay as they are, closed (togglebutton_open_on_print in _config.yml). */
(() => {
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")]
      .filter((box) => box.querySelector(".proof") || /^\s*Proof/.test(box.querySelector("summary")?.textContent));
    for (const box of opened) box.open = true;
  });
  addEventListener("afterprint", () => { for (const box of opened) box.open = false; });
})();
