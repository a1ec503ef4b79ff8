"""A Markdown document under construction, and how many pages it fills."""

import math
import re
from collections.abc import Sequence

LINES, WORDS = 45, 450
"""Of a page."""
WIDE = 95
"""Characters of a line of text; a picture is as high as `PICTURE` lines."""
PICTURE = 14


class Page:
    """Blocks of text with one empty line between them."""

    def __init__(self, title: str) -> None:
        self._blocks: list[str] = [f"# {title}"]

    def head(self, text: str, level: int = 2) -> None:
        self._blocks.append(f"{'#' * level} {text}")

    def say(self, *sentences: str) -> None:
        """A paragraph; nothing for no words."""
        text = " ".join(sentence for sentence in sentences if sentence)
        if text:
            self._blocks.append(text)

    def items(self, lines: Sequence[str], *, numbered: bool = False) -> None:
        if lines:
            marks = [f"{at}." if numbered else "-" for at in range(1, len(lines) + 1)]
            self._blocks.append("\n".join(f"{mark} {line}" for mark, line in zip(marks, lines, strict=True)))

    def code(self, *lines: str) -> None:
        self._blocks.append("\n".join(["```sh", *lines, "```"]))

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Nothing at all for no rows. A bar inside a cell would end it, so it is written as an entity."""
        if not rows:
            return
        lines = [_line(header), "|" + "---|" * len(header)]
        self._blocks.append("\n".join([*lines, *(_line(row) for row in rows)]))

    def picture(self, alternative: str, path: str) -> None:
        self._blocks.append(f"![{alternative}]({path})")

    def text(self) -> str:
        return "\n\n".join(self._blocks) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "&#124;") for cell in cells) + " |"


def pages(text: str) -> float:
    """How many pages of `LINES` lines or `WORDS` words a document fills, whichever is more."""
    lines = sum(_height(block) for block in text.strip().split("\n\n"))
    words = len(re.findall(r"\w+", re.sub(r"!\[[^\]]*\]\([^)]*\)|https?:\S+|[`|*#]", " ", text)))
    return max(lines / LINES, words / WORDS)


def _height(block: str) -> int:
    """Lines on paper, with the empty one after it, of which a picture takes `PICTURE`."""
    if block.startswith("!["):
        return PICTURE + 1
    found = 0
    for line in block.splitlines():
        if set(line) <= set("|-"):
            continue
        is_row = line.startswith("|")
        found += math.ceil(len(line) / (WIDE + 20 if is_row else WIDE))
    return found + (0 if block.startswith("#") else 1)
