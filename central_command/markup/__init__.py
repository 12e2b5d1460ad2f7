"""What people and programs wrote, as HTML that does nothing: a module for each kind of text. Pure, and bounded.

Whatever comes in is text, and stays text: tags come from here alone. No script, no style, no address but of a link that
somebody follows. Templates and frames of pages are `central_command.web`'s.
"""
