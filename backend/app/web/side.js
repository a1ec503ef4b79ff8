// The list of conversations: titles by day, search, rename, export, delete with a way back.
import * as api from "/web/api.js";
import { $, button, make } from "/web/dom.js";
import { label, languageNow, say, words } from "/web/prefs.js";

const UNDO_MS = 7000;
const DAY_MS = 86_400_000;

export class Side {
  // `on` is told: open(id), gone(id), named(id, title).
  constructor(on) {
    this.on = on;
    this.rows = [];
    this.next = null;
    this.current = null;
    this.leaving = null;
    this.menuFor = null;
    $("search").addEventListener("input", () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.load(), 250);
    });
    $("find").addEventListener("submit", (event) => event.preventDefault());
    window.addEventListener("pagehide", () => this.settle(true));
    this.channel = "BroadcastChannel" in window ? new BroadcastChannel("sentinel") : null;
    this.channel?.addEventListener("message", () => this.load());
  }

  tellTabs() {
    this.channel?.postMessage("changed");
  }

  async load() {
    this.asking?.abort();
    this.asking = new AbortController();
    const search = $("search").value.trim();
    try {
      const { rows, next } = await api.conversations({ search, signal: this.asking.signal });
      [this.rows, this.next] = [rows, next];
      this.show(search);
    } catch (failure) {
      if (failure.name === "AbortError") return;
      if (failure.code === "unauthorized") throw failure;
      const again = button({ text: (said) => said.again, className: "offer", onClick: () => this.load().catch(() => {}) });
      $("list").replaceChildren(say(make("p", "quiet"), (said) => said.listFailed), again);
    }
  }

  async loadMore() {
    const { rows, next } = await api.conversations({ search: $("search").value.trim(), cursor: this.next });
    this.rows.push(...rows);
    this.next = next;
    this.show($("search").value.trim());
  }

  // A conversation that was just used stands first.
  used(id, title) {
    const known = this.rows.find((row) => row.id === id);
    this.rows = this.rows.filter((row) => row.id !== id);
    this.rows.unshift({ id, title: known?.title || title, updated_at: new Date().toISOString() });
    this.show($("search").value.trim());
    this.tellTabs();
  }

  choose(id) {
    this.current = id;
    for (const link of $("list").querySelectorAll("a")) {
      if (link.dataset.id === id) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  }

  show(search) {
    const shown = this.rows.filter((row) => row.id !== this.leaving?.id);
    if (!shown.length) {
      $("list").replaceChildren(say(make("p", "quiet empty"), (said) => (search ? said.noneFound : said.noneYet)));
      return;
    }
    const groups = new Map();
    for (const row of shown) {
      const name = dayOf(row.updated_at);
      if (!groups.has(name)) groups.set(name, []);
      groups.get(name).push(row);
    }
    const parts = [...groups].flatMap(([name, rows]) => [
      say(make("h2", "day"), (said) => said[name]), make("ul", "", ...rows.map((row) => this.item(row))),
    ]);
    if (this.next) parts.push(button({ text: (said) => said.more, className: "offer", onClick: () => this.loadMore().catch(() => {}) }));
    $("list").replaceChildren(...parts);
    this.choose(this.current);
  }

  item(row) {
    const link = make("a", "", row.title);
    link.href = `/c/${row.id}`;
    link.dataset.id = row.id;
    link.dir = "auto";
    link.title = row.title;
    link.addEventListener("click", (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
      event.preventDefault();
      this.on.open(row.id);
    });
    const more = button({ image: "dots", name: (said) => said.options(row.title), className: "icon more" });
    more.addEventListener("click", () => this.openMenu(row, more));
    return make("li", "", link, more);
  }

  openMenu(row, anchor) {
    const menu = $("menu");
    const entry = (image, text, onClick, className = "") => button({
      image, text, className: `row ${className}`,
      onClick: () => {
        menu.hidePopover();
        onClick();
      },
    });
    menu.replaceChildren(
      entry("edit", (said) => said.rename, () => this.rename(row)),
      entry("save", (said) => said.exportMarkdown, () => this.export(row, "md")),
      entry("save", (said) => said.exportJson, () => this.export(row, "json")),
      entry("trash", (said) => said.remove, () => this.remove(row), "danger"),
    );
    menu.showPopover();
    const place = anchor.getBoundingClientRect();
    menu.style.left = `${Math.max(8, Math.min(place.left, window.innerWidth - menu.offsetWidth - 8))}px`;
    menu.style.top = `${Math.min(place.bottom + 4, window.innerHeight - menu.offsetHeight - 8)}px`;
    menu.firstElementChild.focus();
    menu.addEventListener("toggle", (event) => {
      if (event.newState === "closed" && document.activeElement === document.body) anchor.focus();
    }, { once: true });
  }

  rename(row) {
    const box = make("input");
    box.value = row.title;
    box.maxLength = 200;
    label(box, (said) => said.renameLabel);
    const save = button({ text: (said) => said.save, className: "primary" });
    save.type = "submit";
    const form = make("form", "renaming", box, save);
    const dialog = make("dialog", "", say(make("h2"), (said) => said.rename), form);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const title = box.value.trim();
      if (!title) return;
      try {
        await api.rename(row.id, title);
        row.title = title;
        this.show($("search").value.trim());
        this.on.named(row.id, title);
        this.tellTabs();
      } catch (failure) {
        this.toast((said) => said.errors[failure.code] || said.errors.internal);
      }
      dialog.close();
    });
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
    box.select();
  }

  // It is gone from the page at once, and from the server when nobody wanted it back.
  remove(row) {
    this.settle();
    this.leaving = { id: row.id, timer: setTimeout(() => this.settle(), UNDO_MS) };
    const wasShown = this.current === row.id;
    this.show($("search").value.trim());
    this.on.gone(row.id);
    this.toast((said) => said.removed(row.title), button({
      text: (said) => said.undo, className: "small",
      onClick: () => {
        clearTimeout(this.leaving?.timer);
        this.leaving = null;
        this.show($("search").value.trim());
        $("toast").hidden = true;
        if (wasShown) this.on.open(row.id);
      },
    }));
  }

  settle(isLeaving = false) {
    if (!this.leaving) return;
    const { id, timer } = this.leaving;
    clearTimeout(timer);
    this.leaving = null;
    this.rows = this.rows.filter((row) => row.id !== id);
    api.remove(id, isLeaving).then(() => this.tellTabs()).catch((failure) => {
      if (failure.code !== "not_found") this.toast((said) => said.errors[failure.code] || said.errors.internal);
    });
  }

  toast(text, ...more) {
    const toast = $("toast");
    toast.replaceChildren(say(make("span"), text), ...more);
    toast.hidden = false;
    clearTimeout(this.toasting);
    this.toasting = setTimeout(() => { toast.hidden = true; }, UNDO_MS);
  }

  async export(row, form) {
    try {
      const found = await api.whole(row.id);
      const text = form === "json" ? JSON.stringify(found, null, 2) : asMarkdown(found);
      const link = make("a");
      link.href = URL.createObjectURL(new Blob([text], { type: form === "json" ? "application/json" : "text/markdown" }));
      link.download = `${row.title.replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 60) || "sentinel"}.${form}`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    } catch (failure) {
      this.toast((said) => said.errors[failure.code] || said.errors.internal);
    }
  }
}

function asMarkdown(found) {
  const said = words();
  const when = new Date(found.created_at).toLocaleString(languageNow());
  const turns = found.messages.map(({ role, content }) => `## ${role === "user" ? said.you : said.sentinel}\n\n${content}\n`);
  return `# ${found.title}\n\n${said.exportedBy}, ${when}\n\n${turns.join("\n")}`;
}

function dayOf(at) {
  const midnight = new Date().setHours(0, 0, 0, 0);
  const then = new Date(at).getTime();
  if (then >= midnight) return "today";
  if (then >= midnight - DAY_MS) return "yesterday";
  return then >= midnight - 7 * DAY_MS ? "week" : "older";
}
