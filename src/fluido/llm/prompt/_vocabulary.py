"""The words and phrases by which a query shows what it asks for; Spanish without accents, and English."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What only a program text, or a question about one, holds (before punctuation is folded).
CODE_SIGNS = (
    "#include", "=> ", "();", "){", ") {", "</", "!= ", "==", "console.log", "self.", "&&", "$(",
    "std::", "#!/", "};", "; }",
)  # fmt: skip
# These decide alone.
CODE_PHRASES = (
    "```", "select *", "expresion regular", "expresión regular", "expresiones regulares",
    "regular expression", "estructura de datos", "estructuras de datos", "data structure", "base de datos",
    "pull request", "null pointer", "insert into", "hoja de calculo", "hoja de cálculo", "create table",
    "from users", "linea de comandos", "línea de comandos", "command line", "código fuente", "source code",
    "stack trace", "stack overflow", "curl -", "pip install", "out of bounds", "foreign key",
    " c++",
)  # fmt: skip
# One of the characters without which none of them can be there.
CODE_CHARACTERS = frozenset("`(){}<>=&$#_*;!.:-")
OPERATORS = _words("= += -= *= == === != <= >= && || := ++ -- > < =>")
# Words of program text: two of them, or one with company.
SIGN_WORDS = _words("""
    def null sudo fn traceback void int const elif stderr printf var enum bool undefined nan endif nullptr
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
# These come from programming and are seldom met elsewhere.
FIRM_HINTS = _words("""
    array arrays boolean bucle bucles bytes commit commits compilador compiler component componente
    consola console contenedores dataset deploy dev diccionarios excel excepcion framework getter hilos
    iterador iterar iterator macro metodo metodos navegador null parser pointer puntero queries query
    repo repositorio repository runtime script scripts semicolon servidor shell subrutina thread-safe
    typeerror undefined url variable variables web widget
""")
# These have a life elsewhere too.
CODE_HINTS = _words("""
    angular app apps archivo archivos base boton branch branches browser bug button cadena cadenas clave
    click code codigo column columna comando command consulta consultas container contenedor database
    datos diccionario dictionary div duplicates endpoint esquema exception file files formula formulario
    funcion funciones function functions generic global hilo index indice indices integer interface
    interfaz library libreria linked loop matrix matriz memoria memory merge method module modulo object
    objeto operador operator page parameter parametro rama ramas react recorrido remota remote rename
    row rows schema server stack string strings struct tabla tablas terminal thread tree vue website
""")
# These are met everywhere: they only add to others.
LOOSE_HINTS = _words("""
    arbol argument argumento carpeta character clase clases class classes cola counter element elemento
    error errores fila filas folder form import input key keys length line linea lineas list lista
    listas loops node nodo numbers numero numeros order output package pagina path pila program programa
    queue reference referencia return returns table tables test tests trees valor value values
""")
# Company that speaks of life away from the keyboard: people, animals, places, food, law, the body.
EVERYDAY = _words("""
    aeropuerto airport alumnos animal animales animals arboles bakery bano bird birds birth boat boda
    bodas body bread cafe car carpinteria casa cat children church city ciudad civil club cocina coffee
    comida cook cuerpo culebra dance depression doctor dog door dress economia embarazo escuela exam
    examen familia family father feet fish floor food forest fruit garden gata gato germany girl hands
    higado hija hijo history home honor hotel house husband ill invitados isla island kidney kidneys
    kitchen ladies landlord law leaf leaves leg legion ley library madera madre mascota medica medico
    meeting mother museum music musica nacimiento nature neighbour nino ninos noche novela office
    oficina orchestra owner padre panaderia paper parents parroquia people perro personas pet
    pets pizza planta plantas plants politica preguntas public publica queen questions quiz restaurant
    river room rules school shop snake snakes sociedad society spider spiders student students sun
    supermercado taza teacher tienda train trees trip venenosa venomous viaje violin visa wedding wife
    wine wood yacht yoga zoo
""")
# Verbs of making or mending.
CODE_VERBS = _words("""
    arregla arreglar build calcula calculates calcule code compila compute conecta conectar connect
    convert convertir convierte correct corregir corrige crea crear create debug declare declaro define
    defino desarrolla desarrollar develop devuelva devuelve ejecuta escribe escribeme escribir fails
    falla fix genera generar generate haz hazme implement implementa implementar imprima imprime
    invertir invierte iterate lee leer make muestra muestre optimise optimiza optimizar optimize ordena
    ordenala ordenar ordenarla ordenarlas ordenarlo ordenarlos parse prints programar prueba read reads
    recorre recorrer returns reverse run sort traduce undo valida validate validates valide write
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
    "de que ", "what year ",
    "what time ", "what day ", "what color ", "what colour ", "que hora ", "que dia ",
    "que ano ", "que significa ", "que pais ", "translate ", "traduce ", "como se dice ", "como se llama ",
    "how do you say ", "es ", "son ", "hay ", "puedo ", "existe ", "define ", "what language ",
    "what currency ", "que idioma ", "que moneda ", "convert ", "convierte ",
    "spell ", "synonym ", "sinonimo ", "antonimo ", "name ", "nombra ", "dime ", "tell me the ",
    "what are the colors", "que color ", "cual ", "corrige ", "a cuantos ", "sugiere un nombre",
    "se puede ", "se pueden ", "fix the grammar", "fix the spelling", "how do you spell",
    "whose ",
)  # fmt: skip
# How a question begins that may ask for a name or for an explanation.
OPEN_HEADS = (
    "what is the ",
    "what's the ",
    "whats the ",
    "what s the ",
    "what was the ",
    "what does ",
    "what is ",
    "cual es el ",
    "cual es la ",
    "cual fue ",
    "cual era ",
    "que es el ",
    "what are the ",
)
# What has a name, a number or a date for an answer.
SHORT_NOUNS = _words("""
    abbreviation altitude altura ano antonym apellido area atomic author autor birthday boiling capital
    circumference codigo color colour cost cuadrada cuadrado currency date deadline definition densidad
    density depth dia diameter direccion distance distancia edad elevation equivalent fecha flag formula
    frequency gdp height hora humidity idioma language largo latitude length limit mean means melting
    moneda name nombre number numero opposite opuesto password peso phone planet plural poblacion
    population postcode precio prefijo president presidente price raiz result resultado root score
    simbolo sinonimo size speed square stand stands sum suma superficie symbol synonym tamano telefono
    temperatura temperature tiempo time title titulo total valor value velocidad volume weigh weight
    width winner year zip
""")
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
