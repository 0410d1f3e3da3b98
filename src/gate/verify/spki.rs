//! Numbers of a JWK (RFC 7518 §6) → a DER `SubjectPublicKeyInfo` (RFC 5280 §4.1.2.7, RFC 8410 §4).

/// `SEQUENCE { OID rsaEncryption, NULL }`.
const RSA: [u8; 15] = [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// All that comes before the point of a P-256 key, up to the mark of an uncompressed one.
const P256: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];

/// The same for P-384.
const P384: [u8; 24] = [
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00,
    0x22, 0x03, 0x62, 0x00, 0x04,
];

/// All that comes before an Ed25519 key.
const ED25519: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The longest modulus, in bytes: 8192 bits.
const MAX_MODULUS_BYTES: usize = 1024;

/// The longest public exponent, in bytes: more only costs time.
const MAX_EXPONENT_BYTES: usize = 5;

/// An RSA key of modulus and exponent, each of the fewest bytes (RFC 7518 §6.3.1). Whether they make a good key is for
/// the verifier to say.
pub(super) fn rsa(n: &[u8], e: &[u8]) -> Option<Vec<u8>> {
    let is_minimal = |number: &[u8]| number.first().is_some_and(|first| *first != 0);
    if !is_minimal(n) || n.len() > MAX_MODULUS_BYTES || !is_minimal(e) || e.len() > MAX_EXPONENT_BYTES || e == [1] {
        return None;
    }
    let key = tlv(0x30, &[integer(n), integer(e)].concat());
    Some(tlv(0x30, &[RSA.as_slice(), &tlv(0x03, &[&[0], key.as_slice()].concat())].concat()))
}

/// A P-256 key, of coordinates with all of their bytes (RFC 7518 §6.2.1).
pub(super) fn p256(x: &[u8], y: &[u8]) -> Option<Vec<u8>> {
    (x.len() == 32 && y.len() == 32).then(|| [P256.as_slice(), x, y].concat())
}

/// Likewise a P-384 key.
pub(super) fn p384(x: &[u8], y: &[u8]) -> Option<Vec<u8>> {
    (x.len() == 48 && y.len() == 48).then(|| [P384.as_slice(), x, y].concat())
}

/// An Ed25519 key (RFC 8037 §2).
pub(super) fn ed25519(x: &[u8]) -> Option<Vec<u8>> {
    (x.len() == 32).then(|| [ED25519.as_slice(), x].concat())
}

/// A positive `INTEGER`: its first bit is a sign in DER.
fn integer(number: &[u8]) -> Vec<u8> {
    let sign: &[u8] = if number[0] >= 0x80 { &[0] } else { &[] };
    tlv(0x02, &[sign, number].concat())
}

/// Tag, length, value; the value has less than 64 KiB.
fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(value.len()).expect("a key is bounded above").to_be_bytes();
    let length: &[u8] = match value.len() {
        0..0x80 => &[low],
        0x80..0x100 => &[0x81, low],
        _ => &[0x82, high, low],
    };
    [&[tag], length, value].concat()
}
