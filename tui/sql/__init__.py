"""What the SQL room knows: the words of a query, what may come next, earlier queries, and rows.

Nothing here is textual's.
"""
