"""Which kind of answer a query asks for: short, medium, long or code; Spanish and English.

Fixed words looked up in a set and a few phrases, on the first 400 characters and the last 160: some 10 to 40
us whatever the size of the query, and no regular expression over the body. Accuracy is measured on a labelled
set (docs/llm.md). A caller who knows better says so in `Call.kind`, and is believed.
"""

from fluido.llm import vocabulary as v
from fluido.llm.call import Kind

HEAD_CHARS = 400
TAIL_CHARS = 160
END_CHARS = 120

_PUNCTUATION = "¿¡?!.,;:()[]{}\"'`*_/\\|<>=+&%$@~^\n\t"
_FOLD = str.maketrans("áéíóúüñ" + _PUNCTUATION, "aeiouun" + " " * len(_PUNCTUATION))


def detect(query: str) -> Kind:
    """The kind of answer `query` (the user's last message) most likely asks for."""
    text = query if len(query) <= HEAD_CHARS + TAIL_CHARS else query[:HEAD_CHARS] + "\n" + query[-TAIL_CHARS:]
    lower = text.lower()
    folded = lower.translate(_FOLD)
    words = folded.split()
    if not words:
        return Kind.SHORT
    unique = set(words)
    if _is_code(lower, unique):
        return Kind.CODE
    # The wish about length stands at either end; in between stands what the query is about.
    ends = folded if len(folded) <= 2 * END_CHARS else folded[:END_CHARS] + folded[-END_CHARS:]
    said_short = not unique.isdisjoint(v.SHORT_WORDS) or _any(ends, v.SHORT_PHRASES)
    said_long = _any(ends, v.LONG_PHRASES) or (
        not unique.isdisjoint(v.LONG_WORDS) and not unique.isdisjoint(v.LONG_VERBS)
    )
    asked = _asked_words(words)
    if asked:
        return Kind.SHORT if asked <= 50 else Kind.MEDIUM if asked <= 250 else Kind.LONG
    if said_short and not said_long:
        return Kind.SHORT
    if said_long:
        return Kind.LONG
    return Kind.SHORT if _is_small(words, unique, folded.lstrip()) else Kind.MEDIUM


def _is_small(words: list[str], unique: set[str], opening: str) -> bool:
    """Small talk, or a question whose answer is a name, a number, a date or a yes."""
    if len(words) <= 4 and words[0] in v.GREETINGS:
        return True
    if len(words) <= 16 and opening.startswith(v.SHORT_HEADS) and v.MEDIUM_WORDS.isdisjoint(words[2:]):
        return True
    if len(words) <= 8 and opening.startswith(("what is ", "cuanto es ")) and any(map(str.isdigit, words)):
        return True
    return len(words) <= 3 and unique.isdisjoint(v.MEDIUM_WORDS)


def _is_code(lower: str, unique: set[str]) -> bool:
    signs = len(unique & v.SIGN_WORDS)
    if not v.CODE_CHARACTERS.isdisjoint(lower):
        signs += sum(sign in lower for sign in v.CODE_SIGNS)
    if "```" in lower or signs >= 2 or not unique.isdisjoint(v.CODE_WORDS):
        return True
    if "select " in lower and " from " in lower and (" where " in lower or "*" in lower):
        return True
    if "expresion regular" in lower or "expresión regular" in lower:
        return True
    hints = len(unique & v.CODE_HINTS)
    verbs = not unique.isdisjoint(v.CODE_VERBS)
    if signs or ("." in lower and _names_a_source_file(lower)):
        return hints > 0 or verbs
    if not unique.isdisjoint(v.GENRES):
        return False
    languages = len(unique & v.LANGUAGES)
    return (hints >= 2 and verbs) or (languages > 0 and hints - languages > 0)


def _names_a_source_file(lower: str) -> bool:
    return any(word.rpartition(".")[2] in v.EXTENSIONS for word in lower.split() if "." in word[:-1])


def _any(text: str, phrases: tuple[str, ...]) -> bool:
    return any(phrase in text for phrase in phrases)


def _asked_words(words: list[str]) -> int:
    """N of "in N words", "de N palabras"; 0 when nothing of the kind is said."""
    for index, word in enumerate(words[1:], start=1):
        if word in {"words", "palabras"} and words[index - 1].isdigit():
            return int(words[index - 1][:6])
    return 0
