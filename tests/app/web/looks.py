# ruff: noqa: E501  (scripts of the browser stand in one line)
"""What every page is looked at for: complaints of axe, words of the other language, and what is out of sight."""

import json
from pathlib import Path

from tests.app.web.browser import Page

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
# Names of things, which are the same in both languages.
NAMES = {"Sentinel", "Markdown", "JSON", "Chat", "Redis", "PostgreSQL", "tokens", "Español", "English"}
_FLAT = """
(async () => {
  const flat = (value) => typeof value === "string" ? [value] : value && typeof value === "object"
    ? Object.values(value).flatMap(flat) : [];
  const [one, other] = await Promise.all(["%s", "%s"].map((name) => import(`/web/words/${name}.js`)));
  const own = new Set(flat(one.default));
  return flat(other.default).filter((text) => !own.has(text));
})()
"""
_SHAPES = """
(async () => {
  const shape = (value) => Array.isArray(value) ? value.map(shape) : value && typeof value === "object"
    ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)).map(([k, v]) => [k, shape(v)]))
    : typeof value;
  const both = await Promise.all(["es", "en"].map((name) => import(`/web/words/${name}.js`)));
  return both.map((words) => JSON.stringify(shape(words.default)));
})()
"""
_SHOWN = """
(() => {
  const said = [];
  for (const node of document.querySelectorAll("body *")) {
    for (const child of node.childNodes) if (child.nodeType === 3) said.push(child.data.trim());
    for (const name of ["aria-label", "title", "placeholder"]) if (node.hasAttribute(name)) said.push(node.getAttribute(name));
  }
  return said.filter(Boolean);
})()
"""


async def axe(page: Page) -> list[str]:
    """Serious and critical complaints, each with what it is about."""
    await page.see(f"{AXE.read_text()}; 0")
    found = await page.see(
        "axe.run(document, {resultTypes: ['violations']}).then((r) => JSON.stringify(r.violations))"
    )
    return [
        f"{item['id']}: {[node['html'][:120] for node in item['nodes'][:3]]}"
        for item in json.loads(found)
        if item["impact"] in {"serious", "critical"}
    ]


async def foreign_words(page: Page, language: str) -> list[str]:
    """What a page in `language` says in the other one: texts, names for screen readers, titles."""
    other = "en" if language == "es" else "es"
    foreign = set(await page.see(_FLAT % (language, other))) - NAMES
    return sorted(foreign.intersection(await page.see(_SHOWN)))


async def same_names(page: Page) -> bool:
    """Whether both catalogues have the same names, each with a text, a list or a function in both."""
    es, en = await page.see(_SHAPES)
    return bool(es == en)


async def in_sight(page: Page, selector: str) -> bool:
    """Whether an element stands inside the window, and nothing covers its middle."""
    return bool(
        await page.see(
            f"""(() => {{
              const node = document.querySelector({json.dumps(selector)});
              const box = node?.getBoundingClientRect();
              if (!box?.width || box.top < 0 || box.left < 0) return false;
              if (box.bottom > innerHeight || box.right > innerWidth) return false;
              return node.contains(document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2));
            }})()"""
        )
    )
