"""Compiled programs that outlive their process."""

from hoijax.programs.ahead import load_ahead as load_ahead
from hoijax.programs.ahead import note_used as note_used
from hoijax.programs.program import Program as Program
from hoijax.programs.program import forget_programs as forget_programs
from hoijax.programs.program import loaded_count as loaded_count
from hoijax.programs.program import program as program
from hoijax.programs.store import keep_programs as keep_programs
