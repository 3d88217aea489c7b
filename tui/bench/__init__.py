"""The console's own benchmark: ``python -m tui.bench``.

The console runs as it does for a person, in a terminal: a pseudo-terminal whose other end takes
the time of what is painted.
"""
