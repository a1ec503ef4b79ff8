// Figures and reasons of the live panel in the language of now.
import { words } from "/web/prefs.js";

export const said = () => words().panel;

function format(value, digits) {
  return new Intl.NumberFormat(said().locale, { maximumFractionDigits: digits }).format(value);
}

export function count(value) {
  if (value === null || value === undefined) return "—";
  return format(value, Math.abs(value) < 100 ? 1 : 0);
}

export function ms(value) {
  if (value === null || value === undefined) return "—";
  if (value < 0.05) return "0 ms";
  if (value < 10) return `${format(value, 1)} ms`;
  return value < 1000 ? `${format(value, 0)} ms` : `${format(value / 1000, 1)} s`;
}

export function ago(seconds) {
  if (seconds < 60) return `${format(Math.max(0, seconds), 0)} s`;
  return seconds < 3600 ? `${format(seconds / 60, 0)} min` : `${format(seconds / 3600, 0)} h`;
}

// A law names its reason by a code, some with a prefix for who speaks and some with a class behind a colon.
export function reason(code) {
  const { reasons, lawFailed, forClass } = said();
  if (code.startsWith("law_failed_")) return lawFailed;
  const [name, about] = code.replaceAll(" ", "_").split(":");
  const why = reasons[name] || reasons[name.replace(/^(brake|relief)_/, "")] || name.replaceAll("_", " ");
  return about ? forClass(why, about) : why;
}

// A comparison is a sentence of its own: "21 at a time did 8 % more than 15".
const COMPARED = { compared: 1, with: 1, gain: 1 };
const compares = (given) => Object.keys(COMPARED).every((name) => Number.isFinite(given[name]));
export const comparison = (given) => (compares(given) ? said().comparison(format(given.compared, 0), format(given.with, 0), format(100 * Math.abs(given.gain), 1), given.gain >= 0) : "");

// What else a decision was computed from, in words; a gain is a share.
export function inputs(given) {
  const names = said().inputs;
  return Object.entries(given).filter(([name, value]) => value !== null && !(compares(given) && name in COMPARED)).map(([name, value]) => [
    names[name] || name.replaceAll("_", " "),
    name === "gain" || name === "needed" || name.endsWith("_share") ? `${format(100 * value, 1)} %` : format(value, Math.abs(value) < 10 ? 3 : 0),
  ]);
}

export const titleOf = (flow) => (said().names[flow.name] || said().kinds[flow.kind])?.[0] || flow.name;
export const unitOf = (flow) => (said().names[flow.name] || said().kinds[flow.kind])?.[1] || "";
export const limitOf = (flow) => count(flow.kind === "loop_lag" ? flow.value * 1000 : flow.value);

export function rangeOf(flow) {
  const { always, from, between } = said();
  if (flow.floor === flow.ceiling) return always(count(flow.ceiling));
  return flow.ceiling === null ? from(count(flow.floor)) : between(count(flow.floor), count(flow.ceiling));
}
