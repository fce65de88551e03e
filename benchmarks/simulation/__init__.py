"""Do the intervals cover and the tests keep their size? Classifiers refitted on known worlds."""
