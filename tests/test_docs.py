"""The documents: links and anchors lead somewhere, named files exist, the README is short."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from pathlib import Path

import pytest

import iicnet_cli
from iicnet_cli.options import EmbedOptions, RestoreOptions
from iicnet_cli.reports import EmbedReport, Estimate, Progress, RestoreReport

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        ROOT / "benchmarks" / "README.md",
        ROOT / "examples" / "media" / "README.md",
    )
)
PACKAGE = ROOT / "iicnet_cli"


def text_of(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def prose(document: str) -> str:
    """A document without its code blocks."""
    return re.sub(r"^ *```.*?^ *```", "", text_of(document), flags=re.DOTALL | re.MULTILINE)


def anchors(document: str) -> set[str]:
    """The anchors that GitHub gives the headings of a document."""
    headings = re.findall(r"^#+ (.*)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", prose(document))
    for link in links:
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / document).parent / path if path else ROOT / document
        assert target.exists(), f"{document}: {link}"
        if anchor:
            relative = target.resolve().relative_to(ROOT).as_posix()
            assert anchor in anchors(relative), f"{document}: {link}"


def test_readme_is_short() -> None:
    assert len(text_of("README.md").splitlines()) <= 180


def test_readme_leads_to_every_page() -> None:
    for page in (ROOT / "docs").glob("*.md"):
        assert f"(docs/{page.name})" in text_of("README.md")
    for page in (ROOT / "docs" / "notebook").glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in text_of("docs/notebook/README.md")


def test_modules_that_documents_name_exist() -> None:
    for document in DOCUMENTS:
        if document.startswith("examples/"):  # names files of other projects
            continue
        for path in re.findall(r"`(?:iicnet_cli/)?([a-z_]+/[a-z_/]+\.py)`", prose(document)):
            assert (PACKAGE / path).exists() or (ROOT / path).exists(), f"{document}: {path}"


def test_every_room_is_described() -> None:
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    described = set(re.findall(r"^\*\*(\w+)/\*\*", text_of("docs/architecture.md"), re.MULTILINE))
    assert rooms == described


def imports(file: Path) -> set[str]:
    """The modules of the package that a file imports, as dotted names."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.startswith("iicnet_cli.")}


def test_imports_point_downwards() -> None:
    """As the list of rooms in the architecture says; the modules of the top are one room, "api"."""
    listed = re.findall(r"(?<=\n\n)\*\*(\w+)(?:/|\.py)\*\*", text_of("docs/architecture.md"))
    level = {room: number for number, room in enumerate(listed)}
    free = {"options", "reports", "errors"}
    upwards = set()
    for file in PACKAGE.rglob("*.py"):
        room = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room.startswith("__"):
            continue
        for name in imports(file):
            target = name.split(".")[1]
            if target in free:
                continue
            if level[target if target in level else "api"] < level.get(room, level["api"]):
                upwards.add((room, target))
    assert upwards == set()


def test_documents_that_the_code_names_exist() -> None:
    for folder in ("iicnet_cli", "benchmarks", "examples", "recipes"):
        for file in (ROOT / folder).rglob("*"):
            if file.suffix in (".py", ".sh", ".toml", ".md"):
                for page in re.findall(r"\bdocs/[\w/-]+\.md", file.read_text(encoding="utf-8")):
                    assert (ROOT / page).exists(), f"{file.relative_to(ROOT)}: {page}"


def test_readme_commands_name_sample_media_that_exist() -> None:
    media = set(re.findall(r"examples/media/[\w.]+", text_of("README.md")))
    assert len(media) >= 6
    for path in media:
        assert (ROOT / path).exists(), path


def test_the_python_api_is_documented() -> None:
    words = set(re.findall(r"\w+", text_of("docs/python-api.md")))
    names = {name for name in iicnet_cli.__all__ if not name.startswith("__")}
    for kind in (EmbedOptions, RestoreOptions, EmbedReport, RestoreReport, Estimate, Progress):
        names |= {field.name for field in fields(kind)}
    names |= {name for name in vars(iicnet_cli.Converter) if not name.startswith("_")}
    assert names <= words, sorted(names - words)
