"""One question, asked again and again over a connection of its own beside an engine's pool."""

import asyncio
import logging

from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import greenlet_spawn

from fluido.sqlalchemy._hold import Entry
from fluido.sqlalchemy._pool import AdaptivePool

ANSWER_S = 2.0
_logger = logging.getLogger("fluido.sqlalchemy")


class Watch:
    """Asks one server for a number. Not through the pool: what looks after it must not wait in its queue."""

    def __init__(self, engine: AsyncEngine, question: str, *, answer_s: float = ANSWER_S) -> None:
        if not isinstance(engine.pool, AdaptivePool):
            raise TypeError(f"the pool of {engine.url!r} is a {type(engine.pool).__name__}, not fluido's")
        self.engine = engine
        self._question = question
        self._answer_s = answer_s
        self._entry: Entry | None = None
        self._asking = asyncio.Lock()
        self._complained = False

    async def ask(self) -> int | None:
        """The answer, None where it is NULL. Raises what the connection raises, or TimeoutError."""
        async with self._asking:
            try:
                async with asyncio.timeout(self._answer_s):
                    answer = await greenlet_spawn(self._ask)
            except BaseException:
                # Whatever is still under way on it: the next question goes over a new connection.
                await self._drop()
                raise
            self._complained = False
            return answer

    def complain(self, error: Exception) -> None:
        """Say once that the server does not answer, until it does again."""
        if not self._complained:
            self._complained = True
            _logger.warning(
                "%s:%s does not tell its position: %s", self.engine.url.host, self.engine.url.port, error
            )

    async def close(self) -> None:
        """Close the connection. Idempotent."""
        async with self._asking:
            await self._drop()

    def _ask(self) -> int | None:
        if self._entry is None:
            pool = self.engine.pool
            assert isinstance(pool, AdaptivePool)  # noqa: S101  (engines keep the class of their pool)
            self._entry = Entry(pool, pool.limiter, pool.gate)
        connection = self._entry.dbapi_connection
        if connection is None:
            raise exc.InvalidRequestError("the connection was closed")
        try:
            cursor = connection.cursor()
            try:
                cursor.execute(self._question)
                (value,) = cursor.fetchone() or (None,)
            finally:
                cursor.close()
            connection.rollback()
        except self.engine.dialect.loaded_dbapi.Error as error:
            # No engine stands in between that would wrap the driver's own error.
            raise ConnectionError(str(error)) from error
        return None if value is None else int(value)

    async def _drop(self) -> None:
        entry, self._entry = self._entry, None
        if entry is not None:
            await asyncio.shield(greenlet_spawn(entry.invalidate))
