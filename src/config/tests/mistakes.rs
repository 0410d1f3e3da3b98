//! Mistakes in a configuration, one a line: what is written, and the key, line and message that come back.

use super::{MARKER, SOUND, folder, parse_in, with_line};

/// What replaces a line of [`SOUND`], and what comes back: key, line, part of the message.
type Mistake = (usize, &'static str, &'static str, Option<usize>, &'static str);

const MISTAKES: &[Mistake] = &[
    // [media]
    (1, "", "media", None, "is required"),
    (1, "[media", "", Some(1), "syntax error at column 7"),
    (2, "", "media.listen", Some(1), "is required"),
    (2, "listen = []", "media.listen", Some(2), "1 to 1000 addresses"),
    (2, "listen = \"127.0.0.1:80\"", "media.listen", Some(2), "must be a list, not a string"),
    (2, "listen = [\"127.0.0.1:80\", 80]", "media.listen[1]", Some(2), "must be a string, not an integer"),
    (2, "listen = [\n  \"127.0.0.1:80\",\n  \"localhost:80\"]", "media.listen[1]", Some(4), "IP address and a port"),
    (2, "listen = [\"127.0.0.1:80\", \"0.0.0.0:80\"]", "media.listen[1]", Some(2), "taken by line 2"),
    (2, "listen = [\"0.0.0.0:8081\"]", "control.listen", Some(3), "taken by line 2"),
    (2, "listen = MARKER-5f2b9c0d", "", Some(2), "syntax error at column 10"),
    (2, "listne = [\"0.0.0.0:1\"]", "media.listne", Some(2), "did you mean `listen`?"),
    (2, "listen = [\"0.0.0.0:1\"]\nhosts = [\"a.example:80\"]", "media.hosts[0]", Some(3), "without scheme, port"),
    (2, "listen = [\"0.0.0.0:1\"]\nhosts = [\"*.example\"]", "media.hosts[0]", Some(3), "wildcard"),
    (
        2,
        "listen = [\"0.0.0.0:1\"]\ncors_origins = [\"a.example\"]",
        "media.cors_origins[0]",
        Some(3),
        "as browsers send",
    ),
    (2, "listen = [\"0.0.0.0:1\"]\nthreads = 257", "media.threads", Some(3), "0 to 256"),
    (2, "listen = [\"0.0.0.0:1\"]\nthreads = -1", "media.threads", Some(3), "0 to 256"),
    (2, "listen = [\"0.0.0.0:1\"]\nthreads = \"2\"", "media.threads", Some(3), "must be a whole number, not a string"),
    (
        2,
        "listen = [\"0.0.0.0:1\"]\ntls_cert_file = \"tls-cert.pem\"",
        "media.tls_key_file",
        Some(1),
        "is required beside",
    ),
    (
        2,
        "listen = [\"0.0.0.0:1\"]\ntls_key_file = \"tls-key.pem\"",
        "media.tls_cert_file",
        Some(1),
        "is required beside",
    ),
    (
        2,
        "listen = [\"0.0.0.0:1\"]\ntls_cert_file = \"tls-key.pem\"\ntls_key_file = \"tls-key.pem\"",
        "media.tls_cert_file",
        Some(3),
        "BEGIN CERTIFICATE",
    ),
    (
        2,
        "listen = [\"0.0.0.0:1\"]\ntls_cert_file = \"tls-cert.pem\"\ntls_key_file = \"p256.pem\"",
        "media.tls_key_file",
        Some(4),
        "BEGIN PRIVATE KEY",
    ),
    // [control]
    (3, "[control]\nlisten = \"MARKER-5f2b9c0d\"", "control.listen", Some(4), "IP address and a port"),
    (3, "[control]\nstore = \"postgres://u:MARKER-5f2b9c0d@h/db\"", "control.store", Some(4), "not available in this"),
    (3, "[control]\nstore = \"sqlite::memory:\"", "control.store", Some(4), "sqlite:FILE"),
    (3, "[control]\nstore = \"sqlite:a.db?mode=ro\"", "control.store", Some(4), "without parameters"),
    (3, "[control]\ntls_cert_file = \"x\"", "control.tls_cert_file", Some(4), "not available in this version"),
    (3, "control = 1", "media.control", Some(3), "unknown key"),
    (4, "[[control.api_key]]", "control.api_key", Some(4), "did you mean `api_keys`?"),
    (4, "[[control.api_key]]", "control.api_keys", Some(3), "at least one"),
    (5, "", "control.api_keys[0].name", Some(4), "is required"),
    (5, "name = \"a b\"", "control.api_keys[0].name", Some(5), "1 to 64 letters"),
    (6, "", "control.api_keys[0].scope", Some(4), "\"fullAccess\" or \"authOnly\""),
    (6, "scope = \"fullaccess\"", "control.api_keys[0].scope", Some(6), "\"fullAccess\" or \"authOnly\""),
    (7, "key = \"MARKER-5f2b9c0d\"", "control.api_keys[0].key", Some(7), "unknown key"),
    (
        7,
        "key_file = \"MARKER-5f2b9c0d\"",
        "control.api_keys[0].key_file",
        Some(7),
        "no such file; relative paths start at",
    ),
    (7, "key_file = \"\"", "control.api_keys[0].key_file", Some(7), "path of a file"),
    (7, "key_file = \".\"", "control.api_keys[0].key_file", Some(7), "not a plain file"),
    (7, "key_file = \"empty.key\"", "control.api_keys[0].key_file", Some(7), "the file is empty"),
    (7, "key_file = \"tiny.key\"", "control.api_keys[0].key_file", Some(7), "16 to 512 characters"),
    (7, "key_file = \"trivial.key\"", "control.api_keys[0].key_file", Some(7), "trivial"),
    (7, "key_file = \"spaced.key\"", "control.api_keys[0].key_file", Some(7), "visible ASCII"),
    (7, "key_file = \"two-lines.key\"", "control.api_keys[0].key_file", Some(7), "one line"),
    (7, "key_file = \"large.key\"", "control.api_keys[0].key_file", Some(7), "larger than 4096 bytes"),
    (7, "key_file = \"k1-again.key\"", "control.api_keys[0].key_file", Some(7), "signs tokens"),
    (
        7,
        "key_file = \"api.key\"\n[[control.api_keys]]\nname = \"backend\"\nscope = \"authOnly\"\nkey_file = \"api2.key\"",
        "control.api_keys[1].name",
        Some(9),
        "there before in line 5",
    ),
    (
        7,
        "key_file = \"api.key\"\n[[control.api_keys]]\nname = \"b\"\nscope = \"authOnly\"\nkey_file = \"same.key\"",
        "control.api_keys[1].key_file",
        Some(11),
        "the same key as that in line 7",
    ),
    // [metrics], [feed], [prepend], later sections
    (8, "[metrics]\nlisten = \"127.0.0.1:8081\"\n[[apps]]", "metrics.listen", Some(9), "taken by line 3"),
    (8, "metrics = 1\n[[apps]]", "control.api_keys[0].metrics", Some(8), "unknown key"),
    (8, "[feed]\nurl = \"redis://:MARKER-5f2b9c0d@h\"\n[[apps]]", "feed.url", Some(9), "not available in this version"),
    (8, "[feed]\nurl = \"nats://h\"\n[[apps]]", "feed.url", Some(9), "not available in this version"),
    (8, "[feed]\nurl = \"local\"\n[[apps]]", "feed.url", Some(9), "must be \"local:\""),
    (8, "[feed]\nmax_staleness_secs = 0\n[[apps]]", "feed.max_staleness_secs", Some(9), "1 to 86400 seconds"),
    (8, "[feed]\nwhen_stale = \"allow\"\n[[apps]]", "feed.when_stale", Some(9), "\"deny\" or \"serve\""),
    (8, "[presigned]\nkey_file = \"x\"\n[[apps]]", "presigned", Some(8), "not available in this version"),
    (8, "[roles]\n[[apps]]", "roles", Some(8), "not available in this version"),
    (8, "[prepend]\nenabled = true\n[[apps]]", "prepend.enabled", Some(9), "not available in this version"),
    (8, "[prepend]\nlogin_url = 1\n[[apps]]", "prepend.login_url", Some(9), "must be a string"),
    (8, "[prepend]\nfoo = 1\n[[apps]]", "prepend.foo", Some(9), "unknown key; allowed: enabled, media_hosts"),
    (8, "[servre]\n[[apps]]", "servre", Some(8), "unknown key; allowed: media, control, metrics"),
    (8, "[stroage]\n[[apps]]", "stroage", Some(8), "did you mean `storage`?"),
    // [[apps]]
    (9, "", "apps[0].id", Some(8), "is required"),
    (9, "id = \"a/b\"", "apps[0].id", Some(9), "one segment of a URL path"),
    (9, "id = \"..\"", "apps[0].id", Some(9), "one segment of a URL path"),
    (9, "id = \"acme\"\nsecret = \"MARKER-5f2b9c0d\"", "apps[0].secret", Some(10), "unknown key"),
    (9, "id = \"acme\"\naccess = \"on\"", "apps[0].access", Some(10), "\"enforce\" or \"observe\" or \"off\""),
    (9, "id = \"acme\"\naccess = true", "apps[0].access", Some(10), "must be a string, not a boolean"),
    (9, "id = \"acme\"\nuid_case = \"lower\"", "apps[0].uid_case", Some(10), "\"folded\" or \"exact\""),
    (9, "id = \"acme\"\nleeway_secs = 301", "apps[0].leeway_secs", Some(10), "0 to 300 seconds"),
    (9, "id = \"acme\"\nleeway_secs = 1.5", "apps[0].leeway_secs", Some(10), "must be a whole number, not a float"),
    (9, "id = \"acme\"\nmax_token_ttl_secs = 59", "apps[0].max_token_ttl_secs", Some(10), "60 to 31536000 seconds"),
    (9, "id = \"acme\"\npublic_prefixes = [\"legacy\"]", "apps[0].public_prefixes[0]", Some(10), "like \"legacy/\""),
    (9, "id = \"acme\"\npublic_prefixes = [\"a/\", \"../\"]", "apps[0].public_prefixes[1]", Some(10), "without `.`"),
    (9, "id = \"acme\"\ntokenized_since = 2026-01-01T00:00:00Z", "apps[0].tokenized_since", Some(10), "not available"),
    (10, "", "apps[0].storage", Some(8), "is required"),
    (10, "storage = \"other\"", "apps[0].storage", Some(10), "no such storage"),
    (10, "storage = \"main\"\n[[apps]]\nid = \"acme\"\nstorage = \"main\"", "apps[1].id", Some(12), "before in line 9"),
    (10, "storage = \"main\"\n[[apps]]\nid = \"b\"\nstorage = \"main\"", "apps[0].keys", Some(8), "at least one"),
    (11, "[apps.keys]", "apps[0].keys", Some(11), "must be a list, not a table"),
    // [[apps.keys]]
    (12, "", "apps[0].keys[0].kid", Some(11), "is required"),
    (12, "kid = \"\"", "apps[0].keys[0].kid", Some(12), "1 to 255 bytes"),
    (13, "", "apps[0].keys[0].alg", Some(11), "is required"),
    (13, "alg = \"none\"", "apps[0].keys[0].alg", Some(13), "HS256, HS384, HS512, RS256"),
    (13, "alg = \"HS512\"", "apps[0].keys[0].secret_file", Some(14), "needs at least 64"),
    (13, "alg = \"ES256\"", "apps[0].keys[0].secret_file", Some(14), "ES256 takes `public_key_file`"),
    (13, "alg = \"ES256\"", "apps[0].keys[0].public_key_file", Some(11), "is required for ES256"),
    (14, "", "apps[0].keys[0].secret_file", Some(11), "is required for HS256"),
    (14, "secret_file = 7", "apps[0].keys[0].secret_file", Some(14), "must be a string"),
    (14, "secret_file = \"missing-MARKER-5f2b9c0d\"", "apps[0].keys[0].secret_file", Some(14), "no such file"),
    (14, "secret_file = \"empty.key\"", "apps[0].keys[0].secret_file", Some(14), "empty"),
    (14, "secret_file = \"short.key\"", "apps[0].keys[0].secret_file", Some(14), "14 bytes, HS256 needs at least 32"),
    (14, "secret_file = \"trivial.key\"", "apps[0].keys[0].secret_file", Some(14), "trivial"),
    (14, "secret_file = \"p256.pem\"", "apps[0].keys[0].secret_file", Some(14), "public key"),
    (14, "secret_file = \"k1.key\"\nprofile = \"twilio\"", "apps[0].keys[0].profile", Some(15), "not available"),
    (14, "secret_file = \"k1.key\"\nprofile = \"jwt\"", "apps[0].keys[0].profile", Some(15), "must be \"fat\""),
    (14, "secret_file = \"k1.key\"\nissuer = \"\"", "apps[0].keys[0].issuer", Some(15), "1 to 255 bytes"),
    (14, "jwks_url = \"https://x\"", "apps[0].keys[0].jwks_url", Some(14), "not available in this version"),
    (14, "jwks_file = \"x\"", "apps[0].keys[0].jwks_file", Some(14), "not available in this version"),
    (
        14,
        "secret_file = \"k1.key\"\n[[apps.keys]]\nkid = \"k1\"\nalg = \"ES256\"\npublic_key_file = \"p256.pem\"",
        "apps[0].keys[1].kid",
        Some(16),
        "there before in line 12",
    ),
    (
        14,
        "secret_file = \"k1.key\"\n[[apps.keys]]\nkid = \"k2\"\nalg = \"RS256\"\npublic_key_file = \"p256.pem\"",
        "apps[0].keys[1].public_key_file",
        Some(18),
        "not a public key for RS256",
    ),
    (
        14,
        "secret_file = \"k1.key\"\n[[apps.keys]]\nkid = \"k2\"\nalg = \"ES256\"\npublic_key_file = \"private.pem\"",
        "apps[0].keys[1].public_key_file",
        Some(18),
        "this is a private key",
    ),
    // [storage.NAME]
    (15, "[storage]", "storage.bucket", Some(17), "must be a section, not a string"),
    (15, "[storage.\"a b\"]", "storage.\"…\"", Some(15), "1 to 64 letters"),
    (15, "[storage.main]\nkind = \"gcs\"", "storage.main.kind", Some(16), "not available in this version"),
    (15, "[storage.main]\nkind = \"azure\"", "storage.main.kind", Some(16), "not available in this version"),
    (15, "[storage.main]\nkind = \"disk\"", "storage.main.kind", Some(16), "must be \"s3\""),
    (16, "", "storage.main.endpoint", Some(15), "is required"),
    (16, "endpoint = \"http://u:MARKER-5f2b9c0d@h\"", "storage.main.endpoint", Some(16), "without user, path or query"),
    (16, "endpoint = \"127.0.0.1:9000\"", "storage.main.endpoint", Some(16), "must be `http://host"),
    (16, "endpoint = \"http://[::1]:9\"\npath_style = false", "storage.main.path_style", Some(17), "an IP address"),
    (17, "", "storage.main.bucket", Some(15), "is required"),
    (17, "bucket = \"Media\"", "storage.main.bucket", Some(17), "3 to 63 lower-case"),
    (17, "bucket = \"media\"\nregion = \"\"", "storage.main.region", Some(18), "1 to 64 letters"),
    (17, "bucket = \"media\"\nprefix = \"/a\"", "storage.main.prefix", Some(18), "no `/` at its start"),
    (17, "bucket = \"media\"\nprefix = \"a/../\"", "storage.main.prefix", Some(18), "`..` segment"),
    (
        17,
        "bucket = \"media\"\npath_style = \"yes\"",
        "storage.main.path_style",
        Some(18),
        "true or false, not a string",
    ),
    (17, "bucket = \"media\"\npath_style = false", "storage.main.path_style", Some(18), "an IP address"),
    (
        17,
        "bucket = \"media\"\npresign_ttl_secs = 3601",
        "storage.main.presign_ttl_secs",
        Some(18),
        "cannot be called back",
    ),
    (17, "bucket = \"media\"\nconnect_timeout_secs = 61", "storage.main.connect_timeout_secs", Some(18), "1 to 60"),
    (17, "bucket = \"media\"\nresponse_timeout_secs = 0", "storage.main.response_timeout_secs", Some(18), "1 to 600"),
    (18, "", "storage.main.access_key_id_file", Some(15), "is required"),
    (18, "access_key_id_file = \"two-lines.key\"", "storage.main.access_key_id_file", Some(18), "one line"),
    (19, "secret_access_key = \"MARKER-5f2b9c0d\"", "storage.main.secret_access_key", Some(19), "did you mean"),
    (19, "secret_access_key_file = \"empty.key\"", "storage.main.secret_access_key_file", Some(19), "empty"),
    (
        19,
        "secret_access_key_file = \"s3.key\"\n\"MARKER-5f2b9c0d-MARKER-5f2b9c0d-MARKER-5f2b9c0d\" = 1",
        "storage.main.\"…\"",
        Some(20),
        "unknown key",
    ),
    (19, "MARKER-5f2b9c0d", "", Some(19), "syntax error at column 16"),
    (19, "bucket = \"MARKER-5f2b9c0d\"", "", Some(19), "syntax error at column 1: duplicate key"),
];

#[test]
fn a_mistake_is_reported_where_it_stands_and_shows_no_value() {
    let folder = folder();
    for &(number, line, key, expected, message) in MISTAKES {
        let errors = parse_in(&folder, &with_line(SOUND, number, line)).expect_err(line);
        let found =
            errors.iter().any(|error| error.key == key && error.line == expected && error.message.contains(message));
        assert!(found, "{line:?}: expected {key} {expected:?} {message:?}, got\n{errors}");
        let shown = format!("{errors}\n{errors:?}");
        // A key is not a value; only one that is too long for a key may be a secret.
        assert!(!shown.contains(MARKER), "{line:?}: {shown}");
    }
}

#[test]
fn one_mistake_is_one_error() {
    let folder = folder();
    for (number, line) in [
        (2, "listen = [\"x\"]"),
        (3, "[control]\nlisten = \"x\""),
        (7, "key_file = \"missing\""),
        (9, "id = \"a/b\""),
        (10, "storage = \"other\""),
        (11, "[apps.keys]"),
        (12, "kid = \"\""),
        (13, "alg = \"none\""),
        (14, "secret_file = \"missing\""),
        (14, "jwks_url = \"x\""),
        (15, "[storage.main]\nkind = \"gcs\""),
        (16, "endpoint = \"x\""),
        (18, "access_key_id_file = \"missing\""),
    ] {
        let errors = parse_in(&folder, &with_line(SOUND, number, line)).expect_err(line);
        assert_eq!(errors.iter().count(), 1, "{line}:\n{errors}");
    }
}
