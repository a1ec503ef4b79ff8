// The clipboard interface is missing where the page came over plain HTTP: then as browsers did before.
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const box = document.createElement("textarea");
    box.value = text;
    box.className = "visually-hidden";
    box.setAttribute("aria-hidden", "true");
    const before = document.activeElement;
    document.body.append(box);
    box.select();
    const isCopied = document.execCommand("copy");
    box.remove();
    before?.focus();
    return isCopied;
  }
}
