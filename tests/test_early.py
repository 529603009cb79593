"""Which command lines read programs before they are parsed."""

import pytest

from hoijax.cli.early import run_of


@pytest.mark.parametrize(
    ("words", "run"),
    [
        ("solve chair --out o", "solve joint"),
        ("solve --method hoi-page chair --out o", "solve hoi-page"),
        ("generate lifts --objects box --method=joint --out o", "generate joint"),
        ("solve chair --out o --method", "solve "),
        ("generate lifts --out o --method anchorhoi", None),
        ("generate lifts --prior diffusion --out o", None),
        ("solve scenes --workers=2 --out o", None),
        ("solve --help", None),
        ("solve", None),
        ("view result", None),
    ],
)
def test_runs_that_read_programs(words, run):
    assert run_of(words.split()) == run
