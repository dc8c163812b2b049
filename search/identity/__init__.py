"""Identity of a study: who searches it, whose it is, what it was started with."""
