"use strict";

const EVERY_MS = 2000;
const PARTS = ["queue", "load", "prefill", "decode"];
const BAR = 160;

// What an engine or a client says itself stays in its own words.
const SPANISH = {
  "Reading…": "Leyendo…", "What the queue would have changed": "Lo que la cola habría cambiado", Engines: "Motores", Engine: "Motor", Kind: "Tipo",
  "Loaded models (window)": "Modelos cargados (ventana)", "Other models": "Otros modelos", Slots: "Ranuras", State: "Estado", Queues: "Colas", Model: "Modelo",
  "In flight": "En curso", "May be in flight": "Pueden estar en curso", Waiting: "En espera", "Who asked for other options": "Quién pidió otras opciones",
  Client: "Cliente", Option: "Opción", "Asked for": "Pidió", "Model runs with": "El modelo funciona con", Times: "Veces",
  "By client, key and model": "Por cliente, clave y modelo", Key: "Clave", Requests: "Peticiones", Refused: "Rechazadas", Failed: "Fallidas", Left: "Abandonadas",
  "Wait, mean": "Espera, media", "Wait, longest": "Espera, la más larga", "First token, mean": "Primer token, media", "Engine time": "Tiempo de motor",
  Loads: "Cargas", "Tokens in": "Tokens de entrada", "Tokens out": "Tokens de salida", "Last requests": "Últimas peticiones", queue: "cola", load: "carga",
  prefill: "lectura", decode: "respuesta", Ended: "Terminó", Path: "Ruta", Lane: "Carril", Outcome: "Resultado", Queue: "Cola", Load: "Carga",
  Prefill: "Lectura", Decode: "Respuesta", Total: "Total", "Where the time went": "En qué se fue el tiempo", In: "Entrada", Out: "Salida", Changed: "Cambiado",
  interactive: "interactivo", normal: "normal", background: "segundo plano", answered: "respondida", refused: "rechazada", failed: "fallida", left: "abandonada",
  none: "ninguno", answers: "responde", unknown: "desconocido", "Nobody has asked for a model yet.": "Nadie ha pedido un modelo todavía.",
  "Nobody has asked anything yet.": "Nadie ha preguntado nada todavía.", "Observing: nothing is queued.": "Solo observa: nada espera en cola.",
  "No engine: start Ollama or llama.cpp's server, or name one with --engine.": "Ningún motor: inicie Ollama o el servidor de llama.cpp, o indique uno con --engine.",
  "requests in": "peticiones en", "observing only": "solo observa", "wait for an engine that is away": "esperan a un motor que no responde", more: "más", and: "y",
  "The gateway cannot be read": "No se puede leer la pasarela", "it asks for a key: open /k/KEY/gateway": "pide una clave: abra /k/CLAVE/gateway", "it answers": "responde",
};

function chosen() {
  const asked = new URLSearchParams(location.search).get("lang");
  try {
    return asked || localStorage.getItem("fluido-language") || navigator.language.slice(0, 2);
  } catch {
    return asked || navigator.language.slice(0, 2);
  }
}

let language = chosen() === "es" ? "es" : "en";
const word = (english) => (language === "es" && SPANISH[english]) || english;
const fixed = [...document.querySelectorAll("h2, th, .key span, #summary")].map((element) => [element, element.textContent]);

function speak(wanted) {
  language = wanted;
  document.documentElement.lang = wanted;
  for (const [element, english] of fixed) if (element.id !== "summary" || element.textContent === english) element.textContent = word(english);
  for (const button of document.querySelectorAll("#languages button")) button.setAttribute("aria-pressed", String(button.dataset.language === wanted));
}

const digits = (value, places) => value.toLocaleString(language, { minimumFractionDigits: places, maximumFractionDigits: places });
const seconds = (s) => (s >= 100 ? `${Math.round(s)} s` : s >= 10 ? `${digits(s, 1)} s` : s >= 1 ? `${digits(s, 2)} s` : s > 0 ? `${Math.round(s * 1000)} ms` : "–");
const many = (n) => n.toLocaleString(language);
const named = (value) => (value === null || value === undefined ? "–" : typeof value === "object" ? JSON.stringify(value) : String(value));

function cell(content, kind) {
  const td = document.createElement("td");
  if (kind) td.className = kind;
  // everything that others sent is text, never markup
  td.append(content instanceof Node ? content : String(content));
  return td;
}

function fill(id, rows, empty) {
  const body = document.querySelector(`#${id} tbody`);
  const columns = document.querySelectorAll(`#${id} th`).length;
  const made = rows.map((cells) => {
    const tr = document.createElement("tr");
    tr.append(...cells);
    return tr;
  });
  if (!made.length) {
    const td = cell(empty, "empty");
    td.colSpan = columns;
    const tr = document.createElement("tr");
    tr.append(td);
    made.push(tr);
  }
  body.replaceChildren(...made);
}

function bar(request, longest) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("width", BAR);
  svg.setAttribute("height", 10);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", PARTS.map((part) => `${word(part)} ${seconds(request[`${part}_s`])}`).join(", "));
  let at = 0;
  for (const part of PARTS) {
    const width = longest ? (BAR * request[`${part}_s`]) / longest : 0;
    const rect = document.createElementNS(space, "rect");
    rect.setAttribute("x", at);
    rect.setAttribute("width", width);
    rect.setAttribute("height", 10);
    rect.setAttribute("class", part);
    svg.append(rect);
    at += width;
  }
  return svg;
}

function engines(state) {
  fill("engines", state.engines.map((e) => {
    const loaded = Object.entries(e.resident);
    const rest = e.models.filter((name) => !(name in e.resident));
    return [
      cell(e.name),
      cell(`${e.kind || word("unknown")} ${e.version}`),
      cell(loaded.map(([name, window]) => (window ? `${name} (${many(window)})` : name)).join(", ") || word("none"), "wrap"),
      cell(rest.slice(0, 12).join(", ") + (rest.length > 12 ? ` ${word("and")} ${rest.length - 12} ${word("more")}` : "") || word("none"), "wrap"),
      cell(named(e.slots), "n"),
      cell(e.error || word("answers"), e.error ? "bad wrap" : ""),
    ];
  }), word("No engine: start Ollama or llama.cpp's server, or name one with --engine."));
}

function tables(state) {
  document.body.classList.toggle("keyless", !state.keys && !state.rows.some((r) => r.key));
  engines(state);
  fill("queues", state.queues.map((q) => [cell(q.engine), cell(q.model), cell(q.inflight, "n"), cell(q.limit, "n"), cell(q.waiting, "n")]),
    word(state.observe ? "Observing: nothing is queued." : "Nobody has asked for a model yet."));
  fill("rows", state.rows.map((r) => [
    cell(r.client), cell(r.key || "–", "keyed"), cell(r.model), cell(many(r.requests), "n"),
    cell(r.refused || "–", "n"), cell(r.failed || "–", r.failed ? "n bad" : "n"), cell(r.left || "–", "n"),
    cell(seconds(r.queue_s / r.requests), "n"), cell(seconds(r.longest_queue_s), "n"), cell(seconds(r.first_s / r.requests), "n"),
    cell(seconds(r.service_s), "n"), cell(r.loads || "–", "n"), cell(many(r.prompt_tokens), "n"), cell(many(r.output_tokens), "n"),
  ]), word("Nobody has asked anything yet."));
  const longest = Math.max(0, ...state.last.map((r) => PARTS.reduce((sum, part) => sum + r[`${part}_s`], 0)));
  fill("last", state.last.map((r) => [
    cell(new Date(r.at_s * 1000).toLocaleTimeString(language)), cell(r.client), cell(r.key || "–", "keyed"), cell(r.model), cell(r.path), cell(word(r.lane)),
    cell(r.error ? `${word(r.outcome)} ${r.status}: ${r.error}` : `${word(r.outcome)} ${r.status}`, r.outcome === "failed" ? "bad wrap" : "wrap"),
    ...PARTS.map((part) => cell(seconds(r[`${part}_s`]), "n")), cell(seconds(r.total_s), "n"), cell(bar(r, longest)),
    cell(many(r.prompt_tokens), "n"), cell(many(r.output_tokens), "n"), cell(r.notes.join("; ") || "–", "wrap"),
  ]), word("Nobody has asked anything yet."));
  document.querySelector("#other").hidden = !state.differing.length;
  fill("differing", state.differing.map((d) => [
    cell(d.client), cell(d.model), cell(d.option), cell(named(d.asked), "n"), cell(named(d.kept), "n"), cell(d.count, "n"),
  ]), "");
  document.querySelector("#told").hidden = !state.observed.length;
  document.querySelector("#told ul").replaceChildren(...state.observed.map((sentence) => {
    const li = document.createElement("li");
    li.textContent = sentence;
    return li;
  }));
}

function summary(text, bad) {
  const line = document.querySelector("#summary");
  line.textContent = text;
  line.className = bad ? "bad" : "";
}

async function look() {
  try {
    const reply = await fetch("gateway/state");
    if (!reply.ok) throw new Error(reply.status === 401 ? word("it asks for a key: open /k/KEY/gateway") : `${word("it answers")} ${reply.status}`);
    const state = await reply.json();
    tables(state);
    const span = state.now_s - state.started_s;
    const since = span < 120 ? `${Math.round(span)} s` : span < 7200 ? `${Math.round(span / 60)} min` : `${digits(span / 3600, 1)} h`;
    summary([`${many(state.requests)} ${word("requests in")} ${since}`, state.observe && word("observing only"),
      state.awaiting && `${state.awaiting} ${word("wait for an engine that is away")}`, state.trouble].filter(Boolean).join("; "), state.trouble);
  } catch (error) {
    summary(`${word("The gateway cannot be read")}: ${error.message}`, true);
  }
}

async function follow() {
  await look();
  setTimeout(follow, EVERY_MS);
}

document.querySelector("#languages").addEventListener("click", (event) => {
  const wanted = event.target.dataset.language;
  if (!wanted) return;
  try {
    localStorage.setItem("fluido-language", wanted);
  } catch {
    // a browser that keeps nothing: for this visit
  }
  speak(wanted);
  look();
});
speak(language);
follow();
