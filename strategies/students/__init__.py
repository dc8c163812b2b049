"""Students that read texts by themselves, in place of a network: trained with torch, served with NumPy alone."""
