"""Operations, ours and others', made readable: kept, grouped where they fail, summed up where they succeed. Who tells
of them is no matter here (`central_command.observing`), and nothing depends on what comes of it.
"""
