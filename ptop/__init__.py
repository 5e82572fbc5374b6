"""ptop: where a Linux machine's CPU time goes, task by task.

    cli         the table of commands, dispatch, error messages
    commands/   a module for each command
    live/       the view on a terminal; live/drawing writes the screens
    recordings  opening recordings and choosing their intervals
    args        command-line options that several commands share
    history_feed, feed
                where intervals come from: the machine, its history or a recording
    columns, outputs, privilege, signals, streams, times, text, values
                functions of the standard library

Imports go from the top of this list to its end, never back (tests/test_imports.py).
"""
