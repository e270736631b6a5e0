"""wamsg2: once-only WhatsApp campaigns through Wassenger."""

__version__ = "0.1.0"
