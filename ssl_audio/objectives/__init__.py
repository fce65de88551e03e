"""Ways of learning without labels, one file each."""
