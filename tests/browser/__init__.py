"""The status page in a real browser: ``make test-browser``. Ordinary test runs leave it out."""
