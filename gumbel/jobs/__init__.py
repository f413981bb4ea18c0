"""What every job keeps: files written whole, locks, attempts, status, manifest, signals."""
