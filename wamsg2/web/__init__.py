"""HTTP: what comes in is checked and handed on; what goes out is made elsewhere."""
