"""The commands of `ptop`: one module each, loaded when its command is run.

A module has `parser()`, from which help and man page are made, and `main(words)`, which
runs the command and returns the exit status. `top` is what `ptop` does without a command
word; `batch` writes intervals as text for `top` and `replay`.
"""
