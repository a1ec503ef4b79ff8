"""Where figures come from and what weakens them: the warnings, and the end of every document."""

from bench.catalogue import SAME
from bench.report import spanish
from bench.report.notes import told
from bench.report.page import Page
from bench.report.sources import Run
from bench.report.study import Study


def warnings(study: Study) -> list[str]:
    """Sentences that must stand beside the figures, the gravest first."""
    found = []
    if not all(run.is_complete for run in study.runs):
        found.append("**Corrida incompleta.** No se midió todo lo previsto.")
    if any(run.is_dirty for run in study.runs):
        found.append("**Código modificado.** Se midió con cambios que no están en el commit.")
    if len({run.commit for run in study.runs}) > 1:
        found.append("**Dos commits.** Las corridas no son del mismo código.")
    if study.main.profile in {"quick", "smoke"}:
        found.append("**Corrida corta.** Muestra que todo funciona y no decide nada.")
    if study.main.engine == "synthetic":
        found.append(
            "**Pesos sintéticos.** El motor es llama.cpp con un modelo de pesos aleatorios: trabaja como "
            "uno real y escribe palabras sin sentido. Sirve para medir tiempos y colas, no la calidad de "
            "las respuestas."
        )
    found.append(
        f"**Una sola máquina.** {study.cores}, sin GPU, compartidos por el modelo, las bases, "
        "el servicio y el generador de carga. Los milisegundos son de esta máquina; las razones viajan "
        "mejor."
    )
    wrong = [figure for figure in study.figures(experiment=SAME) if figure.kind in {"better", "worse"}]
    if wrong:
        found.append(
            f"**El mismo código contra sí mismo dio una diferencia** en {len(wrong)} medidas: diferencias "
            "de ese tamaño no prueban nada."
        )
    notes = dict.fromkeys(told(str(note)) for run in study.runs for note in run.results.notes)
    return [*found, *notes]


def foot(page: Page, study: Study, *, brief: bool = False) -> None:
    """File, fingerprint, command, commit, machine: at the end, where nobody has to read past it."""
    runs = (*study.runs, *study.others)
    if brief:
        main, rest = study.main, len(runs) - 1
        more = f", y {rest} más" if rest else ""
        page.say(
            f"*`{main.name}`, commit `{main.commit}`, huella `{main.digest}`{more}; ver `RESULTADOS_…`.*"
        )
        return
    page.head("De dónde salen estas cifras")
    page.table(("archivo", "comando", "commit", "huella SHA-256", "fecha"), [_line(run) for run in runs])
    environment = study.main.results.environment
    page.say(
        f"{environment.get('cpu', 'Procesador desconocido')}, {study.cores}, "
        f"{environment.get('system', '')}, {environment.get('python', '')}. Se genera con `python -m bench "
        "report`, que recalcula todo desde las muestras y rechaza un archivo que diga otra cosa. «Fila» "
        "es la línea de `anexo/filas.csv`."
    )


def _line(run: Run) -> list[str]:
    state = " con cambios" if run.is_dirty else ""
    return [
        f"`{run.name}`", f"`{run.command}`", f"`{run.commit}`{state}", f"`{run.digest}`",
        spanish.date(str(run.results.environment.get("started_at", ""))),
    ]  # fmt: skip
