"""Rules of the source tree: sizes, names, and who may import whom."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.helpers import Run, done, strip

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "iicnet_cli"
FOLDERS = (PACKAGE, "benchmarks", "examples", "tests")

MOST_LINES_OF_A_FILE = 500
MOST_LINES_OF_A_FUNCTION = 60
"""From ``def`` to the last line, the docstring included."""
MOST_PARAMETERS = 8
"""Of a function, without ``self`` and ``cls``. Typer commands have one for each option."""

MAY_IMPORT = {
    "errors": set(),
    "pictures": {"errors"},
    "container": {"errors", "pictures"},
    "jit": set(),
    "quantize": {"jit", "pictures"},
    "payload": {"container", "quantize", "pictures", "errors"},
    "motion": {"payload.raw_lzma2", "jit", "pictures"},
    "network": {"quantize", "pictures", "errors"},
    "inference": {"network", "jit", "quantize", "pictures", "errors"},
    "media": {"pictures", "errors", "container.header"},
    "zoo": {"network", "quantize", "pictures", "errors"},
    "options": {"errors"},
    "reports": {"errors", "options"},
    "engines": {
        *("inference", "network", "motion", "quantize", "payload", "pictures", "container", "zoo"),
        *("jit", "errors", "options", "reports"),
    },
    "tasks": {"media", "pictures", "container", "options", "errors"},
    "contents": {"tasks", "media", "payload", "pictures", "container", "options", "errors"},
    "memory_images": {"container", "pictures", "errors"},
    "measuring": {"pictures", "options", "reports", "errors"},
    "simulated_delivery": {"identify", "engines", "payload", "pictures", "errors"},
    "file_restoring": {
        *("contents", "engines", "payload", "container", "pictures", "options", "reports"),
        *("media.temporary", "errors"),
    },
    "file_embedding": {
        *("file_restoring", "simulated_delivery", "contents", "tasks", "media", "engines"),
        *("payload", "container", "pictures", "measuring", "options", "reports", "errors"),
    },
    "forecasting": {"engines", "tasks", "reports"},
    "embedding_job": {"engines", "tasks", "container", "pictures", "errors"},
    "identify": {"engines", "tasks", "payload", "container", "zoo", "errors"},
    "integrity": {"tasks", "payload", "container"},
    "api": {
        *(
            "embedding_job",
            "file_embedding",
            "file_restoring",
            "identify",
            "integrity",
            "forecasting",
            "tasks",
            "media",
            "engines",
            "inference",
        ),
        *("network", "zoo", "payload", "container", "pictures", "measuring", "memory_images"),
        *("options", "reports", "errors"),
    },
    "evaluation": {"api", "media.temporary", "tasks", "zoo", "options", "reports", "errors"},
    "foreign_messages": set(),
    "jobs": {
        *("foreign_messages", "api", "evaluation", "tasks", "inference", "media", "container"),
        *("options", "reports", "errors"),
    },
    "cluster": {"jobs", "media.temporary", "errors"},
    "training": {
        *("tasks", "media", "engines", "inference", "network", "motion", "quantize", "payload"),
        *("pictures", "zoo", "errors"),
    },
    "cli": {
        *("api", "evaluation", "simulated_delivery", "training", "identify", "tasks", "media"),
        *("engines", "inference", "integrity"),
        *("zoo", "payload", "container", "jobs", "cluster", "options", "reports", "errors"),
        *("foreign_messages", "pictures.limits"),
    },
    "__main__": {"cli"},
    "__init__": {"api", "memory_images", "options", "reports", "errors"},
}
"""What each room of the package may import: rooms, or single modules of one."""


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def sources(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def where(path: Path, node: ast.AST | None = None) -> str:
    line = f":{node.lineno}" if node is not None and hasattr(node, "lineno") else ""
    return f"{path.relative_to(ROOT).as_posix()}{line}"


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def package_modules() -> dict[str, Path]:
    return {module_name(path): path for path in sources(PACKAGE)}


def imported_modules(path: Path) -> Iterator[tuple[ast.AST, str]]:
    """Modules of the package that a file imports, wherever in the file."""
    modules = package_modules()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 or PACKAGE not in path.parts, f"{where(path, node)} is relative"
            base = node.module or ""
            names = [
                inner if (inner := f"{base}.{alias.name}") in modules else base
                for alias in node.names
                if (base, alias.name) != (PACKAGE, "__version__")
            ]
        else:
            continue
        for name in dict.fromkeys(names):
            if name in modules:
                yield node, name


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


# ------------------------------------------------------------------------------------ sizes


def test_no_file_is_too_long() -> None:
    lines = {where(path): len(path.read_bytes().splitlines()) for path in sources(*FOLDERS)}
    assert {name: n for name, n in lines.items() if n > MOST_LINES_OF_A_FILE} == {}


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def is_typer_command(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any("command" in ast.unparse(decorator) for decorator in function.decorator_list)


def test_no_function_is_too_long() -> None:
    found = {}
    for path in sources(*FOLDERS):
        for function in functions(path):
            first = function.lineno
            if is_typer_command(function):  # its signature is the table of its options
                first = function.body[0].lineno
            assert function.end_lineno is not None
            if (lines := function.end_lineno - first + 1) > MOST_LINES_OF_A_FUNCTION:
                found[f"{where(path, function)} {function.name}"] = lines
    assert found == {}


def test_no_function_has_too_many_parameters() -> None:
    found = {}
    for path in sources(*FOLDERS):
        for function in functions(path):
            given = function.args
            names = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
            names += [each.arg for each in (given.vararg, given.kwarg) if each is not None]
            count = len([name for name in names if name not in ("self", "cls")])
            if count > MOST_PARAMETERS and not is_typer_command(function):
                found[f"{where(path, function)} {function.name}"] = count
    assert found == {}


# ------------------------------------------------------------------------------------ names


def test_a_file_name_means_one_thing() -> None:
    files = defaultdict(list)
    for path in sources(*FOLDERS):
        if path.name != "__init__.py":
            files[path.name].append(where(path))
    assert {name: paths for name, paths in files.items() if len(paths) > 1} == {}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_uses(path: Path) -> Iterator[str]:
    """Private names of other modules that a file imports, reads or replaces."""
    tree = tree_of(path)
    own = (PACKAGE, "tests", "benchmarks", *(p.stem for p in sources("benchmarks")))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            for alias in node.names:
                source = module or alias.name
                if source.split(".")[0] not in own and not getattr(node, "level", 0):
                    continue
                imported.add((alias.asname or alias.name).split(".")[0])
                parts = [*source.split("."), alias.name] if module else source.split(".")
                if any(map(is_private, parts)):
                    yield f"{where(path, node)} imports {'.'.join(parts)}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            if isinstance(node.value, ast.Name) and node.value.id in imported:
                yield f"{where(path, node)} uses {ast.unparse(node)}"
        elif isinstance(node, ast.Call) and "setattr" in ast.unparse(node.func):
            owner, *others = node.args
            names = [each.value for each in others if isinstance(each, ast.Constant)]
            if isinstance(owner, ast.Name) and owner.id in imported:
                for name in names:
                    if isinstance(name, str) and is_private(name):
                        yield f"{where(path, node)} replaces {owner.id}.{name}"


def test_no_module_uses_private_names_of_another() -> None:
    assert [use for path in sources(*FOLDERS) for use in private_uses(path)] == []


# ---------------------------------------------------------------------------------- imports


def test_every_room_has_its_row() -> None:
    rooms = {room_of(module) for module in package_modules()}
    assert rooms - set(MAY_IMPORT) == set()
    assert set(MAY_IMPORT) - rooms <= {"memory_images", "measuring"}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_rooms_import_only_what_lies_below(room: str) -> None:
    wrong = []
    for module, path in package_modules().items():
        if room_of(module) != room:
            continue
        for node, target in imported_modules(path):
            name = target.removeprefix(f"{PACKAGE}.")
            allowed = MAY_IMPORT[room] | {room}
            if room_of(target) not in allowed and name not in allowed:
                wrong.append(f"{where(path, node)} imports {target}")
    assert wrong == []


def test_imports_go_in_no_circle() -> None:
    graph = {
        module: {name for _, name in imported_modules(path) if name != module}
        for module, path in package_modules().items()
    }
    finished: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join((*above[above.index(module) :], module))
        if module not in finished:
            for name in sorted(graph[module]):
                visit(name, (*above, module))
            finished.add(module)

    for module in graph:
        visit(module, ())


def test_commands_load_neither_network_nor_compiler_without_need(
    run: Run, photos: list[Path], tmp_path: Path
) -> None:
    intact, stripped = tmp_path / "intact.png", tmp_path / "stripped.png"
    done(run("embed", *photos[:2], "-o", intact))
    strip(intact, stripped)
    commands = [
        *(["--help"], ["--version"], ["embed", "--help"], ["train", "--help"]),
        *(["models", "list"], ["info", str(intact)], ["info", str(stripped)]),
    ]
    program = (
        "import sys; from iicnet_cli.cli import app\n"
        "def check(arguments, *unused, code=0):\n"
        "    try: app(arguments)\n"
        "    except SystemExit as e: assert (e.code or 0) == code, (arguments, e.code)\n"
        "    for name in unused: assert name not in sys.modules, (arguments, name)\n"
        f"for arguments in {commands!r}: check(arguments, 'torch', 'numba')\n"
        f"check(['embed', {str(tmp_path / 'none.png')!r}], 'torch', 'numba', code=2)\n"
        f"check(['restore', {str(intact)!r}, '-o', {str(tmp_path / 'back')!r}], 'numba')\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
