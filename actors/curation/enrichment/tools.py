"""What the tools of agents do, in one table: those of the thirteen agents whose files are read, and their relatives.

A name is looked up without case and punctuation (`read_file`, `ReadFile`, `readFile` are one) and without the name of
the extension that it comes from (`developer__shell`). What is not in the table is `other`: tools of MCP servers do
whatever their servers do.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Activity(StrEnum):
    """What a call of a tool does."""

    READ = "read"
    SEARCH = "search"
    WEB = "web"
    EDIT = "edit"
    SHELL = "shell"
    PLAN = "plan"
    ASK = "ask"
    HAND_OVER = "hand_over"
    DELEGATE = "delegate"
    OTHER = "other"


NAMES: Final[Mapping[Activity, str]] = {
    Activity.READ: """
        read readfile readfiles readmanyfiles readmediafile view viewfile viewimage openfile notebookread
        getfilecontents readlints read_mcp_resource
    """,
    Activity.SEARCH: """
        grep greptool grepsearch searchfilecontent ripgrep glob globtool globfilesearch findfiles filesearch searchfiles
        ls list listdir listdirectory listfiles codebasesearch codesearch searchcode listcodedefinitionnames finder
        codebasesearchagent analyze
    """,
    Activity.WEB: """
        websearch webfetch googlewebsearch fetch fetchurl searchweb readwebpage browser browseraction webbrowse
        searchwebpage webcrawl
    """,
    Activity.EDIT: """
        edit editfile edittool multiedit write writefile writetofile createfile create replace replaceinfile
        strreplacefile strreplaceeditor strreplacebasededittool texteditor searchreplace applypatch patch filechange
        applydiff insertcontent notebookedit editnotebook deletefile delete undoedit multieditfile
    """,
    Activity.SHELL: """
        bash shell shellcommand localshell localshellcall containerexec exec execcommand commandexecution execute
        executecommand runcommand runshellcommand runterminalcmd runinterminal terminal powershell unifiedexec
    """,
    Activity.PLAN: """
        todowrite todoread todo todolist writetodos settodolist updatetodos updatetodolist updateplan plan enterplanmode
        planmoderespond taskcreate taskupdate tasklist
    """,
    Activity.ASK: "askuserquestion askfollowupquestion askuser question requestuserinput",
    Activity.HAND_OVER: "exitplanmode exitspecmode plancreate submitplan",
    Activity.DELEGATE: "task agent spawnagent subagent dispatchagent delegate oracle newtask runsubagent",
}
ACTIVITIES: Final[Mapping[str, Activity]] = {
    name.replace("_", ""): activity for activity, names in NAMES.items() for name in names.split()
}

OF_ONE_AGENT: Final[Mapping[str, frozenset[str]]] = {
    "claude-code": frozenset(
        {"todowrite", "multiedit", "exitplanmode", "askuserquestion", "notebookedit", "bashoutput"}
    ),
    "codex": frozenset({"applypatch", "updateplan", "localshell", "execcommand", "commandexecution", "filechange"}),
    "gemini": frozenset({"runshellcommand", "searchfilecontent", "googlewebsearch", "readmanyfiles", "savememory"}),
}
"""Tools that of the contract's three providers only one has, so that their names tell whose steps these are."""

NAME_CHARS_MAX: Final = 200
_EXTENSION = re.compile(r"\A(?!mcp__)[a-z0-9_]{1,60}?__(?=[a-z])")
_PUNCTUATION = re.compile(r"[^a-z0-9]")


def plain_name(tool: str) -> str:
    """A tool's name as the tables have it; that of an MCP server's tool stays recognisable as such (`mcp…`)."""
    return _PUNCTUATION.sub("", _EXTENSION.sub("", tool[:NAME_CHARS_MAX].lower()))


def activity_of(tool: str) -> Activity:
    """What a tool does by its name alone."""
    return ACTIVITIES.get(plain_name(tool), Activity.OTHER)
