// Small makers of elements. Texts follow the language (prefs.js), icons come from one file.
import { label, say } from "/web/prefs.js";

export const $ = (id) => document.getElementById(id);

export function make(tag, className = "", ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `/web/icons.svg#${name}`);
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

// A button with an icon, a text, or both; without a text its name is for who cannot see the icon.
export function button({ image, text, name, className = "", onClick }) {
  const node = make("button", className);
  node.type = "button";
  if (image) node.append(icon(image));
  if (text) node.append(say(make("span"), text));
  if (name) label(node, name);
  if (onClick) node.addEventListener("click", onClick);
  return node;
}
