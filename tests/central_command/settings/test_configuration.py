"""Settings: three sources, one order, and one sentence for whatever is wrong."""

import re
import tomllib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.sessions.settings import SequenceGaps
from central_command.process.logs import LogLevel
from central_command.reaching.addresses import URL_VARIABLES
from central_command.settings.configuration import SECTIONS, Settings, SettingsError, load_settings, setting_types
from persistence.keys.sealing import ENVIRONMENT_VARIABLE

SHIPPED = Path(__file__).parents[3] / "config.toml"
NAMES = [(section, key) for section, kind in SECTIONS.items() for key in setting_types(kind)]


def refusal(tmp_path: Path, text: str) -> str:
    """The sentence for a file with `text`, without the folder."""
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_settings(path, {}, {})
    return str(caught.value).removeprefix(f"{tmp_path}/")


def environment_refusal(variable: str, value: str) -> str:
    """The sentence for one environment variable."""
    with pytest.raises(SettingsError) as caught:
        load_settings(None, {variable: value}, {})
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return str(caught.value)


def test_the_shipped_file_holds_exactly_the_defaults() -> None:
    """A server behaves the same with config.toml as without it."""
    assert load_settings(SHIPPED, {}, {}) == Settings() == load_settings(None, {}, {})


@pytest.mark.parametrize(("section", "key"), NAMES, ids=[f"{section}.{key}" for section, key in NAMES])
def test_the_shipped_file_explains_every_setting(section: str, key: str) -> None:
    """Each setting stands in its section with a comment above; one whose default is "not set" is commented out."""
    text = SHIPPED.read_text()
    body = text.split(f"\n[{section}]\n")[1].split("\n[")[0]
    if getattr(getattr(Settings(), section), key) is None:
        assert re.search(rf"^# [A-Z][^\n]+\n# {key} = ", body, re.MULTILINE), f"{section}.{key} is not shown"
    else:
        assert key in tomllib.loads(text)[section], f"{section}.{key} is missing"
        assert re.search(rf"^#[^\n]+\n{key} = ", body, re.MULTILINE), f"{section}.{key} has no comment"


def test_later_sources_win() -> None:
    """File, then environment, then the contract's own variable, then the command line."""
    environ = {"CENTRAL_COMMAND__HTTP__PORT": "2", "CENTRAL_COMMAND__LOG__LEVEL": "debug"}
    assert load_settings(SHIPPED, {}, {}).http.port == 8443
    assert load_settings(SHIPPED, environ, {}).http.port == 2
    assert load_settings(SHIPPED, environ | {"GROOVE_CENTRAL_PORT": "3"}, {}).http.port == 3
    assert load_settings(SHIPPED, environ | {"GROOVE_CENTRAL_PORT": "3"}, {"http.port": 4}).http.port == 4
    assert load_settings(SHIPPED, environ, {"http.port": None, "http.host": None}).http.port == 2
    assert load_settings(SHIPPED, environ, {}).log.level is LogLevel.DEBUG


def test_the_port_has_names_of_its_own() -> None:
    """The contract's wins; an empty one, and what Kubernetes sets for a service of this name, counts as none."""
    assert load_settings(None, {"CENTRAL_COMMAND_PORT": "3"}, {}).http.port == 3
    assert load_settings(None, {"CENTRAL_COMMAND_PORT": "3", "GROOVE_CENTRAL_PORT": "4"}, {}).http.port == 4
    assert load_settings(None, {"CENTRAL_COMMAND_PORT": "3", "GROOVE_CENTRAL_PORT": ""}, {}).http.port == 3
    links = {
        "CENTRAL_COMMAND_PORT": "tcp://10.0.0.1:8443",
        "CENTRAL_COMMAND_PORT_8443_TCP": "tcp://10.0.0.1:8443",
        "CENTRAL_COMMAND_PORT_8443_TCP_ADDR": "10.0.0.1",
        "CENTRAL_COMMAND_SERVICE_HOST": "10.0.0.1",
        "CENTRAL_COMMAND_SERVICE_PORT": "8443",
        "CENTRAL_COMMAND_SERVICE_PORT_HTTPS": "8443",
    }
    assert load_settings(None, links, {}) == Settings()


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("CENTRAL_COMMAND_HTTP_PORT", "did you mean CENTRAL_COMMAND__HTTP__PORT?"),
        ("CENTRAL_COMMAND_HTTP__PORT", "did you mean CENTRAL_COMMAND__HTTP__PORT?"),
        ("CENTRAL_COMMAND_LOG_LEVEL", "did you mean CENTRAL_COMMAND__LOG__LEVEL?"),
        ("CENTRAL_COMMAND_HOST", "did you mean CENTRAL_COMMAND__HTTP__HOST?"),
        ("CENTRAL_COMMAND_MASTERKEY", "did you mean CENTRAL_COMMAND_MASTER_KEY?"),
        ("GROOVE_CENTRAL_HTTP_PORT", "did you mean CENTRAL_COMMAND__HTTP__PORT?"),
        ("GROOVE_CENTRAL_URLS", "did you mean CENTRAL_COMMAND_URL?"),
        ("GROOVE_CENTRAL_PROT", "did you mean CENTRAL_COMMAND_PORT?"),
        ("CENTRAL_COMMAND_URI", "did you mean CENTRAL_COMMAND_URL?"),
        ("CENTRAL_COMMAND__PORT", "did you mean CENTRAL_COMMAND_PORT?"),
        ("CENTRAL_COMMAND__HTTP_PORT", "did you mean CENTRAL_COMMAND__HTTP__PORT?"),
        ("CENTRAL_COMMAND__MASTER_KEY", "did you mean CENTRAL_COMMAND_MASTER_KEY?"),
        ("CENTRAL_COMAND_URL", "did you mean CENTRAL_COMMAND_URL?"),
        ("CENTRALCOMMAND_PORT", "did you mean CENTRAL_COMMAND_PORT?"),
        ("CENTRAL_COMMMAND__LOG__LEVEL", "did you mean CENTRAL_COMMAND__LOG__LEVEL?"),
        ("central_command__http__port", "did you mean CENTRAL_COMMAND__HTTP__PORT?"),
        ("GROOVE_CENTRL_URL", "did you mean CENTRAL_COMMAND_URL?"),
        (
            "CENTRAL_COMMAND_SERVER",
            (
                "there are CENTRAL_COMMAND_JUDGE_KEY, CENTRAL_COMMAND_MASTER_KEY, CENTRAL_COMMAND_PORT, "
                "CENTRAL_COMMAND_TOKEN, CENTRAL_COMMAND_URL, and CENTRAL_COMMAND__SECTION__KEY."
            ),
        ),
    ],
)
def test_a_variable_that_only_looks_like_one_is_refused(variable: str, hint: str) -> None:
    """With the right name; those that exist are let through."""
    found = environment_refusal(variable, "9")
    assert found == f"environment variable {variable}: there is no such variable; {hint}"
    known = dict.fromkeys((*URL_VARIABLES, ENVIRONMENT_VARIABLE, "CENTRAL_COMMANDER", "GROOVE_HOME"), "x")
    assert load_settings(None, known, {}) == Settings()


def test_text_of_the_environment_becomes_the_settings_type() -> None:
    """Numbers, booleans, choices, lists and tables (as TOML or JSON) can all be given as text."""
    settings = load_settings(
        None,
        {
            "CENTRAL_COMMAND__HTTP__HTTP2": "true",
            "CENTRAL_COMMAND__HTTP__KEEP_ALIVE_S": "2.5",
            "CENTRAL_COMMAND__HTTP__TLS_KEY": "",
            "CENTRAL_COMMAND__HTTP__TRUSTED_PROXIES": '["10.0.0.0/8", "::1/128"]',
            "CENTRAL_COMMAND__SCHEMA__PROVIDERS": "['codex']",
            "CENTRAL_COMMAND__SCORING__MODEL_TIERS": '{ "gpt-5.5" = 4, "o3" = 1.5 }',
            "CENTRAL_COMMAND__SESSIONS__SEQUENCE_GAPS": "accept",
            "GROOVE_CENTRAL_PORT": "",
            "CENTRAL_COMMAND_MASTER_KEY": "is no setting",
        },
        {},
    )
    assert settings.http.http2 is True
    assert settings.http.keep_alive_s == 2.5
    assert settings.http.tls_key is None
    assert settings.http.trusted_proxies == ("10.0.0.0/8", "::1/128")
    assert settings.http.port == 8443
    assert settings.schema.providers == ("codex",)
    assert settings.scoring.model_tiers == {"gpt-5.5": 4, "o3": 1.5}
    assert settings.sessions.sequence_gaps is SequenceGaps.ACCEPT
    as_json = load_settings(None, {"CENTRAL_COMMAND__SCORING__MODEL_TIERS": '{"o3": 2}'}, {})
    assert as_json.scoring.model_tiers == {"o3": 2}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[http]\nport = 70000", "config.toml: http.port is 70000, but must be a whole number from 0 to 65535."),
        ("[http]\nport = '80'", 'config.toml: http.port is "80", but must be a whole number from 0 to 65535.'),
        ("[http]\nhttp2 = 1", "config.toml: http.http2 is 1, but must be true or false."),
        ("[sessions]\nenvelopes_max = true", "config.toml: sessions.envelopes_max is true, but must be a whole number"),
        ("[http]\nkeep_alive_s = 0", "config.toml: http.keep_alive_s is 0, but must be a number above 0."),
        (
            "[http]\nkeep_alive_s = inf",
            "config.toml: http.keep_alive_s is inf, but must be a number above 0, and fin",
        ),
        ("[http]\nkeep_alive_s = nan", "config.toml: http.keep_alive_s is nan, but must be a number above 0"),
        (
            "[sessions]\nsequence_gaps = 'maybe'",
            'config.toml: sessions.sequence_gaps is "maybe", but must be one of "refuse", "accept".',
        ),
        (
            "[scoring]\nmodel_tiers = { o3 = -1 }",
            'config.toml: scoring.model_tiers is {"o3": -1}, but must be a table in which each value is a number',
        ),
        (
            "[schema]\nproviders = 'codex'",
            'config.toml: schema.providers is "codex", but must be a list of at least 1',
        ),
        (
            "[schema]\nproviders = []",
            "config.toml: schema.providers is [], but must be a list of at least 1 value in which",
        ),
        ("[http]\nprot = 1", "config.toml: there is no setting http.prot; did you mean http.port?"),
        ("[log]\nport = 1", "config.toml: there is no setting log.port; did you mean http.port?"),
        ("[log]\nxyz = 1", "config.toml: there is no setting log.xyz; the settings of log are level, access, queue_l"),
        ("[htp]\nport = 1", "config.toml: there is no section htp; did you mean http?"),
        ("[xyz]\nport = 1", "config.toml: there is no section xyz; there are service, http, sessions, schema, scoring"),
        ("port = 1", "config.toml: port stands outside of any section, but belongs below [http]."),
        ("http = 1", "config.toml: http is 1, but must be a section, written [http]."),
        (
            "[http]\nport 1",
            "config.toml: this is not valid TOML: Expected '=' after a key in a key/value pair (at line",
        ),
        ("[http]\nport =", "config.toml: this is not valid TOML: Invalid value (at line 2, the end of the file)."),
        ("a = " + "[" * 5_000, "config.toml: this is not valid TOML: it is nested too deeply."),
        ("[http]\nport = 0x" + "f" * 5_000, "config.toml: http.port is too large to show, but must be a whole number"),
        ("[http]\nport = " + "9" * 5_000, "config.toml: this is not valid TOML: "),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    """The sentence names the file, the setting, what was found and what is allowed."""
    found = refusal(tmp_path, text)
    assert found.startswith(sentence)
    assert "\n" not in found


def test_a_long_value_is_cut(tmp_path: Path) -> None:
    """What was found is shown, but not pages of it."""
    assert len(refusal(tmp_path, f"[http]\nport = '{'x' * 100_000}'")) < 250


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """A missing file, a folder, and bytes that are no text are each one sentence."""
    with pytest.raises(SettingsError, match=r"missing.toml: the settings cannot be read: No such file"):
        load_settings(tmp_path / "missing.toml", {}, {})
    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        load_settings(tmp_path, {}, {})
    path = tmp_path / "latin.toml"
    path.write_bytes(b"[http]\nhost = '\xe9'")
    with pytest.raises(SettingsError, match="line 2 is not UTF-8"):
        load_settings(path, {}, {})


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("CENTRAL_COMMAND__HTTP__PORT", "x", 'http.port is "x", but must be a whole number from 0 to 65535.'),
        ("CENTRAL_COMMAND__HTTP__PORT", "", 'http.port is "", but must be a whole number from 0 to 65535.'),
        ("GROOVE_CENTRAL_PORT", "99999", 'http.port is "99999", but must be a whole number from 0 to 65535.'),
        (
            "CENTRAL_COMMAND__HTTP",
            "x",
            "this names a section, but no setting; write CENTRAL_COMMAND__HTTP__KEY.",
        ),
        ("CENTRAL_COMMAND__HTPP__PORT", "1", "there is no section htpp; did you mean http?"),
        ("CENTRAL_COMMAND__HTTP__PROT", "1", "there is no setting http.prot; did you mean http.port?"),
        ("CENTRAL_COMMAND__SCORING__MODEL_TIERS", "{a = 1}\nb = 2", "scoring.model_tiers is "),
    ],
)
def test_what_is_wrong_with_the_environment_is_said_in_one_sentence(variable: str, value: str, sentence: str) -> None:
    """The sentence names the variable instead of the file."""
    found = environment_refusal(variable, value)
    assert found.startswith(f"environment variable {variable}: {sentence}")
    assert "\n" not in found


def test_secrets_are_not_repeated(tmp_path: Path) -> None:
    """A value that may be a secret is named, not shown: wrong, or given to a setting that does not exist."""
    assert "hush" not in environment_refusal("CENTRAL_COMMAND__STORAGE__MASTER_KEY", "hush")
    assert "hush" not in refusal(tmp_path, '[http]\ntls_key = ["hush"]')
    assert "hush" not in environment_refusal("CENTRAL_COMMAND__HTTP__TLS_KEY", "hush")


def test_an_option_is_named_as_it_was_typed() -> None:
    """A wrong --port is said to be one."""
    with pytest.raises(SettingsError, match=r"^option --port: http.port is -1, but must be a whole number"):
        load_settings(None, {}, {"http.port": -1})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "[storage]\nquota_bytes = 5",
            "storage.quota_warning_bytes is 40000000000, but must be at most storage.quota",
        ),
        (
            "[sessions]\nchunk_buffer_bytes_max = 999_999_999",
            "sessions.chunk_buffer_bytes_max is 999999999, but must be at most sessions.chunk_buffers_total_bytes_max",
        ),
        (
            "[http]\ntls_key = 'k.pem'",
            "http.tls_key is set, but http.tls_certificate is not: TLS needs both",
        ),
        ("[http]\ntls_certificate = 'c.pem'", "http.tls_certificate is set, but http.tls_key is not"),
        (
            "[http]\nbody_bytes_max = 100_000_000",
            "http.body_bytes_max is 100000000, but must be at most storage.jour",
        ),
    ],
)
def test_values_that_contradict_each_other_are_refused(tmp_path: Path, text: str, sentence: str) -> None:
    """Each right for itself, wrong together: both are named."""
    assert refusal(tmp_path, text).startswith(f"config.toml: {sentence}")


def test_tls_takes_both_files(tmp_path: Path) -> None:
    """With certificate and key the settings are accepted."""
    path = tmp_path / "config.toml"
    path.write_text("[http]\ntls_certificate = 'c.pem'\ntls_key = 'k.pem'")
    assert load_settings(path, {}, {}).http.tls_key == "k.pem"


@given(variable=st.sampled_from(NAMES), value=st.text(max_size=40).filter(lambda text: "\x00" not in text))
def test_no_text_in_the_environment_is_a_traceback(variable: tuple[str, str], value: str) -> None:
    """Whatever a variable holds, the answer is settings or one sentence."""
    name = f"CENTRAL_COMMAND__{variable[0]}__{variable[1]}".upper()
    sentence = ""
    try:
        load_settings(None, {name: value}, {})
    except SettingsError as error:
        sentence = str(error)
    assert "\n" not in sentence


def test_settings_are_frozen() -> None:
    """What was read at the start holds until the end."""
    with pytest.raises(AttributeError):
        Settings().http = msgspec.UNSET  # type: ignore[misc, assignment]


def test_a_schedule_that_names_no_time_is_refused(tmp_path: Path) -> None:
    """With its place, and what is wrong with it; none at all is one that never comes."""
    path = tmp_path / "config.toml"
    for cron, wrong in (("0 4 * *", "it must have five fields"), ("0 0 30 2 *", "Bad"), ("x 4 * * *", "Bad")):
        path.write_text(f'[jobs]\ngc_cron = "{cron}"\n')
        with pytest.raises(SettingsError, match=f"jobs.gc_cron is .*, which is no schedule: {wrong}"):
            load_settings(path, {}, {})
    path.write_text('[jobs]\ngc_cron = ""\n')
    assert load_settings(path, {}, {}).jobs.gc_cron == ""
