// Server-sent events of a POST: EventSource can only GET.
export async function* events(url, body, { headers, signal, onConversation }) {
  const response = await fetch(url, {
    method: "POST", headers: { ...headers, "content-type": "application/json" }, body: JSON.stringify(body), signal,
  });
  if (!response.ok) {
    const failure = (await response.json().catch(() => ({}))).error || { code: "internal" };
    throw Object.assign(new Error(failure.message), { failure });
  }
  onConversation(response.headers.get("x-conversation-id"));
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  let ended = false;
  while (true) {
    const { done, value } = await reader.read();
    if (done) break;
    buffer += value;
    const blocks = buffer.split("\n\n");
    buffer = blocks.pop();
    for (const block of blocks) {
      const event = parse(block);
      if (!event) continue;
      ended ||= event.name !== "delta";
      yield event;
    }
  }
  if (!ended) throw Object.assign(new Error("the stream ended early"), { failure: { code: "network" } });
}

function parse(block) {
  let name = "message";
  let data = "";
  for (const line of block.split("\n")) {
    if (line.startsWith("event: ")) name = line.slice(7);
    else if (line.startsWith("data: ")) data += line.slice(6);
  }
  return data ? { name, data: JSON.parse(data) } : null;
}
