"""The vendor's room: every word of Wassenger's wire format is in here and nowhere else."""
