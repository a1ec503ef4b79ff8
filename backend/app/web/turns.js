// One question or one answer on the page, with what can be done to it. What it does is the thread's.
import { copyText } from "/web/clipboard.js";
import { button, icon, make } from "/web/dom.js";
import { LiveText } from "/web/live.js";
import { fragment } from "/web/markdown.js";
import { label, say } from "/web/prefs.js";

const LONG_QUESTION_CHARS = 1600;

function copying(image, name, textOf) {
  const node = button({ image, name, className: "icon" });
  node.addEventListener("click", async () => {
    const isCopied = await copyText(textOf());
    node.replaceChildren(icon(isCopied ? "check" : "alert"));
    label(node, (words) => (isCopied ? words.copied : words.notCopied));
    setTimeout(() => {
      node.replaceChildren(icon(image));
      label(node, name);
    }, 1600);
  });
  return node;
}

class Turn {
  constructor(role, thread) {
    this.role = role;
    this.thread = thread;
    this.id = null;
    this.text = "";
    this.node = make("article", `turn ${role}`);
    this.heading = say(make("h2", "visually-hidden"), (words) => (role === "user" ? words.you : words.sentinel));
    this.body = make("div", "text");
    this.notes = make("div", "notes");
    this.actions = make("div", "actions");
    this.node.append(this.heading, this.body, this.notes, this.actions);
  }
}

export class Question extends Turn {
  constructor(thread, text) {
    super("user", thread);
    this.text = text;
    this.body.dir = "auto";
    this.body.textContent = text;
    this.body.classList.toggle("long", text.length > LONG_QUESTION_CHARS);
    this.actions.append(
      copying("copy", (words) => words.copyQuestion, () => this.text),
      button({ image: "edit", name: (words) => words.edit, className: "icon edit", onClick: () => this.edit() }),
    );
  }

  // The bubble becomes a box; asking from it replaces what follows.
  edit() {
    if (this.thread.running || this.node.querySelector("form")) return;
    const form = make("form", "editor");
    const box = make("textarea");
    box.value = this.text;
    box.dir = "auto";
    box.rows = Math.min(12, this.text.split("\n").length + 1);
    label(box, (words) => words.edit);
    const leave = () => {
      form.replaceWith(this.body);
      this.actions.hidden = false;
      this.actions.querySelector(".edit").focus();
    };
    const ask = button({ text: (words) => words.askAgain, className: "primary" });
    ask.type = "submit";
    const row = make("div", "row", button({ text: (words) => words.cancel, onClick: leave }), ask);
    form.append(box, say(make("p", "quiet"), (words) => words.editNote), row);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const text = box.value;
      if (!text.trim() || this.thread.isTooLong(text)) return;
      leave();
      this.thread.askAgain(this, text);
    });
    box.addEventListener("input", () => {
      ask.disabled = this.thread.isTooLong(box.value);
    });
    box.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        event.stopPropagation();
        leave();
      } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        form.requestSubmit();
      }
    });
    this.body.replaceWith(form);
    this.actions.hidden = true;
    box.focus();
    box.setSelectionRange(box.value.length, box.value.length);
  }
}

export class Answer extends Turn {
  constructor(thread) {
    super("assistant", thread);
    this.body.classList.add("prose");
    this.live = null;
    this.thoughts = null;
  }

  // An answer that was stored earlier.
  showStored({ id, content, finish_reason: reason, cut }) {
    this.id = id;
    this.text = content;
    this.body.append(fragment(content));
    this.finish({ reason, cut });
  }

  wait() {
    this.node.classList.add("waiting");
    this.waitNote = say(make("p", "pulse"), (words) => words.waiting);
    this.body.before(this.waitNote);
  }

  think(text) {
    this.waitNote?.remove();
    if (!this.thoughts) {
      this.thoughts = make("details", "thoughts");
      this.thoughtTitle = say(make("summary"), (words) => words.thinking);
      this.thoughtText = make("div", "thought");
      this.thoughtText.dir = "auto";
      this.thoughts.append(this.thoughtTitle, this.thoughtText);
      this.thoughtText.append("");
      this.body.before(this.thoughts);
    }
    this.thoughtText.firstChild.appendData(text);
  }

  say(text, onShown) {
    if (!this.live) {
      this.waitNote?.remove();
      if (this.thoughts) say(this.thoughtTitle, (words) => words.thought);
      this.node.classList.remove("waiting");
      this.live = new LiveText(this.body, onShown);
    }
    this.text += text;
    this.live.append(text);
  }

  // No more comes: say how it ended, and offer what fits.
  finish({ reason, cut, done, stopped }) {
    this.live?.finish();
    this.live = null;
    this.waitNote?.remove();
    this.node.classList.remove("waiting");
    this.isCut = Boolean(cut);
    this.notes.replaceChildren();
    const isPartial = stopped || (reason && !cut && !["stop", "eos", "end_turn"].includes(reason));
    if (cut) this.note((words) => (reason === "time" ? words.cutTime : words.cut), "warn");
    else if (stopped) this.note((words) => words.stopped, "warn");
    else if (isPartial) this.note((words) => words.partial, "warn");
    if (cut || (isPartial && this.text)) this.offer("on", (words) => words.goOn, () => this.thread.goOn(), "goes-on");
    this.actions.replaceChildren(
      copying("copy", (words) => words.copyAnswer, () => this.text),
      button({ image: "again", name: (words) => words.regenerate, className: "icon regenerate", onClick: () => this.thread.regenerate(this) }),
    );
    if (done) {
      const facts = say(make("span", "facts"), (words) => words.facts(done));
      facts.hidden = true;
      const more = button({ image: "info", name: (words) => words.details, className: "icon" });
      more.setAttribute("aria-expanded", "false");
      more.addEventListener("click", () => {
        facts.hidden = !facts.hidden;
        more.setAttribute("aria-expanded", String(!facts.hidden));
      });
      this.actions.append(more, facts);
    }
  }

  note(text, kind) {
    const line = make("p", `note ${kind}`, icon(kind === "bad" ? "alert" : "info"), say(make("span"), text));
    this.notes.append(line);
    return line;
  }

  offer(image, text, onClick, className = "") {
    const node = button({ image, text, className: `offer ${className}`, onClick });
    this.notes.append(node);
    return node;
  }

  // What went wrong, and a button that asks again as soon as the server lets us.
  fail(failure, onAgain) {
    this.finish({});
    if (!this.text) this.body.remove();
    this.actions.replaceChildren();
    this.node.classList.add("failed");
    this.note((words) => words.errors[failure.code] || words.errors.internal, "bad");
    const again = this.offer("again", (words) => words.askAgain, onAgain, "again");
    this.count(again, failure.waitS);
  }

  count(again, seconds) {
    if (!seconds) return;
    const until = performance.now() + 1000 * seconds;
    again.disabled = true;
    const tick = () => {
      const left = Math.ceil((until - performance.now()) / 1000);
      if (left <= 0) {
        clearInterval(timer);
        again.disabled = false;
        say(again.querySelector("span"), (words) => words.askAgain);
      } else say(again.querySelector("span"), (words) => words.waitFor(left));
    };
    const timer = setInterval(tick, 250);
    tick();
  }
}
