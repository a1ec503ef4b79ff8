// Requests to Sentinel. A failure is thrown as `Failure`, with the API's code and how long to wait.
import { keyHeader, user } from "/web/prefs.js";

export class Failure extends Error {
  constructor({ code = "internal", message = "", retry_after_s: wait, detail } = {}, status = 0) {
    super(message || code);
    this.code = code.startsWith("storage_") ? "storage_unavailable" : code;
    this.waitS = wait ? Math.ceil(wait) : 0;
    this.detail = detail || {};
    this.status = status;
  }
}

async function failureOf(response) {
  const told = (await response.json().catch(() => ({}))).error || {};
  const wait = told.retry_after_s || Number(response.headers.get("retry-after")) || 0;
  return new Failure({ ...told, retry_after_s: wait }, response.status);
}

export async function request(path, { method = "GET", body, query = {}, signal, keepalive } = {}) {
  const url = new URL(path, window.location.origin);
  for (const [name, value] of Object.entries(query)) if (value) url.searchParams.set(name, value);
  let response;
  try {
    response = await fetch(url, {
      method, signal, keepalive, cache: "no-store",
      headers: { ...keyHeader(), ...(body ? { "content-type": "application/json" } : {}) },
      body: body && JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure({ code: "network" });
  }
  if (!response.ok) throw await failureOf(response);
  return response;
}

const own = () => ({ user_id: user() });
const at = (id) => `/conversations/${id}`;

export async function conversations({ search, cursor, signal } = {}) {
  const response = await request("/conversations", { query: { ...own(), limit: 40, search, cursor }, signal });
  return { rows: await response.json(), next: response.headers.get("x-next-cursor") };
}

export async function conversation(id, { cursor, limit = 200 } = {}) {
  const response = await request(at(id), { query: { ...own(), limit, cursor } });
  return { ...(await response.json()), next: response.headers.get("x-next-cursor") };
}

// Every message of a conversation, page by page.
export async function whole(id) {
  const found = await conversation(id, { limit: 500 });
  for (let cursor = found.next; cursor;) {
    const page = await conversation(id, { limit: 500, cursor });
    found.messages.unshift(...page.messages);
    cursor = page.next;
  }
  return found;
}

export const rename = (id, title) => request(at(id), { method: "PATCH", query: own(), body: { title } });
export const takeBack = (id, message) => request(`${at(id)}/messages/${message}`, { method: "DELETE", query: own() });
export const remove = (id, keepalive) => request(at(id), { method: "DELETE", query: own(), keepalive });
export const limits = async () => (await request("/web-settings")).json();
export const health = async () => (await fetch("/health/ready", { cache: "no-store" })).json();

// Server-sent events of a POST: EventSource can only GET. Yields `{name, data}`, the first one is `accepted`.
export async function* chat(message, conversationId, signal) {
  const body = { ...own(), message, ...(conversationId ? { conversation_id: conversationId } : {}) };
  const response = await request("/chat/stream", { method: "POST", body, signal });
  yield { name: "accepted", data: { id: response.headers.get("x-conversation-id") } };
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  let isEnded = false;
  while (true) {
    let piece;
    try {
      piece = await reader.read();
    } catch (error) {
      throw error.name === "AbortError" ? error : new Failure({ code: "network" });
    }
    if (piece.done) break;
    const blocks = (buffer + piece.value).split("\n\n");
    buffer = blocks.pop();
    for (const block of blocks) {
      const event = parsed(block);
      if (!event) continue;
      isEnded ||= event.name === "done" || event.name === "error";
      if (event.name === "error") throw new Failure(event.data.error, event.data.error.status);
      yield event;
    }
  }
  if (!isEnded) throw new Failure({ code: "network" });
}

function parsed(block) {
  let name = "message";
  let data = "";
  for (const line of block.split("\n")) {
    if (line.startsWith("event: ")) name = line.slice(7);
    else if (line.startsWith("data: ")) data += line.slice(6);
  }
  return data ? { name, data: JSON.parse(data) } : null;
}
