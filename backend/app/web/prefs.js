// What this browser keeps: language, theme, profile, key, drafts. A browser that refuses to keep keeps until reload.
import en from "/web/words/en.js";
import es from "/web/words/es.js";

const languages = { es, en };
const kept = { local: new Map(), session: new Map() };

function storage(kind) {
  return {
    get(name) {
      try { return window[`${kind}Storage`].getItem(name); } catch { return kept[kind].get(name) ?? null; }
    },
    set(name, value) {
      try {
        if (value === null) window[`${kind}Storage`].removeItem(name);
        else window[`${kind}Storage`].setItem(name, value);
      } catch { kept[kind].set(name, value); }
    },
  };
}
export const local = storage("local");
export const session = storage("session");

const stored = local.get("language");
let language = languages[stored] ? stored : (navigator.language.startsWith("es") ? "es" : "en");
export const words = () => languages[language];
export const languageNow = () => language;

export function setLanguage(name) {
  language = name;
  local.set("language", name);
}

export const themeNow = () => document.documentElement.dataset.theme || "system";

export function setTheme(name) {
  local.set("theme", name === "system" ? null : name);
  if (name === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
}

// crypto.randomUUID is missing where the page came over plain HTTP; getRandomValues is there.
function random() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function user() {
  let name = local.get("user");
  if (!name) local.set("user", name = random());
  return name;
}
export const setUser = (name) => local.set("user", name);

// A key is kept as long as this tab, or on this device where a person asked for it.
export const key = () => session.get("key") || local.get("key") || "";

export function setKey(value, isRemembered) {
  session.set("key", value || null);
  local.set("key", value && isRemembered ? value : null);
}

// A header holds bytes: other letters than ASCII's are sent as UTF-8.
const latin = (text) => String.fromCharCode(...new TextEncoder().encode(text));
export const keyHeader = () => (key() ? { "x-api-key": latin(key()) } : {});

// Texts that follow the language: `say` writes one now and again whenever the language changes.
export function say(node, text) {
  node.say = text;
  node.dataset.say = "";
  node.textContent = text(words());
  return node;
}

export function label(node, text) {
  node.label = text;
  node.dataset.label = "";
  const said = text(words());
  node.setAttribute("aria-label", said);
  node.title = said;
  return node;
}

// A name in the page's HTML, such as `send` or `panel.pause`.
const named = (name) => name.split(".").reduce((part, key) => part[key], words());

export function translate(root) {
  for (const node of root.querySelectorAll("[data-text]")) node.textContent = named(node.dataset.text);
  for (const node of root.querySelectorAll("[data-name]")) {
    node.setAttribute("aria-label", named(node.dataset.name));
    node.title = named(node.dataset.name);
  }
  for (const node of root.querySelectorAll("[data-say]")) node.textContent = node.say(words());
  for (const node of root.querySelectorAll("[data-label]")) label(node, node.label);
}
