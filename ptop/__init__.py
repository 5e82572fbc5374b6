"""ptop: where a Linux machine's CPU time goes, task by task.

Who may import whom: `format`, `columns` and `state` know the standard library only;
`render` and `batch` make text of intervals; `app` alone writes to the terminal.
"""
