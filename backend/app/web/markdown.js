// A model's answer as a safe fragment: markdown-it makes HTML, DOMPurify lets an allow-list through, then code gets
// its colours and formulas are set. Nothing of the answer becomes an attribute other than those named here.
import MarkdownIt from "/web/vendor/markdown-it/markdown-it.esm.min.js";
import { label, say } from "/web/prefs.js";
import { copyText } from "/web/clipboard.js";
import { texRules } from "/web/tex.js";

const MAX_COLOURED_CHARS = 60_000;
const SAFE = {
  ALLOWED_TAGS: ["p", "br", "hr", "h3", "h4", "h5", "h6", "ul", "ol", "li", "strong", "em", "s", "code", "pre", "blockquote", "a",
    "table", "thead", "tbody", "tr", "th", "td", "span", "div"],
  ALLOWED_ATTR: ["href", "class", "start", "dir", "title"],
  ADD_URI_SAFE_ATTR: ["start", "dir", "title"],
  ALLOW_DATA_ATTR: false,
  ALLOWED_URI_REGEXP: /^(?:https?:|mailto:)/i,
  RETURN_DOM_FRAGMENT: true,
};

const md = new MarkdownIt({ html: false, linkify: true, breaks: false });
md.validateLink = (url) => /^(https?:|mailto:)/i.test(url.trim());
md.use(texRules);
// Loading a picture would tell its owner who reads what: it is a link.
md.renderer.rules.image = (tokens, index) => {
  const url = tokens[index].attrGet("src") || "";
  const text = md.utils.escapeHtml(tokens[index].content || url);
  return md.validateLink(url) ? `<a href="${md.utils.escapeHtml(url)}">${text}</a>` : text;
};
md.core.ruler.push("shape", ({ tokens }) => {
  for (const token of tokens) {
    const heading = /^h([1-6])$/.exec(token.tag);
    if (heading) token.tag = `h${Math.min(6, Number(heading[1]) + 2)}`;
    const align = /text-align:\s*(left|right|center)/.exec(token.attrGet("style") || "");
    if (token.attrs) token.attrs = token.attrs.filter(([name]) => name !== "style");
    if (align) token.attrJoin("class", `to-${align[1]}`);
    if (token.nesting === 1 && /^(p|h\d|li|th|td|blockquote|ul|ol|table)$/.test(token.tag)) token.attrSet("dir", "auto");
  }
});

// The lines at which the items of a list begin, where a text is one.
export const itemLines = (source) => md.parse(source, {}).filter((token) => token.type === "list_item_open" && token.level === 1).map((token) => token.map[0]);
export const blocks = (source, env) => md.parse(source, env).filter((token) => token.level === 0 && token.map && token.nesting !== -1);

export function fragment(source, env = {}) {
  return dressed(DOMPurify.sanitize(md.render(source, env), SAFE));
}

export function inlineFragment(source) {
  return dressed(DOMPurify.sanitize(md.renderInline(source), SAFE));
}

function dressed(root) {
  for (const link of root.querySelectorAll("a[href]")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer nofollow";
  }
  for (const code of root.querySelectorAll("pre > code")) {
    const language = /(?:^|\s)language-([\w+#.-]+)/.exec(code.className)?.[1] || "";
    const box = codeBox(language, code.textContent.replace(/\n$/, ""));
    code.parentElement.replaceWith(box.node);
    colour(box.code, language);
  }
  for (const table of root.querySelectorAll("table")) {
    const scroll = scrolled("div", "wide");
    label(scroll, (words) => words.table);
    table.replaceWith(scroll);
    scroll.append(table);
  }
  const formulas = root.querySelectorAll("span.tex");
  if (formulas.length) set([...formulas]);
  return root;
}

// What may be wider than the page is scrolled by the keyboard as well.
function scrolled(tag, className) {
  const node = document.createElement(tag);
  node.className = className;
  node.tabIndex = 0;
  node.setAttribute("role", "region");
  return node;
}

// A block of code with its language's name and a button that copies it.
export function codeBox(language, text) {
  const node = document.createElement("div");
  node.className = "code";
  const bar = document.createElement("div");
  bar.className = "bar";
  const name = document.createElement("span");
  if (language) name.textContent = language;
  else say(name, (words) => words.plainText);
  const copy = document.createElement("button");
  copy.type = "button";
  copy.className = "small";
  say(copy, (words) => words.copy);
  const pre = scrolled("pre", "");
  label(pre, (words) => words.codeIn(language));
  const code = document.createElement("code");
  code.textContent = text;
  copy.addEventListener("click", async () => {
    const isCopied = await copyText(code.textContent);
    say(copy, (words) => (isCopied ? words.copied : words.notCopied));
    setTimeout(() => say(copy, (words) => words.copy), 1600);
  });
  bar.append(name, copy);
  pre.append(code);
  node.append(bar, pre);
  return { node, code };
}

let highlighter = null;

async function colour(code, language) {
  if (!language || code.textContent.length > MAX_COLOURED_CHARS) return;
  highlighter ??= import("/web/vendor/highlight/highlight.min.js");
  const { default: hljs } = await highlighter;
  if (!hljs.getLanguage(language)) return;
  const { value } = hljs.highlight(code.textContent, { language, ignoreIllegals: true });
  code.replaceChildren(DOMPurify.sanitize(value, { ALLOWED_TAGS: ["span"], ALLOWED_ATTR: ["class"], RETURN_DOM_FRAGMENT: true }));
}

let typesetter = null;

function loadKatex() {
  const style = document.createElement("link");
  style.rel = "stylesheet";
  style.href = "/web/vendor/katex/katex.min.css";
  const script = document.createElement("script");
  script.src = "/web/vendor/katex/katex.min.js";
  const loaded = new Promise((resolve, reject) => {
    script.addEventListener("load", () => resolve(window.katex));
    script.addEventListener("error", reject);
  });
  document.head.append(style, script);
  return loaded;
}

// KaTeX builds nodes (its styles are set one by one, which the content policy allows); it never sees HTML.
async function set(nodes) {
  typesetter ??= loadKatex();
  const katex = await typesetter.catch(() => null);
  if (!katex) return;
  for (const node of nodes) {
    const options = { displayMode: node.classList.contains("block"), throwOnError: false, trust: false, maxSize: 40, maxExpand: 500 };
    katex.render(node.textContent, node, options);
    node.classList.add("set");
  }
}
