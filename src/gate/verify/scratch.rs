//! Where a part of a token is decoded, so that what it says can be borrowed from there.

use base64::Engine;
use base64::decoded_len_estimate;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::VerifyError;

/// Bytes that are decoded in place, on the stack of a decision: more than most tokens have.
const IN_PLACE: usize = 512;

/// A buffer that takes memory only for what is long.
pub(crate) struct Scratch {
    here: [u8; IN_PLACE],
    apart: Vec<u8>,
}

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch { here: [0; IN_PLACE], apart: Vec::new() }
    }
}

impl Scratch {
    /// Decodes strict base64url: no padding, no stray bits (RFC 4648 §3.5, RFC 7515 §2).
    pub(super) fn decode(&mut self, encoded: &str) -> Result<&[u8], VerifyError> {
        if decoded_len_estimate(encoded.len()) <= IN_PLACE {
            let len = URL_SAFE_NO_PAD.decode_slice(encoded, &mut self.here).map_err(|_| VerifyError::Malformed)?;
            return Ok(&self.here[..len]);
        }
        self.apart.clear();
        URL_SAFE_NO_PAD.decode_vec(encoded, &mut self.apart).map_err(|_| VerifyError::Malformed)?;
        Ok(&self.apart)
    }
}
