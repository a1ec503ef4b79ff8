// The live page: reads the feed, keeps five minutes of it, shows the newest.
import { $, make } from "/web/dom.js";
import { collect, drop, redraw, remember, showEngine, showFlow } from "/web/panel_cards.js";
import { Feed } from "/web/panel_feed.js";
import { count, limitOf, ms, said, titleOf } from "/web/panel_format.js";
import { explain, items, pairs, put, table } from "/web/panel_parts.js";
import { languageNow, setLanguage, translate, words } from "/web/prefs.js";

const TIMES = ["route", "failed", "total99", "first99", "requests", "first50", "total50"];
const WAITERS = ["where", "wait", "class", "who"];
const ALL = ["flow", "limit", "inflight", "waits", "refused", "timedOut", "perS", "batch", "brake", "wait50", "wait99", "service50", "service99"];
let paused = false;
let newest = null;
let lastAtS = 0;
let bad = new Set();
// What the line of state says, in the language of now.
let stateText = (text) => text.connecting;

const clock = (atS) => new Date(atS * 1000).toLocaleTimeString(said().locale);

function showTiles(frame) {
  const chat = frame.routes.filter((row) => row.route.startsWith("/chat"));
  const busiest = chat[0];
  const sum = (name) => frame.engines.reduce((total, engine) => total + engine[name], 0);
  const waiting = frame.engines.reduce((total, engine) => total + Object.values(engine.waiting).reduce((a, b) => a + b, 0), 0);
  const requests = chat.reduce((total, row) => total + row.count, 0);
  const failed = chat.reduce((total, row) => total + row.failed, 0);
  const first = frame.waiters[0];
  pairs($("tiles"), [
    ["first50", busiest ? ms(busiest.first_ms_p50) : "—", busiest ? said().p99(ms(busiest.first_ms_p99)) : said().noRequests],
    ["total50", busiest ? ms(busiest.total_ms_p50) : "—", busiest ? said().p99(ms(busiest.total_ms_p99)) : ""],
    ["messages", count(requests), failed ? said().failedOf(count(failed)) : said().noneFailed],
    ["inEngine", count(sum("inflight")), said().waiting(count(waiting))],
    ["longest", first ? ms(first.waited_ms) : "0 ms", first ? whereOf(frame, first.flow) : said().nobodyWaits],
  ]);
}

function whereOf(frame, name) {
  const flow = frame.flows.find((row) => row.name === name);
  return flow ? titleOf(flow) : name;
}

// What matters most stands where a phone shows it: failures and the slowest first.
function showTables(frame) {
  table($("times"), TIMES, frame.routes.map((row) => [
    row.route, [count(row.failed), row.failed ? "bad" : ""], ms(row.total_ms_p99), ms(row.first_ms_p99), count(row.count), ms(row.first_ms_p50), ms(row.total_ms_p50),
  ]), said().noRequest);
  table($("waiters"), WAITERS, frame.waiters.map((row) => [whereOf(frame, row.flow), ms(row.waited_ms), said().lanes[row.class] || row.class || "—", row.who || "—"]), said().nobody);
  if ($("as-table").open) {
    table($("all"), ALL, frame.flows.map((flow) => [
      titleOf(flow), limitOf(flow), count(flow.inflight), count(flow.waiting), count(flow.refused), count(flow.timed_out), count(flow.per_s), flow.batches ? count(flow.batch) : "—",
      flow.brake < 1 ? `${Math.round(flow.brake * 100)} %` : "—", ms(flow.wait_ms_p50), ms(flow.wait_ms_p99), ms(flow.service_ms_p50), ms(flow.service_ms_p99),
    ]), said().noFlow);
  }
}

const partOf = (item) => said().parts[item.name] || item.name;

function showHealth(frame) {
  const rows = frame.health.map((item) => [partOf(item), item.ready ? said().well : item.detail, item.ready]);
  items($("health"), rows, ([name, text, isReady]) => make("li", isReady ? "" : "away", `${name}: ${text}`));
}

// Said aloud once, when it begins and when it ends: never every second.
function announce(frame) {
  const now = new Set();
  for (const item of frame.health) if (!item.ready) now.add(said().isAway(partOf(item)));
  for (const engine of frame.engines) if (!engine.up) now.add(said().engineAway(engine.model));
  for (const flow of frame.flows) if (flow.brake < 1) now.add(said().isBraked(titleOf(flow)));
  const began = [...now].filter((text) => !bad.has(text));
  const ended = [...bad].filter((text) => !now.has(text));
  bad = now;
  if (began.length) tell(`${began.join("; ")}.`);
  else if (ended.length) tell(said().solved(ended.join("; ")));
}

function tell(text) {
  put($("status"), text);
}

function state(name, text) {
  stateText = text;
  $("state").dataset.state = name;
  put($("state"), text(said()));
  document.body.toggleAttribute("data-stale", name === "off");
}

function show(frame) {
  lastAtS = frame.at_s;
  newest = frame;
  if (paused) {
    for (const flow of frame.flows) collect(flow, frame.at_s);
    return;
  }
  $("notice").hidden = true;
  state("live", (text) => text.live(clock(frame.at_s)));
  paint(frame);
  announce(frame);
}

function paint(frame) {
  drop(new Set(frame.flows.map((flow) => flow.name)), new Set(frame.engines.map((engine) => engine.name)));
  showTiles(frame);
  showHealth(frame);
  for (const engine of frame.engines) showEngine(engine);
  for (const flow of frame.flows) showFlow(flow, frame.at_s);
  showTables(frame);
  put($("foot"), said().foot(frame.tasks));
  put($("replica"), frame.replica ? said().replica(frame.replica) : "");
}

function showWords() {
  document.documentElement.lang = words().language;
  document.title = said().title;
  translate(document);
  $("language").lang = languageNow() === "es" ? "en" : "es";
  put($("pause"), paused ? said().resume : said().pause);
  put($("state"), stateText(said()));
  for (const details of document.querySelectorAll("[data-terms]")) explain(details);
  for (const list of ["engines", "flows"]) $(list).dataset.empty = list === "engines" ? said().noEngine : said().noFlow;
  redraw();
  if (newest) paint(newest);
}

const feed = new Feed({
  history(data) {
    $("door").hidden = true;
    remember(data.frames);
    if ($("state").dataset.state === "off") tell(said().found);
  },
  frame: show,
  end() {
    state("off", (text) => text.leaving);
  },
  away(afterMs) {
    if ($("state").dataset.state !== "off") tell(said().lost);
    state("off", (text) => text.off(Math.ceil(afterMs / 1000), lastAtS ? clock(lastAtS) : ""));
  },
  refused(status) {
    $("notice").hidden = false;
    put($("notice"), status === 503 ? said().noRoom : said().refused(status));
  },
  locked(wasTried) {
    $("door").hidden = false;
    state("off", (text) => (wasTried ? text.wrongKey : text.noKey));
    tell($("state").textContent);
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
  put($("pause"), paused ? said().resume : said().pause);
  if (paused) state("paused", (text) => text.paused);
  tell(paused ? said().paused : said().live(""));
});
$("language").addEventListener("click", () => {
  setLanguage(languageNow() === "es" ? "en" : "es");
  showWords();
});
window.addEventListener("online", () => feed.start());
showWords();
feed.start();
