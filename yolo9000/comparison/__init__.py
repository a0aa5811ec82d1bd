"""Several runs or nets side by side: the ladder, detectors of others, speed beside accuracy."""
