"""anyclaude: Claude Code on a local MLX model, with every request explained."""

__version__ = "0.1.0"
