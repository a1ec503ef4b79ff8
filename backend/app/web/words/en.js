// Every word a person reads, in English. `es.js` has the same names; error codes are those of the API.
import panel from "/web/words/panel_en.js";

const number = new Intl.NumberFormat("en");
const time = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toLocaleString("en", { maximumFractionDigits: 1 })} s`);

export default {
  panel,
  language: "en", pageTitle: "Sentinel", noScript: "This page needs JavaScript.",
  skip: "Skip to the message", newChat: "New conversation", conversations: "Conversations", openList: "Open the list of conversations",
  closeList: "Close the list", search: "Search", noneYet: "Your conversations will appear here.",
  noneFound: "No conversation holds that.", more: "Show more", today: "Today", yesterday: "Yesterday", week: "Last 7 days", older: "Earlier",
  listFailed: "The list could not be read.", again: "Try again",
  settings: "Settings", panelLink: "Live panel", options: (title) => `Options for “${title}”`, menuOptions: "Options for this conversation",
  rename: "Change the title", renameLabel: "New title", save: "Save", cancel: "Cancel", exportMarkdown: "Export (Markdown)", exportJson: "Export (JSON)",
  remove: "Delete", removed: (title) => `“${title}” was deleted.`, undo: "Undo", close: "Close",
  welcome: "What can I help you with?", welcomeNote: "Ask anything. Conversations are stored on this server.",
  examples: [
    ["Explain", "Explain in three sentences how a vaccine works."], ["Write code", "Write a Python function that reverses a string."],
    ["Compare", "Compare Redis and PostgreSQL in a short table."], ["Calculate", "What is the quadratic formula and how is it used?"],
  ],
  message: "Message", placeholder: "Write a message", send: "Send", stop: "Stop", sendHint: "Enter sends, Shift+Enter starts a new line, Esc stops.",
  length: (used, most) => `${number.format(used)} of ${number.format(most)} characters`,
  tooLong: (used, most) => `${number.format(used - most)} characters too many: shorten the message to send it.`,
  you: "Your message", sentinel: "Sentinel's answer", thinking: "Thinking…", thought: "What it thought before it answered", waiting: "Waiting for the answer",
  answered: "Answer complete.", stopped: "Stopped: this is what it had said.", partial: "This answer was broken off.",
  cut: "The answer reached its limit of length.", cutTime: "The answer reached its limit of time.", goOn: "Continue", goOnMessage: "Continue exactly where you stopped.",
  unanswered: "This question has no answer.", askAgain: "Ask again", regenerate: "Answer anew", edit: "Edit the question",
  editNote: "Asking again replaces what follows.", copy: "Copy", copied: "Copied", notCopied: "Could not copy", copyAnswer: "Copy the answer",
  copyQuestion: "Copy the question", details: "Times and model", plainText: "text", codeIn: (language) => `Code${language ? ` in ${language}` : ""}`, table: "Table",
  latest: "Go to the latest", earlier: "Show earlier messages", loading: "Loading the conversation",
  facts: (d) => `${d.model} · first word after ${time(d.ttft_ms)} · ${time(d.total_ms)} in all · ${number.format(d.output_tokens)} tokens${d.cached ? " · repeated" : ""}`,
  waitFor: (s) => `You can ask again in ${s} s`,
  ready: (models) => models || "Model ready", checking: "Looking for the model", notReady: (names) => `No answer from ${names}`, degraded: "no cache, a little slower",
  parts: { engine: "the model", postgresql: "the database", redis: "the cache" }, offline: "No connection to Sentinel",
  tiny: "The model that comes along is tiny: it answers only simple questions well, in English.", dismiss: "Do not show again",
  keyTitle: "Access key", keyWhy: "This server asks for a key. Whoever runs it can give you one.", keyWrong: "That key is not valid.",
  keyLabel: "Key", keyRemember: "Remember it in this browser", enter: "Enter", keyForget: "Forget the key", keyChange: "Access key…",
  languageLabel: "Language", themeLabel: "Appearance", system: "System", light: "Light", dark: "Dark",
  profile: "Profile", profileWhy: "Your conversations are stored under this code. Copy it to another browser to see them there; whoever has it can read them.",
  profileUse: "Use this code", shortcuts: "Shortcuts", shortcutList: [["Ctrl+K", "search"], ["Ctrl+Shift+O", "new conversation"], ["Esc", "stop the answer"]],
  exportedBy: "Exported from Sentinel", errorTitle: "There was no answer",
  errors: {
    busy: "Too many people are waiting.", waited_too_long: "The wait was too long.", engine_unavailable: "The model does not answer now.",
    engine_failed: "The model broke off.", empty_answer: "The model ended without a word.", model_missing: "The engine does not have that model.",
    engine_refused: "The engine refused the question.", still_answering: "This conversation still waits for another answer.",
    storage_unavailable: "The database does not answer; the question was not stored.", prompt_too_long: "The message is too long for the model: shorten it.",
    quota_exceeded: "You have reached the limit of requests a minute.", not_found: "This conversation does not exist or is another person's.",
    shutting_down: "Sentinel is stopping.", network: "No connection to Sentinel.", unauthorized: "A valid access key is missing.",
    unknown_host: "Sentinel does not know itself by this address: use the one you were given.", invalid: "Sentinel did not accept the message.",
    http_error: "Sentinel did not accept the request.", went_on: "This conversation went on in another tab: look at it before you replace anything.", internal: "Something broke on the server.",
  },
};
