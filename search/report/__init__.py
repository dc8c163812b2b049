"""Results as people read them: formats, tables, progress."""
