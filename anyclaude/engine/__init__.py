"""MLX and what surrounds it: the model, its template, its cache and the one thread it runs on."""

from __future__ import annotations

import os

from anyclaude.engine.late import put_off

# Advice and bars that these libraries print would land in the middle of the console. They read
# the variables when first imported, which only modules of this package do.
for _name, _value in (
    ("TRANSFORMERS_VERBOSITY", "error"),
    ("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1"),
    ("HF_HUB_DISABLE_PROGRESS_BARS", "1"),
    ("HF_HUB_DISABLE_TELEMETRY", "1"),
):
    os.environ.setdefault(_name, _value)

put_off("mlx_lm")
