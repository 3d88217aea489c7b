"""Screens that lie over the console for a moment."""
