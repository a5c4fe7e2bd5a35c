/* The buttons of listings: the function with all it needs goes into the clipboard. */
document.addEventListener("click", async (event) => {
  const button = event.target.closest(".listing-copy");
  if (!button) return;
  const text = button.parentElement.querySelector("template").content.textContent;
  let done = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    /* Where the browser keeps the clipboard from pages on a disk. */
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    done = document.execCommand("copy");
    area.remove();
  }
  button.textContent = done ? "copied" : "not allowed: download";
  setTimeout(() => { button.textContent = "copy this"; }, 2000);
});
