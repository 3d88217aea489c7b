"""The places on the web that answer searches, one module each."""
