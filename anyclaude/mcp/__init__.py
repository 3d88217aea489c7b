"""The Model Context Protocol, both ways. The SDK (``mcp``) is imported nowhere else.

``server`` is anyclaude as a server, for Claude Code to ask it; ``client`` is anyclaude as a client
of other servers, whose tools a model here may call.
"""
