//! The query of a presigned URL, in its one form: these names, once each, in this order, and nothing else.

use std::borrow::Cow;

use memchr::memchr;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What stands for itself in a value (RFC 3986 §2.3); all else is percent-encoded.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Characters of a signature: 32 bytes in base64url.
pub(super) const SIGNATURE_LEN: usize = 43;

/// The values as they stand in the URL, percent-encoded.
///
/// In the order of their names, so that a proxy that sorts a query leaves it as it is.
pub(super) struct Parameters<'a> {
    /// `Expires`: the UNIX second from which the URL is dead.
    pub(super) expires: &'a str,
    /// `Issued`: the UNIX second that a flush is compared with.
    pub(super) issued: &'a str,
    /// `Jti`: the token's own id, where the URL was made with a token that has one.
    pub(super) jti: Option<Cow<'a, str>>,
    /// `Key-Pair-Id`: which key signed.
    pub(super) key_pair_id: &'a str,
    /// `Sid`: the session, likewise.
    pub(super) sid: Option<Cow<'a, str>>,
    /// `Signature`: over all the others and the path, base64url.
    pub(super) signature: &'a str,
    /// `Uid`: the user, as the app compares it.
    pub(super) uid: Cow<'a, str>,
}

/// One value of what is signed.
pub(super) enum Field<'a> {
    Required(&'a str),
    Optional(Option<&'a str>),
}

impl<'a> Parameters<'a> {
    /// Reads a query; `None` unless it is in its one form. No value is believed or even decoded here.
    pub(super) fn parse(query: &'a str) -> Option<Parameters<'a>> {
        let mut rest = Some(query);
        let mut take = |name: &str| {
            let (parameter, others) = crate::gate::extract::parted(rest?, b'&');
            let value = parameter.strip_prefix(name)?.strip_prefix('=')?;
            rest = others;
            Some(value)
        };
        let parameters = Parameters {
            expires: take("Expires")?,
            issued: take("Issued")?,
            jti: take("Jti").map(Cow::Borrowed),
            key_pair_id: take("Key-Pair-Id")?,
            sid: take("Sid").map(Cow::Borrowed),
            signature: take("Signature")?,
            uid: take("Uid").map(Cow::Borrowed)?,
        };
        rest.is_none().then_some(parameters)
    }

    /// Everything but the signature.
    pub(super) fn signed(&self) -> [Field<'_>; 6] {
        [
            Field::Required(self.expires),
            Field::Required(self.issued),
            Field::Optional(self.jti.as_deref()),
            Field::Required(self.key_pair_id),
            Field::Optional(self.sid.as_deref()),
            Field::Required(&self.uid),
        ]
    }

    /// Adds the query that [`Parameters::parse`] reads, with `signature` in its place.
    pub(super) fn write(&self, signature: &str, url: &mut String) {
        let fields = [
            ("?Expires=", Some(self.expires)),
            ("&Issued=", Some(self.issued)),
            ("&Jti=", self.jti.as_deref()),
            ("&Key-Pair-Id=", Some(self.key_pair_id)),
            ("&Sid=", self.sid.as_deref()),
            ("&Signature=", Some(signature)),
            ("&Uid=", Some(&self.uid)),
        ];
        for (name, value) in fields {
            if let Some(value) = value {
                url.push_str(name);
                url.push_str(value);
            }
        }
    }
}

/// Whether the query of a presigned URL stands in `path`, in whatever encoding.
pub(in crate::gate) fn holds_signature(path: &str) -> bool {
    let is_outside = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    // A separator that is encoded once more leaves its digits at the signature; those of others are longer by far.
    let is_signature = |run: &str| (SIGNATURE_LEN..SIGNATURE_LEN + 8).contains(&run.len());
    // One letter first: few paths have it.
    path.len() > SIGNATURE_LEN
        && memchr(b'K', path.as_bytes()).is_some()
        && path.contains("Key-Pair-Id")
        && path.split(is_outside).any(is_signature)
}

/// Returns `text` as it stands in a value.
pub(in crate::gate) fn encoded(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, VALUE).into()
}

/// Returns what a value stands for; `None` when that is not text.
pub(super) fn decoded(value: &str) -> Option<String> {
    percent_decode_str(value).decode_utf8().ok().map(Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "Expires=1&Issued=2&Jti=3&Key-Pair-Id=4&Sid=5&Signature=6&Uid=7";

    #[test]
    fn a_query_has_one_form() {
        let read = |query: &str| {
            Parameters::parse(query).map(|parameters| {
                let mut written = String::new();
                parameters.write(parameters.signature, &mut written);
                written
            })
        };
        for query in [
            WHOLE,
            "Expires=1&Issued=2&Key-Pair-Id=4&Signature=6&Uid=7",
            "Expires=1&Issued=2&Jti=3&Key-Pair-Id=4&Signature=6&Uid=7",
            "Expires=1&Issued=2&Key-Pair-Id=4&Sid=5&Signature=6&Uid=7",
            "Expires=&Issued=&Jti=&Key-Pair-Id=&Sid=&Signature=&Uid=a=b",
        ] {
            assert_eq!(read(query), Some(format!("?{query}")));
        }
        let parameters: Vec<&str> = WHOLE.split('&').collect();
        for (at, parameter) in parameters.iter().enumerate() {
            let with = |changed: &[&str]| [&parameters[..at], changed, &parameters[at + 1..]].concat().join("&");
            let (name, value) = parameter.split_once('=').unwrap();
            if !matches!(name, "Jti" | "Sid") {
                assert_eq!(read(&with(&[])), None, "without {name}");
            }
            let encoded = format!("%{:02X}{}={value}", name.as_bytes()[0], &name[1..]);
            for changed in [
                &[*parameter, *parameter][..],
                &[parameter, "x=y"],
                &["x=y", parameter],
                &[parameter, ""],
                &["", parameter],
                &[name],
                &[&name.to_lowercase()],
                &[&format!("{}={value}", name.to_lowercase())],
                &[&format!("{}={value}", name.to_uppercase())],
                &[&encoded],
                &[&format!(" {parameter}")],
                &[&format!("{name}[]={value}")],
                &[&format!("{name} ={value}")],
                &[&format!("{name}%3D{value}")],
            ] {
                assert_eq!(read(&with(changed)), None, "{changed:?}");
            }
            for other in 0..at {
                let mut swapped = parameters.clone();
                swapped.swap(at, other);
                assert_eq!(read(&swapped.join("&")), None, "{swapped:?}");
            }
        }
        for query in ["", "&", "Signature=6", &format!("{WHOLE}&"), &format!("&{WHOLE}"), &WHOLE.replace('&', ";")] {
            assert_eq!(read(query), None, "{query}");
        }
    }

    #[test]
    fn a_query_in_a_path_is_known_by_its_signature() {
        let signature = "p5hGbJ0xJzE-Zk_zb1yS7nJ8G3r2wYl0aQ9dVtUo4Xc";
        for path in [
            format!("demo/a?Expires=1&Key-Pair-Id=x&Signature={signature}&Uid=a"),
            format!("demo/a?Signature%3D{signature}%26Key-Pair-Id%3Dx"),
            format!("demo/a&Key-Pair-Id%253Dx&Signature%253D{signature}"),
        ] {
            assert!(holds_signature(&path), "{path}");
        }
        let longer = signature.repeat(2);
        for path in
            [format!("demo/{signature}"), format!("demo/a?Key-Pair-Id=x&Signature={longer}"), "Key-Pair-Id".into()]
        {
            assert!(!holds_signature(&path), "{path}");
        }
    }

    #[test]
    fn a_value_stands_for_one_text() {
        for text in ["alice", "a b", "a&Uid=b", "a=b", "a%41", "a+b", "ä文\u{0}", "-._~", ""] {
            let value = encoded(text).into_owned();
            assert!(value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)), "{value}");
            assert_eq!(decoded(&value).as_deref(), Some(text));
        }
        assert_eq!(decoded("%ff"), None);
    }
}
