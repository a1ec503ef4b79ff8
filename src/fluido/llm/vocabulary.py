"""The words and phrases by which a query shows what it asks for; Spanish without accents, and English."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What only a program text, or a question about one, holds (before punctuation is folded).
CODE_SIGNS = (
    "```", "#include", "=> ", "();", "){", ") {", "</", "!= ", "==", "console.log", "self.", "&&", "$(",
    "print(", "std::", "#!/",
)  # fmt: skip
# One of the characters without which none of them can be there.
CODE_CHARACTERS = frozenset("`(){}<>=&$#_*;!.:")
# Words of program text: two of them, or one with a sign.
SIGN_WORDS = _words("""
    def import null sudo fn traceback void int const elif stderr printf
""")
# Endings of source files.
EXTENSIONS = _words("""
    py js ts java cpp rs go sql sh html css json yaml yml toml php rb kt c h jsx tsx csv ipynb
""")
# One of these is enough for code.
CODE_WORDS = _words("""
    algorithm algoritmo ansible api apis async asyncio attributeerror await backend bash codebase
    compila compilar compile cron crontab css dataframe debug debuggear decorator depurar django docker
    dockerfile docstring endpoint fastapi flask frontend git golang goroutine html importerror
    indexerror javascript jquery json jsx keyerror kotlin kubectl kubernetes lambda localhost
    localstorage makefile middleware mutex mysql node.js nodejs npm nullpointerexception numpy orm
    pandas php postgres postgresql powershell pytest reactjs recursion recursiva recursive recursivo
    refactor refactoring refactoriza refactorizar regex regexp segfault sql sqlite ssh stacktrace stdin
    stdout subquery syntaxerror ternario ternary terraform typeerror typescript unittest useeffect
    usestate valueerror vba webhook xml yaml
""")
# These mean code in company: two of them and a verb of making or mending.
CODE_HINTS = _words("""
    angular app arbol archivo archivos array base boton branch bucle bug button c# c++ cadena carpeta
    clase class code codigo cola comando command commit component componente conectar consulta container
    contenedor datos declare deploy diccionario dictionary ejecuta endpoint error esquema excel
    excepcion exception file files folder form formula formulario framework funcion function generic
    global hilo index indice interface interfaz java library libreria list lista loop macro matrix
    matriz method metodo module modulo operador operator pagina parsear parser pila program programa
    python query queue rama react rename renombre ruby rust schema script server servidor shell stack
    string struct swift tabla table test tests thread thread-safe tree variable vue
""")
# Verbs of making or mending.
CODE_VERBS = _words("""
    arregla arreglar build calcula calculates calcule code compila compute conecta conectar connect
    convert convertir convierte correct corregir corrige crea crear create debug declare declaro define
    defino desarrolla desarrollar develop devuelva devuelve ejecuta escribe escribeme escribir fails
    falla fix genera generar generate haz hazme implement implementa implementar invertir invierte
    iterate lee leer make optimise optimiza optimizar optimize ordena ordenar parse programa programar
    prueba read recorre recorrer return returns reverse run sort test traduce undo valida validate
    validates valide write
""")
# What is long when somebody asks to have it written.
LONG_WORDS = _words("""
    agreement analisis analysis article articulo blog capitulo chapter completa completo comprehensive
    contract contrato cuento curriculo detailed detallada detalladamente detallado detalle detalles
    discurso ensayo essay exhaustiva exhaustivamente exhaustivo extensa extensamente extenso full guia
    guide guion handbook historieta informe itinerario itinerary larga largo lengthy letter long manual
    monografia novel novela overview plan profunda profundidad profundo proposal propuesta relato report
    screenplay speech story syllabus temario tesis thesis thorough tutorial whitepaper
""")
# Verbs of asking to have something written.
LONG_VERBS = _words("""
    analiza analyse analyze compose crea create dame desarrolla design develop disena draft elabora
    elaborar elaborate escribe escribeme give haz hazme make prepara prepare redacta redactame redactar
    write
""")
# A wish for a long answer.
LONG_PHRASES = (
    "paso a paso", "step by step", "step-by-step", "en detalle", "in detail", "in depth", "in-depth",
    "con ejemplos", "with examples", "a fondo", "guia completa", "complete guide", "full guide", "plan de",
    "plan for", "pros and cons", "ventajas y desventajas", "business plan", "cover letter",
    "carta de presentacion", "long-form", "everything about", "todo sobre", "business model",
    "todo lo que sepas", "everything you know", "todas sus clausulas", "all its clauses", "todo detalle",
    "lesson plan", "meal plan", "unidad didactica",
)  # fmt: skip
# A wish for a short answer.
SHORT_PHRASES = (
    "en una frase", "en una oracion", "en una palabra", "en pocas palabras", "in one sentence",
    "in a sentence", "in one word", "in a word", "si o no", "yes or no", "one sentence", "one word",
    "una sola palabra", "una linea", "one line", "tl;dr", "tldr", "solo el numero", "just the number",
    "only the", "true or false", "verdadero o falso", "maximo 20 palabras", "in a few words", "just the",
    "solo la respuesta", "in two sentences", "en dos frases",
)  # fmt: skip
# One word that wishes for a short answer.
SHORT_WORDS = _words("""
    breve brevemente brief briefly concise corta cortito escueto resumidamente
""")
# How a question begins whose answer is a name, a number, a date or a yes.
SHORT_HEADS = (
    "who ", "when ", "where ", "how many ", "how much ", "how old ", "how tall ", "how far ", "how long ",
    "which ", "is ", "are ", "does ", "do ", "did ", "was ", "were ", "can ", "will ", "has ", "quien ",
    "quienes ", "cuando ", "donde ", "cuanto ", "cuanta ", "cuantos ", "cuantas ", "en que ", "a que ",
    "de que ", "cual es el ", "cual es la ", "what is the ", "what's the ", "whats the ", "what year ",
    "what time ", "what day ", "what color ", "what colour ", "what does ", "que hora ", "que dia ",
    "que ano ", "que significa ", "translate ", "traduce ", "como se dice ", "como se llama ",
    "how do you say ", "es ", "son ", "hay ", "puedo ", "existe ", "define ", "what language ",
    "what currency ", "que idioma ", "que moneda ", "cual fue ", "what was the ", "convert ", "convierte ",
    "spell ", "synonym ", "sinonimo ", "antonimo ", "name ", "nombra ", "dime ", "tell me the ",
    "what are the colors", "que color ", "cual ", "corrige ", "a cuantos ", "sugiere un nombre",
    "what s the ", "se puede ", "se pueden ", "fix the grammar", "fix the spelling", "how do you spell",
    "whose ",
)  # fmt: skip
# Small talk.
GREETINGS = _words("""
    adios buenas buenos bye chau claro cool entendido genial good gracias great hasta hello hey hi hola
    listo nice no ok okay perfect perfecto saludos si thank thanks vale yes
""")
# What asks for a paragraph or two.
MEDIUM_WORDS = _words("""
    best causas causes compara compare consejos correo deberia describe diferencia diferencias
    difference differences ejemplos email examples explain explica explicame explicar funciona ideas
    mejores paragraph parrafo pasos poem poema razones reasons recomiendas recommend resume resumen
    should sirve steps summarise summarize summary tips ventajas why works
""")
# Names of languages: with one hint beside them they mean code.
LANGUAGES = _words(
    """
    python java rust ruby swift c++ c# php perl go scala haskell matlab cobol fortran
"""
)
# What is written as prose, whatever it is about.
GENRES = _words(
    """
    ensayo essay cuento story relato tale novel novela poema poem discurso speech informe report guion
    screenplay articulo article chapter capitulo letter carta
"""
)
