//! A TOML tree that is read by asking: each question reports what is wrong with the answer, and at the end every key
//! that nobody asked for is one too many.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::RangeInclusive;

use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::spelling::nearest;

/// Longest name that is repeated in a message: a longer one may be a secret where a key belongs.
const MAX_SHOWN: usize = 40;

/// What an operator is told about a key of the design that this version does not have.
pub(super) const LATER: &str = "is not available in this version";

/// Collects mistakes.
pub(super) struct Report {
    line_starts: Vec<usize>,
    errors: RefCell<Vec<ConfigError>>,
}

impl Report {
    pub(super) fn new(text: &str) -> Report {
        let starts = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Report { line_starts: std::iter::once(0).chain(starts).collect(), errors: RefCell::default() }
    }

    /// The line of `offset`, counted from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }

    /// Where the line of `offset` starts.
    pub(super) fn line_start(&self, offset: usize) -> usize {
        self.line_starts[self.line(offset) - 1]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.errors.borrow().is_empty()
    }

    pub(super) fn into_errors(self) -> Vec<ConfigError> {
        self.errors.into_inner()
    }
}

/// Where something stands, or should.
#[derive(Clone)]
pub(super) struct Place<'a> {
    report: &'a Report,
    key: String,
    offset: Option<usize>,
}

impl<'a> Place<'a> {
    /// Reports a mistake. `message` must not hold any value of the file.
    pub(super) fn wrong(&self, message: impl Into<String>) {
        let error = ConfigError { key: self.key.clone(), line: self.line(), message: message.into() };
        self.report.errors.borrow_mut().push(error);
    }

    pub(super) fn line(&self) -> Option<usize> {
        self.offset.map(|offset| self.report.line(offset))
    }

    fn below(&self, name: &str, offset: Option<usize>) -> Place<'a> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let shown = !name.is_empty() && name.len() <= MAX_SHOWN && name.bytes().all(plain);
        let name = if shown { name } else { "\"…\"" };
        let key = if self.key.is_empty() { name.to_owned() } else { format!("{}.{name}", self.key) };
        Place { report: self.report, key, offset }
    }
}

/// A value and where it stands.
pub(super) struct Value<'a, T = &'a DeValue<'a>> {
    pub(super) place: Place<'a>,
    pub(super) value: T,
}

/// A string and where it stands.
pub(super) type Text<'a> = Value<'a, &'a str>;

impl<'a, T> Value<'a, T> {
    pub(super) fn wrong(&self, message: impl Into<String>) {
        self.place.wrong(message);
    }
}

impl<'a> Value<'a> {
    fn wrong_type(&self, wanted: &str) {
        self.wrong(format!("must be {wanted}, not {}", with_article(self.value.type_str())));
    }

    pub(super) fn text(self) -> Option<Text<'a>> {
        match self.value {
            DeValue::String(text) => Some(Value { place: self.place, value: text }),
            _ => {
                self.wrong_type("a string");
                None
            }
        }
    }

    pub(super) fn flag(&self) -> Option<bool> {
        let flag = self.value.as_bool();
        if flag.is_none() {
            self.wrong_type("true or false");
        }
        flag
    }

    /// A whole number in `allowed`; `unit` says of what, and why no more where that is not plain.
    pub(super) fn number(&self, allowed: RangeInclusive<u64>, unit: &str) -> Option<u64> {
        let Some(number) = self.value.as_integer() else {
            self.wrong_type("a whole number");
            return None;
        };
        let number =
            u64::from_str_radix(number.as_str(), number.radix()).ok().filter(|number| allowed.contains(number));
        if number.is_none() {
            self.wrong(format!("must be {} to {} {unit}", allowed.start(), allowed.end()));
        }
        number
    }

    /// A moment with its offset from UTC (RFC 3339), in UNIX seconds.
    pub(super) fn time(&self) -> Option<u64> {
        let moment = self.value.as_datetime().and_then(unix_seconds);
        if moment.is_none() {
            self.wrong("must be a date and time since 1970 with its offset, like 2026-01-01T00:00:00Z");
        }
        moment
    }

    /// One of the words of `choices`.
    pub(super) fn one_of<T: Copy>(self, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        let chosen = choices.iter().find(|(word, _)| *word == text.value).map(|(_, choice)| *choice);
        if chosen.is_none() {
            let words: Vec<_> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            text.wrong(format!("must be {}", words.join(" or ")));
        }
        chosen
    }

    pub(super) fn list(self) -> Option<Vec<Value<'a>>> {
        let Some(items) = self.value.as_array() else {
            self.wrong_type("a list");
            return None;
        };
        let Place { report, key, .. } = self.place;
        let item = |(at, item): (usize, &'a toml::Spanned<DeValue<'a>>)| Value {
            place: Place { report, key: format!("{key}[{at}]"), offset: Some(item.span().start) },
            value: item.get_ref(),
        };
        Some(items.iter().enumerate().map(item).collect())
    }

    pub(super) fn section(self) -> Option<Section<'a>> {
        match self.value {
            DeValue::Table(table) => Some(Section::new(self.place, table)),
            _ => {
                self.wrong_type("a section");
                None
            }
        }
    }
}

/// A table whose keys are asked for one by one.
pub(super) struct Section<'a> {
    pub(super) place: Place<'a>,
    table: &'a DeTable<'a>,
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    fn new(place: Place<'a>, table: &'a DeTable<'a>) -> Section<'a> {
        Section { place, table, known: Vec::new() }
    }

    pub(super) fn root(report: &'a Report, table: &'a DeTable<'a>) -> Section<'a> {
        Section::new(Place { report, key: String::new(), offset: None }, table)
    }

    /// Where `key` stands, or the section that it should be in.
    pub(super) fn place_of(&self, key: &str) -> Place<'a> {
        let offset = self.table.get_key_value(key).map(|(key, _)| key.span().start);
        self.place.below(key, offset.or(self.place.offset))
    }

    fn find(&self, key: &str) -> Option<Value<'a>> {
        let value = self.table.get(key)?;
        Some(Value { place: self.place_of(key), value: value.get_ref() })
    }

    /// The value of `key`, where there is one.
    pub(super) fn get(&mut self, key: &'static str) -> Option<Value<'a>> {
        self.known.push(key);
        self.find(key)
    }

    /// The value of `key`, which must be there; `what` says what belongs there.
    pub(super) fn require(&mut self, key: &'static str, what: &str) -> Option<Value<'a>> {
        let value = self.get(key);
        if value.is_none() {
            self.place_of(key).wrong(format!("is required: {what}"));
        }
        value
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<Text<'a>> {
        self.get(key).and_then(Value::text)
    }

    pub(super) fn require_text(&mut self, key: &'static str, what: &str) -> Option<Text<'a>> {
        self.require(key, what).and_then(Value::text)
    }

    /// The strings of a list; none where there is no list.
    pub(super) fn texts(&mut self, key: &'static str) -> Option<Vec<Text<'a>>> {
        Some(self.get(key)?.list()?.into_iter().filter_map(Value::text).collect())
    }

    /// The sections of a list of sections (`[[…]]`), at most `most`. Where `required` says why, at least one.
    pub(super) fn sections(&mut self, key: &'static str, most: usize, required: Option<&str>) -> Vec<Section<'a>> {
        let items = match self.get(key) {
            Some(value) => match value.list() {
                Some(items) => items,
                None => return Vec::new(),
            },
            None => Vec::new(),
        };
        if let (true, Some(why)) = (items.is_empty(), required) {
            self.place_of(key).wrong(format!("is required: {why}"));
        }
        if items.len() > most {
            self.place_of(key).wrong(format!("must be at most {most}"));
            return Vec::new();
        }
        items.into_iter().filter_map(Value::section).collect()
    }

    /// Whether `key` is there, for a message better than that it is unknown.
    pub(super) fn has(&mut self, key: &'static str) -> bool {
        self.known.push(key);
        self.find(key).is_some()
    }

    /// Every key and value, for a section whose keys are names that the operator chose.
    pub(super) fn entries(&self) -> Vec<Text<'a>> {
        let names = self.table.iter().map(|(name, _)| name.get_ref().as_ref());
        names.map(|name| Value { place: self.place_of(name), value: name }).collect()
    }

    /// The section `name` of [`Section::entries`].
    pub(super) fn entry(&self, name: &Text<'a>) -> Option<Section<'a>> {
        self.find(name.value)?.section()
    }

    /// Reports every key that was not asked for.
    pub(super) fn finish(&self) {
        for (key, _) in self.table.iter() {
            let key = key.get_ref().as_ref();
            if self.known.contains(&key) {
                continue;
            }
            let allowed = self.known.join(", ");
            let place = self.place_of(key);
            match nearest(key, &self.known) {
                Some(nearest) => place.wrong(format!("unknown key, did you mean `{nearest}`? allowed: {allowed}")),
                None => place.wrong(format!("unknown key; allowed: {allowed}")),
            }
        }
    }
}

/// Finds values that must differ and do not.
#[derive(Default)]
pub(super) struct Unique(HashMap<String, Option<usize>>);

impl Unique {
    /// Reports `value` if it was there before; `what` is its kind.
    pub(super) fn check(&mut self, what: &str, value: &Text<'_>) {
        if let Some(line) = self.0.get(value.value) {
            let line = line.map(|line| format!(" in line {line}")).unwrap_or_default();
            value.wrong(format!("the same {what} is there before{line}; each must differ"));
        } else {
            self.0.insert(value.value.to_owned(), value.place.line());
        }
    }
}

fn with_article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {noun}")
}

/// The moment of `datetime`, where it has a date, a time and an offset and is not before 1970.
fn unix_seconds(datetime: &toml::value::Datetime) -> Option<u64> {
    let toml::value::Datetime { date: Some(date), time: Some(time), offset: Some(offset) } = datetime else {
        return None;
    };
    // Days since 1970 of the Gregorian calendar, with the year beginning in March.
    let (year, month) = (i64::from(date.year), i64::from(date.month));
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let days = days + (153 * month + 2) / 5 + i64::from(date.day) - 1 - 719_468;
    let minutes = match offset {
        toml::value::Offset::Z => 0,
        toml::value::Offset::Custom { minutes } => i64::from(*minutes),
    };
    let of_day = i64::from(time.hour) * 3600 + i64::from(time.minute) * 60 + i64::from(time.second.unwrap_or(0));
    u64::try_from(days * 86_400 + of_day - minutes * 60).ok()
}
