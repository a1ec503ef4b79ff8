// Every word a person reads on the page, in both languages. Codes are those of the API's errors.
export const texts = {
  es: {
    skip: "Ir al mensaje", fresh: "Nueva conversación", welcome: "¿Qué quieres saber?", label: "Mensaje",
    placeholder: "Escribe un mensaje", send: "Enviar", stop: "Detener", other: "EN", otherLabel: "Switch to English",
    keyLabel: "Este servidor pide una clave de acceso", enter: "Entrar", cut: " · cortada",
    you: "Tú", sentinel: "Sentinel", stopped: "Detenido.", answered: "Respuesta completa.",
    ready: (model) => `Modelo: ${model}`, degraded: "Funciona sin caché: un poco más lento.", notReady: "No está listo:",
    tiny: "El modelo incluido es muy pequeño (135 millones de parámetros): responde en inglés de forma aceptable y en español mal. Con tu propio Ollama (OLLAMA_URL) responderá el tuyo.",
    facts: (d) => `primer token ${ms(d.ttft_ms, "es")} · total ${ms(d.total_ms, "es")} · ${d.output_tokens} tokens${d.cached ? " · repetida" : ""}${wasCut(d) ? texts.es.cut : ""}`,
    kinds: { short: "corta", medium: "media", long: "larga", code: "código" },
    errors: {
      busy: "Hay demasiadas personas esperando.", waited_too_long: "La espera fue demasiado larga.",
      engine_unavailable: "El motor del modelo no responde.", engine_failed: "El motor se interrumpió: vuelve a preguntar.",
      empty_answer: "El modelo terminó sin decir nada: vuelve a preguntar.", model_missing: "El motor no tiene ese modelo.",
      engine_refused: "El motor rechazó el pedido.", still_answering: "Ese mensaje ya se está respondiendo.",
      storage_unavailable: "La base de datos no responde; tu mensaje no se guardó.", prompt_too_long: "El mensaje es demasiado largo para el modelo.",
      quota_exceeded: "Has llegado al límite de mensajes por minuto.", not_found: "Esa conversación ya no existe.",
      shutting_down: "Sentinel se está deteniendo.", network: "No hay conexión con Sentinel.", internal: "Algo falló de nuestro lado.",
      unauthorized: "Falta una clave de acceso válida.",
    },
    retry: (s) => ` Intenta de nuevo en ${Math.ceil(s)} s.`,
  },
  en: {
    skip: "Skip to the message", fresh: "New conversation", welcome: "What would you like to know?", label: "Message",
    placeholder: "Write a message", send: "Send", stop: "Stop", other: "ES", otherLabel: "Cambiar a español",
    keyLabel: "This server asks for an access key", enter: "Enter", cut: " · cut short",
    you: "You", sentinel: "Sentinel", stopped: "Stopped.", answered: "Answer complete.",
    ready: (model) => `Model: ${model}`, degraded: "Running without its cache: a little slower.", notReady: "Not ready:",
    tiny: "The embedded model is a tiny one (135 million parameters): acceptable in English, bad in Spanish. Point OLLAMA_URL at your own Ollama and yours will answer.",
    facts: (d) => `first token ${ms(d.ttft_ms, "en")} · total ${ms(d.total_ms, "en")} · ${d.output_tokens} tokens${d.cached ? " · repeated" : ""}${wasCut(d) ? texts.en.cut : ""}`,
    kinds: { short: "short", medium: "medium", long: "long", code: "code" },
    errors: {
      busy: "Too many people are waiting.", waited_too_long: "The wait was too long.",
      engine_unavailable: "The model's engine does not answer.", engine_failed: "The engine broke off: ask again.",
      empty_answer: "The model ended without a word: ask again.", model_missing: "The engine does not have that model.",
      engine_refused: "The engine refused the request.", still_answering: "That message is being answered already.",
      storage_unavailable: "The database does not answer; your message was not stored.", prompt_too_long: "The message is too long for the model.",
      quota_exceeded: "You have reached the limit of messages a minute.", not_found: "That conversation no longer exists.",
      shutting_down: "Sentinel is stopping.", network: "No connection to Sentinel.", internal: "Something broke on our side.",
      unauthorized: "A valid API key is missing.",
    },
    retry: (s) => ` Try again in ${Math.ceil(s)} s.`,
  },
};

export const examples = {
  es: ["What is the capital of Chile? Answer in one sentence.", "Explain in three sentences how a vaccine works.", "Write a Python function that reverses a string.", "¿Qué es una base de datos?"],
  en: ["What is the capital of Chile? Answer in one sentence.", "Explain in three sentences how a vaccine works.", "Write a Python function that reverses a string.", "Tell me a short story about a lighthouse."],
};

// An answer that reached a bound instead of its end.
const wasCut = (done) => done.finish_reason === "length" || done.finish_reason === "time";

function ms(value, language) {
  if (value < 1000) return `${Math.round(value)} ms`;
  return `${(value / 1000).toLocaleString(language, { maximumFractionDigits: 1, minimumFractionDigits: 1 })} s`;
}
