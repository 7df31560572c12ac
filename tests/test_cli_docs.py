"""docs/cli.md says what the program says."""

from __future__ import annotations

import runpy
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"


def test_cli_page_is_up_to_date() -> None:
    page = runpy.run_path(str(DOCS / "make_cli.py"))["render"]()
    assert (DOCS / "cli.md").read_text(encoding="utf-8") == page, "run: python docs/make_cli.py"


def test_every_command_has_a_section() -> None:
    page = (DOCS / "cli.md").read_text(encoding="utf-8")
    for name in ("embed", "restore", "info", "evaluate", "train", "models import"):
        assert f"\n## iicnet {name}\n" in page
