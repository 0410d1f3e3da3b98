//! Secrets in memory: never printed, wiped when dropped.

use zeroize::Zeroizing;

/// Bytes that must not be shown: a MAC key, an API key, a storage secret.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes `bytes` as they are.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Secret {
        Secret(Zeroizing::new(bytes.into()))
    }

    /// Takes the content of a secret's file: without the one line break that editors and `openssl rand` leave
    /// at its end.
    pub fn from_file_content(mut content: Vec<u8>) -> Secret {
        if content.last() == Some(&b'\n') {
            content.pop();
            if content.last() == Some(&b'\r') {
                content.pop();
            }
        }
        Secret::new(content)
    }

    /// Whether somebody could guess it: fewer than eight different bytes make up the whole.
    pub fn is_trivial(&self) -> bool {
        let mut seen = [false; 256];
        for byte in self.expose() {
            seen[usize::from(*byte)] = true;
        }
        seen.into_iter().filter(|seen| *seen).count() < 8
    }

    /// The bytes, for the one place that computes with them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("..")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "..");
    }

    #[test]
    fn few_different_bytes_make_a_trivial_secret() {
        for (secret, trivial) in
            [("", true), ("aaaaaaaaaaaaaaaa", true), ("secretsecretsecret", true), ("12345678", false)]
        {
            assert_eq!(Secret::new(secret).is_trivial(), trivial, "{secret}");
        }
    }

    #[test]
    fn one_line_break_at_the_end_of_a_file_is_not_part_of_the_secret() {
        for (content, secret) in [("k\n", "k"), ("k\r\n", "k"), ("k", "k"), ("k\n\n", "k\n"), ("", ""), ("k\r", "k\r")]
        {
            assert_eq!(Secret::from_file_content(content.into()).expose(), secret.as_bytes());
        }
    }
}
