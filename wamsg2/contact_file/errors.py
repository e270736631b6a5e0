"""What makes a file as a whole unusable."""

from wamsg2.model import WamsgError


class ContactFileError(WamsgError):
    """The file cannot be used; the message says what is wrong with it, and what to do."""
