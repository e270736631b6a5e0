"""Small faults planted in the code, one at a time: which of them no test notices."""
