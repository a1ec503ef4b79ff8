"""What a drop-in says when the library it needs is not installed."""

from importlib.util import find_spec


def need(extra: str, *modules: str) -> None:
    """Raise ImportError that names the extra, unless every one of `modules` can be imported."""
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise ImportError(
            f"fluido's {extra} part needs {' and '.join(missing)}: pip install 'fluido[{extra}]'",
            name=missing[0],
        )
