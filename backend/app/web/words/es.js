// Todo lo que una persona lee, en español. `en.js` tiene los mismos nombres; los códigos de error son los de la API.
import panel from "/web/words/panel_es.js";

const number = new Intl.NumberFormat("es");
const time = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toLocaleString("es", { maximumFractionDigits: 1 })} s`);

export default {
  panel,
  language: "es", pageTitle: "Sentinel", noScript: "Esta página necesita JavaScript.",
  skip: "Ir al mensaje", newChat: "Nueva conversación", conversations: "Conversaciones", openList: "Abrir la lista de conversaciones",
  closeList: "Cerrar la lista", search: "Buscar", noneYet: "Aquí aparecerán tus conversaciones.",
  noneFound: "Ninguna conversación contiene eso.", more: "Ver más", today: "Hoy", yesterday: "Ayer", week: "Últimos 7 días", older: "Antes",
  listFailed: "No se pudo leer la lista.", again: "Reintentar",
  settings: "Ajustes", panelLink: "Panel en vivo", options: (title) => `Opciones de «${title}»`, menuOptions: "Opciones de esta conversación",
  rename: "Cambiar el título", renameLabel: "Nuevo título", save: "Guardar", cancel: "Cancelar", exportMarkdown: "Exportar (Markdown)", exportJson: "Exportar (JSON)",
  remove: "Eliminar", removed: (title) => `Se eliminó «${title}».`, undo: "Deshacer", close: "Cerrar",
  welcome: "¿En qué puedo ayudarte?", welcomeNote: "Pregunta lo que quieras. Las conversaciones se guardan en este servidor.",
  examples: [
    ["Explica", "Explica en tres frases cómo funciona una vacuna."], ["Programa", "Escribe una función de Python que invierta un texto."],
    ["Compara", "Compara Redis y PostgreSQL en una tabla corta."], ["Calcula", "¿Cuál es la fórmula de la ecuación cuadrática y cómo se usa?"],
  ],
  message: "Mensaje", placeholder: "Escribe un mensaje", send: "Enviar", stop: "Detener", sendHint: "Intro envía, Mayús+Intro cambia de línea, Esc detiene.",
  length: (used, most) => `${number.format(used)} de ${number.format(most)} caracteres`,
  tooLong: (used, most) => `Sobran ${number.format(used - most)} caracteres: acorta el mensaje para enviarlo.`,
  you: "Tu mensaje", sentinel: "Respuesta de Sentinel", thinking: "Pensando…", thought: "Lo que pensó antes de responder", waiting: "Esperando la respuesta",
  answered: "Respuesta completa.", stopped: "Detenida: esto es lo que alcanzó a decir.", partial: "Esta respuesta quedó a medias.",
  cut: "La respuesta llegó a su límite de largo.", cutTime: "La respuesta llegó a su límite de tiempo.", goOn: "Continuar", goOnMessage: "Continúa exactamente donde quedaste.",
  unanswered: "Esta pregunta no tiene respuesta.", askAgain: "Preguntar otra vez", regenerate: "Responder de nuevo", edit: "Editar la pregunta",
  editNote: "Al preguntar otra vez se reemplaza lo que sigue.", copy: "Copiar", copied: "Copiado", notCopied: "No se pudo copiar", copyAnswer: "Copiar la respuesta",
  copyQuestion: "Copiar la pregunta", details: "Tiempos y modelo", plainText: "texto", codeIn: (language) => `Código${language ? ` en ${language}` : ""}`, table: "Tabla",
  latest: "Ir a lo último", earlier: "Ver mensajes anteriores", loading: "Cargando la conversación",
  facts: (d) => `${d.model} · primera palabra a los ${time(d.ttft_ms)} · en total ${time(d.total_ms)} · ${number.format(d.output_tokens)} tokens${d.cached ? " · repetida" : ""}`,
  waitFor: (s) => `Podrás preguntar otra vez en ${s} s`,
  ready: (models) => models || "Modelo listo", checking: "Buscando el modelo", notReady: (names) => `No responde: ${names}`, degraded: "sin caché, algo más lento",
  parts: { engine: "el modelo", postgresql: "la base de datos", redis: "la caché" }, offline: "Sin conexión con Sentinel",
  tiny: "El modelo incluido es muy pequeño: responde bien sólo preguntas simples en inglés.", dismiss: "No mostrar más",
  keyTitle: "Clave de acceso", keyWhy: "Este servidor pide una clave. Quien lo administra te la puede dar.", keyWrong: "Esa clave no es válida.",
  keyLabel: "Clave", keyRemember: "Recordarla en este navegador", enter: "Entrar", keyForget: "Olvidar la clave", keyChange: "Clave de acceso…",
  languageLabel: "Idioma", themeLabel: "Apariencia", system: "Del sistema", light: "Clara", dark: "Oscura",
  profile: "Perfil", profileWhy: "Tus conversaciones se guardan con este código. Cópialo en otro navegador para verlas allí; quien lo tenga puede leerlas.",
  profileUse: "Usar este código", shortcuts: "Atajos", shortcutList: [["Ctrl+K", "buscar"], ["Ctrl+Mayús+O", "nueva conversación"], ["Esc", "detener la respuesta"]],
  exportedBy: "Exportada de Sentinel", errorTitle: "No hubo respuesta",
  errors: {
    busy: "Hay demasiadas personas esperando.", waited_too_long: "La espera fue demasiado larga.", engine_unavailable: "El modelo no responde ahora.",
    engine_failed: "El modelo se interrumpió.", empty_answer: "El modelo terminó sin decir nada.", model_missing: "El motor no tiene ese modelo.",
    engine_refused: "El motor rechazó la pregunta.", still_answering: "Esta conversación todavía espera otra respuesta.",
    storage_unavailable: "La base de datos no responde; la pregunta no se guardó.", prompt_too_long: "El mensaje es demasiado largo para el modelo: acórtalo.",
    quota_exceeded: "Llegaste al límite de pedidos por minuto.", not_found: "Esta conversación no existe o es de otra persona.",
    shutting_down: "Sentinel se está deteniendo.", network: "No hay conexión con Sentinel.", unauthorized: "Falta una clave de acceso válida.",
    unknown_host: "Sentinel no se conoce por esta dirección: usa la que te dieron.", invalid: "Sentinel no aceptó el mensaje.", http_error: "Sentinel no aceptó el pedido.",
    went_on: "Esta conversación siguió en otra pestaña: mírala antes de reemplazar algo.",
    internal: "Algo falló en el servidor.",
  },
};
