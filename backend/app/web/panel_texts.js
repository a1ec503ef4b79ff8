// Every word of the live page that depends on what it shows.
export const kinds = {
  llm: { title: "Cola del motor", unit: "respuestas a la vez" },
  limiter: { title: "Conexiones a PostgreSQL", unit: "transacciones a la vez" },
  pool: { title: "Conexiones a PostgreSQL", unit: "transacciones a la vez" },
  batcher: { title: "Escritura en grupo", unit: "filas por lote" },
  write_behind: { title: "Telemetría diferida", unit: "filas por lote" },
  redis: { title: "Enlace con Redis", unit: "comandos en vuelo" },
  loop_lag: { title: "Envío a los clientes", unit: "ms entre envíos" },
  history: { title: "Historias de conversaciones", unit: "(1: primero la memoria; 0: primero Redis)" },
};
// Flows that share a kind with another one.
export const names = {
  "behind:histories": { title: "Historias hacia Redis", unit: "historias por lote" },
};
// Where the history of a question was found, or had been overtaken by another message.
export const places = {
  memory: "De memoria", redis: "De Redis", database: "De PostgreSQL",
  overtaken_memory: "Superadas en memoria", overtaken_redis: "Superadas en Redis",
};

const reasons = {
  start: "valor inicial", probe: "prueba un valor vecino", demand_ends: "ya no hay más demanda",
  compare: "compara con otro límite", leap: "rinde bastante más: salta dos peldaños", more_does_more: "un peldaño más rinde más",
  fewer_do_as_much: "un peldaño menos rinde lo mismo", reference_better: "la constante de antes rinde más: vuelve a ella",
  shift: "el rendimiento cambió: empieza de nuevo", other_work: "llega otro trabajo: empieza en la constante de antes",
  idle: "sin uso: vuelve a un valor prudente", ceiling: "llegó al máximo permitido", floor: "llegó al mínimo permitido",
  larger_is_cheaper: "un lote mayor sale más barato por fila", smaller_is_cheaper: "un lote menor sale más barato por fila",
  flat: "da lo mismo: se queda", overload: "señal de sobrecarga: baja", delivery: "lo que el enlace entrega",
  "steady load": "la carga constante que tiene", "no evidence yet": "aún sin datos", worth_it: "una respuesta más a la vez rinde",
  not_worth_it: "una más a la vez no rinde", engine_queue: "el motor hace cola por dentro", recheck: "vuelve a comprobar",
  loop_late: "el proceso va atrasado: agrupa", calm: "menos atraso: acorta la pausa", pinned: "fijado a mano", unpinned: "la ley vuelve a decidir",
  brake_failing: "fallan las llamadas: frena", brake_recovering: "se recupera: suelta el freno", brake_healthy: "sano: freno suelto",
  current: "la memoria vuelve a estar al día: se mira primero",
  overtaken: "otra réplica contesta a menudo: primero Redis",
  slower: "las llamadas tardan más", heavy: "clase pesada: sólo una parte del límite", light: "clase ligera: sin tope",
};

export function reason(code) {
  if (code.startsWith("law_failed_")) return `la ley falló (${code.slice(11)}): se mantiene`;
  return reasons[code] || code.replaceAll("_", " ");
}

export const laws = {
  ladder: "escalera", fleet: "escalera en común", knee: "codo de rendimiento", batch_cap: "coste por fila", stream_gap: "atraso del proceso",
  "delivery window": "ventana de entrega", trust: "confianza en la memoria", fixed: "fija", brake: "freno",
};
export const lanes = { interactive: "Interactivo", normal: "Normal", background: "De fondo" };
export const dependencies = { postgresql: "PostgreSQL", redis: "Redis", engine: "Motor" };

const whole = new Intl.NumberFormat("es", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("es", { maximumFractionDigits: 1 });

export function count(value) {
  if (value === null || value === undefined) return "—";
  return Math.abs(value) < 100 ? tenths.format(value) : whole.format(value);
}

export function ms(value) {
  if (value === null || value === undefined) return "—";
  if (value < 0.05) return "0 ms";
  if (value < 10) return `${tenths.format(value)} ms`;
  if (value < 1000) return `${whole.format(value)} ms`;
  return `${tenths.format(value / 1000)} s`;
}

export function ago(seconds) {
  if (seconds < 60) return `${whole.format(Math.max(0, seconds))} s`;
  if (seconds < 3600) return `${whole.format(seconds / 60)} min`;
  return `${whole.format(seconds / 3600)} h`;
}
