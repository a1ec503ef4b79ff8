// The two dialogs: the key that a server asks for, and the settings of this browser.
import { button, make } from "/web/dom.js";
import * as prefs from "/web/prefs.js";

const { label, say } = prefs;
let number = 0;

function field(text, input, help) {
  number += 1;
  input.id = `field-${number}`;
  const name = say(make("label"), text);
  name.htmlFor = input.id;
  const box = make("div", "field", name, input);
  if (help) {
    const line = say(make("p", "quiet"), help);
    line.id = `help-${number}`;
    input.setAttribute("aria-describedby", line.id);
    box.append(line);
  }
  return box;
}

function opened(title, ...children) {
  const heading = say(make("h2"), title);
  heading.id = `dialog-${number += 1}`;
  const dialog = make("dialog", "", heading, ...children);
  dialog.setAttribute("aria-labelledby", heading.id);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

// One at a time: many requests may be refused at once.
let keyDialog = null;

export function askKey(onEntered) {
  if (keyDialog?.open) return;
  const wasTried = Boolean(prefs.key());
  const input = make("input");
  input.type = "password";
  input.autocomplete = "current-password";
  input.required = true;
  input.className = "key";
  const remember = make("input");
  remember.type = "checkbox";
  const check = make("label", "check", remember, say(make("span"), (words) => words.keyRemember));
  const enter = button({ text: (words) => words.enter, className: "primary" });
  enter.type = "submit";
  const form = make("form", "", say(make("p", wasTried ? "bad" : "quiet"), (words) => (wasTried ? words.keyWrong : words.keyWhy)),
    field((words) => words.keyLabel, input), check,
    make("div", "row", button({ text: (words) => words.cancel, onClick: () => keyDialog.close() }), enter));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    prefs.setKey(input.value, remember.checked);
    keyDialog.close();
    onEntered();
  });
  keyDialog = opened((words) => words.keyTitle, form);
  input.focus();
}

function choices(name, text, values, now, onChange) {
  const set = make("fieldset", "choices", say(make("legend"), text));
  for (const [value, said] of values) {
    const input = make("input");
    input.type = "radio";
    input.name = name;
    input.value = value;
    input.checked = value === now;
    input.addEventListener("change", () => onChange(value));
    set.append(make("label", "", input, typeof said === "string" ? make("span", "", said) : say(make("span"), said)));
  }
  return set;
}

export function openSettings({ onLanguage, onProfile, onKey }) {
  const language = choices("language", (words) => words.languageLabel, [["es", "Español"], ["en", "English"]], prefs.languageNow(), onLanguage);
  for (const input of language.querySelectorAll("input")) input.parentElement.lang = input.value;
  const theme = choices("theme", (words) => words.themeLabel,
    [["system", (words) => words.system], ["light", (words) => words.light], ["dark", (words) => words.dark]], prefs.themeNow(), prefs.setTheme);
  const profile = make("input", "profile");
  profile.value = prefs.user();
  profile.maxLength = 128;
  profile.autocomplete = "off";
  profile.spellcheck = false;
  const use = button({ text: (words) => words.profileUse });
  use.disabled = true;
  profile.addEventListener("input", () => {
    use.disabled = !profile.value.trim() || profile.value === prefs.user();
  });
  use.addEventListener("click", () => {
    prefs.setUser(profile.value.trim());
    dialog.close();
    onProfile();
  });
  const key = prefs.key()
    ? button({ text: (words) => words.keyForget, onClick: () => { prefs.setKey("", false); dialog.close(); onKey(); } })
    : button({ text: (words) => words.keyChange, onClick: () => { dialog.close(); askKey(onKey); } });
  const shortcuts = make("dl", "shortcuts");
  const listShortcuts = () => shortcuts.replaceChildren(...prefs.words().shortcutList.flatMap(([keys, text]) => [make("dt", "", make("kbd", "", keys)), make("dd", "", text)]));
  listShortcuts();
  for (const input of language.querySelectorAll("input")) input.addEventListener("change", listShortcuts);
  const close = button({ image: "close", name: (words) => words.close, className: "icon corner", onClick: () => dialog.close() });
  const dialog = opened((words) => words.settings, close, language, theme,
    make("div", "profile-row", field((words) => words.profile, profile, (words) => words.profileWhy), use), make("div", "row start", key), shortcuts);
  label(shortcuts, (words) => words.shortcuts);
}
