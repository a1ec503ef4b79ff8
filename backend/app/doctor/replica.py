"""Facts of one Sentinel: readiness, metrics, clock, and whether it lets a stranger in."""

import ipaddress
import re
import socket
from urllib.parse import urlsplit

import psutil

from .facts import ClockFacts, ReplicaFacts
from .web import ask

CEILING = re.compile(r'^fluido_limit_ceiling\{flow="postgresql"[^}]*\} (\S+)$', re.MULTILINE)
UNPLANNED = re.compile(r"^sentinel_engine_unplanned_loads_total\{[^}]*\} (\S+)$", re.MULTILINE)


async def read(url: str, key: str, clocks: list[ClockFacts]) -> ReplicaFacts:
    """Raises OSError when nobody answers."""
    base = url.rstrip("/")
    ready = await ask(f"{base}/health/ready", headers={"x-api-key": key} if key else {})
    metrics = (await ask(f"{base}/metrics")).body.decode()
    stranger = await ask(f"{base}/conversations?user_id=doctor&limit=1")
    if ready.ahead_s is not None:
        clocks.append(ClockFacts(base, ready.ahead_s, ready.error_s))
    dependencies = ready.json().get("dependencies", {})
    return ReplicaFacts(
        url=base,
        away={name: found["detail"] for name, found in dependencies.items() if not found["ready"]},
        pool_ceiling=sum(int(float(value)) for value in CEILING.findall(metrics)),
        unplanned_loads=sum(int(float(value)) for value in UNPLANNED.findall(metrics)),
        is_keyless=stranger.status not in {401, 403},
        is_public=is_public(base),
    )


def is_public(url: str) -> bool:
    """Whether the address is beyond loopback, or the process behind it on this machine listens beyond it."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        address = ipaddress.ip_address(socket.gethostbyname(host))
    except (OSError, ValueError):
        return False
    if not address.is_loopback:
        return True
    try:
        sockets = psutil.net_connections(kind="tcp")
    except (psutil.AccessDenied, OSError):
        return False
    listening = [found.laddr for found in sockets if found.status == psutil.CONN_LISTEN and found.laddr]
    return any(place.port == port and not ipaddress.ip_address(place.ip).is_loopback for place in listening)
