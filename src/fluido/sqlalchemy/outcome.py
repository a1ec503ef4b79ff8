"""What a failed statement or connection attempt says about the server's capacity."""

from fluido.sample import Outcome

# 08 connection lost or refused, 53 out of resources (53300 too many connections), 57P01-57P03 shutting down,
# crashed or starting. Deadlocks (40P01), lock and statement timeouts (55P03, 57014), serialization failures
# and constraints say nothing: they happen at any load, or are the caller's own doing.
OVERLOADED = ("08", "53", "57P01", "57P02", "57P03")


def sqlstate_of(error: BaseException | None) -> str:
    """The SQLSTATE of an error of asyncpg, psycopg or SQLAlchemy's wrappers, "" when it has none."""
    for _ in range(4):
        if error is None:
            break
        state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
        if isinstance(state, str):
            return state
        error = getattr(error, "orig", None) or error.__cause__
    return ""


def outcome_of(error: BaseException) -> Outcome:
    """OVERLOAD when the server refused or lost us, else IGNORED."""
    state = sqlstate_of(error)
    if state:
        return Outcome.OVERLOAD if state.startswith(OVERLOADED) else Outcome.IGNORED
    if isinstance(error, TimeoutError):
        return Outcome.IGNORED
    return Outcome.OVERLOAD if isinstance(error, OSError) else Outcome.IGNORED


def outcome_of_connect(error: BaseException) -> Outcome:
    """As `outcome_of`; a connection attempt that timed out also means too much was asked."""
    if isinstance(error, TimeoutError):
        return Outcome.OVERLOAD
    return outcome_of(error)
