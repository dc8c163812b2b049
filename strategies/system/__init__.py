"""Files, locks and the gate between training and measuring."""
