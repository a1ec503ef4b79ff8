"""REIVINDICACION_7: each element with its claim, its place in the code, prior art and one measurement."""

from collections.abc import Callable
from dataclasses import dataclass

from bench.catalogue import POSTGRESQL, REDIS, VISITS
from bench.report import customer, findings, spanish
from bench.report import day as days
from bench.report.code import places
from bench.report.origin import foot
from bench.report.page import Page
from bench.report.presentation import Pictures
from bench.report.study import FIRST, REALISTIC, TURN, Study

BY_TESTS = "es una propiedad de la construcción: la comprueban las pruebas, no un tiempo."


@dataclass(frozen=True, slots=True)
class Element:
    """`known`: prior art. `different`: what this method does otherwise. `shown`: one measurement."""

    title: str
    claim: str
    modules: tuple[str, ...]
    known: str
    different: str
    shown: Callable[[Study], str]


def _said(sentence: str) -> Callable[[Study], str]:
    return lambda _: sentence


def _figure(experiment: str, measure: str, name: str, level: float | None = None) -> Callable[[Study], str]:
    def shown(study: Study) -> str:
        found = study.figure(experiment, measure, level=level)
        if found is None:
            return f"{name}: {spanish.ABSENT}."
        return f"{name}: {found.told()}; fila {found.at}."

    return shown


ELEMENTS = (
    Element(
        "Una ley pura y un flujo que la obedece",
        "Una ley recibe una muestra y devuelve un valor, su razón y las cifras con que lo calculó, sin "
        "conocer el reloj, el azar ni la red; el flujo mide, aplica lo devuelto y, si la ley falla o se "
        "sale de sus cotas, conserva el último valor bueno.",
        ("base", "_obeyed"),
        "control adaptativo de concurrencia (Netflix concurrency-limits, Envoy)",
        "la misma ley corre en el simulador, en modo sombra y en producción, y cada valor lleva su razón",
        _said(BY_TESTS),
    ),
    Element(
        "Una escalera de límites comparados por pares de tramos",
        "Los límites forman una escalera de la que la constante del usuario es un peldaño; ahí se "
        "empieza. Dos tramos vecinos comparan el peldaño en vigor con otro por lo que rindió cada uno; se "
        "sube o se baja por esa diferencia, y se vuelve a la constante del usuario si rinde más.",
        ("ladder", "rungs", "rounds"),
        "control extremal por perturbación (desde 1922; Krstić y Wang, 2000); AIMD (Chiu y Jain, 1989); "
        "Vegas y Gradient2; bandidos unimodales",
        "compara rendimiento y no latencia con un servidor ocioso, y tiene un peldaño seguro: lo que el "
        "usuario ya tenía",
        days.stationary,
    ),
    Element(
        "Réplicas que sondean a la vez",
        "Con una clave común y la hora del reloj, todas las réplicas de un servicio dan el paso en el "
        "mismo tramo y ven el efecto común, en vez de crecer juntas sin freno.",
        ("fleet",),
        "reparto de un límite fijo entre réplicas",
        "las sondas se sincronizan por la hora, sin que las réplicas se hablen",
        _said("solo en el simulador (`docs/laws.md`), con el control que falla sin sincronía."),
    ),
    Element(
        "Un freno aparte del límite",
        "Ante una falla general se multiplica el límite por un factor menor que uno y lo aprendido se "
        "congela; al volver el servicio, no hay que aprenderlo de nuevo.",
        ("brake",),
        "disyuntores; BBR, que guarda y repone su estado",
        "dos registros: lo aprendido y el freno",
        findings.faults,
    ),
    Element(
        "Una sola cola con dueño, justa y acotada",
        "Delante de cada recurso hay una cola que el servicio puede ver, ordenar, cancelar y rechazar; el "
        "permiso pasa directo a quien más espera, y lo que no cabe en su plazo se rechaza enseguida con "
        "la espera prevista.",
        ("_gate", "_pool"),
        "CoDel; SEDA (Welsh, 2001); colas ponderadas; pools que crecen por umbrales",
        "el límite es de llamadas en curso y sigue al rendimiento, no a la ocupación",
        _figure(POSTGRESQL, TURN, "Una interacción de PostgreSQL con 60 clientes simultáneos"),
    ),
    Element(
        "Carriles por costo medido",
        "Una clase de trabajo que resulta mucho más cara que la mediana ocupa solo una parte de los "
        "permisos mientras haya llamadas livianas esperando, y toma prestado lo que sobra.",
        ("lanes", "_lanes"),
        "prioridades y colas por clase, fijadas a mano",
        "las clases se descubren por su costo",
        _said(
            "`docs/results/postgres/README.md`: las consultas cortas siguen cortas junto a informes largos."
        ),
    ),
    Element(
        "Lotes de escritura sin temporizador",
        "Un escritor ocioso guarda una fila al momento; mientras guarda, las que llegan se juntan en el "
        "INSERT siguiente, hasta un tope que se mueve hacia el tamaño más barato por fila.",
        ("_writer", "batch_cap"),
        "commit en grupo (DeWitt y otros, 1984); lotes naturales en colas de mensajes",
        "el tope se ajusta por el costo medido por fila y cada escritor recibe su propio error",
        _figure(POSTGRESQL, "latency p99", "La misma interacción, p99"),
    ),
    Element(
        "Redis: el lote es lo que produjo una vuelta del bucle",
        "Todas las tareas comparten una conexión y al final de cada vuelta del bucle de eventos sale una "
        "sola escritura: un comando en reposo, cientos bajo carga, sin espera añadida.",
        ("_link", "_mux"),
        "ioredis (autopipelining), Async::Redis::AutoPipeline, Upstash",
        "conserva la interfaz de redis-py; la idea no es nueva",
        _figure(REDIS, TURN, "Una interacción de Redis con 64 clientes simultáneos"),
    ),
    Element(
        "Se envía lo que el motor recuerda",
        "Un índice sabe qué conversación ocupa qué ranura del motor. Mientras su comienzo siga en memoria "
        "se envía entera y solo se agrega; si no, se recorta por pasos que luego se mantienen.",
        ("residency", "budget", "compose"),
        "prefix caching (vLLM), RadixAttention (SGLang), ranuras de llama.cpp; proxycache y repartidores "
        "con afinidad",
        "no se hace en el motor: el servicio decide qué enviar, y lo pesa en tokens que habrá que calcular",
        _figure(VISITS, FIRST, "Primera palabra de quien vuelve, al 80 %", level=REALISTIC),
    ),
    Element(
        "Peticiones a la vez al modelo",
        "El límite empieza en lo que el motor hace por sí mismo y compara vecinos por el trabajo hecho "
        "por segundo; mientras nadie espera, solo admite tantas peticiones como respondan antes.",
        ("engine_limit", "soonest"),
        "lotes continuos dentro del motor (Orca, vLLM); rechazo por plazo",
        "se decide fuera del motor, por tokens calculados y leídos por segundo",
        findings.rivals,
    ),
    Element(
        "Cada cambio lleva su razón",
        "Un registro acotado guarda cuándo cambió cada valor, por qué y con qué cifras; se lee en el "
        "registro, en las métricas y en `/buffers`.",
        ("metrics",),
        "registros de decisiones pedidos por usuarios (BentoML, pgjdbc) y no ofrecidos",
        "la razón es parte de lo que la ley devuelve, no un mensaje aparte",
        _said(BY_TESTS),
    ),
)

SEARCHED = (
    (
        "Límites adaptativos de concurrencia: Helidon, tower-acc, ExResilience, aioadaptive, harbor. No se "
        "halló uno que compare el rendimiento de tramos pareados con un peldaño seguro."
    ),
    (
        "Pools que se ajustan: por umbrales de ocupación, o control proporcional e integral (Pan y otros; "
        "DBBalancer). No se halló control extremal aplicado a un pool de conexiones."
    ),
    "Réplicas: reparto de un límite fijo (codex-lb, aibrix). No se halló sincronizar sondas por la hora.",
    (
        "Redis para asyncio: la misma idea en otros lenguajes; no se halló un reemplazo de redis-py con su "
        "interfaz."
    ),
    (
        "Conversaciones y ranuras: proxycache, PRISM, planificación por latencia prevista. No se halló un "
        "presupuesto de conversación que dependa de la residencia y recorte por pasos."
    ),
)


def render(study: Study, pictures: Pictures) -> str:
    page = Page("Reivindicación 7: buffers dinámicos")
    page.say(
        "**El método, en una frase.** Cada cantidad de un servicio que tiene un óptimo que se mueve se "
        "gobierna con una ley pura, alimentada por mediciones del propio servicio, cuya salida lleva una "
        "razón y es obedecida por una cola que el servicio posee."
    )
    page.say(
        "Por elemento: qué se reivindica, dónde está, qué era conocido y una medición. No es un dictamen "
        "de patentabilidad: eso corresponde a un especialista con una búsqueda en bases de patentes, que "
        "aquí no se hizo."
    )
    page.head("La medición que importa: un día que cambia")
    page.say(days.told(study))
    if "day" in pictures:
        page.picture(*pictures["day"])
    page.say(
        "Con una carga que no cambia, una constante bien elegida rinde lo mismo que la ley: no se "
        "reivindica más. Lo que la ley da es no tener que elegirla, y volver a encontrarla cuando el "
        "trabajo o la máquina cambian.",
        findings.rivals(study),
    )
    page.head("Elemento por elemento")
    for at, element in enumerate(ELEMENTS, start=1):
        page.head(f"7.{at}. {element.title}", 3)
        page.say(element.claim)
        page.items(
            [
                f"Código: {places(element.modules)}.",
                f"Conocido antes: {element.known}. Distinto aquí: {element.different}.",
                f"Medición: {element.shown(study) or spanish.ABSENT + '.'}",
            ]
        )
    page.head("Qué se buscó y no se halló")
    page.say(
        "Búsqueda del 22 de noviembre de 2026 en documentación, hilos de GitHub, código público y páginas "
        "web; no abarca patentes, literatura de pago ni código cerrado."
    )
    page.items(SEARCHED)
    page.head("Dónde no ayuda")
    page.say(
        "Está, por separado (más lento, igual, no demostrado), en `RESULTADOS_BUFFERS_DINAMICOS.md`. "
        f"Metas del cliente: {_states(study)}."
    )
    foot(page, study)
    return page.text()


def _states(study: Study) -> str:
    return "; ".join(f"{line.title}, {line.state}" for line in customer.lines(study))
