"""All SQL. Nothing here decides, logs or calls the network; rows go out as `model` values."""
