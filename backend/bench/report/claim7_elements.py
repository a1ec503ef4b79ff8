"""The elements of claim 7, what was known before, and what was searched for: text, not figures."""

from dataclasses import dataclass

USERS, NEW = "returning_users", "new_conversations"


@dataclass(frozen=True, slots=True)
class Element:
    """`measured`: experiment and measure of the main result. `parts`: scene and metric of component files."""

    title: str
    text: str
    files: tuple[str, ...]
    tests: tuple[str, ...]
    measured: tuple[tuple[str, str], ...] = ()
    parts: tuple[tuple[str, str], ...] = ()
    otherwise: str = ""


ELEMENTS = (
    Element(
        "Un par: ley pura y flujo que obedece",
        "Una ley recibe una muestra y devuelve un valor, la razón y las cifras con que lo calculó. No conoce "
        "el reloj, el azar ni la red, de modo que la misma ley corre en el simulador, en modo sombra y en "
        "producción. El flujo mide, aplica lo devuelto y, si la ley falla o se sale de sus cotas, "
        "conserva el último valor bueno.",
        ("src/fluido/laws/_base.py", "src/fluido/flow/_limiter.py", "src/fluido/flow/_obeyed.py"),
        ("tests/test_architecture.py", "tests/flow/test_limiter.py"),
        otherwise="Es una propiedad de la construcción: la comprueban las pruebas, no un tiempo.",
    ),
    Element(
        "Una escalera de límites, comparados por pares de tramos",
        "Los límites están en una escalera de la que la constante del usuario es un peldaño, y allí se "
        "empieza. El tiempo se corta en tramos; dos vecinos forman un par, uno con el peldaño en vigor y "
        "otro con un vecino suyo, y se compara lo que rindió cada uno. Un bandido unimodal decide qué "
        "vecino merece el par; de vez en cuando le toca a la constante del usuario, y se vuelve a ella "
        "si rinde más. Al cambiar el trabajo se empieza de nuevo, a saltos.",
        ("src/fluido/laws/_ladder.py", "src/fluido/laws/_rungs.py", "src/fluido/laws/_rounds.py"),
        ("tests/laws/test_ladder.py", "tests/simulation"),
        parts=(
            ("limit, I/O", "calls/s"),
            ("limit, CPU", "calls/s"),
            ("limit, commits", "calls/s"),
            ("limit, two hot rows", "calls/s"),
        ),
        otherwise="Mediciones contra barridos de límites fijos: `docs/laws.md`.",
    ),
    Element(
        "Réplicas que sondean a la vez",
        "Varias réplicas que sondean cada una por su cuenta ven sólo su parte del efecto y crecen juntas sin "
        "freno. Con la misma clave y la hora del reloj, todas dan el paso al mismo tiempo y ven el "
        "efecto común.",
        ("src/fluido/laws/_fleet.py",),
        ("tests/simulation",),
        otherwise="Sólo en el simulador: `docs/laws.md`, con el control que falla sin sincronía.",
    ),
    Element(
        "Un freno aparte del límite",
        "Ante una falla general se multiplica el límite por un factor menor que uno y el límite aprendido se "
        "congela: al volver el servicio, no hay que aprenderlo de nuevo.",
        ("src/fluido/laws/_brake.py",),
        ("tests/laws/test_brake.py",),
        otherwise="Sólo en el simulador: `docs/laws.md`.",
    ),
    Element(
        "Una sola cola con dueño, justa y acotada",
        "Delante de cada recurso hay una cola nuestra, por orden de llegada, que se puede ver, ordenar, "
        "cancelar y rechazar; el permiso pasa directo a quien más espera. Lo que no cabe en su plazo se "
        "rechaza enseguida con la espera prevista.",
        ("src/fluido/flow/_gate.py", "src/fluido/sqlalchemy/_pool.py", "src/fluido/llm/admission/_queue.py"),
        ("tests/flow/test_gate.py", "tests/sqlalchemy/test_pool.py"),
        measured=(
            ("postgresql_waiting", "wait p99"),
            ("postgresql_turn", "latency p50"),
            ("fairness", "end to end longest"),
        ),
        parts=(
            ("waiting 100 on 10", "wait p99 ms"),
            ("waiting 400 on 15", "wait p99 ms"),
            ("burst on hot rows", "mean ms"),
        ),
    ),
    Element(
        "Carriles por costo medido",
        "Una clase de trabajo que resulta mucho más cara que la llamada mediana ocupa una parte de los "
        "permisos mientras haya llamadas livianas esperando, y toma prestado lo que sobra.",
        ("src/fluido/laws/_lanes.py", "src/fluido/flow/_lanes.py"),
        ("tests/laws/test_lanes.py", "tests/flow/test_lanes.py"),
        measured=(("postgresql_lanes", "short query p99"),),
        parts=(("light calls beside reports", "p99 ms"),),
    ),
    Element(
        "Lotes de escritura sin temporizador, con tope que se ajusta",
        "Un escritor ocioso guarda una fila al momento; mientras guarda, las que llegan se juntan en el "
        "INSERT siguiente. El tope se mueve hacia el tamaño más barato por fila.",
        ("src/fluido/sqlalchemy/_writer.py", "src/fluido/laws/_batch_cap.py"),
        ("tests/laws/test_batch_cap.py", "tests/servers/test_postgres_writer.py"),
        measured=(("postgresql_inserts", "rows"),),
        parts=(("inserts, 256 tasks", "rows/s"), ("inserts, 1 tasks", "rows/s")),
    ),
    Element(
        "Lecturas en bloques de bytes, no de filas",
        "El número de filas por viaje sale de los bytes por fila, del tiempo de ida y vuelta y del ritmo del "
        "consumidor; el bloque siguiente viaja mientras se lee el anterior.",
        ("src/fluido/laws/_fetch.py", "src/fluido/sqlalchemy/_stream.py"),
        ("tests/laws/test_fetch.py",),
        parts=(
            ("scan, narrow rows", "rows/s"),
            ("scan, rows of 8 KB", "rows/s"),
            ("scan, 10 ms away", "rows/s"),
        ),
    ),
    Element(
        "Redis: el lote es lo que produjo una vuelta del bucle",
        "Todas las tareas comparten una conexión; al final de cada vuelta del bucle sale una sola "
        "escritura. El lote es uno en reposo y cientos bajo carga, sin espera añadida. Una ventana en "
        "vuelo que se adapta no mostró provecho y se retiró.",
        ("src/fluido/redis/_link.py", "src/fluido/redis/_mux.py"),
        ("tests/redis",),
        measured=(("redis_turn", "latency p50"), ("redis_get", "calls"), ("redis_service", "calls")),
        parts=(
            ("GET 64 B, 1 tasks", "llamadas por segundo"),
            ("GET 64 B, 64 tasks", "llamadas por segundo"),
            ("service: 3 GET + 1 SET", "llamadas por segundo"),
        ),
    ),
    Element(
        "La conversación que se envía depende de lo que el motor recuerda",
        "Un índice de residencia sabe qué conversación ocupa qué ranura. Mientras su principio siga en "
        "memoria se envía entera y sólo se agrega; si no, se recorta por pasos que luego se mantienen muchos "
        "turnos. El costo de una petición se calcula en tokens que habrá que computar.",
        (
            "src/fluido/llm/admission/_residency.py",
            "src/fluido/llm/prompt/_budget.py",
            "src/fluido/llm/prompt/_compose.py",
        ),
        ("tests/llm/test_residency.py", "tests/llm/test_budget.py"),
        measured=(
            (USERS, "first token p50"),
            (USERS, "end to end p50"),
            (NEW, "first token p50"),
            ("llm_levers", "first token p50"),
        ),
    ),
    Element(
        "Peticiones a la vez al motor, dentro de sus ranuras",
        "La ley empieza en lo que el motor hace por sí mismo y compara límites vecinos por el trabajo hecho "
        "por segundo; mientras nadie espera, sólo admite tantas peticiones como respondan antes.",
        (
            "src/fluido/laws/_engine_limit.py",
            "src/fluido/laws/_soonest.py",
            "src/fluido/llm/admission/_station.py",
        ),
        ("tests/laws/test_engine_limit.py", "tests/simulation/test_engine_limit.py"),
        measured=((USERS, "goodput"),),
    ),
    Element(
        "Las opciones que obligan a recargar el modelo no salen de una petición",
        "Un perfil por modelo; lo que una petición pida más allá se responde con el valor residente y se "
        "dice.",
        ("src/fluido/llm/_profile.py", "src/fluido/llm/engines/_ollama.py"),
        ("tests/llm/test_profile.py", "tests/servers/test_llm_ollama.py"),
        otherwise="Se ve con `python -m bench.ollama_hang` y un Ollama real: `docs/llm.md`.",
    ),
    Element(
        "Cada cambio lleva su razón",
        "Un registro acotado guarda cuándo cambió un valor, por qué y con qué cifras; se lee en el "
        "registro, en las métricas y en `/buffers`.",
        ("src/fluido/_metrics.py", "src/fluido/telemetry/prometheus.py"),
        ("tests/test_metrics.py", "tests/telemetry"),
        otherwise="Es una propiedad de la construcción.",
    ),
)

KNOWN_ART = (
    (
        "Aumento aditivo y descenso multiplicativo",
        "Chiu y Jain, 1989; TCP",
        "no espera a fallar: sondea si una llamada más suma",
    ),
    (
        "Límites por latencia (Vegas, Gradient2)",
        "TCP Vegas, 1994; Netflix concurrency-limits; tower-acc y Helidon",
        "no compara con la latencia de un servidor ocioso; están aquí como leyes de comparación",
    ),
    ("Ley de Little", "Little, 1961", "es la base de la medición, no una aportación"),
    (
        "Búsqueda de extremo por perturbación",
        "control extremal, desde 1922; Krstić y Wang, 2000",
        (
            "es la familia a la que pertenece; aquí, por pares, sobre la elasticidad y con clases de costo "
            "distinto"
        ),
    ),
    (
        "Pool de conexiones que crece y se encoge",
        "DBBalancer; Pan y otros (control proporcional e integral)",
        "el límite es de llamadas en vuelo y sigue al rendimiento, no a la ocupación",
    ),
    (
        "Commit en grupo y lotes naturales",
        "DeWitt y otros, 1984; bases de datos y colas de mensajes",
        "el tope del lote se ajusta por el costo medido por fila",
    ),
    (
        "Agrupar órdenes de Redis por vuelta del bucle",
        "ioredis (autopipelining), Async::Redis::AutoPipeline, Upstash",
        "el reemplazo conserva la interfaz de redis-py; la idea no es nueva",
    ),
    (
        "Filas por viaje según bytes",
        "pgjdbc (adaptiveFetch), buffers de cursor de Oracle e Informix",
        "suma el ritmo del consumidor y el doble buffer",
    ),
    (
        "Reutilizar el principio del prompt",
        "vLLM (prefix caching), SGLang (RadixAttention), ranuras de llama.cpp; PRISM",
        "no se hace en el motor: el servicio decide qué enviar según lo que el motor conserva",
    ),
    (
        "Repartidor que fija conversaciones a ranuras",
        "proxycache para llama.cpp; repartidores con afinidad de sesión",
        "se combina con el recorte por pasos, el precio en tokens y el rechazo por plazo",
    ),
    (
        "Rechazar por plazo, cola justa, carriles",
        "CoDel; SEDA (Welsh, 2001); colas ponderadas",
        "las clases se descubren por costo medido",
    ),
)

SEARCHES = (
    (
        "límite de concurrencia adaptativo, elasticidad, sondas pareadas (código)",
        "bibliotecas con AIMD, Vegas y Gradient2: Helidon, aioadaptive, Farfetch/loadshedding, harbor",
        "una que mida la elasticidad del rendimiento con pares de tramos",
    ),
    (
        "límites de concurrencia, AIMD, gradient, Vegas, ley de Little (documentación)",
        "tower-acc, tower-resilience-adaptive, ExResilience, throttle-net",
        "una que pese las clases de llamadas por su costo relativo",
    ),
    (
        "pool de conexiones que se ajusta solo (documentación)",
        "pools que crecen por umbrales de ocupación; fraiseql-server sólo recomienda",
        "uno que ajuste llamadas en vuelo por el rendimiento que aportan",
    ),
    (
        "control extremal, pool de conexiones, perturbación (páginas)",
        "control proporcional e integral de conexiones por clase (Pan y otros); DBBalancer",
        "control extremal aplicado a un pool de conexiones",
    ),
    (
        "réplicas que sondean en fase con el reloj (hilos de GitHub)",
        "reparto de un límite fijo entre réplicas (codex-lb, vllm-project/aibrix)",
        "réplicas que sincronizan sus sondas por la hora",
    ),
    (
        "cursor, bytes por fila, doble buffer (documentación)",
        "tamaños fijos y fórmulas de configuración",
        "un tamaño que combine bytes, ida y vuelta y ritmo del consumidor",
    ),
    (
        "Redis asyncio, una conexión, lote por vuelta (documentación)",
        "Async::Redis::AutoPipeline y Upstash: la misma idea, en otros lenguajes",
        "un reemplazo de redis-py para asyncio con la misma interfaz",
    ),
    (
        "residencia de prefijos, ranuras, plazo, rechazo (páginas)",
        "proxycache, PRISM, planificación por latencia prevista, caché de cola óptima",
        "un presupuesto de conversación que dependa de la residencia y la recorte por pasos",
    ),
)
