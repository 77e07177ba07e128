"""How files become rows: the reader in front of polars. Everything public is in `prefdata.io`."""
