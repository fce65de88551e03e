"""How good is the leak gate? Leaks of every kind are put into clean splits for it to find."""
