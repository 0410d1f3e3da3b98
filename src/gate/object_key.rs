//! What a client asks for: an app and the key of one object, from a URL path that can mean only one thing.
//!
//! Nothing is folded or repaired here. A path that two parsers could read differently is refused, because it
//! would be authorized as one file and fetched as another.

mod token;

use memchr::memchr;

use super::target::any;
use token::holds_token;

/// Longest object key, in bytes after decoding (the limit of S3).
pub const MAX_KEY_BYTES: usize = 1024;

/// Layers of percent-encoding that are looked through for a hidden separator before giving up.
const MAX_LAYERS: usize = 8;

/// An app and an object's key in it, percent-decoded: `demo/media/cover.jpg`.
///
/// Has no empty, `.` or `..` segment, no control character, no backslash, and nothing that a second decoding
/// would turn into one of these or into a separator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectPath {
    decoded: String,
    app_len: usize,
}

/// Why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// The request target is not an absolute path (`*`, an absolute URL, an authority).
    #[error("the request target must be a path that starts with `/`")]
    NotAbsolute,
    /// There is an app or nothing at all, but no key.
    #[error("the path names no object")]
    NoObject,
    /// `//`, or a `/` at the end.
    #[error("the path has an empty segment")]
    EmptySegment,
    /// `.` or `..`, plain or encoded.
    #[error("the path has a dot segment")]
    DotSegment,
    /// `%` without two hexadecimal digits.
    #[error("the path has a malformed percent-encoding")]
    MalformedEscape,
    /// `%2F`, `%5C`, or one of them behind more layers of encoding.
    #[error("the path has an encoded separator")]
    EncodedSeparator,
    /// A control character, a backslash, a fragment or a path parameter.
    #[error("the path has a character that must be percent-encoded or is not allowed")]
    ForbiddenCharacter,
    /// The decoded bytes are not UTF-8.
    #[error("the path is not UTF-8")]
    NotUtf8,
    /// Longer than [`MAX_KEY_BYTES`].
    #[error("the object key is longer than 1024 bytes")]
    TooLong,
    /// A compact JWS or a presigned URL's query stands in the path, where it would travel upstream and into logs.
    #[error("the path holds a token; pass it as `?fat=` or in a header")]
    HoldsToken,
}

/// How characters that a URL would encode are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Raw {
    /// In a request target, where some must be encoded.
    Refused,
    /// In a claim, which is JSON text and not a URL.
    Literal,
}

impl ObjectPath {
    /// Reads the path of a request target (RFC 9112 §3.2.1), without its query.
    ///
    /// # Errors
    ///
    /// Whatever [`PathError`] names; the first that is found.
    pub fn parse(path: &str) -> Result<ObjectPath, PathError> {
        let rest = path.strip_prefix('/').ok_or(PathError::NotAbsolute)?;
        let decoded = decode_segments(rest, Raw::Refused)?;
        let app_len = memchr(b'/', decoded.as_bytes()).ok_or(PathError::NoObject)?;
        if decoded.len() - app_len - 1 > MAX_KEY_BYTES {
            return Err(PathError::TooLong);
        }
        if holds_secret(&decoded) {
            return Err(PathError::HoldsToken);
        }
        Ok(ObjectPath { decoded, app_len })
    }

    /// The app: the first segment.
    pub fn app(&self) -> &str {
        &self.decoded[..self.app_len]
    }

    /// The object's key below its app: `media/cover.jpg`.
    pub fn key(&self) -> &str {
        &self.decoded[self.app_len + 1..]
    }

    /// App and key: `demo/media/cover.jpg`.
    pub fn as_str(&self) -> &str {
        &self.decoded
    }
}

/// Which objects a token or a rule covers: one, or everything below a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathScope {
    /// Decoded, without `/` at its start or end; empty for a folder that is everything.
    path: String,
    from_root: bool,
    below: bool,
}

impl PathScope {
    /// Reads a `path` claim: `/demo/media/a.jpg`, `/demo/media/*`, or the same without the leading slash and
    /// the app, which is then taken as a key of the app that is asked for.
    ///
    /// # Errors
    ///
    /// As [`ObjectPath::parse`], except that characters which only a URL must encode stand for themselves.
    pub fn parse(claim: &str) -> Result<PathScope, PathError> {
        let (path, from_root) = match claim.strip_prefix('/') {
            Some(path) => (path, true),
            None => (claim, false),
        };
        if path == "*" && from_root {
            return Ok(PathScope { path: String::new(), from_root, below: true });
        }
        let (path, below) = match path.strip_suffix("/*") {
            Some(folder) => (folder, true),
            None => (path, false),
        };
        Ok(PathScope { path: decode_segments(path, Raw::Literal)?, from_root, below })
    }

    /// Returns whether `object` is covered, compared by whole segments.
    pub fn covers(&self, object: &ObjectPath) -> bool {
        let path = if self.from_root { object.as_str() } else { object.key() };
        if !self.below {
            return path == self.path;
        }
        self.path.is_empty() || path.strip_prefix(self.path.as_str()).is_some_and(|rest| rest.starts_with('/'))
    }
}

/// Checks the path of a URL whose folders mean nothing here: it can be read in one way only, and holds no token.
///
/// # Errors
///
/// As [`ObjectPath::parse`], without a limit of its own.
pub(super) fn check_path(path: &str) -> Result<(), PathError> {
    let rest = path.strip_prefix('/').ok_or(PathError::NotAbsolute)?;
    let decoded = decode_segments(rest, Raw::Refused)?;
    if holds_secret(&decoded) { Err(PathError::HoldsToken) } else { Ok(()) }
}

/// Whether what belongs behind a `?` stands in a decoded path.
fn holds_secret(decoded: &str) -> bool {
    holds_token(decoded) || super::presigned::holds_signature(decoded)
}

/// Decodes a path of one or more segments, or says what makes it ambiguous.
fn decode_segments(path: &str, raw: Raw) -> Result<String, PathError> {
    if path.is_empty() {
        return Err(PathError::NoObject);
    }
    let decoded = decode(path, raw)?;
    let bytes = decoded.as_bytes();
    // No segment is empty or a dot where none begins with a separator or a dot.
    let begins_oddly = |byte| (byte == b'/') | (byte == b'.');
    let pairs = bytes.iter().zip(&bytes[1..]);
    let is_odd = begins_oddly(bytes[0])
        | (bytes[bytes.len() - 1] == b'/')
        | pairs.fold(false, |odd, (byte, next)| odd | ((*byte == b'/') & begins_oddly(*next)));
    if is_odd {
        bytes.split(|byte| *byte == b'/').try_for_each(|segment| match segment {
            b"" => Err(PathError::EmptySegment),
            b"." | b".." => Err(PathError::DotSegment),
            _ => Ok(()),
        })?;
    }
    if memchr(b'%', bytes).is_some() {
        refuse_hidden_layers(bytes)?;
    }
    Ok(decoded)
}

/// Decodes what is percent-encoded, where every character is one that may stand there.
fn decode(path: &str, raw: Raw) -> Result<String, PathError> {
    let is_refused = raw == Raw::Refused;
    let is_forbidden = |byte| {
        let only_encoded = (byte == b' ') | (byte == b'#') | (byte == b'?') | (byte == b';');
        (byte < 0x20) | (byte == 0x7f) | (byte == b'\\') | (is_refused & only_encoded)
    };
    let mut rest = path.as_bytes();
    let mut decoded = Vec::with_capacity(rest.len());
    loop {
        let (literal, escaped) = rest.split_at(memchr(b'%', rest).unwrap_or(rest.len()));
        if any(literal, is_forbidden) {
            return Err(PathError::ForbiddenCharacter);
        }
        decoded.extend_from_slice(literal);
        if escaped.is_empty() {
            break;
        }
        match escape(escaped).ok_or(PathError::MalformedEscape)? {
            b'/' | b'\\' => return Err(PathError::EncodedSeparator),
            0..0x20 | 0x7f => return Err(PathError::ForbiddenCharacter),
            value => decoded.push(value),
        }
        rest = &escaped[3..];
    }
    let decoded = String::from_utf8(decoded).map_err(|_| PathError::NotUtf8)?;
    if !decoded.is_ascii() && decoded.chars().any(char::is_control) {
        return Err(PathError::ForbiddenCharacter);
    }
    // What a shell put there for bytes that were not UTF-8.
    if is_refused && !path.is_ascii() && path.contains('\u{fffd}') {
        return Err(PathError::NotUtf8);
    }
    Ok(decoded)
}

/// Refuses text that a further decoding, somewhere behind us, would turn into other segments.
fn refuse_hidden_layers(decoded: &[u8]) -> Result<(), PathError> {
    let mut layer = decoded.to_vec();
    for _ in 0..MAX_LAYERS {
        let mut next = Vec::with_capacity(layer.len());
        let mut at = 0;
        while let Some(&byte) = layer.get(at) {
            match escape(&layer[at..]) {
                Some(b'/' | b'\\') => return Err(PathError::EncodedSeparator),
                Some(0..0x20 | 0x7f) => return Err(PathError::ForbiddenCharacter),
                Some(value) => {
                    next.push(value);
                    at += 3;
                }
                None => {
                    next.push(byte);
                    at += 1;
                }
            }
        }
        if next.len() == layer.len() {
            return Ok(());
        }
        if next.split(|byte| *byte == b'/').any(|segment| segment == b"." || segment == b"..") {
            return Err(PathError::DotSegment);
        }
        layer = next;
    }
    Err(PathError::EncodedSeparator)
}

/// The byte that `%XX` at the start of `bytes` stands for (RFC 3986 §2.1).
pub(crate) fn escape(bytes: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = bytes else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    Some((digit(*high)? * 16 + digit(*low)?) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: Result<(&str, &str), PathError>) {
        let parsed = ObjectPath::parse(path);
        let found = parsed.as_ref().map(|path| (path.app(), path.key())).map_err(|error| *error);
        assert_eq!(found, expected, "{path}");
    }

    #[test]
    fn a_plain_path_is_an_app_and_a_key() {
        check("/demo/media/a.jpg", Ok(("demo", "media/a.jpg")));
        check("/demo/a", Ok(("demo", "a")));
    }

    #[test]
    fn escapes_are_decoded_once_and_plus_is_a_plus() {
        check("/demo/a%20b+c%2B.txt", Ok(("demo", "a b+c+.txt")));
        check("/demo/%41%7e", Ok(("demo", "A~")));
        check("/demo/100%25.txt", Ok(("demo", "100%.txt")));
        check("/demo/50%25off%23%3B", Ok(("demo", "50%off#;")));
        check("/demo/%E6%96%87", Ok(("demo", "文")));
        check("/demo/文", Ok(("demo", "文")));
        check("/demo/.../.hidden/a.", Ok(("demo", ".../.hidden/a.")));
        check("/demo/a|[b]", Ok(("demo", "a|[b]")));
    }

    #[test]
    fn paths_that_can_mean_two_things_are_refused() {
        use PathError::*;
        for (path, error) in [
            ("", NotAbsolute),
            ("*", NotAbsolute),
            ("http://h/demo/a", NotAbsolute),
            ("/", NoObject),
            ("/demo", NoObject),
            ("//demo/a", EmptySegment),
            ("/demo//a", EmptySegment),
            ("/demo/a/", EmptySegment),
            ("/demo/../other/a", DotSegment),
            ("/demo/./a", DotSegment),
            ("/demo/%2e%2E/a", DotSegment),
            ("/demo/.%2e/a", DotSegment),
            ("/demo/a%2Fb", EncodedSeparator),
            ("/demo/a%5cb", EncodedSeparator),
            ("/demo/a%252Fb", EncodedSeparator),
            ("/demo/a%25252fb", EncodedSeparator),
            ("/demo/a%25%32%46b", EncodedSeparator),
            ("/demo/%252e%252e/a", DotSegment),
            ("/demo/%252e/a", DotSegment),
            ("/demo/a%2500", ForbiddenCharacter),
            ("/demo/a%250d%250a", ForbiddenCharacter),
            ("/demo/a%25257f", ForbiddenCharacter),
            ("/demo/a%00", ForbiddenCharacter),
            ("/demo/a%0d%0ab", ForbiddenCharacter),
            ("/demo/a%7f", ForbiddenCharacter),
            ("/demo/a%C2%85", ForbiddenCharacter),
            ("/demo/a\\b", ForbiddenCharacter),
            ("/demo/a;b", ForbiddenCharacter),
            ("/demo/a b", ForbiddenCharacter),
            ("/demo/a#b", ForbiddenCharacter),
            ("/demo/a%", MalformedEscape),
            ("/demo/a%2", MalformedEscape),
            ("/demo/a%zz", MalformedEscape),
            ("/demo/a%+1", MalformedEscape),
            ("/demo/a%ff", NotUtf8),
            ("/demo/a%C0%AF", NotUtf8),
            ("/demo/a%ed%a0%80", NotUtf8),
            ("/demo/a\u{fffd}", NotUtf8),
            ("/demo/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.AAAA", HoldsToken),
            ("/demo/a.jpg,eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.", HoldsToken),
        ] {
            check(path, Err(error));
        }
        check(&format!("/demo/{}", "a".repeat(MAX_KEY_BYTES + 1)), Err(TooLong));
        assert!(ObjectPath::parse(&format!("/demo/{}", "a".repeat(MAX_KEY_BYTES))).is_ok());
    }

    #[test]
    fn only_a_real_token_in_a_path_is_taken_for_one() {
        check("/demo/ewogImFsZyI6IkhTMjU2Igp9.e30.AAAA", Err(PathError::HoldsToken));
        check("/demo/x-eyJhbGciOiJIUzI1NiJ9.e30.", Err(PathError::HoldsToken));
        for key in
            ["eyeglasses-catalogue.of-the-summer-term.jpg", "eyJhbGciOiJIUzI1NiJ9.jpg", "e.e.e", "eyJ4IjoxfQ.e30.a"]
        {
            check(&format!("/demo/{key}"), Ok(("demo", key)));
        }
    }

    #[test]
    fn a_scope_is_compared_by_whole_segments_after_decoding() {
        let check = |claim: &str, path: &str, covered: bool| {
            let scope = PathScope::parse(claim).expect(claim);
            assert_eq!(scope.covers(&ObjectPath::parse(path).expect(path)), covered, "{claim} {path}");
        };
        check("/demo/media/a.jpg", "/demo/media/a.jpg", true);
        check("/demo/media/a%20b.jpg", "/demo/media/a%20b.jpg", true);
        check("/demo/media/a b.jpg", "/demo/media/a%20b.jpg", true);
        check("/demo/media/a.jpg", "/demo/media/a.jpg2", false);
        check("/demo/media/a.jpg", "/other/media/a.jpg", false);
        check("/demo/media/*", "/demo/media/a/b.jpg", true);
        check("/demo/media/*", "/demo/media2/a.jpg", false);
        check("/demo/media/*", "/demo/media", false);
        check("/*", "/demo/media/a", true);
        check("media/*", "/demo/media/a", true);
        check("media/a", "/other/media/a", true);
        check("media/*", "/demo/other/media/a", false);
        check("/demo/*", "/demo/a", true);
        check("/demo/media*", "/demo/media2", false);
    }

    #[test]
    fn a_malformed_scope_covers_nothing() {
        for claim in ["", "/", "/demo/../x", "/demo//x", "/demo/media/", "//*", "/demo/a%2fb", "/demo/\u{0}"] {
            assert!(PathScope::parse(claim).is_err(), "{claim}");
        }
    }
}
