// The live page: reads the feed, keeps five minutes of it, shows the newest. State lives in the maps below.
import { Chart } from "/web/panel_charts.js";
import { Feed } from "/web/panel_feed.js";
import { ago, count, dependencies, kinds, lanes, laws, ms, names, places, reason } from "/web/panel_texts.js";

const $ = (id) => document.getElementById(id);
const cards = new Map();
const engines = new Map();
let paused = false;
let lastAtS = 0;
let bad = new Set();
let past = [];

function make(tag, text, className) {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (className) node.className = className;
  return node;
}

// Writes only what changed, so that nothing a screen reader or a selection holds is torn away every second.
function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function pairs(list, rows) {
  while (list.children.length > rows.length) list.lastElementChild.remove();
  rows.forEach(([name, value, small], index) => {
    let box = list.children[index];
    if (!box) {
      box = make("div");
      box.append(make("dt"), make("dd"));
      list.append(box);
    }
    put(box.firstElementChild, name);
    const shown = box.lastElementChild;
    const key = `${value}|${small ?? ""}`;
    if (shown.dataset.key === key) return;
    shown.dataset.key = key;
    shown.replaceChildren(document.createTextNode(value));
    if (small !== undefined) shown.append(make("small", small));
  });
}

function items(list, rows, build) {
  const key = JSON.stringify(rows);
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  list.replaceChildren(...rows.map(build));
}

function table(id, rows, empty) {
  const body = $(id).tBodies[0];
  const width = $(id).tHead.rows[0].cells.length;
  const key = JSON.stringify(rows);
  if (body.dataset.key === key) return;
  body.dataset.key = key;
  if (!rows.length) {
    const cell = make("td", empty, "none");
    cell.colSpan = width;
    const row = make("tr");
    row.append(cell);
    body.replaceChildren(row);
    return;
  }
  body.replaceChildren(...rows.map((cells) => {
    const row = make("tr");
    cells.forEach((text, index) => {
      const cell = make(index ? "td" : "th", text);
      if (!index) cell.scope = "row";
      row.append(cell);
    });
    return row;
  }));
}

const wordsOf = (flow) => names[flow.name] || kinds[flow.kind];
const titleOf = (flow) => wordsOf(flow)?.title || flow.name;
const limitText = (flow) => (flow.kind === "loop_lag" ? count(flow.value * 1000) : count(flow.value));

function rangeOf(flow) {
  if (flow.floor === flow.ceiling) return `siempre ${count(flow.ceiling)}`;
  return flow.ceiling === null ? `desde ${count(flow.floor)}` : `entre ${count(flow.floor)} y ${count(flow.ceiling)}`;
}

function chips(flow) {
  const found = [];
  if (flow.brake < 1) found.push(["bad", `freno al ${Math.round(flow.brake * 100)} %`]);
  if (flow.pinned) found.push(["warn", "fijado"]);
  if (flow.shadow) found.push(["", "sombra"]);
  return found;
}

function chip([className, text]) {
  return make("li", text, className);
}

function decisionRow(decision) {
  const row = make("li");
  row.append(make("time", `hace ${ago(decision.ago_s)}`));
  const why = make("span", reason(decision.reason), "why");
  why.title = Object.entries(decision.inputs).map(([name, value]) => `${name} = ${count(value)}`).join(", ");
  row.append(why, make("span", `→ ${decision.shown}`, "value"));
  return row;
}

function cardOf(flow) {
  if (!cards.has(flow.name)) {
    const node = $("flow").content.firstElementChild.cloneNode(true);
    const title = node.querySelector("h3");
    title.id = `flow-${cards.size}`;
    node.setAttribute("aria-labelledby", title.id);
    const chart = new Chart(node.querySelector(".chart"), flow.batches && flow.kind !== "redis", flow.kind === "loop_lag");
    const card = { node, chart };
    cards.set(flow.name, card);
    $("flows").append(node);
    for (const frame of past) if (frame.flows[flow.name]) chart.add(frame.at_s, ...frame.flows[flow.name]);
  }
  return cards.get(flow.name);
}

function legendOf(flow, chart) {
  const area = flow.batches && flow.kind !== "redis" ? "filas por lote" : "en vuelo";
  const rows = flow.kind === "loop_lag" ? [] : [["inflight", area], ["waiting", "esperan"]];
  if (chart.limitFits()) rows.unshift(["limit", flow.kind === "loop_lag" ? "pausa en ms" : "límite"]);
  else rows.push(["note", `el límite (${limitText(flow)}) queda fuera de escala`]);
  return rows;
}

function figuresOf(flow) {
  if (flow.kind === "loop_lag") {
    return [["Pausa", `${limitText(flow)} ms`], ["Atraso p50", ms(flow.service_ms_p50)], ["Atraso p99", ms(flow.service_ms_p99)]];
  }
  if (flow.kind === "history") {
    return [["Por s", count(flow.per_s)], ...Object.entries(places).map(([place, title]) => [title, count(flow.reasons[place])])];
  }
  const rows = [["Límite", limitText(flow)], ["En vuelo", count(flow.inflight)], ["Esperan", count(flow.waiting)], ["Por s", count(flow.per_s)]];
  if (flow.batches) rows.push(["Lote medio", count(flow.batch)]);
  rows.push(["Espera p99", ms(flow.wait_ms_p99)], ["Servicio p99", ms(flow.service_ms_p99)]);
  return rows;
}

function showFlow(flow, atS) {
  const { node, chart } = cardOf(flow);
  put(node.querySelector("h3"), titleOf(flow));
  const bounds = flow.kind === "loop_lag" ? "" : ` · ${rangeOf(flow)} ${wordsOf(flow)?.unit || ""}`;
  put(node.querySelector(".law"), `${flow.name} · ley: ${laws[flow.law] || flow.law}${bounds}`);
  items(node.querySelector(".chips"), chips(flow), chip);
  pairs(node.querySelector(".figures"), figuresOf(flow));
  chart.add(atS, flow.value, flow.inflight, flow.waiting, flow.batch);
  chart.draw();
  items(node.querySelector(".legend"), legendOf(flow, chart), chip);
  const shown = flow.kind === "loop_lag" ? (value) => `${count(value * 1000)} ms` : count;
  const decisions = flow.decisions.map((decision) => ({
    ...decision, ago_s: Math.round(decision.ago_s),
    shown: decision.reason.startsWith("brake_") ? `${Math.round(decision.value * 100)} %` : shown(decision.value),
  }));
  items(node.querySelector(".decisions"), decisions.length ? decisions : [null], (row) => (row ? decisionRow(row) : make("li", "Ninguna todavía: el valor inicial sigue vigente.", "none")));
  const label = `Gráfico de ${titleOf(flow)}, últimos cinco minutos. Ahora: límite ${limitText(flow)}, en vuelo ${count(flow.inflight)}, esperan ${count(flow.waiting)}. Los mismos datos están en la tabla del final.`;
  if (Math.round(atS) % 10 === 0 || !node.querySelector(".chart").hasAttribute("aria-label")) node.querySelector(".chart").setAttribute("aria-label", label);
}

function engineChips(engine) {
  const found = [];
  if (!engine.up) found.push(["bad", "no responde"]);
  if (!engine.slots_told) found.push(["warn", "no dice sus ranuras"]);
  if (engine.unplanned_loads) found.push(["warn", `${engine.unplanned_loads} recargas ajenas`]);
  return found;
}

function slot(row) {
  const node = make("li", undefined, row.busy_s === null ? "" : "busy");
  node.append(make("span", row.busy_s === null ? "libre" : `ocupada ${ago(row.busy_s)}`), make("small", `${count(row.held)} tokens`));
  const bar = make("span", undefined, "bar");
  const full = make("i");
  full.style.width = `${Math.min(100, row.share)}%`;
  bar.append(full);
  node.append(bar);
  return node;
}

function showEngine(engine) {
  if (!engines.has(engine.name)) {
    const node = $("engine").content.firstElementChild.cloneNode(true);
    engines.set(engine.name, node);
    $("engines").append(node);
  }
  const node = engines.get(engine.name);
  put(node.querySelector("h3"), engine.model || "modelo desconocido");
  put(node.querySelector(".law"), `${engine.kind || "motor"} en ${engine.name}${engine.version ? ` · ${engine.version}` : ""}${engine.up ? "" : ` · ${engine.reason}`}`);
  items(node.querySelector(".chips"), engineChips(engine), chip);
  const asked = engine.hits + engine.misses;
  pairs(node.querySelector(".figures"), [
    ["Límite", count(engine.limit)], ["En vuelo", count(engine.inflight)],
    ["Residencia", asked ? `${Math.round((100 * engine.hits) / asked)} %` : "—"],
    ["Ventana", engine.context_tokens ? count(engine.context_tokens) : "—"], ["Cargas", count(engine.loads)],
  ]);
  const slots = engine.slots.map((row) => ({
    busy_s: row.busy_s === null ? null : Math.round(row.busy_s), held: row.held_tokens,
    share: engine.context_tokens ? (100 * row.held_tokens) / engine.context_tokens : 0,
  }));
  items(node.querySelector(".slots"), slots, slot);
  pairs(node.querySelector(".lanes"), Object.entries(engine.waiting).map(([lane, waiting]) => [lanes[lane] || lane, count(waiting)]));
}

function showTiles(frame) {
  const chat = frame.routes.filter((row) => row.route.startsWith("/chat"));
  const busiest = chat[0];
  const sum = (name) => frame.engines.reduce((total, engine) => total + engine[name], 0);
  const waiting = frame.engines.reduce((total, engine) => total + Object.values(engine.waiting).reduce((a, b) => a + b, 0), 0);
  const requests = chat.reduce((total, row) => total + row.count, 0);
  const failed = chat.reduce((total, row) => total + row.failed, 0);
  const first = frame.waiters[0];
  pairs($("tiles"), [
    ["Primer token, p50", busiest ? ms(busiest.first_ms_p50) : "—", busiest ? `p99 ${ms(busiest.first_ms_p99)}` : "sin pedidos en el último minuto"],
    ["Respuesta completa, p50", busiest ? ms(busiest.total_ms_p50) : "—", busiest ? `p99 ${ms(busiest.total_ms_p99)}` : ""],
    ["Mensajes, último minuto", count(requests), failed ? `${count(failed)} fallidos` : "ninguno fallido"],
    ["En el motor", count(sum("inflight")), `esperan ${count(waiting)}`],
    ["Espera más larga", first ? ms(first.waited_ms) : "0 ms", first ? whereOf(frame, first.flow) : "nadie espera"],
  ]);
}

function whereOf(frame, name) {
  const flow = frame.flows.find((row) => row.name === name);
  return flow ? titleOf(flow) : name;
}

function showTables(frame) {
  table("times", frame.routes.map((row) => [row.route, count(row.count), ms(row.first_ms_p50), ms(row.first_ms_p99), ms(row.total_ms_p50), ms(row.total_ms_p99), count(row.failed)]), "Ningún pedido en el último minuto.");
  table("waiters", frame.waiters.map((row) => [whereOf(frame, row.flow), lanes[row.class] || row.class || "—", row.who || "—", ms(row.waited_ms)]), "Nadie espera.");
  if ($("as-table").open) {
    table("all", frame.flows.map((flow) => [titleOf(flow), limitText(flow), count(flow.inflight), count(flow.waiting), count(flow.per_s), flow.batches ? count(flow.batch) : "—",
      flow.brake < 1 ? `${Math.round(flow.brake * 100)} %` : "—", count(flow.refused), count(flow.timed_out), ms(flow.wait_ms_p50), ms(flow.wait_ms_p99), ms(flow.service_ms_p50), ms(flow.service_ms_p99)]), "Ningún flujo todavía.");
  }
}

function showHealth(frame) {
  items($("health"), frame.health, (item) => {
    const node = make("li", `${dependencies[item.name] || item.name}: ${item.ready ? "bien" : item.detail}`, item.ready ? "" : "away");
    return node;
  });
}

// Said aloud once, when it begins and when it ends: never every second.
function announce(frame) {
  const now = new Set();
  for (const item of frame.health) if (!item.ready) now.add(`${dependencies[item.name] || item.name} no está disponible`);
  for (const engine of frame.engines) if (!engine.up) now.add(`el motor ${engine.model} no responde`);
  for (const flow of frame.flows) if (flow.brake < 1) now.add(`${titleOf(flow)} tiene el freno puesto`);
  const began = [...now].filter((text) => !bad.has(text));
  const ended = [...bad].filter((text) => !now.has(text));
  bad = now;
  if (began.length) say(`${began.join("; ")}.`);
  else if (ended.length) say(`Resuelto: ${ended.join("; ")}.`);
}

function say(text) {
  put($("status"), text);
}

function state(name, text) {
  $("state").dataset.state = name;
  put($("state"), text);
  document.body.toggleAttribute("data-stale", name === "off");
}

function show(frame) {
  lastAtS = frame.at_s;
  if (paused) {
    for (const flow of frame.flows) cardOf(flow).chart.add(frame.at_s, flow.value, flow.inflight, flow.waiting, flow.batch);
    return;
  }
  $("notice").hidden = true;
  state("live", `En vivo · ${new Date(frame.at_s * 1000).toLocaleTimeString("es")}`);
  const names = new Set(frame.flows.map((flow) => flow.name));
  for (const [name, card] of cards) if (!names.has(name)) { card.node.remove(); cards.delete(name); }
  const known = new Set(frame.engines.map((engine) => engine.name));
  for (const [name, node] of engines) if (!known.has(name)) { node.remove(); engines.delete(name); }
  showTiles(frame);
  showHealth(frame);
  for (const engine of frame.engines) showEngine(engine);
  for (const flow of frame.flows) showFlow(flow, frame.at_s);
  showTables(frame);
  announce(frame);
  put($("foot"), `${frame.tasks} tareas en el proceso. Una muestra por segundo; las curvas abarcan cinco minutos.`);
}

const feed = new Feed({
  history(data) {
    past = data.frames;
    $("door").hidden = true;
    for (const [name, card] of cards) for (const frame of past) if (frame.flows[name]) card.chart.add(frame.at_s, ...frame.flows[name]);
    if ($("state").dataset.state === "off") say("Conexión recuperada.");
  },
  frame: show,
  end() {
    state("off", "Sentinel se está deteniendo");
  },
  away(afterMs) {
    const since = lastAtS ? ` Últimos datos: ${new Date(lastAtS * 1000).toLocaleTimeString("es")}.` : "";
    if ($("state").dataset.state !== "off") say("Sin conexión con Sentinel.");
    state("off", `Sin conexión · se intenta de nuevo en ${Math.ceil(afterMs / 1000)} s.${since}`);
  },
  refused(status, message) {
    $("notice").hidden = false;
    put($("notice"), status === 503 ? `No hay lugar para otra página: ${message}` : `Sentinel responde ${status}: ${message}`);
  },
  locked(wasTried) {
    $("door").hidden = false;
    state("off", wasTried ? "La clave no es válida" : "Falta la clave de acceso");
    say($("state").textContent);
    $("key").focus();
  },
});

$("door").addEventListener("submit", (event) => {
  event.preventDefault();
  feed.enter($("key").value);
  $("key").value = "";
});
$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  put($("pause"), paused ? "Reanudar" : "Pausar");
  if (paused) state("paused", "En pausa");
  say(paused ? "En pausa." : "En vivo.");
});
window.addEventListener("online", () => feed.start());
feed.start();
