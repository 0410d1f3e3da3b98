//! Strict JSON for headers and claims: one object, no member twice at any depth, bounded depth.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// How deep values that nobody reads may nest.
const MAX_DEPTH: usize = 16;

/// How many members an object may have.
const MAX_MEMBERS: usize = 64;

/// A string that borrows from the JSON text unless it holds an escape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text<'de>, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(TextVisitor)
    }
}

/// One string, or an array of up to [`MAX_MEMBERS`] strings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Texts<'a>(pub(super) Vec<Cow<'a, str>>);

impl<'de> Deserialize<'de> for Texts<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Texts<'de>, D::Error> {
        struct TextsVisitor;

        impl<'de> Visitor<'de> for TextsVisitor {
            type Value = Texts<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an array of strings")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Texts<'de>, E> {
                Ok(Texts(vec![Cow::Borrowed(text)]))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Texts<'de>, E> {
                Ok(Texts(vec![Cow::Owned(text.to_owned())]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Texts<'de>, A::Error> {
                let mut texts = Vec::new();
                while let Some(Text(text)) = seq.next_element()? {
                    if texts.len() == MAX_MEMBERS {
                        return Err(de::Error::custom("too many elements"));
                    }
                    texts.push(text);
                }
                Ok(Texts(texts))
            }
        }

        deserializer.deserialize_any(TextsVisitor)
    }
}

/// The names that an object has used so far.
#[derive(Default)]
pub(super) struct Names<'a>(Vec<Cow<'a, str>>);

impl<'a> Names<'a> {
    /// Takes one more name.
    ///
    /// # Errors
    ///
    /// When the object has it already, or has too many.
    pub(super) fn take<E: de::Error>(&mut self, name: &Text<'a>) -> Result<(), E> {
        if self.0.len() == MAX_MEMBERS {
            return Err(E::custom("too many members"));
        }
        if self.0.contains(&name.0) {
            return Err(E::custom("duplicate member"));
        }
        self.0.push(name.0.clone());
        Ok(())
    }
}

/// A value that nobody reads, checked all the same.
pub(super) struct Unread;

impl<'de> Deserialize<'de> for Unread {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Unread, D::Error> {
        UnreadAt(0).deserialize(deserializer)
    }
}

#[derive(Clone, Copy)]
struct UnreadAt(usize);

impl UnreadAt {
    fn deeper<E: de::Error>(self) -> Result<UnreadAt, E> {
        if self.0 == MAX_DEPTH { Err(E::custom("too deep")) } else { Ok(UnreadAt(self.0 + 1)) }
    }
}

impl<'de> DeserializeSeed<'de> for UnreadAt {
    type Value = Unread;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Unread, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for UnreadAt {
    type Value = Unread;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Unread, E> {
        Ok(Unread)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Unread, E> {
        Ok(Unread)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Unread, E> {
        Ok(Unread)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Unread, E> {
        Ok(Unread)
    }

    fn visit_str<E>(self, _: &str) -> Result<Unread, E> {
        Ok(Unread)
    }

    fn visit_unit<E>(self) -> Result<Unread, E> {
        Ok(Unread)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Unread, A::Error> {
        let deeper = self.deeper()?;
        while seq.next_element_seed(deeper)?.is_some() {}
        Ok(Unread)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unread, A::Error> {
        let deeper = self.deeper()?;
        let mut names = Names::default();
        while let Some(name) = map.next_key::<Text<'de>>()? {
            names.take(&name)?;
            map.next_value_seed(deeper)?;
        }
        Ok(Unread)
    }
}

/// Reads `json` as one value with nothing after it.
pub(super) fn read<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Option<T> {
    let text = std::str::from_utf8(json).ok()?;
    serde_json::from_str(text).ok()
}
