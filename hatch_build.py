"""What of the package's metadata depends on the publisher: addresses, and the links of its description.

`FLUIDO_URL=https://host/owner/name make wheel` writes where the project lives. Without it a package names no
address, and relative links of the README, which a package index could not follow, become plain text.
"""

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

VARIABLE = "FLUIDO_URL"
# `[text](target)` and `![text](target)`, the target not absolute and not a place on the same page.
LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?!https?:|#|mailto:)(?P<target>[^)\s]+)\)")


def addresses(url: str) -> dict[str, str]:
    """What an index shows beside a package."""
    return {
        "Homepage": url,
        "Documentation": f"{url}/tree/HEAD/docs",
        "Source": url,
        "Issues": f"{url}/issues",
        "Changelog": f"{url}/blob/HEAD/CHANGELOG.md",
    }


def described(readme: str, url: str) -> str:
    """The README with absolute links; without an address, with none."""

    def absolute(link: re.Match[str]) -> str:
        image, text, target = link["image"], link["text"], link["target"]
        if url:
            return f"{image}[{text}]({url}/{'raw' if image else 'blob'}/HEAD/{target})"
        return "" if image else text

    return LINK.sub(absolute, readme)


class CustomMetadataHook(MetadataHookInterface):
    """Called by hatchling for the fields named in `project.dynamic`."""

    def update(self, metadata: dict[str, Any]) -> None:
        url = os.environ.get(VARIABLE, "").rstrip("/")
        if url and not url.startswith(("https://", "http://")):
            raise ValueError(f"{VARIABLE}={url} is no address: give https://host/owner/name")
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": described(text, url)}
        metadata["urls"] = addresses(url) if url else {}
