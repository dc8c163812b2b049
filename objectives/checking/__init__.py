"""What is doubtful about the rows of a data set: repetitions, spellings of one class, rare classes."""
