"""What a running anyclaude can be asked and told, in its own process."""

from anyclaude.steering.steering import Parts, Steering

__all__ = ["Parts", "Steering"]
