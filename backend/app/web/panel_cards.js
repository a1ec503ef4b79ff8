// One card for each flow and each engine.
import { make } from "/web/dom.js";
import { Chart } from "/web/panel_charts.js";
import { ago, comparison, count, inputs, limitOf, ms, rangeOf, reason, said, titleOf, unitOf } from "/web/panel_format.js";
import { chip, items, pairs, put } from "/web/panel_parts.js";
import { translate } from "/web/prefs.js";

const cards = new Map();
const engines = new Map();
let past = [];

const isLag = (flow) => flow.kind === "loop_lag";
const isBatch = (flow) => flow.batches && flow.kind !== "redis";

export function remember(frames) {
  past = frames;
  for (const [name, card] of cards) for (const frame of past) if (frame.flows[name]) card.chart.add(frame.at_s, ...frame.flows[name]);
}

function cardOf(flow) {
  if (!cards.has(flow.name)) {
    const node = document.getElementById("flow").content.firstElementChild.cloneNode(true);
    const title = node.querySelector("h3");
    title.id = `flow-${cards.size}`;
    node.setAttribute("aria-labelledby", title.id);
    translate(node);
    const chart = new Chart(node.querySelector(".chart"), isBatch(flow), isLag(flow));
    cards.set(flow.name, { node, chart });
    document.getElementById("flows").append(node);
    for (const frame of past) if (frame.flows[flow.name]) chart.add(frame.at_s, ...frame.flows[flow.name]);
  }
  return cards.get(flow.name);
}

// A page in pause keeps its curves whole.
export function collect(flow, atS) {
  const { chart } = cardOf(flow);
  chart.add(atS, flow.value, flow.inflight, flow.waiting, flow.batch);
  return chart;
}

export function redraw() {
  for (const { chart } of cards.values()) chart.rebuild();
}

export function drop(flows, engineNames) {
  for (const [name, card] of cards) if (!flows.has(name)) { card.node.remove(); cards.delete(name); }
  for (const [name, node] of engines) if (!engineNames.has(name)) { node.remove(); engines.delete(name); }
}

function chips(flow) {
  const found = [];
  if (flow.brake < 1) found.push(["bad", said().brakeAt(Math.round(flow.brake * 100))]);
  if (flow.pinned) found.push(["warn", said().pinned]);
  if (flow.shadow) found.push(["", said().shadow]);
  return found;
}

// The value that the law compares with, where its last decisions tell one.
const referenceOf = (flow) => flow.decisions.find((decision) => Number.isFinite(decision.inputs.reference))?.inputs.reference;

function figuresOf(flow) {
  if (isLag(flow)) return [["gap", `${limitOf(flow)} ms`], ["lag50", ms(flow.service_ms_p50)], ["lag99", ms(flow.service_ms_p99)]];
  if (flow.kind === "history") {
    return [["perS", count(flow.per_s)], ...Object.entries(said().places).map(([place, title]) => [title, count(flow.reasons[place])])];
  }
  const rows = [["limit", limitOf(flow)], ["inflight", count(flow.inflight)], ["waits", count(flow.waiting)], ["perS", count(flow.per_s)]];
  const reference = referenceOf(flow);
  if (reference !== undefined) rows.splice(1, 0, ["reference", count(reference)]);
  if (flow.batches) rows.push(["batch", count(flow.batch)]);
  rows.push(["wait99", ms(flow.wait_ms_p99)], ["service99", ms(flow.service_ms_p99)]);
  return rows;
}

function legendOf(flow, chart) {
  const { terms, rowsPerBatch, pauseMs, outOfScale } = said();
  const rows = isLag(flow) ? [] : [["inflight", isBatch(flow) ? rowsPerBatch : terms.inflight[0]], ["waiting", terms.waits[0]]];
  if (chart.limitFits()) rows.unshift(["limit", isLag(flow) ? pauseMs : terms.limit[0]]);
  else rows.push(["note", outOfScale(limitOf(flow))]);
  return rows;
}

function valueOf(flow, decision) {
  if (decision.reason.startsWith("brake_")) return `${Math.round(decision.value * 100)} %`;
  return isLag(flow) ? `${count(decision.value * 1000)} ms` : count(decision.value);
}

// When, why, what came out, and the figures that the law saw.
function decisionParts(row) {
  const parts = [make("time", "", said().ago(ago(row.ago_s))), make("span", "why", reason(row.reason)), make("span", "value", `→ ${row.shown}`)];
  const found = comparison(row.inputs);
  if (found) parts.push(make("p", "quiet saw", found));
  const saw = inputs(row.inputs);
  if (saw.length) parts.push(make("p", "quiet saw", saw.map(([name, value]) => `${name} ${value}`).join(" · ")));
  return parts;
}

export function showFlow(flow, atS) {
  const { node, chart } = cardOf(flow);
  put(node.querySelector("h3"), titleOf(flow));
  const bounds = isLag(flow) ? "" : ` · ${rangeOf(flow)} ${unitOf(flow)}`;
  put(node.querySelector(".law"), `${flow.name} · ${said().law}: ${said().laws[flow.law] || flow.law}${bounds}`);
  items(node.querySelector(".chips"), chips(flow), chip);
  pairs(node.querySelector(".figures"), figuresOf(flow));
  collect(flow, atS);
  chart.draw();
  items(node.querySelector(".legend"), legendOf(flow, chart), chip);
  const [newest, ...others] = flow.decisions.map((decision) => ({ ...decision, ago_s: Math.round(decision.ago_s), shown: valueOf(flow, decision) }));
  items(node.querySelector(".newest"), [newest || null], (row) => (row ? make("div", "decision", ...decisionParts(row)) : make("p", "quiet none", said().none)));
  node.querySelector(".earlier").hidden = !others.length;
  items(node.querySelector(".decisions"), others, (row) => make("li", "decision", ...decisionParts(row)));
  const facts = { title: titleOf(flow), limit: limitOf(flow), inflight: count(flow.inflight), waiting: count(flow.waiting) };
  const picture = node.querySelector(".chart");
  if (Math.round(atS) % 10 === 0 || picture.dataset.locale !== said().locale) {
    picture.dataset.locale = said().locale;
    picture.setAttribute("aria-label", said().chart(facts));
  }
}

function engineChips(engine) {
  const found = [];
  if (!engine.up) found.push(["bad", said().away]);
  if (!engine.slots_told) found.push(["warn", said().noSlots]);
  if (engine.unplanned_loads) found.push(["warn", said().foreignLoads(engine.unplanned_loads)]);
  return found;
}

function slot(row) {
  const full = make("i");
  full.style.width = `${Math.min(100, row.share)}%`;
  return make("li", row.busy_s === null ? "" : "busy",
    make("span", "", row.busy_s === null ? said().free : said().busyFor(ago(row.busy_s))), make("small", "", said().tokens(count(row.held))), make("span", "bar", full));
}

export function showEngine(engine) {
  if (!engines.has(engine.name)) {
    const node = document.getElementById("engine").content.firstElementChild.cloneNode(true);
    translate(node);
    engines.set(engine.name, node);
    document.getElementById("engines").append(node);
  }
  const node = engines.get(engine.name);
  put(node.querySelector("h3"), engine.model || said().unknownModel);
  const place = said().engineAt(engine.kind || said().engine, engine.name);
  put(node.querySelector(".law"), [place, engine.version, engine.up ? "" : engine.reason].filter(Boolean).join(" · "));
  items(node.querySelector(".chips"), engineChips(engine), chip);
  const asked = engine.hits + engine.misses;
  pairs(node.querySelector(".figures"), [
    ["limit", count(engine.limit)], ["inflight", count(engine.inflight)], ["residency", asked ? `${Math.round((100 * engine.hits) / asked)} %` : "—"],
    ["window", engine.context_tokens ? count(engine.context_tokens) : "—"], ["loads", count(engine.loads)],
  ]);
  const slots = engine.slots.map((row) => ({
    busy_s: row.busy_s === null ? null : Math.round(row.busy_s), held: row.held_tokens,
    share: engine.context_tokens ? (100 * row.held_tokens) / engine.context_tokens : 0,
  }));
  items(node.querySelector(".slots"), slots, slot);
  pairs(node.querySelector(".lanes"), Object.entries(engine.waiting).map(([lane, waiting]) => [said().lanes[lane] || lane, count(waiting)]));
}
