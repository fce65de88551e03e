"""How fast the package works, and in how much memory, beside the least that the work can cost."""
