//! The fields of a body, one by one; everything that is wrong with them is said at once.

use serde_json::Value;

use super::body;
use super::call::App;
use super::error::{ApiError, Details};

/// The members of a body that are still to be read.
#[derive(Debug)]
pub(super) struct Fields {
    members: Vec<(&'static str, Option<Value>)>,
    details: Details,
}

impl Fields {
    /// Takes the members of `json`, which may have those of `known` and no others; no body is one without members.
    pub(super) fn read<const N: usize>(json: Option<&[u8]>, known: [&'static str; N]) -> Result<Fields, ApiError> {
        let members = match json {
            Some(json) => body::members(json, known)?,
            None => [const { None }; N],
        };
        // A client that writes null for what it does not have means nothing by it.
        let members = members.map(|member| member.filter(|value| !value.is_null()));
        Ok(Fields { members: known.into_iter().zip(members).collect(), details: Details::new() })
    }

    /// Reads a body that says nothing, or `{"force":true}` as some clients do.
    pub(super) fn only_force(json: Option<&[u8]>) -> Result<(), ApiError> {
        let mut fields = Fields::read(json, ["force"])?;
        fields.flag("force");
        fields.finish()
    }

    fn find(&self, name: &str) -> Option<&Value> {
        self.members.iter().find(|(known, _)| *known == name).and_then(|(_, value)| value.as_ref())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Says that a field is wrong; the first word on it counts.
    pub(super) fn wrong(&mut self, name: &str, why: impl Into<String>) {
        self.details.entry(name.to_owned()).or_insert_with(|| vec![why.into()]);
    }

    /// Says so where a field is missing.
    pub(super) fn require(&mut self, name: &str) {
        if !self.has(name) {
            self.wrong(name, format!("The {name} field is required."));
        }
    }

    /// A text of 1 to `most` characters, none of them a control character.
    pub(super) fn text(&mut self, name: &str, most: usize) -> Option<String> {
        let value = self.find(name)?;
        let Some(text) = value.as_str().map(str::to_owned) else {
            self.wrong(name, format!("The {name} must be a string."));
            return None;
        };
        if text.is_empty() {
            self.wrong(name, format!("The {name} field must have a value."));
        } else if text.chars().count() > most {
            self.wrong(name, format!("The {name} may not be longer than {most} characters."));
        } else if text.contains(char::is_control) {
            self.wrong(name, format!("The {name} must not have control characters."));
        }
        Some(text)
    }

    /// `true` or `false`; `false` where it is not there.
    pub(super) fn flag(&mut self, name: &str) -> bool {
        match self.find(name) {
            None => false,
            Some(Value::Bool(flag)) => *flag,
            Some(_) => {
                self.wrong(name, format!("The {name} field must be true or false."));
                false
            }
        }
    }

    /// A whole number in `range`.
    pub(super) fn number(&mut self, name: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let number = self.find(name)?.as_u64().filter(|number| range.contains(number));
        if number.is_none() {
            let (least, most) = (range.start(), range.end());
            self.wrong(name, format!("The {name} must be a whole number between {least} and {most}."));
        }
        number
    }

    /// A list of at most `most` strings without control characters.
    pub(super) fn texts(&mut self, name: &str, most: usize) -> Vec<String> {
        let items = match self.find(name) {
            None => return Vec::new(),
            Some(Value::Array(items)) if items.len() <= most => items,
            Some(_) => {
                self.wrong(name, format!("The {name} must be an array of at most {most} strings."));
                return Vec::new();
            }
        };
        let good = |item: &Value| item.as_str().filter(|item| !item.contains(char::is_control)).map(str::to_owned);
        let texts: Option<Vec<String>> = items.iter().map(good).collect();
        texts.unwrap_or_else(|| {
            self.wrong(name, format!("The {name} must be an array of at most {most} strings."));
            Vec::new()
        })
    }

    /// A string, or a list as in [`Fields::texts`].
    pub(super) fn text_or_texts(&mut self, name: &str, most: usize) -> Vec<String> {
        match self.find(name) {
            Some(Value::String(_)) => self.text(name, 4096).into_iter().collect(),
            _ => self.texts(name, most),
        }
    }

    /// An object, as such or as its JSON text, of at most `most` bytes; returns its text.
    pub(super) fn object(&mut self, name: &str, most: usize) -> Option<String> {
        let value = match self.find(name)? {
            Value::String(text) => serde_json::from_str::<Value>(text).ok(),
            value => Some(value.clone()),
        };
        let text = value.filter(Value::is_object).map(|value| value.to_string());
        if text.as_ref().is_none_or(|text| text.len() > most) {
            self.wrong(name, format!("The {name} must be an object of at most {most} bytes."));
        }
        text
    }

    /// A required uid, as the app compares it.
    pub(super) fn uid(&mut self, app: &App, name: &str) -> Option<String> {
        self.require(name);
        let uid = self.find(name)?.as_str().and_then(|uid| app.uid(uid));
        if uid.is_none() {
            self.wrong(name, format!("The {name} must be 1 to 255 visible ASCII characters."));
        }
        uid
    }

    /// Everything that was found wrong.
    pub(super) fn finish(self) -> Result<(), ApiError> {
        if self.details.is_empty() { Ok(()) } else { Err(ApiError::Invalid(self.details)) }
    }
}
