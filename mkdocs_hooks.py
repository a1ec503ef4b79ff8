"""What the site adds to docs/: the pages of the root folder, the examples, and links that leave the folder.

A link to a file that exists but is not on the site (a test, a folder of source) becomes plain text; one to
nothing breaks the build.
"""

import re
from pathlib import Path
from posixpath import normpath, relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent
PAGES = {
    "README.md": "index.md",
    "README.es.md": "es.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#|mailto:)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the root's pages, LICENSE and the examples."""
    for name, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text(encoding="utf-8")))
    for path in sorted((ROOT / "examples").glob("*.py")):
        files.append(File.generated(config, f"examples/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, *, page: Page, files: Files, **_: object) -> str:
    """Point links at the site's own addresses."""
    here = page.file.src_uri
    roots = {page: name for name, page in PAGES.items()}
    place = roots.get(here, f"docs/{here}")

    def pointed(link: re.Match[str]) -> str:
        image, text, target, anchor = link[1], link[2], link[3], link[4] or ""
        if files.get_file_from_path(normpath(f"{here}/../{target}")) is not None and here not in roots:
            return link[0]
        wanted = normpath(f"{place}/../{target}")  # from the root of the repository
        on_site = PAGES.get(wanted, wanted.removeprefix("docs/"))
        if files.get_file_from_path(on_site) is not None:
            return f"{image}[{text}]({relpath(on_site, str(Path(here).parent))}{anchor})"
        if not (ROOT / wanted).exists():
            raise PluginError(f"{place} links to {target}, which does not exist")
        return text

    return LINK.sub(pointed, markdown)
