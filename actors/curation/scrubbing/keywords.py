"""The words that the rules look for, in lower case: what the gate's automaton is built from."""

import string

PRIVATE_KEYS = frozenset({"private key", "ls0tls1crudjti"})
ENCODED_ARMOUR = "ls0tls1crudjti"
URLS = frozenset({"://"})
HEADERS = frozenset({"bearer", "authorization", "basic "})
COOKIES = frozenset({"cookie"})
JWTS = frozenset({"eyj"})
AWS = frozenset({"akia", "asia", "abia", "acca"})
PATHS = frozenset(
    {"users/", "users\\", "home/", "home\\", "-users-", "-home-", "users%2f", "home%2f", "documents and settings"}
)
ASSIGNED = frozenset({
    "passw", "passphrase", "passcode", "pwd", "secret", "token", "api_key", "apikey", "api-key", "api key",
    "access_key", "accesskey",
    "access-key", "auth_key", "authkey", "private_key", "privatekey", "encryption_key", "encryptionkey",
    "signing_key", "signingkey", "credential", "account_key", "accountkey", "sharedaccesskey", "master_key", "app_key",
    "appkey", "_pass=", "_pass:", '_pass"',
})  # fmt: skip
COMMANDS = frozenset({
    "sshpass", "curl", "wget", "mysql", "redis-cli", "mongosh", "ldapsearch", "htpasswd", "docker login",
    "identified ", "password '", "machine ", "login ",
})  # fmt: skip
SSN = frozenset({"ssn", "social", "taxpayer"})
PHONES = frozenset({
    "phone", "tel", "mobil", "cell", "fax", "whatsapp", "msisdn", "sms", "handy", "call", "dial", "tél", "téléphone",
    "teléfono", "móvil", "celular", "rufnummer", "tlf", "тел", "Тел", "電話", "电话", "手机", "携帯", "전화",
})  # fmt: skip

# The prefix of a provider's keys, and what follows it: a regular expression for `re.match` behind the prefix.
PROVIDERS: dict[str, str] = {
    "ghp_": r"[A-Za-z0-9]{30,255}+",
    "gho_": r"[A-Za-z0-9]{30,255}+",
    "ghu_": r"[A-Za-z0-9]{30,255}+",
    "ghs_": r"[A-Za-z0-9]{30,255}+",
    "ghr_": r"[A-Za-z0-9]{30,255}+",
    "github_pat_": r"[A-Za-z0-9_]{40,255}+",
    "glpat-": r"[A-Za-z0-9_.-]{20,300}+",
    "gldt-": r"[A-Za-z0-9_-]{20,300}+",
    "glrt-": r"[A-Za-z0-9_.-]{20,300}+",
    "glptt-": r"[a-f0-9]{40}",
    "xoxb-": r"[A-Za-z0-9-]{20,255}+",
    "xoxp-": r"[A-Za-z0-9-]{20,255}+",
    "xoxa-": r"[A-Za-z0-9-]{20,255}+",
    "xoxr-": r"[A-Za-z0-9-]{20,255}+",
    "xoxs-": r"[A-Za-z0-9-]{20,255}+",
    "xoxc-": r"[A-Za-z0-9-]{20,255}+",
    "xoxd-": r"[A-Za-z0-9%-]{20,255}+",
    "xoxe": r"[.-][A-Za-z0-9.-]{20,255}+",
    "xapp-": r"[A-Za-z0-9-]{20,255}+",
    "AIza": r"[A-Za-z0-9_-]{34,36}",
    "ya29.": r"[A-Za-z0-9_-]{20,1024}+",
    "GOCSPX-": r"[A-Za-z0-9_-]{20,64}+",
    "hf_": r"[A-Za-z0-9]{30,64}+",
    "npm_": r"[A-Za-z0-9]{30,64}+",
    "pypi-": r"[A-Za-z0-9_-]{50,1024}+",
    "SG.": r"[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{30,64}+",
    "shpat_": r"[a-fA-F0-9]{32}",
    "shpca_": r"[a-fA-F0-9]{32}",
    "shppa_": r"[a-fA-F0-9]{32}",
    "shpss_": r"[a-fA-F0-9]{32}",
    "sbp_": r"[a-f0-9]{40}",
    "sb_secret_": r"[A-Za-z0-9_-]{20,128}+",
    "xai-": r"[A-Za-z0-9]{40,128}+",
    "pplx-": r"[A-Za-z0-9]{32,128}+",
    "gsk_": r"[A-Za-z0-9]{40,128}+",
    "lin_api_": r"[A-Za-z0-9]{32,64}+",
    "hvs.": r"[A-Za-z0-9_-]{20,512}+",
    "hvb.": r"[A-Za-z0-9_-]{20,512}+",
    "ATATT3": r"[A-Za-z0-9_=-]{50,512}+",
    "ATCTT3": r"[A-Za-z0-9_=-]{50,512}+",
    "ATBB": r"[A-Za-z0-9]{32}",
    "AGE-SECRET-KEY-1": r"[A-Z0-9]{50,64}+",
    "dop_v1_": r"[a-f0-9]{64}",
    "doo_v1_": r"[a-f0-9]{64}",
    "dor_v1_": r"[a-f0-9]{64}",
    "nvapi-": r"[A-Za-z0-9_-]{40,128}+",
    "r8_": r"[A-Za-z0-9]{30,64}+",
    "dckr_pat_": r"[A-Za-z0-9_-]{20,64}+",
    "rubygems_": r"[a-f0-9]{48}",
    "figd_": r"[A-Za-z0-9_-]{30,64}+",
    "ntn_": r"[A-Za-z0-9]{40,64}+",
    "tskey-": r"[A-Za-z0-9-]{20,128}+",
    "pul-": r"[a-f0-9]{40}",
    "glsa_": r"[A-Za-z0-9_]{32,64}+",
    "glc_": r"[A-Za-z0-9+/=]{32,400}+",
    "sntrys_": r"[A-Za-z0-9_=+/-]{40,400}+",
    "sntryu_": r"[a-f0-9]{64}",
    "phc_": r"[A-Za-z0-9]{40,64}+",
    "phx_": r"[A-Za-z0-9]{40,64}+",
    "PMAK-": r"[a-f0-9]{24}-[a-f0-9]{34}",
    "dapi": r"[a-f0-9]{32}(?:-\d)?",
    "whsec_": r"[A-Za-z0-9+/=]{24,128}+",
    "sk_live_": r"[A-Za-z0-9]{10,255}+",
    "sk_test_": r"[A-Za-z0-9]{10,255}+",
    "pk_live_": r"[A-Za-z0-9]{10,255}+",
    "pk_test_": r"[A-Za-z0-9]{10,255}+",
    "rk_live_": r"[A-Za-z0-9]{10,255}+",
    "rk_test_": r"[A-Za-z0-9]{10,255}+",
    "CFPAT-": r"[A-Za-z0-9_-]{40,64}+",
    "EAAA": r"[A-Za-z0-9_-]{60,255}+",
    "NRAK-": r"[A-Z0-9]{27}",
    "oy2": r"[a-z0-9]{43}",
    "key-": r"[a-f0-9]{32}",
    "tfp_": r"[A-Za-z0-9]{40,64}+",
    "fo1_": r"[A-Za-z0-9_-]{40,64}+",
    "FlyV1 ": r"fm\d_[A-Za-z0-9+/=,_-]{40,1024}+",
    "vercel_": r"[A-Za-z0-9]{24,64}+",
    "pat-na1-": r"[a-f0-9-]{36}",
    "secret_": r"[A-Za-z0-9]{43}",
    "lsv2_pt_": r"[a-f0-9_]{40,64}+",
    "lsv2_sk_": r"[a-f0-9_]{40,64}+",
}
# Prefixes that names begin with as well: what follows must look random.
PROVIDERS_IF_RANDOM: dict[str, str] = {
    "sk-": r"[A-Za-z0-9_-]{12,300}+",
    "pk-": r"[A-Za-z0-9_-]{16,300}+",
    "sk_": r"[A-Za-z0-9_]{16,255}+",
    "pk_": r"[A-Za-z0-9_]{16,255}+",
    "rk_": r"[A-Za-z0-9_]{16,255}+",
}

PREFIXES = {each.lower(): each for each in (*PROVIDERS, *PROVIDERS_IF_RANDOM)}

ALL: tuple[str, ...] = tuple(
    sorted(
        PRIVATE_KEYS | URLS | HEADERS | COOKIES | JWTS | AWS | PATHS | COMMANDS | SSN | PHONES | ASSIGNED
        | PREFIXES.keys()
    )
)  # fmt: skip
CHARS_MAX = max(len(each) for each in ALL)
ASCII_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
