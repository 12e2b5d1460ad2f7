"""The judge's HTTP side: the only place from which sessions leave the machine, and only where a URL is set. What it is
asked, and what of its answers is believed, is decided in `actors.curation`.
"""
