"""Which connection a command may travel on, by its name.

The tables hold the commands whose meaning does not depend on the connection that carries them. Anything
that is not in a table takes an ordinary connection of the pool, as in redis-py: a new or unknown command is
slow, never wrong. `tests/servers/test_redis_routing.py` compares the tables with the answer of a live
server to COMMAND.
"""

import math
from collections.abc import Sequence
from enum import Enum


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _pairs(text: str) -> frozenset[str]:
    return frozenset(" ".join(pair.split()) for pair in text.split(","))


READING = _names(
    """
    BITCOUNT BITFIELD_RO BITPOS DBSIZE DIGEST DUMP ECHO EXISTS EXPIRETIME GEODIST GEOHASH GEOPOS
    GEORADIUS_RO GEORADIUSBYMEMBER_RO GEOSEARCH GET GETBIT GETRANGE HEXISTS HEXPIRETIME HGET HGETALL HKEYS
    HLEN HMGET HPEXPIRETIME HPTTL HRANDFIELD HSCAN HSTRLEN HTTL HVALS INFO KEYS LASTSAVE LCS LINDEX LLEN
    LOLWUT LPOS LRANGE MGET PEXPIRETIME PFCOUNT PING PTTL RANDOMKEY ROLE SCAN SCARD SDIFF SINTER SINTERCARD
    SISMEMBER SMEMBERS SMISMEMBER SORT_RO SRANDMEMBER SSCAN STRALGO STRLEN SUBSTR SUNION TIME TOUCH TTL TYPE
    VCARD VDIM VEMB VGETATTR VINFO VISMEMBER VLINKS VRANDMEMBER VSIM XLEN XPENDING XRANGE XREVRANGE ZCARD
    ZCOUNT ZDIFF ZINTER ZINTERCARD ZLEXCOUNT ZMSCORE ZRANDMEMBER ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZRANK
    ZREVRANGE ZREVRANGEBYLEX ZREVRANGEBYSCORE ZREVRANK ZSCAN ZSCORE ZUNION EVAL_RO EVALSHA_RO FCALL_RO
    JSON.ARRINDEX JSON.ARRLEN JSON.GET JSON.MGET JSON.OBJKEYS JSON.OBJLEN JSON.RESP JSON.STRLEN JSON.TYPE
    """
)
WRITING = _names(
    """
    APPEND BITFIELD BITOP COPY DECR DECRBY DEL DELEX EVAL EVALSHA EXPIRE EXPIREAT FCALL FLUSHALL FLUSHDB
    GEOADD GEORADIUS GEORADIUSBYMEMBER GEOSEARCHSTORE GETDEL GETEX GETSET HDEL HEXPIRE HEXPIREAT HGETDEL
    HGETEX HINCRBY HINCRBYFLOAT HMSET HPERSIST HPEXPIRE HPEXPIREAT HSET HSETEX HSETNX INCR INCRBY
    INCRBYFLOAT LINSERT LMOVE LMPOP LPOP LPUSH LPUSHX LREM LSET LTRIM MOVE MSET MSETEX MSETNX PERSIST
    PEXPIRE PEXPIREAT PFADD PFMERGE PSETEX PUBLISH RENAME RENAMENX RESTORE RPOP RPOPLPUSH RPUSH RPUSHX SADD
    SDIFFSTORE SET SETBIT SETEX SETNX SETRANGE SINTERSTORE SMOVE SORT SPOP SPUBLISH SREM SUNIONSTORE SWAPDB
    UNLINK VADD VREM VSETATTR XACK XACKDEL XADD XAUTOCLAIM XCLAIM XDEL XDELEX XSETID XTRIM ZADD ZDIFFSTORE
    ZINCRBY ZINTERSTORE ZMPOP ZPOPMAX ZPOPMIN ZRANGESTORE ZREM ZREMRANGEBYLEX ZREMRANGEBYRANK
    ZREMRANGEBYSCORE ZUNIONSTORE JSON.ARRAPPEND JSON.ARRINSERT JSON.ARRPOP JSON.ARRTRIM JSON.CLEAR JSON.DEL
    JSON.FORGET JSON.MERGE JSON.MSET JSON.NUMINCRBY JSON.NUMMULTBY JSON.SET JSON.STRAPPEND JSON.TOGGLE
    """
)
# redis-py hands these over as one string; on the wire they are two words.
READING_PAIRS = _pairs(
    """
    COMMAND COUNT, COMMAND DOCS, COMMAND INFO, COMMAND LIST, CONFIG GET, FUNCTION DUMP, FUNCTION LIST,
    FUNCTION STATS, LATENCY HISTORY, LATENCY LATEST, MEMORY STATS, MEMORY USAGE, OBJECT ENCODING, OBJECT
    FREQ, OBJECT IDLETIME, OBJECT REFCOUNT, PUBSUB CHANNELS, PUBSUB NUMPAT, PUBSUB NUMSUB, PUBSUB
    SHARDCHANNELS, PUBSUB SHARDNUMSUB, SCRIPT EXISTS, SLOWLOG GET, SLOWLOG LEN, XINFO CONSUMERS, XINFO
    GROUPS, XINFO STREAM
    """
)
WRITING_PAIRS = _pairs(
    """
    CONFIG SET, FUNCTION DELETE, FUNCTION FLUSH, FUNCTION LOAD, FUNCTION RESTORE, SCRIPT FLUSH, SCRIPT
    LOAD, XGROUP CREATE, XGROUP CREATECONSUMER, XGROUP DELCONSUMER, XGROUP DESTROY, XGROUP SETID
    """
)

# The fast path takes a command only if its first argument is one of these, letter for letter.
PLAIN = READING | WRITING
PAIRS: dict[str, tuple[str, ...]] = {pair: tuple(pair.split()) for pair in READING_PAIRS | WRITING_PAIRS}

# Where the server's own waiting time stands among the arguments; it counts in seconds.
_TIMEOUT_LAST = frozenset({"BLPOP", "BRPOP", "BRPOPLPUSH", "BLMOVE", "BZPOPMIN", "BZPOPMAX"})
_TIMEOUT_FIRST = frozenset({"BLMPOP", "BZMPOP"})
# What these set holds for the connection that carries them.
_STATE = _pairs(
    "CLIENT SETNAME, CLIENT SETINFO, CLIENT NO-EVICT, CLIENT NO-TOUCH, CLIENT TRACKING, CLIENT CACHING, "
    "CLIENT REPLY"
)
_MAY_BLOCK = frozenset({"XREAD", "XREADGROUP"})


class Kind(Enum):
    """How a command travels."""

    SHARED = "shared"
    BLOCKING = "blocking"
    WAITING = "waiting"
    SELECT = "select"
    AUTH = "auth"
    HAND = "hand"
    STATE = "state"
    ORDINARY = "ordinary"


def canonical(name: object) -> str:
    """The name as the tables spell it; an empty string for what is no name."""
    if isinstance(name, bytes):
        name = name.decode("latin-1")
    return " ".join(name.upper().split()) if isinstance(name, str) else ""


def kind_of(args: Sequence[object]) -> Kind:
    """The way for a command with all its arguments."""
    name = canonical(args[0]) if args else ""
    if name in PLAIN or name in PAIRS:
        return Kind.SHARED
    if name in _TIMEOUT_LAST or name in _TIMEOUT_FIRST:
        return Kind.BLOCKING
    if name in _MAY_BLOCK:
        return Kind.BLOCKING if block_argument(args) is not None else Kind.SHARED
    return {
        "WAIT": Kind.WAITING,
        "WAITAOF": Kind.WAITING,
        "SELECT": Kind.SELECT,
        "AUTH": Kind.AUTH,
        "MULTI": Kind.HAND,
        "WATCH": Kind.HAND,
    }.get(name) or (Kind.STATE if _changes_connection(name, args) else Kind.ORDINARY)


def _changes_connection(name: str, args: Sequence[object]) -> bool:
    if name == "CLIENT" and len(args) > 1:
        name = f"{name} {canonical(args[1])}"
    return name in _STATE


def only_reads(args: Sequence[object]) -> bool:
    """Whether running the command twice is the same as running it once, because it changes nothing."""
    name = canonical(args[0])
    return name in READING or name in READING_PAIRS or name == "XREAD"


def split(args: tuple[object, ...]) -> tuple[object, ...]:
    """The arguments as they stand on the wire: "CONFIG GET" becomes two words."""
    words = PAIRS.get(args[0]) if isinstance(args[0], str) else None
    return args if words is None else (*words, *args[1:])


def block_argument(args: Sequence[object]) -> object | None:
    """The milliseconds after BLOCK in XREAD or XREADGROUP, if it stands before STREAMS."""
    for position, argument in enumerate(args[1:-1], start=1):
        word = canonical(argument)
        if word == "STREAMS":
            return None
        if word == "BLOCK":
            return args[position + 1]
    return None


def wait_position(args: Sequence[object]) -> int | None:
    """Where the server's own waiting time stands in a blocking command; None if it is no number there."""
    name = canonical(args[0])
    if name in _MAY_BLOCK:
        words = [canonical(argument) for argument in args[1:-1]]
        position = words.index("BLOCK") + 2
    else:
        position = len(args) - 1 if name in _TIMEOUT_LAST else 1
    try:
        return position if _number(args[position]) >= 0 else None
    except (TypeError, ValueError, IndexError):
        return None


def with_wait(args: Sequence[object], wait_s: float) -> list[object]:
    """The command with another waiting time. Whole seconds stay whole: servers before 6.0 know no others."""
    position = wait_position(args)
    if position is None:
        return list(args)
    number = max(1, math.ceil(wait_s * 1000))
    if canonical(args[0]) not in _MAY_BLOCK:
        asked = _number(args[position])
        number = math.ceil(wait_s) if asked == int(asked) else number / 1000  # type: ignore[assignment]  # seconds
    return [*args[:position], number, *args[position + 1 :]]


def asks_for_what_is_new(args: Sequence[object]) -> bool:
    """Whether a stream is read from its end on: then the same words mean something else a moment later."""
    return canonical(args[0]) == "XREAD" and bool({"$", b"$"}.intersection(map(_plain_text, args)))


def _plain_text(value: object) -> object:
    return value if isinstance(value, str | bytes) else None


def server_wait_s(args: Sequence[object]) -> float | None:
    """How long the server itself may hold the command; None for ever, or when the argument is no number."""
    name = canonical(args[0])
    try:
        if name in _MAY_BLOCK:
            wait_s = _number(block_argument(args)) / 1000.0
        elif name in {"WAIT", "WAITAOF"}:
            wait_s = _number(args[-1]) / 1000.0
        else:
            wait_s = _number(args[-1] if name in _TIMEOUT_LAST else args[1])
    except (TypeError, ValueError, IndexError):
        return None
    return wait_s if wait_s > 0 else None


def _number(value: object) -> float:
    if isinstance(value, int | float | str | bytes):
        return float(value)
    raise TypeError("not a number")
