/* A figure with a slider: one picture with its frames below each other, and a list with a sentence for each
   (ddref.book.scrub). Without this script both are shown whole. */
(() => {
  "use strict";
  const made = (tag, className) => Object.assign(document.createElement(tag), {className});

  function start(list) {
    const image = list.closest(".cell_output, .ddref-scrub-box")?.querySelector("img");
    const said = [...list.children].map(item => item.textContent.trim()), n = said.length;
    if (!image || n < 2) return;
    const view = made("div", "ddref-scrub-view"), box = made("label", "ddref-scrub-control");
    const name = made("span", "ddref-scrub-name"), input = made("input", ""), text = made("p", "ddref-scrub-said");
    const place = image.closest("a.image-reference") ?? image; // a link to the strip alone would lead astray
    place.replaceWith(view);
    view.append(image);
    name.textContent = list.dataset.label;
    Object.assign(input, {type: "range", min: 0, max: n - 1, step: 1, value: list.dataset.begin});
    box.append(name, input);
    view.after(box, text);
    list.classList.add("ddref-scrub-heard");

    const resize = () => { view.style.aspectRatio = `${image.naturalWidth} / ${image.naturalHeight / n}`; };
    const show = () => {
      image.style.transform = `translateY(${-100 * input.value / n}%)`;
      text.textContent = said[input.value];
      input.setAttribute("aria-valuetext", said[input.value]);
    };
    image.complete ? resize() : image.addEventListener("load", resize);
    image.loading = "eager";
    input.addEventListener("input", show);
    show();
  }
  const begin = () => document.querySelectorAll("ol.ddref-scrub").forEach(start);
  document.readyState === "loading" ? document.addEventListener("DOMContentLoaded", begin) : begin();
})();
