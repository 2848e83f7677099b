"""Coverage-guided fuzzing of everything that reads a peer's bytes, by `make fuzz`.

`targets.py` says what has to hold, without a fuzzer: the test suite replays the corpus through it.
`__main__.py` runs atheris on each target in a process of its own. `corpus/` holds the inputs that reach
something that no other does; `seeds.py` makes the ones to begin with.
"""
