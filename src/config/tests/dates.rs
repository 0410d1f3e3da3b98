//! Dates of the configuration.

use super::*;

#[test]
fn a_date_is_a_moment_of_the_calendar() {
    for (date, expected) in [
        ("2026-01-01T00:00:00Z", Some(1_767_225_600)),
        ("2026-01-01T02:00:00+02:00", Some(1_767_225_600)),
        ("1970-01-01T00:00:00Z", Some(0)),
        ("2024-02-29T23:59:59-00:01", Some(1_709_251_259)),
        ("2000-03-01 00:00:00Z", Some(951_868_800)),
        ("2026-01-01T00:00:00", None),
        ("2026-01-01", None),
        ("1969-12-31T23:59:59Z", None),
        ("\"2026-01-01T00:00:00Z\"", None),
    ] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/mediagate.toml")).unwrap();
        let text = text.replacen("[[apps.keys]]", &format!("tokenized_since = {date}\n[[apps.keys]]"), 1);
        let config = Config::parse(&text, &Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/mediagate.toml"));
        let since = config.map(|config| config.gate.tokenized_since("acme"));
        assert_eq!(since.ok().flatten(), expected, "{date}");
    }
}
