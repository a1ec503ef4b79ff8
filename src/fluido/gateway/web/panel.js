"use strict";

const EVERY_MS = 2000;
const PARTS = ["queue", "load", "prefill", "decode"];
const BAR = 160;

const seconds = (s) => (s >= 100 ? `${Math.round(s)} s` : s >= 10 ? `${s.toFixed(1)} s` : s >= 1 ? `${s.toFixed(2)} s` : s > 0 ? `${Math.round(s * 1000)} ms` : "–");
const many = (n) => n.toLocaleString("en");
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
  svg.setAttribute("aria-label", PARTS.map((part) => `${part} ${seconds(request[`${part}_s`])}`).join(", "));
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
      cell(`${e.kind || "unknown"} ${e.version}`),
      cell(loaded.map(([name, window]) => (window ? `${name} (${many(window)})` : name)).join(", ") || "none", "wrap"),
      cell(rest.slice(0, 12).join(", ") + (rest.length > 12 ? ` and ${rest.length - 12} more` : "") || "none", "wrap"),
      cell(named(e.slots), "n"),
      cell(e.error || "answers", e.error ? "bad wrap" : ""),
    ];
  }), "No engine: start Ollama or llama.cpp's server, or name one with --engine.");
}

function tables(state) {
  engines(state);
  fill("queues", state.queues.map((q) => [cell(q.engine), cell(q.model), cell(q.inflight, "n"), cell(q.limit, "n"), cell(q.waiting, "n")]),
    state.observe ? "Observing: nothing is queued." : "Nobody has asked for a model yet.");
  fill("rows", state.rows.map((r) => [
    cell(r.client), cell(r.key || "–"), cell(r.model), cell(many(r.requests), "n"),
    cell(r.refused || "–", "n"), cell(r.failed || "–", r.failed ? "n bad" : "n"), cell(r.left || "–", "n"),
    cell(seconds(r.queue_s / r.requests), "n"), cell(seconds(r.longest_queue_s), "n"), cell(seconds(r.first_s / r.requests), "n"),
    cell(seconds(r.service_s), "n"), cell(r.loads || "–", "n"), cell(many(r.prompt_tokens), "n"), cell(many(r.output_tokens), "n"),
  ]), "Nobody has asked anything yet.");
  const longest = Math.max(0, ...state.last.map((r) => PARTS.reduce((sum, part) => sum + r[`${part}_s`], 0)));
  fill("last", state.last.map((r) => [
    cell(new Date(r.at_s * 1000).toLocaleTimeString()), cell(r.client), cell(r.key || "–"), cell(r.model), cell(r.path), cell(r.lane),
    cell(r.error ? `${r.outcome} ${r.status}: ${r.error}` : `${r.outcome} ${r.status}`, r.outcome === "failed" ? "bad wrap" : "wrap"),
    ...PARTS.map((part) => cell(seconds(r[`${part}_s`]), "n")), cell(seconds(r.total_s), "n"), cell(bar(r, longest)),
    cell(many(r.prompt_tokens), "n"), cell(many(r.output_tokens), "n"), cell(r.notes.join("; ") || "–", "wrap"),
  ]), "Nobody has asked anything yet.");
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
    if (!reply.ok) throw new Error(reply.status === 401 ? "it asks for a key: open /k/KEY/gateway" : `it answers ${reply.status}`);
    const state = await reply.json();
    tables(state);
    const hours = (state.now_s - state.started_s) / 3600;
    const since = hours < 1 ? `${Math.round(hours * 60)} min` : `${hours.toFixed(1)} h`;
    summary(`${many(state.requests)} requests in ${since}` + (state.observe ? ", observing only" : "") +
      (state.trouble ? `; ${state.trouble}` : ""), state.trouble);
  } catch (error) {
    summary(`The gateway cannot be read: ${error.message}`, true);
  }
  setTimeout(look, EVERY_MS);
}

look();
