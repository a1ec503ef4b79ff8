// Formulas for markdown-it: $...$, $$...$$, \(...\) and \[...\]. Money is no formula: an inner $ touches its text, and
// no digit follows the closing one.
const PAIRS = [["$$", "$$", true], ["\\[", "\\]", true], ["\\(", "\\)", false], ["$", "$", false]];

function inline(state, silent) {
  const { src, pos, posMax } = state;
  for (const [open, close, isBlock] of PAIRS) {
    if (!src.startsWith(open, pos)) continue;
    const from = pos + open.length;
    let end = src.indexOf(close, from);
    while (end > 0 && src[end - 1] === "\\" && close[0] === "$") end = src.indexOf(close, end + 1);
    if (end < 0 || end + close.length > posMax) return false;
    const text = src.slice(from, end);
    if (!text.trim() || (close === "$" && (/^\s|\s$/.test(text) || /\d/.test(src[end + 1] || "") || text.includes("\n\n")))) return false;
    if (!silent) {
      const token = state.push("tex", "", 0);
      token.content = text;
      token.meta = isBlock;
    }
    state.pos = end + close.length;
    return true;
  }
  return false;
}

function block(state, first, last, silent) {
  const at = state.bMarks[first] + state.tShift[first];
  const line = state.src.slice(at, state.eMarks[first]);
  const pair = PAIRS.find(([open, , isBlock]) => isBlock && line.startsWith(open));
  if (!pair) return false;
  const [open, close] = pair;
  let end = first;
  let text = line.slice(open.length);
  while (!text.trimEnd().endsWith(close)) {
    end += 1;
    if (end >= last || text.includes(close)) return false;
    text += `\n${state.src.slice(state.bMarks[end] + state.tShift[end], state.eMarks[end])}`;
  }
  if (silent) return true;
  const token = state.push("tex", "", 0);
  token.content = text.trimEnd().slice(0, -close.length);
  token.meta = true;
  token.block = true;
  token.map = [first, end + 1];
  state.line = end + 1;
  return true;
}

export function texRules(md) {
  md.inline.ruler.before("escape", "tex", inline);
  md.block.ruler.before("fence", "tex", block, { alt: ["paragraph", "reference", "blockquote", "list"] });
  md.renderer.rules.tex = (tokens, index) => {
    const { content, meta, block: isOwn } = tokens[index];
    const span = `<span class="tex${meta ? " block" : ""}" dir="ltr">${md.utils.escapeHtml(content.trim())}</span>`;
    return isOwn ? `<p>${span}</p>\n` : span;
  };
}
