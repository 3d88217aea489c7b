"""The request log: every request a row in DuckDB, durable before its answer's last byte.

Import from the modules: ``log`` (:class:`RequestLog`), ``file`` (the same without a server),
``queries``, ``export``, ``schema``, ``views``, ``docs``. DuckDB is imported nowhere else.
"""
