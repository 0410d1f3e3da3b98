//! What travels through somebody else's hands and comes back: encrypted, authenticated, and only for a while.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::gate::sha256::MacKey;

/// A key for one purpose, made of a secret that may have others.
pub(crate) struct Seal {
    key: LessSafeKey,
    nonces: MacKey,
}

/// Bytes of the UNIX seconds that stand before what is sealed.
const TIME: usize = 8;

impl Seal {
    /// `secret` and `purpose` make the key: what is sealed for one purpose does not open for another.
    pub(crate) fn new(secret: &[u8], purpose: &str) -> Seal {
        let secret = MacKey::new(secret);
        let derived = |part: &str| secret.tag(format!("mediagate {purpose} {part}").as_bytes());
        let key = UnboundKey::new(&AES_256_GCM, &derived("key")).expect("AES-256 takes a key of 32 bytes");
        Seal { key: LessSafeKey::new(key), nonces: MacKey::new(&derived("nonce")) }
    }

    /// Returns `text` sealed until `until`, in UNIX seconds, in characters that a URL holds.
    ///
    /// The nonce is a MAC of what is sealed, so two texts share one as seldom as two MACs do, and no randomness is needed.
    pub(crate) fn close(&self, text: &str, until: u64) -> String {
        let mut bytes = [&until.to_be_bytes(), text.as_bytes()].concat();
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(&self.nonces.tag(&bytes)[..NONCE_LEN]);
        let sealed = self.key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut bytes);
        sealed.expect("far below 64 GiB");
        URL_SAFE_NO_PAD.encode([&nonce[..], &bytes].concat())
    }

    /// Returns what was sealed, and until when it holds; `None` where it was not sealed with this key.
    pub(crate) fn open(&self, sealed: &str) -> Option<(String, u64)> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, bytes) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut bytes = bytes.to_vec();
        let opened = self.key.open_in_place(nonce, Aad::empty(), &mut bytes).ok()?;
        let (until, text) = opened.split_first_chunk::<TIME>()?;
        Some((std::str::from_utf8(text).ok()?.to_owned(), u64::from_be_bytes(*until)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_its_key_alone_and_shows_nothing() {
        let seal = Seal::new(b"a secret", "way back");
        let sealed = seal.close("https://files.example/a?fat=t", 7);
        assert_eq!(seal.open(&sealed), Some(("https://files.example/a?fat=t".to_owned(), 7)));
        assert!(sealed.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
        assert_eq!(sealed, seal.close("https://files.example/a?fat=t", 7));
        assert_ne!(sealed[..16], seal.close("https://files.example/a?fat=t", 8)[..16]);
        assert_eq!(Seal::new(b"another", "way back").open(&sealed), None);
        assert_eq!(Seal::new(b"a secret", "login").open(&sealed), None);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(seal.open(std::str::from_utf8(&changed).unwrap()), None, "{at}");
        }
        for text in ["", "A", "AAAA", &sealed[..20], &format!("{sealed}="), "ä"] {
            assert_eq!(seal.open(text), None, "{text}");
        }
    }
}
