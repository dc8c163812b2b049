"""What serving costs: one cost a file, the folder is the registry."""
