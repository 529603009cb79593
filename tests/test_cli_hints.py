"""Slips at the command line get the name that was meant, and --help shows what matters first."""

import re

import pytest
from small_scene import run

from hoijax.cli.hints import own_options_first, slip_of
from hoijax.cli.main import COMMANDS, commands
from hoijax.errors import UserError
from hoijax.exporters.formats import check_formats
from hoijax.methods.base import method_named
from hoijax.objects.asset import load_asset


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("solv bundle", "there is no command 'solv'. Did you mean 'solve'?"),
        ("generate a person lifts a box --objects box", '"a person lifts a box" --objects box'),
        ("observe a person lifts", 'in quotes: hoijax observe "a person lifts"'),
        ("generate x --objcts box", "Did you mean '--objects'?"),
        ("generate x --body_fil=3", "Did you mean '--body-file'?"),
        ("view r --prt 3", "Did you mean '--port'?"),
        ("solve b --initz 3 --out o", "Did you mean '--inits'?"),
    ],
)
def test_slips_are_named(line, says):
    words = line.split()
    assert says in (slip_of(words, commands(words)) or "")


@pytest.mark.parametrize(
    "line",
    ["solve a b --inits 3 --out o", "solve b --no-halving --out o", "export r --to=glb", "--version",
     "observe --prompts p --from pag", "bundle check b", "ablate a b c --out o", ""],
)  # fmt: skip
def test_what_is_right_is_left_to_the_parser(line):
    words = line.split()
    assert slip_of(words, commands(words)) is None


def test_a_wrong_option_is_named_before_anything_slow_is_imported(monkeypatch):
    monkeypatch.setattr("hoijax.cli.main.load_early", lambda _: pytest.fail("imports JAX"))
    ran = run("generate", "a person lifts a box", "--objects", "box", "--framez", "9")
    assert (ran.code, "Did you mean '--frames'?" in ran.err) == (2, True)


def test_the_program_ends_with_the_hint():
    ran = run("solv", "bundle")
    assert (ran.code, ran.err) == (2, ran.err)
    assert ran.err.startswith("error: there is no command 'solv'")


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: method_named("hoipage"), "Did you mean 'hoi-page'"),
        (lambda: method_named("hoi-page").settings("defaul"), "Did you mean 'default'"),
        (lambda: load_asset("chiar"), "Did you mean 'chair'"),
        (lambda: check_formats(["amas"]), "Did you mean 'amass'"),
    ],
)
def test_names_of_everything_have_neighbors(call, says):
    with pytest.raises(UserError, match=says):
        call()


def test_help_shows_the_commands_own_options_first():
    text = run("generate", "--help").out
    order = re.findall(r"^. (--[a-z][\w-]*)", text, re.M)
    assert order[:3] == ["--objects", "--out", "--prior"]
    assert order.index("--inits") < order.index("--pag")
    assert "--version" in run("--help").out
    assert own_options_first(COMMANDS["generate"]) is COMMANDS["generate"]


def test_doctor_fits_80_columns_where_nobody_says_more():
    lines = run("doctor").out.splitlines()
    assert max(map(len, lines)) <= 80
