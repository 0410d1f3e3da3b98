//! Claims as nearly every issuer writes them, read in one pass and without a copy.
//!
//! Whatever is read here, the strict reader of [`Claims`] reads alike; all else is left to it, refusals included.

use std::borrow::Cow;
use std::time::Duration;

use memchr::memchr;

use super::claims::{Claims, MAX_ID_BYTES, MAX_TIME};
use crate::gate::target::any;

/// More digits than a time has, and fewer than a number of 64 bits.
const MAX_DIGITS: usize = 15;

/// Reads an object of strings and whole numbers with names that are known, without escapes, white space between them, or
/// any character beyond ASCII.
#[inline]
pub(super) fn read(payload: &[u8]) -> Option<Claims<'_>> {
    if any(payload, |byte| !(b' '..=b'~').contains(&byte) | (byte == b'\\')) {
        return None;
    }
    let mut rest = Rest(payload);
    let (mut sub, mut uid, mut sid, mut jti, mut app, mut iss) = (None, None, None, None, None, None);
    let (mut exp, mut nbf, mut iat) = (None, None, None);
    let mut before = b'{';
    while rest.begins_with(before) {
        before = b',';
        // What stands twice is refused, so it is no business of this reader.
        let stood = match &rest.name()? {
            b"sub" => sub.replace(rest.string()?).is_some(),
            b"uid" => uid.replace(rest.string()?).is_some(),
            b"iss" => iss.replace(rest.string()?).is_some(),
            b"sid" => sid.replace(rest.id()?).is_some(),
            b"jti" => jti.replace(rest.id()?).is_some(),
            b"app" => app.replace(rest.id()?).is_some(),
            b"exp" => exp.replace(rest.seconds()?).is_some(),
            b"nbf" => nbf.replace(rest.seconds()?).is_some(),
            b"iat" => iat.replace(rest.seconds()?).is_some(),
            _ => return None,
        };
        if stood {
            return None;
        }
    }
    if rest.0 != b"}" {
        return None;
    }
    let [sid, jti, app, uid, iss] = [sid, jti, app, uid, iss].map(|text| text.map(Cow::Borrowed));
    Some(Claims {
        sub: Cow::Borrowed(sub?),
        uid,
        sid,
        jti,
        app,
        iss,
        aud: None,
        exp: exp?,
        nbf,
        iat,
        minted: None,
        paths: None,
    })
}

/// What is not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    /// Takes `byte` if it is next.
    fn begins_with(&mut self, byte: u8) -> bool {
        match self.0 {
            [first, rest @ ..] if *first == byte => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    /// Takes a name and its colon. All that are known have three letters.
    fn name(&mut self) -> Option<[u8; 3]> {
        let [b'"', a, b, c, b'"', b':', rest @ ..] = self.0 else { return None };
        self.0 = rest;
        Some([*a, *b, *c])
    }

    fn string(&mut self) -> Option<&'a str> {
        let [b'"', rest @ ..] = self.0 else { return None };
        let (text, rest) = rest.split_at_checked(memchr(b'"', rest)?)?;
        self.0 = &rest[1..];
        std::str::from_utf8(text).ok()
    }

    fn id(&mut self) -> Option<&'a str> {
        self.string().filter(|id| (1..=MAX_ID_BYTES).contains(&id.len()))
    }

    /// Takes digits, if they are a whole number and a time.
    fn seconds(&mut self) -> Option<Duration> {
        let (mut number, mut digits) = (0, 0);
        for byte in self.0.iter().take(MAX_DIGITS + 1).take_while(|byte| byte.is_ascii_digit()) {
            number = number * 10 + u64::from(byte - b'0');
            digits += 1;
        }
        let (text, rest) = self.0.split_at(digits);
        // Neither a fraction nor an exponent; no zero before other digits (RFC 8259 §6).
        let is_whole = matches!(rest, [b',' | b'}', ..]) && (1..=MAX_DIGITS).contains(&digits);
        if !is_whole || (digits > 1 && text[0] == b'0') {
            return None;
        }
        self.0 = rest;
        Some(Duration::from_secs(number)).filter(|time| *time <= MAX_TIME)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::json;
    use super::*;

    /// What is read here is what the strict reader reads. Returns whether it was.
    fn check(payload: &str) -> bool {
        let found = read(payload.as_bytes());
        if found.is_some() {
            assert_eq!(found, json::read(payload.as_bytes()), "{payload}");
        }
        found.is_some()
    }

    #[test]
    fn what_issuers_write_is_read_here() {
        assert!(check(r#"{"sub":"alice","exp":1700000000}"#));
        assert!(check(r#"{"exp":0,"sub":""}"#));
        assert!(check(
            r#"{"iss":"https://a b/","sub":"alice","uid":"ALICE","sid":"s","jti":"t","app":"a","iat":1,"nbf":2,"exp":3}"#
        ));
    }

    #[test]
    fn all_else_is_left_to_the_strict_reader() {
        for payload in [
            "",
            "{}",
            r#"{"sub":"a"}"#,
            r#"{"exp":1}"#,
            r#"{"sub":"a","exp":1,}"#,
            r#"{"sub":"a","exp":1"#,
            r#"{"sub":"a","exp":1}}"#,
            r#"{"sub":"a","exp":1} "#,
            r#" {"sub":"a","exp":1}"#,
            r#"{,"sub":"a","exp":1}"#,
            r#"{"sub":"a" ,"exp":1}"#,
            r#"{"sub": "a","exp":1}"#,
            r#"{"sub":"a""exp":1}"#,
            r#"{"sub":"a,"exp":1}"#,
            r#"{"sub":"a","exp":01}"#,
            r#"{"sub":"a","exp":-1}"#,
            r#"{"sub":"a","exp":1.5}"#,
            r#"{"sub":"a","exp":1e3}"#,
            r#"{"sub":"a","exp":"1"}"#,
            r#"{"sub":"a","exp":253402300800}"#,
            r#"{"sub":"a","exp":1000000000000000000000}"#,
            r#"{"sub":7,"exp":1}"#,
            r#"{"sub":null,"exp":1}"#,
            r#"{"sub":"\u0061","exp":1}"#,
            r#"{"sub":"ä","exp":1}"#,
            "{\"sub\":\"a\u{7f}\",\"exp\":1}",
            "{\"sub\":\"a\tb\",\"exp\":1}",
            r#"{"sub":"a","sub":"a","exp":1}"#,
            r#"{"sub":"a","exp":1,"exp":1}"#,
            r#"{"sub":"a","exp":1,"sid":""}"#,
            r#"{"sub":"a","exp":1,"aud":"b"}"#,
            r#"{"sub":"a","exp":1,"more":1}"#,
            r#"["sub","a"]"#,
        ] {
            assert!(!check(payload), "{payload}");
        }
        assert_eq!(read(b"{\"sub\":\"\xff\",\"exp\":1}"), None);
        let long = "i".repeat(MAX_ID_BYTES);
        assert!(check(&format!(r#"{{"sub":"a","exp":1,"sid":"{long}"}}"#)));
        assert!(!check(&format!(r#"{{"sub":"a","exp":1,"sid":"{long}i"}}"#)));
    }

    /// Pieces of claims, good ones and others.
    fn member() -> impl Strategy<Value = String> {
        let name = prop_oneof![
            8 => prop::sample::select(vec!["sub", "uid", "sid", "jti", "app", "iss", "exp", "nbf", "iat", "aud", "path"])
                .prop_map(str::to_owned),
            1 => "[a-z\\\\\"]{0,4}",
        ];
        let value = prop_oneof![
            4 => "\"[ -~]{0,12}\"",
            2 => "\"\\PC{0,6}\"",
            4 => "[0-9]{1,13}",
            1 => "-?[0-9]{0,18}(\\.[0-9]{1,3})?(e[0-9])?",
            1 => "(null|true|\\[\\]|\\{\\}|)",
        ];
        (name, "[ \t]{0,1}", value).prop_map(|(name, space, value)| format!("\"{name}\":{space}{value}"))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn any_claims_read_alike(members in prop::collection::vec(member(), 0..6), junk in "[ -~]{0,3}") {
            let members = members.join(",");
            check(&format!(r#"{{"sub":"a","exp":1,{members}}}"#));
            check(&format!("{{{members}}}"));
            check(&format!("{{{members}}}{junk}"));
            check(&format!("{{{members}{junk}}}"));
        }
    }
}
