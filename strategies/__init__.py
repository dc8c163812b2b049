"""What we can try: one strategy a file, the tree is the registry."""
