"""Compiled programs that outlive their process."""

from hoijax.programs.ahead import load_for as load_for
from hoijax.programs.ahead import loading_ahead as loading_ahead
from hoijax.programs.program import Program as Program
from hoijax.programs.program import forget_programs as forget_programs
from hoijax.programs.program import loaded_count as loaded_count
from hoijax.programs.program import program as program
from hoijax.programs.store import keep_programs as keep_programs
