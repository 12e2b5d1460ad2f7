"""Operations, ours and others', made readable: kept, grouped where they fail, summed up where they succeed."""
