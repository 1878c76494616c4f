"""What every file format needs: writing in one step, paths, and texts that cannot nest without end."""
