//! Strict JSON bodies: one object with one known member, nothing twice, nothing unknown, nothing after it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;

use super::error::{ApiError, Details};

/// How many members are read before a body is refused as a whole.
const MAX_MEMBERS: usize = 16;

/// The longest unknown member that a refusal names.
const MAX_NAME_BYTES: usize = 64;

/// Returns the member `field` of the object in `json`, which may have no other.
///
/// # Errors
///
/// [`ApiError::Invalid`], with what is wrong by member, or for `body` as a whole.
pub(super) fn member(json: &[u8], field: &str) -> Result<Option<Value>, ApiError> {
    let [value] = members(json, [field])?;
    Ok(value)
}

/// Returns the members `fields` of the object in `json`, which may have no others.
///
/// # Errors
///
/// As [`member`].
pub(super) fn members<const N: usize>(json: &[u8], fields: [&str; N]) -> Result<[Option<Value>; N], ApiError> {
    let Ok(Members(members)) = serde_json::from_slice(json) else {
        return Err(ApiError::invalid("body", "The body must be one JSON object."));
    };
    let mut details = Details::new();
    let mut found = [const { None }; N];
    for (name, value) in members {
        match fields.iter().position(|field| *field == name) {
            None => {
                let known = if N == 1 { "The only field here is" } else { "The fields here are" };
                details.insert(nameable(name), vec![format!("{known} {}.", fields.join(", "))]);
            }
            Some(at) if found[at].is_some() => {
                details.insert(name.clone(), vec![format!("The {name} field is there twice.")]);
            }
            Some(at) => found[at] = Some(value),
        }
    }
    if details.is_empty() { Ok(found) } else { Err(ApiError::Invalid(details)) }
}

/// A name as a refusal may repeat it: short and plain, or not at all.
fn nameable(name: String) -> String {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    if plain && (1..=MAX_NAME_BYTES).contains(&name.len()) { name } else { "body".to_owned() }
}

/// The members of an object in their order, duplicates included: a map would keep the last and say nothing.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    if members.len() == MAX_MEMBERS {
                        return Err(A::Error::custom("too many members"));
                    }
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, expected: Result<Option<&str>, &[&str]>) {
        let member = member(json.as_bytes(), "uids").map(|value| value.map(|value| value.to_string()));
        match (member, expected) {
            (Ok(value), Ok(expected)) => assert_eq!(value.as_deref(), expected, "{json}"),
            (Err(ApiError::Invalid(details)), Err(fields)) => {
                assert!(details.keys().eq(fields), "{json}: {details:?}");
            }
            (member, expected) => panic!("{json}: {member:?}, not {expected:?}"),
        }
    }

    #[test]
    fn a_body_is_one_object_with_one_known_member() {
        check(r#" {"uids" : ["a",1]} "#, Ok(Some(r#"["a",1]"#)));
        check("{}", Ok(None));
        check(r#"{"uids":null}"#, Ok(Some("null")));
        check(r#"{"UIDs":[]}"#, Err(&["UIDs"]));
        check(r#"{"uids":[],"uids":[]}"#, Err(&["uids"]));
        check(r#"{"uids":[],"ui\u0064s":[],"b":{"c":1,"c":2},"a":0}"#, Err(&["a", "b", "uids"]));
        for broken in ["", "[]", "null", "\"uids\"", "1", "{", "{}{}", "{},", "{}\0", "\u{feff}{}", "{\"uids\":NaN}"] {
            check(broken, Err(&["body"]));
        }
        check(r#"{"uids":["\ud800"]}"#, Err(&["body"]));
        check(r#"{"uids":[1e999]}"#, Err(&["body"]));
        assert!(member(b"{\"uids\":[\"\xff\"]}", "uids").is_err());
    }

    #[test]
    fn what_is_deep_wide_or_oddly_named_is_refused_and_not_repeated() {
        check(&format!("{{\"uids\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000)), Err(&["body"]));
        let wide: Vec<String> = (0..50).map(|at| format!("\"m{at}\":0")).collect();
        check(&format!("{{{}}}", wide.join(",")), Err(&["body"]));
        check(r#"{"<script>":1}"#, Err(&["body"]));
        check(&format!("{{\"{}\":1}}", "a".repeat(65)), Err(&["body"]));
        check(r#"{"":1}"#, Err(&["body"]));
    }
}
