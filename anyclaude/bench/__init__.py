"""The project's own benchmark and the replay of recorded requests, over HTTP like any client."""
