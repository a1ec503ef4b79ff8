"""Which kind of answer a query asks for: short, medium, long or code; Spanish and English.

Fixed words looked up in a set and a few phrases, on the first 400 characters and the last 160: some 10 to 40
us whatever the size of the query, and no regular expression over the body. Accuracy is measured on a labelled
set (docs/results/llm). A caller who knows better says so in `Call.kind`, and is believed.
"""

from fluido.llm._call import Kind
from fluido.llm.prompt import _vocabulary as v

HEAD_CHARS = 400
TAIL_CHARS = 160
END_CHARS = 120
ENOUGH = 4

_PUNCTUATION = "¿¡?!.,;:()[]{}\"'`*_/\\|<>=+&%$@~^\n\t"
_FOLD = str.maketrans("áéíóúüñ" + _PUNCTUATION, "aeiouun" + " " * len(_PUNCTUATION))
# The same for Latin-1, which nearly every query is: a table of bytes is twenty times as fast.
_FOLD_BYTES = bytes(ord(chr(code).translate(_FOLD)) for code in range(256))


def detect(query: str) -> Kind:
    """The kind of answer `query` (the user's last message) most likely asks for."""
    text = query if len(query) <= HEAD_CHARS + TAIL_CHARS else query[:HEAD_CHARS] + "\n" + query[-TAIL_CHARS:]
    lower = text.lower()
    folded = _folded(lower)
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


def _folded(lower: str) -> str:
    """Without accents and punctuation."""
    try:
        return lower.encode("latin-1").translate(_FOLD_BYTES).decode("latin-1")
    except UnicodeEncodeError:
        return lower.translate(_FOLD)


def _is_small(words: list[str], unique: set[str], opening: str) -> bool:
    """Small talk, or a question whose answer is a name, a number, a date or a yes."""
    if len(words) <= 4 and words[0] in v.GREETINGS:
        return True
    if len(words) <= 16 and v.MEDIUM_WORDS.isdisjoint(words[2:]):
        if opening.startswith(v.SHORT_HEADS):
            return True
        # "what is the ..." asks for a name or a number only if such a thing follows.
        if opening.startswith(v.OPEN_HEADS) and (not unique.isdisjoint(v.SHORT_NOUNS) or _superlative(words)):
            return True
    if len(words) <= 8 and opening.startswith(("what is ", "cuanto es ")) and any(map(str.isdigit, words)):
        return True
    return len(words) <= 3 and unique.isdisjoint(v.MEDIUM_WORDS)


def _is_code(lower: str, unique: set[str]) -> bool:
    """Weighs what speaks for program text against what speaks for everyday life.

    A word that only programmers use decides alone. One that has a life elsewhere (a class, a python, a tree)
    needs company of its own kind, and everyday company counts against it.
    """
    if not unique.isdisjoint(v.CODE_WORDS) or _any(lower, v.CODE_PHRASES):
        return True
    signs = len(unique & v.SIGN_WORDS) + _signs(lower)
    if signs >= 2:
        return True
    if "select " in lower and " from " in lower and " where " in lower:
        return True
    weight = 2 * signs + 3 * len(unique & v.FIRM_HINTS) + 2 * len(unique & v.CODE_HINTS)
    weight += 3 * ("." in lower and _names_a_source_file(lower)) + len(unique & v.LOOSE_HINTS)
    weight += 3 * (not unique.isdisjoint(v.LANGUAGES))
    if weight >= 2:
        weight += min(2, len(unique & v.CODE_VERBS))
    weight -= 2 * len(unique & v.EVERYDAY)
    if not unique.isdisjoint(v.GENRES):
        weight -= 3
    return weight >= ENOUGH


def _signs(lower: str) -> int:
    """Marks that prose does not use; a call or an assignment has one inside or beside a word."""
    if v.CODE_CHARACTERS.isdisjoint(lower):
        return 0
    found = sum(sign in lower for sign in v.CODE_SIGNS)
    words = lower.split()
    found += len(v.OPERATORS.intersection(words))
    if "(" in lower or "_" in lower or "::" in lower or "->" in lower:
        for word in words:
            is_call = "(" in word[1:] and word[0].isalpha() and "(s)" not in word
            found += is_call or "_" in word[1:-1] or "::" in word or "->" in word
    return found


def _names_a_source_file(lower: str) -> bool:
    return any(word.rpartition(".")[2] in v.EXTENSIONS for word in lower.split() if "." in word[1:-1])


def _any(text: str, phrases: tuple[str, ...]) -> bool:
    return any(phrase in text for phrase in phrases)


def _superlative(words: list[str]) -> bool:
    return any(len(word) > 5 and word.endswith("est") for word in words) or "mas" in words or "most" in words


def _asked_words(words: list[str]) -> int:
    """N of "in N words", "de N palabras"; 0 when nothing of the kind is said."""
    for index, word in enumerate(words[1:], start=1):
        if word in {"words", "palabras"} and words[index - 1].isdigit():
            return int(words[index - 1][:6])
    return 0
