"""The corpus read as typed objects: what may be shown of each session, chosen by filters, without anybody's id."""
