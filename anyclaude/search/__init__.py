"""Web search: who is asked, what comes of it, and what is kept of that."""
