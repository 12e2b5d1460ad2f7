"""SQLite, projected from the journals: the bridge to aiosqlite, migrations, a file for each table or family of tables,
and the projector. What has no line, the sessions' keys, is written here and nowhere else. Which database is asked for
what, for those above, is said in `persistence` itself.
"""
