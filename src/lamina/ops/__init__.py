"""Pure functions of arrays; on stand-ins they record themselves."""
