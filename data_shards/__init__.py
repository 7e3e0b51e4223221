"""Device files → 30 Hz cohort store → shards and manifest → the deterministic stream."""
