"""What scripts/report draws its page with."""
