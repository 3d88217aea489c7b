"""Which backend answers a request, and what happens when it doesn't.

No HTTP here: :mod:`~anyclaude.routing.dispatch` is handed the attempt as a callable. Everything
but the queue, the dispatcher and the health checker is plain arithmetic with clock and random
numbers from outside.
"""
