"""The commands of `hoijax`: a dataclass each, whose fields are the options and whose `run` does it."""
