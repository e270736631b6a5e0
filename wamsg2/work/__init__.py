"""Units of work: load, decide, store. Plain functions on an open transaction, testable without an event loop."""
