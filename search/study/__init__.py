"""One study from its first trial to its verified front."""
