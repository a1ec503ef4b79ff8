"""Numbers and names as an engineer in Chile writes them: comma for decimals, point for thousands."""

import math
import re

from bench.catalogue import at, word

ABSENT = "sin medir en esta corrida"
SHORT_RUN = "pocas rondas"
ENGINES = {
    "synthetic": "pesos sintéticos",
    "smollm2": "SmolLM2 (pesos reales)",
    "ollama": "Ollama",
    "external": "el servicio del cliente",
}
EXPERIMENTS = {
    "people": "personas que vuelven",
    "people_same": "el mismo código dos veces",
    "capacity": "capacidad",
    "ladder": "las mismas personas para ambas",
    "live": "conversaciones vivas",
    "postgresql_turn": "PostgreSQL",
    "redis_turn": "Redis",
    "day": "el día",
    "stationary": "trabajo que no cambia",
    "faults": "fallas provocadas",
    "remembered": "recuerdo de lo conversado",
}
"""Shorter than `bench.catalogue` has them."""
UNITS = {"us": "µs", "": ""}


def grouped(value: float, decimals: int = 0) -> str:
    """12345.6 with one decimal: 12.345,6."""
    text = f"{value:,.{decimals}f}"
    return text.replace(",", " ").replace(".", ",").replace(" ", ".")


def number(value: float, decimals: int | None = None) -> str:
    """Three figures that mean something: 0,84; 58,6; 1.570. A dash where it is not known."""
    if not math.isfinite(value):
        return "–"
    if decimals is None:
        size = abs(value)
        decimals = 0 if size >= 100 else 1 if size >= 10 else 2
    return grouped(value, decimals)


def times(value: float) -> str:
    """A ratio inside a sentence: 5,4; 1,25; 24."""
    return number(value, 0 if value >= 20 else 1 if value >= 1.95 else 2)


def percent(share: float, decimals: int = 0) -> str:
    """0.9: 90 %."""
    return f"{number(share * 100, decimals)} %" if math.isfinite(share) else "–"


def count(value: float) -> str:
    return number(value, 0)


def between(low: float, high: float, decimals: int | None = 2) -> str:
    """`1,85 a 3,26`; that there were too few rounds where there is no interval."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return SHORT_RUN
    return f"{number(low, decimals)} a {number(high, decimals)}"


def unit(name: str) -> str:
    return UNITS.get(name, name)


def arm(name: str) -> str:
    """`límite fijo 15`, `V1 ajustada`."""
    constant = re.fullmatch(r"constant_(\d+)", name)
    return f"límite fijo {constant[1]}" if constant else word(name, "es", short=True)


def experiment(name: str) -> str:
    return EXPERIMENTS.get(name, name)


def measure(name: str) -> str:
    return word(name, "es")


def level(experiment: str, value: float) -> str:
    """`80 %`, `32 conversaciones`, a phase; nothing where a level says nothing."""
    said = at(experiment, value, "es").replace("%", " %").replace("  ", " ")
    return f"{said} conversaciones" if experiment == "live" else said


def engine(name: str) -> str:
    return ENGINES.get(name, name)


def joined(parts: list[str]) -> str:
    """`a, b y c`; `e` before the sound of an i."""
    if len(parts) < 2:
        return "".join(parts)
    link = "e" if re.match(r"h?i(?!e)", parts[-1].lower()) else "y"
    return f"{', '.join(parts[:-1])} {link} {parts[-1]}"


def sentence(text: str) -> str:
    """With a capital, the rest as it is."""
    return text[:1].upper() + text[1:]


def date(stamp: str) -> str:
    """2026-11-22T19:20:44+00:00 as 22-11-2026 19:20 UTC; anything else as it is."""
    found = re.fullmatch(r"(\d{4})-(\d\d)-(\d\d)T(\d\d:\d\d)(:\d\d)?(\.\d+)?(\+00:00|Z)", stamp)
    return f"{found[3]}-{found[2]}-{found[1]} {found[4]} UTC" if found else stamp
