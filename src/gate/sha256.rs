//! SHA-256 (FIPS 180-4) and HMAC with it (RFC 2104) for messages that are in one piece, on the compression function
//! of `sha2`: what every message begins with is taken in once, and nothing is copied but a last block.

use sha2::block_api::compress256;

/// Bytes that are compressed at once.
const BLOCK: usize = 64;

/// Bytes of a hash.
const HASH: usize = 32;

/// The first state (FIPS 180-4 §5.3.3).
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// Returns the hash of `message`.
pub(super) fn sha256(message: &[u8]) -> [u8; HASH] {
    Begun { state: INITIAL, taken: 0 }.finish(message)
}

/// A hash whose first blocks were taken in.
#[derive(Clone, Copy)]
struct Begun {
    state: [u32; 8],
    /// Bytes so far: whole blocks.
    taken: u64,
}

impl Begun {
    /// Takes in the whole blocks at the start of `message`; returns what is left of it.
    fn take<'a>(&mut self, message: &'a [u8]) -> &'a [u8] {
        let (blocks, rest) = message.as_chunks::<BLOCK>();
        // Even of nothing, a call takes as long as a third of a block.
        if !blocks.is_empty() {
            compress256(&mut self.state, blocks);
        }
        self.taken += (message.len() - rest.len()) as u64;
        rest
    }

    /// Takes in the rest of the message, with its end (FIPS 180-4 §5.1.1).
    fn finish(mut self, message: &[u8]) -> [u8; HASH] {
        let rest = self.take(message);
        let bits = (self.taken + rest.len() as u64) * 8;
        let mut last = [0; 2 * BLOCK];
        last[..rest.len()].copy_from_slice(rest);
        last[rest.len()] = 0x80;
        // The length, in eight bytes, ends the first block that has room for it.
        let end = if rest.len() < BLOCK - 8 { BLOCK } else { 2 * BLOCK };
        last[end - 8..end].copy_from_slice(&bits.to_be_bytes());
        compress256(&mut self.state, last[..end].as_chunks().0);
        let mut hash = [0; HASH];
        for (bytes, word) in hash.as_chunks_mut().0.iter_mut().zip(self.state) {
            *bytes = word.to_be_bytes();
        }
        hash
    }
}

/// A key of HMAC-SHA-256, with its two pads taken in.
#[derive(Clone)]
pub(super) struct MacKey {
    inner: Begun,
    outer: Begun,
}

impl MacKey {
    /// Takes a key of any length.
    pub(super) fn new(key: &[u8]) -> MacKey {
        let mut block = [0; BLOCK];
        match block.get_mut(..key.len()) {
            Some(place) => place.copy_from_slice(key),
            None => block[..HASH].copy_from_slice(&sha256(key)),
        }
        let padded = |pad: u8| {
            let mut begun = Begun { state: INITIAL, taken: 0 };
            begun.take(&block.map(|byte| byte ^ pad));
            begun
        };
        let key = MacKey { inner: padded(0x36), outer: padded(0x5c) };
        zeroize::Zeroize::zeroize(&mut block);
        key
    }

    /// Returns the tag of `message`.
    pub(super) fn tag(&self, message: &[u8]) -> [u8; HASH] {
        self.outer.finish(&self.inner.finish(message))
    }

    /// Returns the key for messages that all begin with `prefix`, without its whole blocks, and what is left of it: they
    /// go on from there.
    pub(super) fn after<'a>(&self, prefix: &'a [u8]) -> (MacKey, &'a [u8]) {
        let mut key = self.clone();
        let rest = key.inner.take(prefix);
        (key, rest)
    }
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, KeyInit, Mac};
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    use super::*;

    fn check(key: &[u8], message: &[u8], at: usize) {
        let hash: [u8; HASH] = Sha256::digest(message).into();
        assert_eq!(sha256(message), hash);
        let mac = Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(message);
        let tag: [u8; HASH] = mac.finalize().into_bytes().into();
        assert_eq!(MacKey::new(key).tag(message), tag);
        let (prefix, end) = message.split_at(at);
        let key = MacKey::new(key);
        let (after, left) = key.after(prefix);
        assert_eq!(after.tag(&[left, end].concat()), tag);
    }

    #[test]
    fn every_length_around_a_block_is_hashed_as_sha2_does() {
        let bytes: Vec<u8> = (0..300).map(|n| (n * 7) as u8).collect();
        for len in 0..bytes.len() {
            check(&bytes[..len], &bytes[..len], len / 2);
            check(&bytes[..32], &bytes[..len], len);
        }
    }

    proptest! {
        #[test]
        fn any_message_is_hashed_as_sha2_does(
            key in prop::collection::vec(any::<u8>(), 0..200),
            message in prop::collection::vec(any::<u8>(), 0..2000),
            at in any::<prop::sample::Index>(),
        ) {
            check(&key, &message, at.index(message.len() + 1));
        }
    }
}
