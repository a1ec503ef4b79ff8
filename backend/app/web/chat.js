// The chat page: which conversation the address names, the box, the list, and what the person is told.
import * as api from "/web/api.js";
import { askKey, openSettings } from "/web/dialogs.js";
import { $, button, make } from "/web/dom.js";
import { key, label, local, say, session, setLanguage, translate, words } from "/web/prefs.js";
import { Side } from "/web/side.js";
import { Thread } from "/web/thread.js";

const HEALTH_MS = 60_000;
const NEAR_PX = 90;
const SHORT_OF_LIMIT = 0.8;
const FIRST_LIMIT = 8000;
const [message, scroller, form] = [$("message"), $("scroller"), $("form")];
const narrow = window.matchMedia("(max-width: 52rem)");
const threads = new Map();
let current = null;
let limit = FIRST_LIMIT;
let isFollowing = true;

const isTooLong = (text) => [...text].length > limit;
const idInAddress = () => /^\/c\/([0-9a-f-]{36})$/i.exec(window.location.pathname)?.[1] || null;

// What a thread tells the page. One that is not shown only changes the list.
const hooks = {
  named(thread) {
    threads.set(thread.id, thread);
    side.used(thread.id, thread.title);
    if (thread !== current) return;
    if (idInAddress() !== thread.id) window.history.pushState(null, "", `/c/${thread.id}`);
    side.choose(thread.id);
    showTitle();
  },
  busy(thread) {
    if (thread.id && !thread.running && thread !== current) threads.delete(thread.id);
    if (thread === current) showBusy();
  },
  moved(thread, isAsked) {
    if (thread !== current) return;
    if (isAsked) isFollowing = true;
    if (isFollowing) scroller.scrollTop = scroller.scrollHeight;
    else $("latest").hidden = false;
  },
  // The question goes back into the box, where nobody has written something else meanwhile.
  failed(thread, failure, text, isQuiet) {
    tell(words().errors[failure.code] || words().errors.internal);
    if (isQuiet) side.toast((said) => said.errors[failure.code] || said.errors.internal);
    if (thread === current && !message.value.trim()) write(text);
    if (failure.code === "unauthorized") unlock();
    if (failure.code === "not_found") thread.id = null;
    if (["network", "engine_unavailable", "storage_unavailable"].includes(failure.code)) describe();
    showBusy();
  },
  taken(text) {
    if (message.value === text) write("");
  },
  said: tell,
};

const side = new Side({
  open: (id) => visit(`/c/${id}`),
  gone(id) {
    threads.get(id)?.stop();
    threads.delete(id);
    if (current?.id === id) visit("/");
  },
  named(id, title) {
    const thread = current?.id === id ? current : threads.get(id);
    if (thread) thread.title = title;
    showTitle();
  },
});

function tell(text) {
  $("status").textContent = text;
}

// --- the box and its draft: a draft belongs to a conversation, that of a new one to this tab

const draftName = () => `draft:${current?.id || "new"}`;
const draftPlace = () => (current?.id ? local : session);

function write(text) {
  message.value = text;
  fit();
}

function fit() {
  message.style.height = "auto";
  message.style.height = `${message.scrollHeight + 2}px`;
  draftPlace().set(draftName(), message.value || null);
  showBusy();
}

function showCount() {
  const used = [...message.value].length;
  const isOver = used > limit;
  const text = isOver ? (said) => said.tooLong(used, limit) : used > SHORT_OF_LIMIT * limit ? (said) => said.length(used, limit) : () => "";
  say($("count"), text).classList.toggle("bad", isOver);
  return isOver;
}

function showBusy() {
  const isBusy = Boolean(current?.running);
  $("send").hidden = isBusy;
  $("stop").hidden = !isBusy;
  $("send").disabled = showCount() || !message.value.trim();
  document.body.toggleAttribute("data-busy", isBusy);
}

// --- which conversation is shown

function visit(path) {
  if (window.location.pathname !== path) window.history.pushState(null, "", path);
  show();
}

async function show() {
  if (current?.id && current.running) threads.set(current.id, current);
  const id = idInAddress();
  const kept = id && threads.get(id);
  current = kept || new Thread(id, hooks, isTooLong);
  const thread = current;
  closeDrawer();
  translate(thread.node);
  $("thread").replaceChildren(thread.node);
  $("welcome").hidden = Boolean(id);
  isFollowing = true;
  $("latest").hidden = true;
  write(draftPlace().get(draftName()) || "");
  side.choose(id);
  showTitle();
  showBusy();
  if (!narrow.matches) message.focus();
  if (!id || kept) return;
  const note = say(make("p", "loading quiet"), (said) => said.loading);
  thread.node.append(note);
  try {
    await thread.load();
  } catch (failure) {
    if (thread !== current) return;
    if (failure.code === "unauthorized") return unlock();
    const again = button({ image: "again", text: (said) => said.again, className: "offer", onClick: show });
    thread.node.replaceChildren(say(make("p", "note bad"), (said) => said.errors[failure.code] || said.errors.internal));
    if (failure.code === "not_found") thread.id = null;
    else thread.node.append(again);
    return;
  } finally {
    note.remove();
  }
  if (thread !== current) return;
  showTitle();
  hooks.moved(thread, true);
}

function showTitle() {
  const title = current?.title || "";
  if (title) {
    delete $("title").dataset.say;
    $("title").textContent = title;
  } else say($("title"), (said) => said.newChat);
  // An empty page says it in its middle.
  $("title").classList.toggle("visually-hidden", !title && !$("welcome").hidden);
  document.title = title ? `${title} · Sentinel` : "Sentinel";
  $("more").hidden = !current?.id;
}

// --- asking

function ask(text) {
  if (current.running || !text.trim() || isTooLong(text)) return;
  $("welcome").hidden = true;
  write("");
  current.ask(text);
}

function unlock() {
  askKey(() => {
    if (current.turns.length === 0) show();
    side.load().catch(unlock);
    describe();
    readLimits();
    message.focus();
  });
}

async function readLimits() {
  try {
    const told = await api.limits();
    limit = told.max_message_chars;
    if (told.needs_key && !key()) unlock();
  } catch { /* the server says it when it is asked */ }
  showCount();
}

async function describe() {
  const engine = $("engine");
  try {
    const { dependencies, status } = await api.health();
    const broken = Object.entries(dependencies).filter(([, item]) => item.required && !item.ready).map(([name]) => name);
    const models = [...new Set((dependencies.engine?.detail || "").split("; ").map((text) => text.split(" on ")[0]))].join(", ");
    engine.dataset.state = broken.length ? "away" : status;
    say(engine, broken.length
      ? (said) => said.notReady(broken.map((name) => said.parts[name] || name).join(", "))
      : (said) => said.ready(models) + (status === "degraded" ? ` · ${said.degraded}` : ""));
    $("notice").hidden = !/smollm/i.test(models) || local.get("tiny") === "seen";
  } catch {
    engine.dataset.state = "away";
    say(engine, (said) => said.offline);
  }
}

// --- words, examples, the drawer

function showWords() {
  document.documentElement.lang = words().language;
  message.placeholder = words().placeholder;
  $("search").placeholder = words().search;
  label($("search"), (said) => said.search);
  $("examples").replaceChildren(...words().examples.map(([name, text]) => {
    const item = button({ text: () => name, className: "example", onClick: () => ask(text) });
    item.append(make("small", "", text));
    return make("li", "", item);
  }));
  tell("");
  translate(document);
  for (const thread of threads.values()) translate(thread.node);
  showCount();
}

function openDrawer() {
  document.body.dataset.list = "open";
  $("veil").hidden = !narrow.matches;
  $("side").inert = false;
  $("stage").inert = narrow.matches;
  $("open-list").setAttribute("aria-expanded", "true");
  if (narrow.matches) $("close-list").focus();
}

function closeDrawer(isForced = false) {
  if (!narrow.matches && !isForced) return;
  const wasInside = $("side").contains(document.activeElement);
  document.body.dataset.list = "closed";
  $("veil").hidden = true;
  $("stage").inert = false;
  $("side").inert = true;
  $("open-list").setAttribute("aria-expanded", "false");
  if (wasInside) $("open-list").focus();
}

function settleDrawer() {
  if (narrow.matches || local.get("list") === "closed") closeDrawer(true);
  else openDrawer();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  ask(message.value);
});
message.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    form.requestSubmit();
  }
});
message.addEventListener("input", fit);
$("stop").addEventListener("click", () => {
  current.stop();
  message.focus();
});
for (const link of [$("fresh"), document.querySelector(".brand")]) {
  link.addEventListener("click", (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    visit("/");
  });
}
$("open-list").addEventListener("click", () => {
  const isOpen = document.body.dataset.list === "open";
  if (!narrow.matches) local.set("list", isOpen ? "closed" : null);
  if (isOpen) closeDrawer(true);
  else openDrawer();
});
$("close-list").addEventListener("click", () => closeDrawer(true));
$("veil").addEventListener("click", () => closeDrawer(true));
$("more").addEventListener("click", () => side.openMenu({ id: current.id, title: current.title }, $("more")));
$("dismiss").addEventListener("click", () => {
  local.set("tiny", "seen");
  $("notice").hidden = true;
  message.focus();
});
$("settings").addEventListener("click", () => openSettings({
  onLanguage(name) {
    setLanguage(name);
    showWords();
  },
  onProfile() {
    threads.clear();
    visit("/");
    side.load().catch(unlock);
  },
  onKey: () => window.location.reload(),
}));
scroller.addEventListener("scroll", () => {
  isFollowing = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_PX;
  if (isFollowing) $("latest").hidden = true;
}, { passive: true });
$("latest").addEventListener("click", () => hooks.moved(current, true));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !event.defaultPrevented && !document.querySelector("dialog[open], #menu:popover-open")) {
    if (narrow.matches && document.body.dataset.list === "open") closeDrawer(true);
    else if (current.running) current.stop();
  } else if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
    event.preventDefault();
    openDrawer();
    $("search").focus();
  } else if ((event.ctrlKey || event.metaKey) && event.shiftKey && event.key.toLowerCase() === "o") {
    event.preventDefault();
    visit("/");
  }
});
window.addEventListener("popstate", show);
window.addEventListener("online", describe);
document.addEventListener("visibilitychange", () => { if (!document.hidden) describe(); });
setInterval(() => { if (!document.hidden) describe(); }, HEALTH_MS);
narrow.addEventListener("change", settleDrawer);

say($("engine"), (said) => said.checking);
showWords();
settleDrawer();
show();
readLimits();
describe();
side.load().catch(unlock);
// What grows later (colours, formulas, fonts) must not push the end out of sight.
new ResizeObserver(() => {
  if (isFollowing && current.turns.length) scroller.scrollTop = scroller.scrollHeight;
}).observe($("thread"));
