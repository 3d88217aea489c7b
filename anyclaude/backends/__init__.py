"""Backends elsewhere: servers that answer over HTTP. The one home of aiohttp."""
