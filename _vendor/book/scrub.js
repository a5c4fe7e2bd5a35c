/* A figure with a slider (ddref.book.scrub): a cell with the tag `scrub` has a picture with its frames below each
   other, and has printed a sentence for each. Without this script both are shown whole; on paper the frames stand in two columns, each above its
   sentence. */
(() => {
  "use strict";
  const made = (tag, className) => Object.assign(document.createElement(tag), {className});

  const words = (sentence) => sentence.split(/(?=_S\b)/).flatMap((part, i) =>
    i ? [Object.assign(made("sub", ""), {textContent: "S"}), part.slice(2)] : [part]);

  function start(cell) {
    const image = cell.querySelector("img"), printed = cell.querySelector(".output.stream");
    const said = printed?.textContent.trim().split("\n") ?? [], n = said.length;
    if (!image || n < 2) return;
    const view = made("div", "scrub-view"), input = made("input", "scrub-input"), text = made("p", "scrub-said");
    (image.closest("a.image-reference") ?? image).replaceWith(view); // a link to the strip alone would lead astray
    view.append(image);
    view.after(input, text);
    printed.classList.add("scrub-printed");
    Object.assign(input, {type: "range", min: 0, max: n - 1, step: 1, value: 0});
    input.setAttribute("aria-label", "Frame of the figure");

    const resize = () => {
      view.style.aspectRatio = `${image.naturalWidth} / ${image.naturalHeight / n}`;
      // pixels of images stay squares where they are enlarged; a plot is about as large as it is shown
      image.style.imageRendering = view.clientWidth > 1.8 * image.naturalWidth ? "pixelated" : "auto";
    };
    const show = () => {
      image.style.transform = `translateY(${-100 * input.value / n}%)`;
      text.replaceChildren(...words(said[input.value]));
      input.setAttribute("aria-valuetext", said[input.value]);
    };
    const frame = (sentence, i) => {
      const box = made("div", ""), window = made("div", ""), copy = image.cloneNode();
      window.style.aspectRatio = view.style.aspectRatio;
      copy.style.transform = `translateY(${-100 * i / n}%)`;
      window.append(copy);
      box.append(window, made("p", ""));
      box.lastChild.append(...words(sentence));
      return box;
    };
    const paper = made("div", "scrub-paper");
    addEventListener("beforeprint", () => {
      paper.replaceChildren(...said.map(frame));
      view.before(paper);
    });
    addEventListener("afterprint", () => paper.remove());
    image.loading = "eager";
    image.complete ? resize() : image.addEventListener("load", resize);
    input.addEventListener("input", show);
    show();
  }
  const begin = () => document.querySelectorAll(".cell.tag_scrub").forEach(start);
  document.readyState === "loading" ? document.addEventListener("DOMContentLoaded", begin) : begin();
})();
