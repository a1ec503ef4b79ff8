// The events of the page, for as long as it is open. EventSource cannot send a key, so this reads a fetch.
import { key, keyHeader, setKey } from "/web/prefs.js";

const WAITS_MS = [500, 1000, 2000, 4000, 8000];
const SILENCE_MS = 8000;

export class Feed {
  constructor(on) {
    this.on = on;
    this.failures = 0;
    this.timer = null;
  }

  enter(given) {
    setKey(given, false);
    this.start();
  }

  start() {
    clearTimeout(this.timer);
    this.controller?.abort();
    this.controller = new AbortController();
    this.read(this.controller).catch((error) => error);
  }

  async read(controller) {
    let wait = null;
    try {
      wait = await this.listen(controller);
    } catch (error) {
      if (controller !== this.controller) return;
    }
    if (controller !== this.controller || wait === Infinity) return;
    const after = wait ?? WAITS_MS[Math.min(this.failures, WAITS_MS.length - 1)];
    this.failures += 1;
    this.on.away(after);
    this.timer = setTimeout(() => this.start(), after);
  }

  // Resolves with the wait before the next try in ms, null for the usual one, Infinity for none.
  async listen(controller) {
    const guard = () => {
      clearTimeout(this.guard);
      this.guard = setTimeout(() => controller.abort(), SILENCE_MS);
    };
    guard();
    try {
      const response = await fetch("/panel/events", { headers: keyHeader(), cache: "no-store", signal: controller.signal });
      if (response.status === 401) {
        this.on.locked(Boolean(key()));
        return Infinity;
      }
      if (!response.ok) {
        this.on.refused(response.status);
        return 1000 * Math.max(2, Number(response.headers.get("retry-after")) || 2);
      }
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let buffer = "";
      while (true) {
        const { done, value } = await reader.read();
        if (done) return null;
        guard();
        const blocks = (buffer + value).split("\n\n");
        buffer = blocks.pop();
        for (const block of blocks) this.take(block);
      }
    } finally {
      clearTimeout(this.guard);
    }
  }

  take(block) {
    const lines = block.split("\n");
    const name = lines.find((line) => line.startsWith("event: "))?.slice(7);
    const data = lines.find((line) => line.startsWith("data: "))?.slice(6);
    if (!name || !data) return;
    if (name === "frame") this.failures = 0;
    this.on[name]?.(JSON.parse(data));
  }
}
