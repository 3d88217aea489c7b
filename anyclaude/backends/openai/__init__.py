"""Servers that speak chat completions: what goes to them, what comes back, and their quirks."""
