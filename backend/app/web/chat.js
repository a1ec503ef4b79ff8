// The chat page. State: a language, a user id kept by this browser, one conversation, one answer in progress.
import { events } from "/web/events.js";
import { examples, texts } from "/web/texts.js";

const $ = (id) => document.getElementById(id);
const [thread, form, message, send, stop, status] = ["thread", "form", "message", "send", "stop", "status"].map($);
const store = window.localStorage;
let language = store.getItem("language") || (navigator.language.startsWith("es") ? "es" : "en");
let conversation = store.getItem("conversation");
let running = null;

const user = store.getItem("user") || crypto.randomUUID();
store.setItem("user", user);
const say = () => texts[language];

function translate() {
  document.documentElement.lang = language;
  for (const node of document.querySelectorAll("[data-text]")) node.textContent = say()[node.dataset.text];
  message.placeholder = say().placeholder;
  const other = $("language");
  other.textContent = say().other;
  other.lang = language === "es" ? "en" : "es";
  other.setAttribute("aria-label", say().otherLabel);
  $("examples").replaceChildren(...examples[language].map((text) => {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.addEventListener("click", () => ask(text));
    item.append(button);
    return item;
  }));
}

// Text and fenced code, nothing else: a model's answer is never taken as HTML.
function show(node, text) {
  const parts = text.split("```");
  node.replaceChildren(...parts.map((part, index) => {
    if (index % 2 === 0) return document.createTextNode(parts.length > 1 ? part.trim() : part);
    const code = document.createElement("pre");
    code.textContent = part.replace(/^[\w+-]*\n/, "").replace(/\n$/, "");
    return code;
  }));
}

function add(role, text) {
  $("welcome").hidden = true;
  const turn = $("turn").content.firstElementChild.cloneNode(true);
  turn.classList.add(role);
  turn.querySelector("h3").textContent = role === "user" ? say().you : say().sentinel;
  show(turn.querySelector(".text"), text);
  thread.append(turn);
  thread.scrollTop = thread.scrollHeight;
  return turn;
}

function facts(turn, done) {
  const kind = document.createElement("span");
  kind.className = "kind";
  kind.textContent = say().kinds[done.kind] || done.kind;
  turn.querySelector(".facts").replaceChildren(kind, say().facts(done));
}

function fail(turn, error) {
  turn.classList.remove("waiting");
  turn.classList.add("failed");
  const line = document.createElement("p");
  line.className = "failure";
  const code = error.code?.startsWith("storage_") ? "storage_unavailable" : error.code;
  line.textContent = say().errors[code] || error.message || say().errors.internal;
  if (error.retry_after_s) line.textContent += say().retry(error.retry_after_s);
  turn.querySelector(".facts").replaceWith(line);
  status.textContent = line.textContent;
  if (error.code === "not_found") remember(null);
  if (error.code === "unauthorized") unlock();
}

// A key is kept for as long as this tab: whoever sits here next has to know it.
const keyHeader = () => {
  const key = window.sessionStorage.getItem("key");
  return key ? { "x-api-key": latin(key) } : {};
};

// A header holds bytes: other letters than ASCII's are sent as UTF-8.
const latin = (text) => String.fromCharCode(...new TextEncoder().encode(text));

function unlock() {
  $("door").hidden = false;
  $("key").focus();
}

function remember(id) {
  conversation = id;
  if (id) store.setItem("conversation", id);
  else store.removeItem("conversation");
}

function busy(controller) {
  running = controller;
  stop.hidden = !controller;
  send.hidden = Boolean(controller);
}

async function ask(text) {
  if (running || !text.trim()) return;
  const controller = new AbortController();
  busy(controller);
  add("user", text);
  const turn = add("assistant", "");
  turn.classList.add("waiting");
  const body = { user_id: user, message: text };
  if (conversation) body.conversation_id = conversation;
  let answer = "";
  try {
    for await (const event of events("/chat/stream", body, {
      headers: keyHeader(), signal: controller.signal, onConversation: (id) => remember(id),
    })) {
      turn.classList.remove("waiting");
      if (event.name === "delta") {
        answer += event.data.text;
        const isAtEnd = thread.scrollHeight - thread.scrollTop - thread.clientHeight < 80;
        show(turn.querySelector(".text"), answer);
        if (isAtEnd) thread.scrollTop = thread.scrollHeight;
      } else if (event.name === "done") {
        facts(turn, event.data);
        status.textContent = say().answered;
        thread.scrollTop = thread.scrollHeight;
      } else if (event.name === "error") {
        fail(turn, event.data.error);
      }
    }
  } catch (error) {
    if (error.name === "AbortError") {
      turn.classList.remove("waiting");
      turn.querySelector(".facts").textContent = say().stopped;
    } else {
      fail(turn, error.failure || { code: "network" });
      if (error.failure?.code === "unauthorized") message.value = text;
    }
  } finally {
    busy(null);
    message.focus();
  }
}

async function restore() {
  if (!conversation) return;
  const answer = await fetch(`/conversations/${conversation}?user_id=${encodeURIComponent(user)}`, {
    headers: keyHeader(),
  });
  if (answer.status === 401) return unlock();
  if (answer.status === 404) return remember(null);
  if (!answer.ok) return;
  for (const stored of (await answer.json()).messages) add(stored.role, stored.content);
}

async function describe() {
  const health = await (await fetch("/health/ready")).json();
  const engine = health.dependencies.engine?.detail || "?";
  const broken = Object.entries(health.dependencies).filter(([, item]) => item.required && !item.ready);
  $("engine").textContent = broken.length
    ? `${say().notReady} ${broken.map(([name]) => name).join(", ")}`
    : say().ready(engine) + (health.status === "degraded" ? ` · ${say().degraded}` : "");
  $("notice").hidden = !/smollm/i.test(engine);
  $("notice").textContent = say().tiny;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = message.value;
  if (running || !text.trim()) return;
  message.value = "";
  message.style.height = "";
  ask(text);
});
message.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    form.requestSubmit();
  }
});
message.addEventListener("input", () => {
  message.style.height = "";
  message.style.height = `${message.scrollHeight + 2}px`;
});
$("door").addEventListener("submit", (event) => {
  event.preventDefault();
  window.sessionStorage.setItem("key", $("key").value);
  $("key").value = "";
  $("door").hidden = true;
  if (!thread.querySelector(".turn")) restore().catch(() => {});
  message.focus();
});
stop.addEventListener("click", () => running?.abort());
$("fresh").addEventListener("click", () => {
  running?.abort();
  remember(null);
  for (const turn of thread.querySelectorAll(".turn")) turn.remove();
  $("welcome").hidden = false;
  message.focus();
});
$("language").addEventListener("click", () => {
  language = language === "es" ? "en" : "es";
  store.setItem("language", language);
  translate();
  describe();
});

translate();
describe().catch(() => { $("engine").textContent = say().errors.network; });
restore().catch(() => {});
message.focus();
