"""One module per pane: they draw what the state holds and say what a person did."""
