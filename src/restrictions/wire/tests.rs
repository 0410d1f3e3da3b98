use super::*;
use crate::restrictions::Effect;

fn change(scope: Scope, effect: Effect, in_force: bool) -> Message {
    Message::Change { source: "9f2c".into(), change: Change { seq: 7, scope, effect, in_force } }
}

fn user() -> Scope {
    Scope::User { app: "acme".into(), uid: "bob".into() }
}

fn check(text: &str, expected: Result<Message, WireError>) {
    assert_eq!(decode(text.as_bytes()), expected, "{text}");
}

#[test]
fn each_message_reads_as_documented_and_back() {
    let at = Position { source: "9f2c".into(), seq: 7 };
    let flush = Effect::IssuedBefore { before: 100 };
    let session = Scope::Session { app: "acme".into(), sid: "ß \"1\"".into() };
    for (message, text) in [
        (
            change(user(), Effect::Deactivated, true),
            r#"{"v":1,"type":"change","source":"9f2c","seq":7,"scope":"user","app":"acme","uid":"bob","effect":"deactivated","in_force":true}"#,
        ),
        (
            change(session, flush, false),
            r#"{"v":1,"type":"change","source":"9f2c","seq":7,"scope":"session","app":"acme","sid":"ß \"1\"","effect":"issued_before","before":100,"in_force":false}"#,
        ),
        (
            change(Scope::App { app: "acme".into() }, flush, true),
            r#"{"v":1,"type":"change","source":"9f2c","seq":7,"scope":"app","app":"acme","effect":"issued_before","before":100,"in_force":true}"#,
        ),
        (
            change(Scope::Token { app: "acme".into(), jti: "t".into() }, Effect::Deactivated, true),
            r#"{"v":1,"type":"change","source":"9f2c","seq":7,"scope":"token","app":"acme","jti":"t","effect":"deactivated","in_force":true}"#,
        ),
        (
            change(Scope::App { app: "acme".into() }, Effect::TokenizedSince { since: 100 }, true),
            r#"{"v":1,"type":"change","source":"9f2c","seq":7,"scope":"app","app":"acme","effect":"tokenized_since","since":100,"in_force":true}"#,
        ),
        (
            change(Scope::Prefix { app: "acme".into(), prefix: "legacy/".into() }, Effect::Exempt, true),
            r#"{"v":1,"type":"change","source":"9f2c","seq":7,"scope":"prefix","app":"acme","prefix":"legacy/","effect":"exempt","in_force":true}"#,
        ),
        (
            change(Scope::ApiKey { app: "acme".into(), digest: "0f".into() }, Effect::Exempt, false),
            r#"{"v":1,"type":"change","source":"9f2c","seq":7,"scope":"api_key","app":"acme","digest":"0f","effect":"exempt","in_force":false}"#,
        ),
        (
            change(
                Scope::Prefix { app: "acme".into(), prefix: "media/a.jpg".into() },
                Effect::Purged { at: 100 },
                true,
            ),
            r#"{"v":1,"type":"change","source":"9f2c","seq":7,"scope":"prefix","app":"acme","prefix":"media/a.jpg","effect":"purged","at":100,"in_force":true}"#,
        ),
        (Message::Heartbeat(at.clone()), r#"{"v":1,"type":"heartbeat","source":"9f2c","seq":7}"#),
        (Message::Snapshot { at, entries: 2 }, r#"{"v":1,"type":"snapshot","source":"9f2c","seq":7,"entries":2}"#),
    ] {
        assert_eq!(String::from_utf8(encode(&message)).unwrap(), text);
        check(text, Ok(message));
    }
}

#[test]
fn what_a_later_version_adds_is_passed_over_and_what_it_changes_is_not_believed() {
    let heartbeat = Message::Heartbeat(Position { source: "s".into(), seq: 1 });
    check(r#"{"v":1,"type":"heartbeat","source":"s","seq":1,"mood":{"a":[1]}}"#, Ok(heartbeat));
    check(r#"{"v":2,"type":"heartbeat","source":"s","seq":1}"#, Err(WireError::Unknown));
    check(r#"{"v":2,"type":{"name":"heartbeat"},"seq":"1"}"#, Err(WireError::Unknown));
    check(r#"{"v":1,"type":"lift_everything","source":"s","seq":1}"#, Err(WireError::Unknown));
}

#[test]
fn malformed_messages_are_refused() {
    let change = |members: &str| format!(r#"{{"v":1,"type":"change","source":"s","seq":1,{members}}}"#);
    for text in [
        "",
        &change(r#""scope":"user","app":"acme","uid":"bob","effect":"exempt","in_force":true"#),
        &change(r#""scope":"app","app":"acme","effect":"exempt","in_force":true"#),
        &change(r#""scope":"prefix","app":"acme","prefix":"a/","effect":"deactivated","in_force":true"#),
        &change(r#""scope":"app","app":"acme","effect":"tokenized_since","in_force":true"#),
        "null",
        "{}",
        "[1]",
        "{\"v\":1",
        r#"{"v":1}"#,
        r#"{"v":"1","type":"heartbeat","source":"s","seq":1}"#,
        r#"{"v":1,"type":"heartbeat","source":"","seq":1}"#,
        r#"{"v":1,"type":"heartbeat","source":"a b","seq":1}"#,
        r#"{"v":1,"type":"heartbeat","source":"s","seq":-1}"#,
        r#"{"v":1,"type":"heartbeat","source":"s","seq":1.5}"#,
        r#"{"v":1,"type":"heartbeat","source":"s","seq":18446744073709551616}"#,
        r#"{"v":1,"v":1,"type":"heartbeat","source":"s","seq":1}"#,
        &change(r#""scope":"user","app":"acme","uid":"bob","effect":"deactivated""#),
        &change(r#""scope":"user","app":"acme","uid":"","effect":"deactivated","in_force":true"#),
        &change(r#""scope":"user","app":"a/b","uid":"bob","effect":"deactivated","in_force":true"#),
        &change(r#""scope":"user","app":"acme","sid":"bob","effect":"deactivated","in_force":true"#),
        &change(r#""scope":"user","app":"acme","uid":"bob","effect":"issued_before","in_force":true"#),
        &change(r#""scope":"group","app":"acme","uid":"bob","effect":"deactivated","in_force":true"#),
        &change(r#""scope":"token","app":"acme","jti":"a\u0000b","effect":"deactivated","in_force":true"#),
        &change(r#""scope":"app","app":"acme","effect":"deactivated","in_force":true,"in_force":false"#),
        &change(r#""scope":"app","app":"acme","effect":"deactivated","in_force":1"#),
    ] {
        check(text, Err(WireError::Malformed));
    }
    let zero = r#"{"v":1,"type":"change","source":"s","seq":0,"scope":"app","app":"a","effect":"deactivated","in_force":true}"#;
    check(zero, Err(WireError::Malformed));
    let huge = "x".repeat(MAX_NAME_BYTES + 1);
    check(
        &change(&format!(r#""scope":"user","app":"acme","uid":"{huge}","effect":"deactivated","in_force":true"#)),
        Err(WireError::Malformed),
    );
    check(&" ".repeat(MAX_MESSAGE_BYTES + 1), Err(WireError::Malformed));
}

#[test]
fn reports_read_as_documented_and_back() {
    let text =
        r#"{"v":1,"type":"node","node":"edge-1","instance":"5c1e","source":"9f2c","seq":8,"entries":2,"fresh":true}"#;
    let report = NodeReport {
        node: "edge-1".into(),
        instance: "5c1e".into(),
        source: "9f2c".into(),
        seq: 8,
        entries: 2,
        fresh: true,
        ..NodeReport::default()
    };
    assert_eq!(String::from_utf8(encode_report(&report)).unwrap(), text);
    assert_eq!(decode_report(text.as_bytes()), Ok(report));
    for bad in ["", "{}", &text.replace("edge-1", "a b"), &text.replace("edge-1", &"x".repeat(65))] {
        assert_eq!(decode_report(bad.as_bytes()), Err(WireError::Malformed), "{bad}");
    }
    assert_eq!(decode_report(text.replace("\"v\":1", "\"v\":2").as_bytes()), Err(WireError::Unknown));
}
