"""A Markdown document under construction."""

from collections.abc import Sequence


class Page:
    """Blocks of text with one empty line between them."""

    def __init__(self, title: str) -> None:
        self._blocks: list[str] = [f"# {title}"]

    def head(self, text: str, level: int = 2) -> None:
        self._blocks.append(f"{'#' * level} {text}")

    def say(self, *sentences: str) -> None:
        """A paragraph."""
        self._blocks.append(" ".join(sentence for sentence in sentences if sentence))

    def items(self, lines: Sequence[str], *, numbered: bool = False) -> None:
        if lines:
            marks = [f"{at}." if numbered else "-" for at in range(1, len(lines) + 1)]
            self._blocks.append("\n".join(f"{mark} {line}" for mark, line in zip(marks, lines, strict=True)))

    def code(self, *lines: str) -> None:
        self._blocks.append("\n".join(["```", *lines, "```"]))

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
