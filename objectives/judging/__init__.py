"""Whether measurements keep the budgets, and how sure that is."""
