"""The grammar of what is looked at."""
