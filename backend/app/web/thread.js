// One conversation on the page: its turns, and the answer that may be coming. It goes on while another one is shown.
import * as api from "/web/api.js";
import { button, make } from "/web/dom.js";
import { words } from "/web/prefs.js";
import { Answer, Question } from "/web/turns.js";

export class Thread {
  // `on` is told: named(thread), busy(thread), moved(thread), failed(thread, failure, text, wasStored), said(text).
  constructor(id, on, isTooLong) {
    this.id = id;
    this.on = on;
    this.isTooLong = isTooLong;
    this.title = "";
    this.node = make("div", "turns");
    this.turns = [];
    this.running = null;
    this.wasStopped = false;
  }

  async load() {
    const found = await api.conversation(this.id);
    this.title = found.title;
    this.node.replaceChildren();
    this.turns = [];
    for (const stored of found.messages) this.add(this.shown(stored));
    this.offerEarlier(found.next);
    this.offerAnswer();
    this.mark();
  }

  shown(stored) {
    if (stored.role === "user") {
      const turn = new Question(this, stored.content);
      turn.id = stored.id;
      return turn;
    }
    const turn = new Answer(this);
    turn.showStored(stored);
    return turn;
  }

  add(turn) {
    this.turns.push(turn);
    this.node.append(turn.node);
    return turn;
  }

  offerEarlier(cursor) {
    if (!cursor) return;
    const earlier = button({ text: (said) => said.earlier, className: "earlier" });
    earlier.addEventListener("click", async () => {
      earlier.disabled = true;
      try {
        const page = await api.conversation(this.id, { cursor });
        const before = page.messages.map((stored) => this.shown(stored));
        earlier.replaceWith(...before.map((turn) => turn.node));
        this.turns.unshift(...before);
        this.offerEarlier(page.next);
      } catch (failure) {
        earlier.disabled = false;
        this.on.said(words().errors[failure.code] || words().errors.internal);
      }
    });
    this.node.prepend(earlier);
  }

  // A question at the end without an answer: the page was closed, or the answer failed.
  offerAnswer() {
    const last = this.turns.at(-1);
    if (last?.role !== "user") return;
    const turn = this.add(new Answer(this));
    turn.body.remove();
    turn.note((said) => said.unanswered, "warn");
    turn.offer("again", (said) => said.askAgain, () => this.askAgain(last, last.text), "again");
  }

  // Only the last answer can be asked for anew or continued.
  mark() {
    const last = this.turns.findLast((turn) => turn.role === "assistant");
    for (const turn of this.turns) turn.node.classList.toggle("last-answer", turn === last);
  }

  async ask(text) {
    if (this.running) return;
    this.dropFailed(text);
    const question = this.add(new Question(this, text));
    const answer = this.add(new Answer(this));
    this.mark();
    answer.wait();
    this.on.moved(this, true);
    this.running = new AbortController();
    this.wasStopped = false;
    this.on.busy(this);
    if (!this.title) this.title = text.split(/\s+/).filter(Boolean).join(" ").slice(0, 80);
    const { signal } = this.running;
    let isAccepted = false;
    try {
      for await (const { name, data } of api.chat(text, this.id, signal)) {
        if (name === "accepted") {
          isAccepted = true;
          this.id = data.id;
          this.on.named(this);
        } else if (name === "thinking") answer.think(data.text);
        else if (name === "delta") answer.say(data.text, () => this.on.moved(this, false));
        else if (name === "done") {
          answer.finish({ reason: data.finish_reason, cut: data.cut, done: data });
          this.on.said(data.cut ? words().cut : words().answered);
        }
      }
    } catch (error) {
      if (error.name === "AbortError") this.stopped(question, answer);
      else this.failed(question, answer, error, isAccepted);
    } finally {
      this.running = null;
      this.on.busy(this);
      this.on.moved(this, false);
    }
  }

  stopped(question, answer) {
    answer.finish({ stopped: true });
    if (!answer.text) answer.offer("again", (said) => said.askAgain, () => this.askAgain(question, question.text), "again");
    this.on.said(words().stopped);
  }

  failed(question, answer, error, isAccepted) {
    const failure = error instanceof api.Failure ? error : new api.Failure({ code: "internal" });
    if (!(error instanceof api.Failure)) console.error(error);
    answer.fail(failure, () => this.askAgain(question, question.text));
    answer.failure = failure;
    this.on.failed(this, failure, question.text);
    if (!isAccepted && !this.id) this.title = "";
    this.on.moved(this, true);
  }

  // Sent again from the box: the try that failed makes room.
  dropFailed(text) {
    const [question, answer] = this.turns.slice(-2);
    if (answer?.failure && !answer.text && question.text === text) this.cutFrom(question);
  }

  cutFrom(turn) {
    const at = this.turns.indexOf(turn);
    for (const gone of this.turns.splice(at)) gone.node.remove();
  }

  regenerate(answer) {
    const question = this.turns[this.turns.indexOf(answer) - 1];
    if (question?.role === "user") this.askAgain(question, question.text);
  }

  // Ask from an earlier question on: what was stored from there is taken back first.
  async askAgain(question, text) {
    if (this.running) return;
    try {
      if (this.id) {
        this.running = new AbortController();
        this.on.busy(this);
        if (!(await this.learnIds())) {
          await this.load();
          throw new api.Failure({ code: "went_on" });
        }
        if (question.id) await api.takeBack(this.id, question.id);
      }
    } catch (error) {
      if (error.code !== "not_found") {
        this.running = null;
        this.on.busy(this);
        this.on.failed(this, error, text, true);
        return;
      }
      this.id = null;
    }
    this.running = null;
    this.cutFrom(question);
    this.on.taken(text);
    await this.ask(text);
  }

  // Questions that were asked on this page get the numbers under which they are stored; one that is not has none.
  // False when there are messages that this page does not show: another tab went on.
  async learnIds() {
    const { messages } = await api.conversation(this.id);
    const last = Math.max(0, ...this.turns.map((turn) => turn.id || 0));
    const fresh = messages.filter((stored) => stored.id > last);
    for (const turn of this.turns) {
      const [next] = fresh;
      if (turn.id || turn.role !== next?.role || (turn.role === "user" && turn.text !== next.content)) continue;
      turn.id = next.id;
      fresh.shift();
    }
    return !fresh.length;
  }

  goOn() {
    this.ask(words().goOnMessage);
  }

  stop() {
    this.running?.abort();
  }
}
