"""Ray Tune: the cluster, the trials on it, and what connects them to the driver."""
