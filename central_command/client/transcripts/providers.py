"""The readers, by the contract's name of the agent whose session files they read."""

from central_command.client.transcripts.claude_code import ClaudeCodeReader
from central_command.client.transcripts.reader import TranscriptReader

READERS: dict[str, TranscriptReader] = {ClaudeCodeReader.provider: ClaudeCodeReader()}
