"""Pictures of models: what is drawn (`graph`), where it goes (`layout`, `neurons`, `boxes`), how it is written."""
