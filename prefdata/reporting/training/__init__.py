"""What a report shows of trained stages: their lineage, what they learned, curves, what left healthy ranges."""
