// An answer while it comes. Finished blocks are rendered once and left alone, so a selection in them survives; only the
// last block is rendered again, at most once a frame, and never for more than a quarter of the time.
import { blocks, codeBox, fragment, inlineFragment, itemLines } from "/web/markdown.js";

const REST = 3;
const RUN_CHARS = 1200;
const KEPT_CHARS = 200;
// Text in which no mark of Markdown can begin or end.
const PLAIN = /^[^*_`[\]<>$\\~|#&!:@]*$/;
const FENCE = /^ {0,3}(`{3,}|~{3,})([^\n`]*)\n/;

export class LiveText {
  constructor(node, onShown = () => {}) {
    this.node = node;
    this.onShown = onShown;
    this.text = "";
    this.tail = "";
    this.env = {};
    this.last = document.createElement("div");
    this.last.className = "last";
    node.append(this.last);
    this.fence = null;
    this.run = null;
    this.list = null;
    this.isDue = false;
    this.isWaiting = false;
    this.restUntil = 0;
  }

  append(text) {
    this.text += text;
    this.tail += text;
    this.plan();
  }

  plan() {
    if (this.isDue) return;
    this.isWaiting = this.restUntil === Infinity;
    if (this.isWaiting) return;
    this.isDue = true;
    const wait = this.restUntil - performance.now();
    // A hidden page has no frames.
    if (wait > 16 || document.hidden) setTimeout(() => this.due(), Math.max(wait, 100 * document.hidden));
    else requestAnimationFrame(() => this.due());
  }

  due() {
    if (!this.isDue) return;
    this.isDue = false;
    const began = performance.now();
    this.show();
    this.onShown();
    // A frame costs what the browser needs to lay it out and to paint it as well: that is over after this.
    this.restUntil = Infinity;
    setTimeout(() => {
      const now = performance.now();
      this.restUntil = now + REST * (now - began);
      if (this.isWaiting) this.plan();
    });
  }

  // Everything has come: what is left is finished too.
  finish() {
    this.isDue = this.isWaiting = false;
    if (Object.keys(this.env.references || {}).length) {
      this.node.replaceChildren(fragment(this.text));
    } else {
      this.show();
      if (this.fence) this.closeFence(this.tail);
      this.last.replaceWith(...this.last.childNodes);
    }
    this.onShown();
  }

  show() {
    while (this.fence ? this.showFence() : this.showBlocks());
  }

  freeze(source) {
    if (source.trim()) this.last.before(fragment(source, this.env));
  }

  // Renders the tail; true when there is more to look at.
  showBlocks() {
    if (this.run) return this.showRun();
    if (this.list) return this.showList();
    const found = blocks(this.tail, this.env);
    if (found.length > 1) {
      const at = offsetOf(this.tail, found.at(-1).map[0]);
      this.freeze(this.tail.slice(0, at));
      this.tail = this.tail.slice(at);
    }
    const opened = FENCE.exec(this.tail);
    if (opened) {
      this.openFence(opened);
      return true;
    }
    this.last.replaceChildren(fragment(this.tail, this.env));
    if (this.tail.length < RUN_CHARS) return false;
    const { type } = found.at(-1);
    if (type === "paragraph_open") this.cutRun();
    else if (/^(bullet|ordered)_list_open$/.test(type)) this.cutList();
    return false;
  }

  // Of a long list only the last item is rendered again.
  cutList() {
    const lines = itemLines(this.tail);
    const list = this.last.firstElementChild;
    if (lines.length < 2) return;
    this.tail = this.tail.slice(offsetOf(this.tail, lines.at(-1)));
    this.list = { node: list, live: [list.lastElementChild] };
    this.last.before(list);
  }

  showList() {
    const { list } = this;
    const found = blocks(this.tail, this.env);
    const end = found.length > 1 ? offsetOf(this.tail, found[1].map[0]) : this.tail.length;
    const source = this.tail.slice(0, end);
    const made = fragment(source, this.env).firstElementChild;
    for (const item of list.live) item.remove();
    list.live = made ? [...made.children] : [];
    list.node.append(...list.live);
    if (found.length > 1 || made?.tagName !== list.node.tagName) {
      this.tail = this.tail.slice(end);
      this.list = null;
      return found.length > 1;
    }
    const lines = itemLines(source);
    if (lines.length > 1) {
      this.tail = this.tail.slice(offsetOf(this.tail, lines.at(-1)));
      list.live = list.live.slice(-1);
    }
    return false;
  }

  // A paragraph without an end is frozen piece by piece, where no mark is open.
  cutRun() {
    const at = this.tail.lastIndexOf(" ", this.tail.length - KEPT_CHARS) + 1;
    const head = this.tail.slice(0, at);
    if (!PLAIN.test(head) || head.includes("\n\n") || !/^\p{L}/u.test(this.tail.slice(at))) return;
    if (!this.run) {
      this.run = document.createElement("p");
      this.run.dir = "auto";
      this.last.replaceWith(this.run);
      this.last = document.createElement("span");
      this.run.append(this.last);
    }
    this.last.before(document.createTextNode(head));
    this.tail = this.tail.slice(at);
    this.last.replaceChildren(inlineFragment(this.tail));
  }

  showRun() {
    const found = blocks(this.tail, this.env);
    const end = found.length > 1 ? offsetOf(this.tail, found[1].map[0]) : this.tail.indexOf("\n\n") + 1;
    if (!end) {
      this.last.replaceChildren(inlineFragment(this.tail));
      if (this.tail.length > RUN_CHARS) this.cutRun();
      return false;
    }
    this.last.replaceWith(inlineFragment(this.tail.slice(0, end).trimEnd()));
    this.tail = this.tail.slice(end);
    this.run = null;
    this.last = document.createElement("div");
    this.last.className = "last";
    this.node.append(this.last);
    return true;
  }

  openFence([line, marks, info]) {
    const box = codeBox(info.trim().split(/\s/)[0], "");
    this.fence = { ...box, source: line, body: "", end: new RegExp(`^ {0,3}${marks[0]}{${marks.length},}[ \\t]*$`) };
    this.tail = this.tail.slice(line.length);
    this.last.replaceChildren(box.node);
    this.fence.text = box.code.appendChild(document.createTextNode(""));
  }

  // Whole lines are appended to the text; what is behind the last line break waits for its end.
  showFence() {
    const { fence } = this;
    const upTo = this.tail.lastIndexOf("\n") + 1;
    if (!upTo) return false;
    const lines = this.tail.slice(0, upTo).split("\n").slice(0, -1);
    const end = lines.findIndex((line) => fence.end.test(line));
    const body = end < 0 ? lines : lines.slice(0, end);
    const added = body.map((line) => `${line}\n`).join("");
    fence.source += added;
    fence.text.appendData(added);
    if (end < 0) {
      this.tail = this.tail.slice(upTo);
      return false;
    }
    this.tail = this.tail.slice(added.length + lines[end].length + 1);
    this.closeFence(`${lines[end]}\n`);
    return true;
  }

  closeFence(rest) {
    this.freeze(this.fence.source + rest);
    this.fence = null;
    this.last.replaceChildren();
  }
}

function offsetOf(source, line) {
  let at = 0;
  for (let count = 0; count < line; count += 1) at = source.indexOf("\n", at) + 1;
  return at;
}
