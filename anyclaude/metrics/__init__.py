"""True figures about the running process: :mod:`meter` counts what the bus says, :mod:`lag`
measures the event loop, :mod:`prometheus` writes both for ``GET /metrics``."""
