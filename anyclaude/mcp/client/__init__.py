"""anyclaude as an MCP client: other servers' tools, offered to the model and run here.

``hub`` is what the pipeline holds; ``connection`` keeps one server, and is the only module here
that knows the SDK. ``screening`` decides what of a server may reach the model.
"""
