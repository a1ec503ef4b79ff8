"""What a reviewer asks before believing a figure: sources, machine, fairness, A/A, power, repetition."""

from collections.abc import Mapping
from typing import Any

from bench.report import spanish
from bench.report.ledger import Ledger
from bench.report.notes import told
from bench.report.page import Page
from bench.report.rows import Row, ours, rows
from bench.report.sources import Material, Source

RATIO_HEADER = (
    "medida",
    "dónde",
    "brazos",
    "veces mejor",
    "intervalo 95 %",
    "veredicto",
    "bloques",
    "origen",
)


def banner(page: Page, material: Material, ledger: Ledger) -> None:
    """Where the figures come from, and everything that weakens them, before the first of them."""
    main = material.main
    page.say(
        f"Generado por `python -m bench report` desde `{main.name}` (huella `{main.digest}`), medido con "
        f"`{main.command}` en el commit `{main.commit}` el {date_of(main, ledger)}. No se edita a mano. La "
        "columna «origen» nombra la fila del archivo de la que sale cada número: `R12` es la fila 12, "
        "contada desde 0, de `summary`."
    )
    page.items(warnings(material))


def warnings(material: Material) -> list[str]:
    """Sentences that must stand beside the figures."""
    main, found = material.main, []
    profile = profile_of(main)
    if profile.get("engine") == "smollm2":
        found.append(
            "**Modelo real y muy pequeño.** SmolLM2-135M responde aceptablemente en inglés y mal en español; "
            "sus tiempos no son los de un modelo de producción."
        )
    elif profile.get("engine") != "ollama":
        found.append(
            "**Pesos sintéticos.** El motor es llama.cpp con un modelo de pesos aleatorios: trabaja como uno "
            "real y escribe palabras sin sentido. Sirve para medir tiempos y colas, no la calidad de las "
            "respuestas, y sus milisegundos no son los de un modelo de producción."
        )
    if not main.document.get("complete"):
        found.append("**Corrida incompleta.** No se midió todo lo previsto; lo que falta dice «no medido».")
    if main.is_dirty:
        found.append("**Código modificado.** La corrida se hizo con cambios que no están en el commit.")
    if not main.has_incarnations:
        found.append(
            "**Un solo proceso por brazo.** Esta corrida se midió antes de que cada ronda tuviera procesos "
            "nuevos: los intervalos no incluyen lo que varía entre un proceso y otro del mismo código, y los "
            "usuarios que vuelven traían conversaciones más largas en las cargas que se midieron después. En "
            "«preguntas únicas», parte de quienes preguntaron en la segunda carga eran los de la primera."
        )
    if profile.get("name") in {"quick", "bench"}:
        found.append("**Corrida corta.** Muestra que todo funciona y decide poco.")
    found += [told(str(note)) for note in main.document["notes"]]
    return found


def profile_of(source: Source) -> Mapping[str, Any]:
    found = source.at(("configuration", "profile"))
    return found if isinstance(found, dict) else {}


def date_of(source: Source, ledger: Ledger) -> str:
    return ledger.cite(source, ("environment", "started_at"), "date")


def glossary(page: Page) -> None:
    """The words that a reader who does not program needs."""
    page.head("Palabras que se usan aquí")
    page.items(
        [
            (
                "**V1**: el sistema de límites fijos, hecho con cuidado. **V2**: Sentinel con buffers "
                "dinámicos. **V1 afinado**: V1 con cada constante en el valor que mejor resultó en un "
                "barrido. **V2 fijo**: la estructura de V2 con los límites clavados; separa lo que aporta la "
                "estructura de lo que aporta adaptarse."
            ),
            (
                "**p50, p90, p99**: la mitad, nueve de cada diez y noventa y nueve de cada cien peticiones "
                "tardaron eso o menos."
            ),
            (
                "**Primer token (TTFB)**: lo que espera una persona hasta ver la primera palabra. "
                "**Extremo a extremo (E2E)**: hasta la última. Ambos se cuentan desde que la petición "
                "debía salir, de modo que un sistema atascado no puede esconder su demora."
            ),
            (
                "**Veces mejor**: el cociente entre V1 y el otro brazo, calculado de forma que más de 1 "
                "favorece siempre al segundo. **Intervalo 95 %**: los valores compatibles con lo medido."
            ),
            (
                "**Mejor, peor, indeciso**: sólo se dice «mejor» o «peor» si el intervalo no contiene el "
                "1 y la prueba resiste la corrección de Holm por el número de comparaciones."
            ),
            (
                "**Sin respuesta**: peticiones fallidas + rechazadas, del total. Van junto a cada latencia, "
                "porque quien falla pronto parece rápido."
            ),
        ]
    )


def environment(page: Page, material: Material, ledger: Ledger) -> None:
    """The machine, the versions, what the machine did meanwhile."""
    page.head("Entorno")
    main = material.main
    found = [["medición", date_of(main, ledger)]]
    found.append(["procesador", ledger.cite(main, ("environment", "cpu"), "words")])
    found.append(["núcleos", ledger.cite(main, ("environment", "cores"), "count")])
    found.append(["memoria", f"{ledger.cite(main, ('environment', 'memory_gb'))} GB"])
    found.append(["sistema", ledger.cite(main, ("environment", "system"), "words")])
    found.append(["Python", ledger.cite(main, ("environment", "python"), "words")])
    ground = main.at(("environment", "ground")) or []
    found += [
        ["servidor", ledger.cite(main, ("environment", "ground", at), "words")]
        for at, line in enumerate(ground)
        if any(letter.isdigit() for letter in str(line))
    ]
    versions = main.at(("environment", "versions")) or {}
    found += [
        [name, ledger.cite(main, ("environment", "versions", name), "words")] for name in sorted(versions)
    ]
    page.table(("qué", "valor"), found)
    _capacities(page, main, ledger)
    _quiet(page, main, ledger)


def _capacities(page: Page, main: Source, ledger: Ledger) -> None:
    before = main.at(("configuration", "capacity_per_s")) or {}
    if not before:
        page.say("Capacidad de V1: no medida.")
        return
    page.say("Las cargas son partes de la capacidad de V1, que se mide al empezar y otra vez al terminar:")
    page.table(
        ("carga de trabajo", "antes (peticiones/s)", "después (peticiones/s)"),
        [
            [
                spanish.experiment(name),
                ledger.cite(main, ("configuration", "capacity_per_s", name)),
                ledger.cite(main, ("configuration", "capacity_after_per_s", name)),
            ]
            for name in before
        ],
    )


def _quiet(page: Page, main: Source, ledger: Ledger) -> None:
    blocks = [b for b in main.document.get("blocks") or [] if isinstance(b, dict) and not b.get("warm_up")]
    if not blocks:
        page.say("El archivo no trae los bloques medidos: no se puede decir si la máquina estuvo ocupada.")
        return
    inputs = [(main, ("blocks",))]
    busy = ledger.derive(sum(bool(b.get("busy")) for b in blocks), "count", "bloques con busy = true", inputs)
    total = ledger.derive(len(blocks), "count", "bloques medidos, sin calentamiento", inputs)
    firsts = [b for b in blocks if b.get("position") == 0]
    control = ledger.derive(
        sum(b.get("arm") == "v1" for b in firsts), "count", "bloques con position = 0 y arm = v1", inputs
    )
    page.say(
        f"Antes de {busy} de los {total} bloques medidos la máquina estaba ocupada en otra cosa, aun después "
        f"de esperar. V1 fue el primero de su ronda {control} veces de "
        f"{ledger.derive(len(firsts), 'count', 'bloques con position = 0', inputs)}: el orden se sortea con "
        "una semilla y nadie corre siempre primero."
    )


def fairness(page: Page, material: Material, ledger: Ledger) -> None:
    """What is equal between the arms, and what is each one's own choice."""
    page.head("Qué es igual entre los brazos")
    page.items(
        [
            (
                "Las mismas peticiones, en el mismo orden y a las mismas horas (salen de una semilla); los "
                "mismos tokens de salida, acotados por igual."
            ),
            (
                "Cada brazo tiene su propio PostgreSQL, su propio Redis y su propio motor: ninguno "
                "aprovecha lo que otro dejó en memoria."
            ),
            (
                "Los brazos se turnan en bloques cortos dentro de una misma corrida, de modo que una deriva "
                "de la máquina los toca a todos. El calentamiento no se cuenta."
            ),
            *([_INCARNATIONS] if material.main.has_incarnations else []),
            (
                "V1 no importa nada de `fluido` (`tests/test_architecture.py` lo comprueba) y se sirve "
                "con la misma API que V2."
            ),
            (
                "Distinto por diseño: V1 envía al modelo el sistema, los últimos fragmentos y la pregunta; "
                "V2, la conversación como un prompt al que sólo se agrega. La longitud del prompt es parte "
                "de cada método y se informa."
            ),
        ]
    )
    _deadlines(page, material.main, ledger)


def _deadlines(page: Page, main: Source, ledger: Ledger) -> None:
    slo = main.at(("configuration", "slo"))
    if not isinstance(slo, dict) or not slo:
        page.say("El archivo no dice qué plazo usa «respuestas dentro del plazo».")
        return
    page.say("Una respuesta está «dentro del plazo» si cumple ambas cotas:")
    page.table(
        ("carga de trabajo", "primer token (s)", "última palabra (s)"),
        [
            [
                spanish.experiment(name),
                *(ledger.cite(main, ("configuration", "slo", name, key)) for key in ("ttft_s", "total_s")),
            ]
            for name in slo
        ],
    )


_INCARNATIONS = (
    "Cada ronda empieza con procesos nuevos de todos los brazos (o con pools y clientes nuevos, en los "
    "componentes), conversaciones previas iguales para todos y un calentamiento corto; después, un bloque de "
    "cada brazo a cada carga, y el orden de las cargas rota de ronda en ronda. Los intervalos y las pruebas "
    "remuestrean rondas enteras: incluyen lo que un proceso aprendió o dónde quedó su memoria. PostgreSQL, "
    "Redis y el motor de cada brazo siguen siendo los mismos durante la corrida."
)


def a_a(page: Page, material: Material, ledger: Ledger) -> None:
    """V1 against itself: the procedure must find nothing."""
    page.head("El mismo código contra sí mismo (A/A)")
    page.say(
        "Si el procedimiento inventara diferencias, las inventaría también aquí: el mismo código se mide "
        "contra otra copia suya, con sus propios servidores, como en las demás comparaciones."
    )
    found = [row for row in rows(material.main) if row.is_control]
    if not found:
        page.say("No medido en esta corrida.")
        return
    page.table(RATIO_HEADER, [ratio_line(row, ledger) for row in found])
    wrong = [row.origin for row in found if row.get("verdict") != "undecided"]
    page.say(
        "Todas quedaron indecisas, como debe ser."
        if not wrong
        else f"**El procedimiento encontró una diferencia donde no la hay** ({', '.join(wrong)}): las "
        "diferencias de ese tamaño en el resto del informe no prueban nada."
    )


def power(page: Page, material: Material, ledger: Ledger) -> None:
    """How large an effect the run could have seen."""
    page.head("Qué tamaño de efecto se podía ver")
    page.say(
        "La razón verdadera más pequeña que esta corrida habría detectado cuatro de cada cinco veces, "
        "antes de corregir por el número de comparaciones. Un «indeciso» con un número grande aquí dice "
        "poco; con uno cercano a 1, que la diferencia, si existe, es pequeña."
    )
    chosen = [row for row in ours(material.main) if row.get("primary")]
    page.table(
        (
            "medida",
            "dónde",
            "razón detectable",
            "veredicto",
            "bloques",
            "muestras V1",
            "muestras V2",
            "origen",
        ),
        [
            [
                row.name(),
                row.where,
                row.cite(ledger, "detectable", "ratio"),
                row.verdict(),
                row.cite(ledger, "blocks", "count"),
                row.cite(ledger, "control_samples", "count"),
                row.cite(ledger, "treatment_samples", "count"),
                row.origin,
            ]
            for row in chosen
        ],
    )


def ratio_line(row: Row, ledger: Ledger) -> list[str]:
    return [
        row.name(),
        row.where,
        row.pair,
        row.cite(ledger, "ratio", "ratio"),
        row.interval(ledger),
        row.verdict(),
        row.cite(ledger, "blocks", "count"),
        row.origin,
    ]


def provenance(page: Page, material: Material, ledger: Ledger) -> None:
    """Letter, file, fingerprint, command, commit and date of every source."""
    page.head("Trazabilidad")
    page.say(
        "Cada número de este documento es una copia de una fila de estos archivos o un cálculo con ellas. La "
        "letra es la del origen. `traza_informes.json`, junto a este documento, lista cada número "
        "impreso con su ruta en el JSON y, si se calculó, su fórmula."
    )
    page.table(
        ("letra", "archivo", "filas", "huella SHA-256", "orden", "commit", "fecha"),
        [
            [
                source.letter,
                f"`{source.name}`",
                f"`{table_of(source)}`",
                f"`{source.digest}`",
                f"`{source.command}`",
                f"`{source.commit}`" + (" con cambios locales" if source.is_dirty else ""),
                date_of(source, ledger),
            ]
            for source in material.sources
        ],
    )


def table_of(source: Source) -> str:
    """The list inside a file whose rows the origins count."""
    return next((name for name in ("summary", "measured", "rows") if name in source.document), "")
