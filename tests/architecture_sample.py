"""Read as text by test_architecture, never imported: it breaks the rules on purpose."""

import asyncio  # noqa: F401

from fluido.flow._gate import Gate  # noqa: F401

from ._base import Law  # noqa: F401


def lazy() -> None:
    import app.main  # noqa: F401, PLC0415
