//! A state as a broker keeps it under names: a name says scope and effect, a value what else there is to say.
//!
//! ```text
//! deactivated/user/acme/bob       7
//! issued_before/session/acme/s1   8 1795267467
//! purged/prefix/acme/media/       9 1767225600000000
//! ```

use super::{WireError, is_name};
use crate::restrictions::{Effect, EffectKind, Scope, ScopeKind};

/// The name under which a broker keeps one effect on one scope: `deactivated/user/acme/bob`. An app id has no slash, so
/// no two are alike.
pub fn key(scope: &Scope, effect: Effect) -> String {
    let effect = effect.kind().label();
    let (app, name) = scope.parts();
    format!("{effect}/{}/{app}/{name}", scope.kind().label())
}

/// What is kept under that name while the effect is in force: the `seq` that brought it, after a space the time of the
/// effect, where it has one.
pub fn value(seq: u64, effect: Effect) -> String {
    match effect.time() {
        None => seq.to_string(),
        Some(time) => format!("{seq} {time}"),
    }
}

/// Reads a name and its value; returns them as they were given to [`key`] and [`value`].
///
/// # Errors
///
/// [`WireError::Malformed`] for whatever those two do not write.
pub fn entry(key: &[u8], value: &[u8]) -> Result<(u64, Scope, Effect), WireError> {
    parts(key, value).ok_or(WireError::Malformed)
}

fn parts(key: &[u8], value: &[u8]) -> Option<(u64, Scope, Effect)> {
    let mut parts = std::str::from_utf8(key).ok()?.splitn(4, '/');
    let (effect, kind, app, name) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let mut numbers = value.splitn(2, |byte| *byte == b' ');
    let seq = number(numbers.next()?).filter(|seq| *seq != 0)?;
    let kind = ScopeKind::ALL.into_iter().find(|one| one.label() == kind)?;
    let effect = EffectKind::ALL.into_iter().find(|one| one.label() == effect && one.is_of(kind))?;
    let time = numbers.next().map(number);
    let effect = match (effect.at(0).time(), time) {
        (None, None) => effect.at(0),
        (Some(_), Some(Some(time))) => effect.at(time),
        _ => return None,
    };
    let is_named = if kind == ScopeKind::App { name.is_empty() } else { is_name(name) };
    if !is_named || !crate::gate::is_app_id(app) {
        return None;
    }
    Some((seq, Scope::new(kind, app.to_owned(), name.to_owned()), effect))
}

/// A number in its one form: decimal, without a sign or leading zeros.
pub(crate) fn number(text: &[u8]) -> Option<u64> {
    let is_one_form = text == b"0" || (!text.starts_with(b"0") && text.iter().all(u8::is_ascii_digit));
    std::str::from_utf8(text).ok().filter(|_| is_one_form)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restrictions::wire::MAX_NAME_BYTES;

    fn app() -> String {
        "acme".to_owned()
    }

    fn user(uid: &str) -> Scope {
        Scope::User { app: app(), uid: uid.to_owned() }
    }

    #[test]
    fn names_and_values_read_as_documented_and_back() {
        let flush = |before| Effect::IssuedBefore { before };
        for (scope, effect, name, kept) in [
            (user("bob"), Effect::Deactivated, "deactivated/user/acme/bob", "7"),
            (user("bob"), flush(1), "issued_before/user/acme/bob", "7 1"),
            (Scope::App { app: app() }, Effect::Deactivated, "deactivated/app/acme/", "7"),
            (
                Scope::Session { app: app(), sid: "ß \"1\"".into() },
                flush(0),
                "issued_before/session/acme/ß \"1\"",
                "7 0",
            ),
            (
                Scope::Token { app: app(), jti: "user/x/".into() },
                Effect::Deactivated,
                "deactivated/token/acme/user/x/",
                "7",
            ),
            (Scope::Prefix { app: app(), prefix: "old/a/".into() }, Effect::Exempt, "exempt/prefix/acme/old/a/", "7"),
            (Scope::App { app: app() }, Effect::TokenizedSince { since: 9 }, "tokenized_since/app/acme/", "7 9"),
            (Scope::App { app: app() }, Effect::Purged { at: 9 }, "purged/app/acme/", "7 9"),
            (user("bob"), flush(u64::MAX), "issued_before/user/acme/bob", "7 18446744073709551615"),
        ] {
            assert_eq!((key(&scope, effect), value(7, effect)), (name.to_owned(), kept.to_owned()));
            assert_eq!(entry(name.as_bytes(), kept.as_bytes()), Ok((7, scope, effect)), "{name} {kept}");
        }
    }

    #[test]
    fn what_no_name_and_value_say_is_refused() {
        let good = "deactivated/user/acme/bob";
        assert!(entry(good.as_bytes(), b"7").is_ok());
        for value in
            ["", "0", "07", "+7", "-7", "7 ", " 7", "7\n", "7.0", "x", "7 1", "7 1 1", "18446744073709551616", "{}"]
        {
            assert_eq!(entry(good.as_bytes(), value.as_bytes()), Err(WireError::Malformed), "{value:?}");
        }
        for value in ["7", "7 ", "0 1", "7  1", "7 01", "7 +1", "7 1 ", "7 1 1", "7 18446744073709551616", "7 x"] {
            let flush = entry(b"issued_before/user/acme/bob", value.as_bytes());
            assert_eq!(flush, Err(WireError::Malformed), "{value:?}");
        }
        let (longest, huge) = ("x".repeat(MAX_NAME_BYTES), "x".repeat(MAX_NAME_BYTES + 1));
        assert!(entry(format!("deactivated/user/acme/{longest}").as_bytes(), b"7").is_ok());
        for key in [
            "",
            "nonsense",
            "deactivated/user/acme",
            "deactivated/user/acme/",
            "deactivated/app/acme",
            "deactivated/app/acme/bob",
            "deactivated/app//",
            "deactivated/user//bob",
            "deactivated/user/../bob",
            "deactivated/user/a b/bob",
            "deactivated/group/acme/bob",
            "deactivated/User/acme/bob",
            "Deactivated/user/acme/bob",
            "/deactivated/user/acme/bob",
            "activated/user/acme/bob",
            "deactivated/token/acme/a\0b",
            "deactivated/session/acme/a\u{85}b",
            &format!("deactivated/user/acme/{huge}"),
        ] {
            assert_eq!(entry(key.as_bytes(), b"7"), Err(WireError::Malformed), "{key:?}");
        }
        assert_eq!(entry(b"deactivated/user/acme/\xff", b"7"), Err(WireError::Malformed));
        assert_eq!(entry(good.as_bytes(), b"\xff"), Err(WireError::Malformed));
    }

    #[test]
    fn keys_differ_wherever_scope_or_effect_do() {
        let token = Scope::Token { app: app(), jti: "bob".into() };
        let flush = key(&user("bob"), Effect::IssuedBefore { before: 1 });
        let all = [key(&user("bob"), Effect::Deactivated), flush, key(&token, Effect::Deactivated)];
        assert!(all[0] != all[1] && all[0] != all[2] && all[1] != all[2], "{all:?}");
    }
}
