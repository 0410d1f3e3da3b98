//! An HTTP/1 request head, byte for byte: what a lenient parser would repair is refused before one sees it.
//!
//! RFC 9112 lets a recipient accept bare line feeds, stray spaces and folded lines. Two recipients that differ in what
//! they accept are how requests get smuggled, so here there is one form.

use super::denial::{BadRequest, Denial};
use super::extract::{MAX_HEADER_BYTES, MAX_HEADER_FIELDS, MAX_TARGET_BYTES, host_name, parted};
use super::target::{any, is_origin_form};

/// The longest request line: a method, a target of [`MAX_TARGET_BYTES`], a version.
const MAX_LINE_BYTES: usize = MAX_TARGET_BYTES + 64;

/// The longest `Content-Length`, leading zeros and all, that fits into every reader's number.
const MAX_LENGTH_DIGITS: usize = 18;

const MALFORMED: Denial = Denial::BadRequest(BadRequest::Malformed);

/// Whether a head is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// More bytes belong to it.
    Partial,
    /// Its empty line has come.
    Complete,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    RequestLine,
    Fields,
    Complete,
}

/// Checks one head as its bytes arrive. Holds no more than one line of it.
#[derive(Debug, Default)]
pub struct HeadCheck {
    state: State,
    line: Vec<u8>,
    field_bytes: usize,
    fields: usize,
    is_http_10: bool,
    is_head: bool,
    has_host: bool,
    has_length: bool,
    /// The authority of a target in absolute form, which `Host` must repeat.
    authority: Option<String>,
}

impl HeadCheck {
    /// Takes the next bytes; those behind the head are not looked at.
    ///
    /// # Errors
    ///
    /// As soon as the head can no longer be a good one.
    pub fn take(&mut self, mut bytes: &[u8]) -> Result<Progress, Denial> {
        while self.state != State::Complete && !bytes.is_empty() {
            let end = memchr::memchr(b'\n', bytes);
            let (part, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
            bytes = rest;
            if self.state == State::RequestLine && self.line.is_empty() {
                self.is_head = part.starts_with(b"HEAD ");
            }
            self.check_size(self.line.len() + part.len())?;
            // Most lines come whole: they are read where they are.
            if end.is_some() && self.line.is_empty() {
                self.check_line(part.strip_suffix(b"\r\n").ok_or(MALFORMED)?)?;
                continue;
            }
            self.line.extend_from_slice(part);
            if self.state == State::RequestLine {
                self.is_head = self.line.starts_with(b"HEAD ");
            }
            if end.is_some() {
                let line = std::mem::take(&mut self.line);
                let text = line.strip_suffix(b"\r\n").ok_or(MALFORMED)?;
                self.check_line(text)?;
                self.line = line;
                self.line.clear();
            }
        }
        Ok(if self.state == State::Complete { Progress::Complete } else { Progress::Partial })
    }

    /// Whether an answer is sent without its body (RFC 9110 §9.3.2), as far as the head has come.
    pub fn is_head(&self) -> bool {
        self.is_head
    }

    /// The current line has come to `len` bytes.
    fn check_size(&self, len: usize) -> Result<(), Denial> {
        match self.state {
            State::RequestLine if len > MAX_LINE_BYTES => Err(Denial::UriTooLong),
            State::Fields if self.field_bytes + len > MAX_HEADER_BYTES => Err(Denial::HeadersTooLarge),
            State::RequestLine | State::Fields | State::Complete => Ok(()),
        }
    }

    fn check_line(&mut self, line: &[u8]) -> Result<(), Denial> {
        match self.state {
            // RFC 9112 §2.2: an empty line before the request line is skipped.
            State::RequestLine if line.is_empty() => Ok(()),
            State::RequestLine => {
                self.check_request_line(line)?;
                self.state = State::Fields;
                Ok(())
            }
            State::Fields if line.is_empty() => {
                self.state = State::Complete;
                Ok(())
            }
            State::Fields => {
                self.field_bytes += line.len() + 2;
                self.fields += 1;
                if self.fields > MAX_HEADER_FIELDS {
                    return Err(Denial::HeadersTooLarge);
                }
                self.check_field(line)
            }
            State::Complete => Ok(()),
        }
    }

    /// `method SP request-target SP HTTP-version` (RFC 9112 §3), with single spaces.
    fn check_request_line(&mut self, line: &[u8]) -> Result<(), Denial> {
        let line = std::str::from_utf8(line).map_err(|_| MALFORMED)?;
        let (method, rest) = parted(line, b' ');
        let (target, version) = parted(rest.ok_or(MALFORMED)?, b' ');
        let version = version.ok_or(MALFORMED)?;
        if method.is_empty() || !method.bytes().all(|byte| TOKEN[usize::from(byte)]) {
            return Err(MALFORMED);
        }
        self.is_http_10 = match version {
            "HTTP/1.1" => false,
            "HTTP/1.0" => true,
            _ => return Err(MALFORMED),
        };
        if method == "CONNECT" {
            return Err(Denial::MethodNotAllowed);
        }
        // What the parser behind would refuse is refused here, where it is answered, counted and logged as ours.
        if target.starts_with('/') {
            return if is_origin_form(target) { Ok(()) } else { Err(MALFORMED) };
        }
        // A fragment is never sent (RFC 9110 §7.1); a parser that drops it reads another path.
        if any(target.as_bytes(), |byte| (byte < 0x21) | (byte == 0x7f) | (byte == b'#')) {
            return Err(MALFORMED);
        }
        if target == "*" && method == "OPTIONS" {
            return Ok(());
        }
        let absolute = target.strip_prefix("http://").or_else(|| target.strip_prefix("https://"));
        let absolute = absolute.ok_or(MALFORMED)?;
        http::Uri::try_from(target).map_err(|_| MALFORMED)?;
        self.authority = absolute.split(['/', '?']).next().map(str::to_owned);
        Ok(())
    }

    /// `field-name ":" OWS field-value OWS` (RFC 9112 §5), never folded.
    fn check_field(&mut self, line: &[u8]) -> Result<(), Denial> {
        // No colon is part of a token, so the name ends where its characters do.
        let end = line.iter().position(|byte| !TOKEN[usize::from(*byte)]).ok_or(MALFORMED)?;
        let (name, [b':', value @ ..]) = line.split_at(end) else { return Err(MALFORMED) };
        if name.is_empty() {
            return Err(MALFORMED);
        }
        if any(value, |byte| ((byte < 0x20) & (byte != b'\t')) | (byte == 0x7f)) {
            return Err(MALFORMED);
        }
        // Only spaces and tabs are left to trim: a return or form feed at either end was refused with the rest.
        let value = value.trim_ascii();
        if name.eq_ignore_ascii_case(b"host") {
            let valid = std::str::from_utf8(value).is_ok_and(|host| {
                // Byte for byte (RFC 9112 §3.2): a sender that writes a host twice writes it twice alike.
                let repeats = self.authority.as_ref().is_none_or(|authority| authority == host);
                host_name(host).is_some() && repeats
            });
            if std::mem::replace(&mut self.has_host, true) || !valid {
                return Err(Denial::BadRequest(BadRequest::Host));
            }
        }
        // One length of digits, or one plain `chunked`: everything else is framing that two readers read differently.
        if name.eq_ignore_ascii_case(b"content-length") {
            let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
            let plain = digits && value.len() <= MAX_LENGTH_DIGITS;
            if std::mem::replace(&mut self.has_length, true) || !plain {
                return Err(Denial::BadRequest(BadRequest::Body));
            }
        }
        if name.eq_ignore_ascii_case(b"transfer-encoding")
            && (self.is_http_10 || !value.eq_ignore_ascii_case(b"chunked"))
        {
            return Err(Denial::BadRequest(BadRequest::Body));
        }
        Ok(())
    }
}

/// Which bytes a token is made of (RFC 9110 §5.6.2).
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let symbols = b"!#$%&'*+-.^_`|~";
        let mut at = 0;
        while at < symbols.len() {
            table[byte] |= symbols[at] as usize == byte;
            at += 1;
        }
        table[byte] |= byte < 0x80 && (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks a head in one piece and byte by byte: the answer is the same.
    fn check(head: &str, expected: Result<Progress, Denial>) {
        assert_eq!(HeadCheck::default().take(head.as_bytes()), expected, "{head:?}");
        let mut check = HeadCheck::default();
        let mut answer = Ok(Progress::Partial);
        for byte in head.as_bytes() {
            answer = check.take(&[*byte]);
            if answer.is_err() {
                break;
            }
        }
        assert_eq!(answer, expected, "{head:?}, byte by byte");
    }

    #[test]
    fn a_good_head_is_complete_at_its_empty_line() {
        check("GET /a?b HTTP/1.1\r\nHost: h\r\n\r\n", Ok(Progress::Complete));
        check("GET /a|\"{[^]}\"?`b HTTP/1.1\r\nHost: h\r\n\r\n", Ok(Progress::Complete));
        check(
            "GET /a HTTP/1.1\r\nHost: h:80\r\nX-Y:\t a\tb \r\nZ:\r\n\r\nGET rest is not looked at",
            Ok(Progress::Complete),
        );
        check("\r\nHEAD /ü HTTP/1.0\r\n\r\n", Ok(Progress::Complete));
        check("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", Ok(Progress::Complete));
        check("GET http://h/a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", Ok(Progress::Complete));
        check("POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", Ok(Progress::Complete));
        check("GET /a HTTP/1.1\r\nHost: h\r\n", Ok(Progress::Partial));
        check("GET /a HT", Ok(Progress::Partial));
    }

    #[test]
    fn a_refused_head_request_is_known_as_one() {
        for (head, is_head) in [
            ("HEAD /a#b HTTP/1.1\r\n", true),
            ("\r\nHEAD /a HTTP/1.1\r\nHost: a@b\r\n", true),
            ("GET /a HTTP/1.1\r\nHEAD : a\r\n", false),
            ("HEADS /a HTTP/3\r\n", false),
        ] {
            let mut check = HeadCheck::default();
            assert!(check.take(head.as_bytes()).is_err(), "{head:?}");
            assert_eq!(check.is_head(), is_head, "{head:?}");
        }
    }

    #[test]
    fn malformed_heads_are_refused() {
        for head in [
            "GET /a\r\n",
            "GET  /a HTTP/1.1\r\n",
            "GET /a  HTTP/1.1\r\n",
            "GET /a b HTTP/1.1\r\n",
            " GET /a HTTP/1.1\r\n",
            "GET /a HTTP/1.1 \r\n",
            "GET /a HTTP/1.2\r\n",
            "GET /a HTTP/2.0\r\n",
            "GET /a http/1.1\r\n",
            "GET /a#b HTTP/1.1\r\n",
            "GET /a\tb HTTP/1.1\r\n",
            "GET /a<b HTTP/1.1\r\n",
            "GET /a?b> HTTP/1.1\r\n",
            "GET /a`b HTTP/1.1\r\n",
            "GET /a?<b> HTTP/1.1\r\n",
            "GET http://a<b/ HTTP/1.1\r\n",
            "GET h:80 HTTP/1.1\r\n",
            "GET * HTTP/1.1\r\n",
            "G@T /a HTTP/1.1\r\n",
            "GET /a HTTP/1.1\n",
            "GET /a HTTP/1.1\r\nHost: h\n",
            "GET /a HTTP/1.1\r\nX: a\rb\r\n",
            "GET /a HTTP/1.1\r\nX: a\r\r\n",
            "GET /a HTTP/1.1\r\nX:\x0ca\r\n",
            "GET /a HTTP/1.1\r\nX: a\0b\r\n",
            "GET /a HTTP/1.1\r\nX: a\r\r\n",
            "GET /a HTTP/1.1\r\nX:\ra\r\n",
            "GET /a HTTP/1.1\r\nX:\r\r\n",
            "GET /a HTTP/1.1\r\nTransfer-Encoding: chunked\u{c}\r\n",
            "GET /a HTTP/1.1\r\r\n",
            "GET /a HTTP/1.1\r\n\r\r\n",
            "GET /a HTTP/1.1\r\nX: a\u{7f}\r\n",
            "GET /a HTTP/1.1\r\nX : a\r\n",
            "GET /a HTTP/1.1\r\nX\r\n",
            "GET /a HTTP/1.1\r\n: a\r\n",
            "GET /a HTTP/1.1\r\nX: a\r\n b\r\n",
            "GET /a HTTP/1.1\r\n\tX: a\r\n",
        ] {
            check(head, Err(MALFORMED));
        }
        let mut latin = HeadCheck::default();
        assert_eq!(latin.take(b"GET /\xff HTTP/1.1\r\n"), Err(MALFORMED));
    }

    #[test]
    fn ambiguous_framing_and_hosts_are_refused() {
        let check = |fields: &str, bad| {
            check(&format!("GET /a HTTP/1.1\r\n{fields}\r\n"), Err(Denial::BadRequest(bad)));
        };
        check("Content-Length: 1\r\nContent-Length: 1", BadRequest::Body);
        check("Content-Length: 1, 1", BadRequest::Body);
        check("Content-Length: -1", BadRequest::Body);
        check("content-length:", BadRequest::Body);
        check("Content-Length: 99999999999999999999", BadRequest::Body);
        check("Transfer-Encoding: gzip, chunked", BadRequest::Body);
        check("Transfer-Encoding: \x0bchunked", BadRequest::Malformed);
        check("Host: a\r\nHost: a", BadRequest::Host);
        check("Host: a@b", BadRequest::Host);
        let absolute = "GET http://a/b HTTP/1.1\r\nHost: b\r\n";
        assert_eq!(HeadCheck::default().take(absolute.as_bytes()), Err(Denial::BadRequest(BadRequest::Host)));
        let other_case = "GET http://A/b HTTP/1.1\r\nHost: a\r\n";
        assert_eq!(HeadCheck::default().take(other_case.as_bytes()), Err(Denial::BadRequest(BadRequest::Host)));
        check("Host:", BadRequest::Host);
        let old = "GET /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n";
        assert_eq!(HeadCheck::default().take(old.as_bytes()), Err(Denial::BadRequest(BadRequest::Body)));
    }

    #[test]
    fn size_is_bounded_before_a_line_ends() {
        let long = format!("GET /{}", "a".repeat(MAX_LINE_BYTES));
        check(&long, Err(Denial::UriTooLong));
        let wide = format!("GET /a HTTP/1.1\r\nX: {}", "a".repeat(MAX_HEADER_BYTES));
        check(&wide, Err(Denial::HeadersTooLarge));
        let many = format!("GET /a HTTP/1.1\r\n{}", "X: a\r\n".repeat(MAX_HEADER_FIELDS + 1));
        check(&many, Err(Denial::HeadersTooLarge));
        check("CONNECT h:80 HTTP/1.1\r\n", Err(Denial::MethodNotAllowed));
    }
}
