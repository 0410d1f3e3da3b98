//! Keys that standards publish, private halves included, and tokens signed with them.

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair, RsaSignatureEncoding};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};

use crate::gate::{Algorithm, VerifyingKey};
use crate::secret::Secret;

/// The `kid` of every key here.
pub(crate) const KID: &str = "k1";

/// The key of RFC 7515 A.2.
pub(crate) const RSA_PUBLIC: &str = "\
    -----BEGIN PUBLIC KEY-----\n\
    MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAofgWCuLjybRlzo0tZWJj\n\
    NiuSfb4p4fAkd/wWJcyQoTbji9k0l8W26mPddxHmfHQp+Vaw+4qPCJrcS2mJPMEz\n\
    P1Pt0Bm4d4QlL+yRT+SFd2lZS+pCgNMsD1W/YpRPEwOWvG6b32690r2jZ47soMZo\n\
    9wGzjb/7OMg0LOL+bSf63kpaSHSXndS5z5rexMdbBYUsLA9e+KXBdQOS+UTo7WTB\n\
    EMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6/I5IhlJH7aGhyxX\n\
    FvUK+DWNmoudF8NAco9/h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXp\n\
    oQIDAQAB\n\
    -----END PUBLIC KEY-----\n\
    ";

/// The key of RFC 7515 A.3.
pub(crate) const P256_PUBLIC: &str = "\
    -----BEGIN PUBLIC KEY-----\n\
    MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n\
    6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n\
    -----END PUBLIC KEY-----\n\
    ";

/// The key of RFC 6979 A.2.6.
pub(crate) const P384_PUBLIC: &str = "\
    -----BEGIN PUBLIC KEY-----\n\
    MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAE7DpOQVtOGaRWhhgCn0J/pdqai8SukuAu\n\
    BqrlKGswDGTe+PDqkFWGYGSiVFFUgLwTgBXZty19VyROqO+awMYhiWcIpZNn+d+5\n\
    9UyoSz8cnbEoiyMcOuDU/nNE/SUzJkcg\n\
    -----END PUBLIC KEY-----\n\
    ";

/// The key of RFC 8037 A.1.
pub(crate) const ED25519_PUBLIC: &str = "\
    -----BEGIN PUBLIC KEY-----\n\
    MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n\
    -----END PUBLIC KEY-----\n\
    ";

/// PKCS #8, in base64; published with the RFC like the ones below.
const RSA_PRIVATE: &str = "\
    MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQCh+BYK4uPJtGXOjS1lYmM2K5J9vinh8CR3/BYlzJChNuOL2TSX\
    xbbqY913EeZ8dCn5VrD7io8ImtxLaYk8wTM/U+3QGbh3hCUv7JFP5IV3aVlL6kKA0ywPVb9ilE8TA5a8bpvfbr3SvaNnjuygxmj3\
    AbONv/s4yDQs4v5tJ/reSlpIdJed1LnPmt7Ex1sFhSwsD174pcF1A5L5ROjtZMEQxrZHYJqkeDrrnGya11UxMFBji4NmXG9veoKj\
    lnAqH2QbgtPr8jkiGUkftoaHLFcW9Qr4NY2ai50Xw0Byj3+H2JoY2PyrZ62EWQwuz3WTOTY8BwNNb2BvniHgVFbK5emhAgMBAAEC\
    ggEAEq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7/GQ5sLKMgvfTeXZx9SE+7YwVol2NXOoAJe\
    46sui395IW/GO+pWJ1O0BkTGoVEn2bKVRUCgu+GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M/V51gfpRLI9JYanr\
    C4D4qAdGcopV/0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl/x/jTj3ccPDVZFD9pIuhLhBOneuf\
    uBiB4cS98l2SR/RQyGWSeWjnczT0QU91p1DhOVRuOopznQKBgQDgHMQQ60imZV1URk0KpLttoLhyt3SmqdEf/kgHePDdtzEafpAu\
    +cS191R2JiuoF2yzWXnwFDcqGigp5BNr0AHQfD8/Lk8l1Mk09jxxCfui5nYooNyac8YFjm3vItzVCVDnEd3BbVWG8qf6deqElMGA\
    g+C2V0L4oNXnP7LZcPAZRwKBgQC5A8R+CZW2MvRTLLHzwZkUXV866cff7tx6kqa0finGG0KgeqlaZPxgCZnFp7AeAcCMtiynVlJ7\
    vMVgePsLq6XtON4tB5kP9jAPrq3rbAOal78eUH5OcED6eNuCV8ixEu1eWcPNCS/l1OW1EnXUEoEHKl54Xrrz2uNwkgMTP1FZ1wKB\
    gAcCn1dwJKufzBWQxWQp1vsM5fggqPN1qGb5y0MAk3g7/Ls5bkUp5u9SN0Ai3Ya6hNnvWJMb7sXQX6U/zyO2M/hTip7tUeh7CXgw\
    o59dkpN75gJLVds29+DAncu3KXU4f2Fa+7bLNrur53k8KwPOq2bbuTG69QtV7Jr5MR0AHWKNAoGBAIf/evpitUf+4JYbLpvNXWcY\
    052Mpz22aR84mY3nh3F2LF2mjMJDpTg7FmuyPcVw6EcGyoAe9fa65iNqCq+jdw6PVNGo2hxfjSiZ8IIzHdsPXI89//pMjZcQK9r+\
    CCoRjaZjOYiIDktVWZzmevJuv6WywUqd57LE3Zar3dLSIkx1AoGAIYd7DHOhrWvxkwPQsRM2tOgrjbcrfvtQJipd+DlcxyVuuM9s\
    QLdgjVk2oy26F0EmpScGLq2MowX7fhd/QJQ3ydy5cY7YIBi87w93IKLEdfnbJtoOPLUW0ITrJReOgo1cq9SbsxYawBgfp/gh6A56\
    03k2+ZQwVK0JKSHuLFkuQ3U=\
    ";

/// PKCS #8, in base64.
const P256_PRIVATE: &str = "\
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgjpsQnnGQmL+YBIffH1136cspYG6+0iY7X1fCE9+E9LKhRANCAAR/\
    zc4ncPbEXUGDy+5v20t7WAczNXvp7xO6z248e9FURcfxRM0bvZt+hyzf7bnuufSzaV1uqQskrYpGIyiFiOWt\
    ";

/// PKCS #8, in base64.
const P384_PRIVATE: &str = "\
    MIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDBrnT2tLhuMHAWxmHW2ZZ9N4jw7Znvyl7qapHdAeHE32JbVck5McKgl\
    +HLJ6mDS7fWhZANiAATsOk5BW04ZpFaGGAKfQn+l2pqLxK6S4C4GquUoazAMZN748OqQVYZgZKJUUVSAvBOAFdm3LX1XJE6o75rA\
    xiGJZwilk2f537n1TKhLPxydsSiLIxw64NT+c0T9JTMmRyA=\
    ";

/// PKCS #8, in base64.
const ED25519_PRIVATE: &str = "\
    MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\
    ";

/// The key of RFC 7515 A.1: 64 bytes, enough for every MAC.
pub(crate) static SECRET: LazyLock<Vec<u8>> = LazyLock::new(|| {
    URL_SAFE_NO_PAD
        .decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
        .expect("base64url")
});

static RSA: LazyLock<RsaKeyPair> = LazyLock::new(|| RsaKeyPair::from_pkcs8(&der(RSA_PRIVATE)).expect("a key"));
static ED25519: LazyLock<Ed25519KeyPair> =
    LazyLock::new(|| Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der(ED25519_PRIVATE)).expect("a key"));
static P256: LazyLock<EcdsaKeyPair> = LazyLock::new(|| {
    EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, &der(P256_PRIVATE)).expect("a key")
});
static P384: LazyLock<EcdsaKeyPair> = LazyLock::new(|| {
    EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, &der(P384_PRIVATE)).expect("a key")
});

fn der(base64: &str) -> Vec<u8> {
    STANDARD.decode(base64).expect("base64")
}

/// The public half for `alg`, as an operator configures it.
pub(crate) fn public_pem(alg: Algorithm) -> &'static str {
    match alg {
        Algorithm::RS256 | Algorithm::PS256 => RSA_PUBLIC,
        Algorithm::ES256 => P256_PUBLIC,
        Algorithm::ES384 => P384_PUBLIC,
        Algorithm::EdDSA => ED25519_PUBLIC,
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => unreachable!("a secret has no public half"),
    }
}

/// The key for `alg`, called [`KID`].
pub(crate) fn verifying_key(alg: Algorithm) -> VerifyingKey {
    key_called(KID, alg)
}

/// The key for `alg`, under another name.
pub(crate) fn key_called(kid: &str, alg: Algorithm) -> VerifyingKey {
    if alg.is_hmac() {
        return VerifyingKey::hmac(kid, alg, &Secret::new(SECRET.clone())).expect("a key");
    }
    VerifyingKey::public_pem(kid, alg, public_pem(alg).as_bytes()).expect("a key")
}

/// Signs `message` with the private half for `alg`.
pub(crate) fn sign(alg: Algorithm, message: &[u8]) -> Vec<u8> {
    let random = SystemRandom::new();
    match alg {
        Algorithm::HS256 => mac::<Hmac<sha2::Sha256>>(message),
        Algorithm::HS384 => mac::<Hmac<sha2::Sha384>>(message),
        Algorithm::HS512 => mac::<Hmac<sha2::Sha512>>(message),
        Algorithm::RS256 => sign_rsa(&signature::RSA_PKCS1_SHA256, message),
        Algorithm::PS256 => sign_rsa(&signature::RSA_PSS_SHA256, message),
        Algorithm::ES256 => P256.sign(&random, message).expect("a signature").as_ref().to_vec(),
        Algorithm::ES384 => P384.sign(&random, message).expect("a signature").as_ref().to_vec(),
        Algorithm::EdDSA => ED25519.sign(message).as_ref().to_vec(),
    }
}

fn mac<M: Mac + KeyInit>(message: &[u8]) -> Vec<u8> {
    let mac = <M as KeyInit>::new_from_slice(&SECRET).expect("HMAC takes a key of any length");
    mac.chain_update(message).finalize().into_bytes().to_vec()
}

/// Signs `message` with the RSA key, in any encoding.
pub(crate) fn sign_rsa(encoding: &'static RsaSignatureEncoding, message: &[u8]) -> Vec<u8> {
    let mut signature = vec![0; RSA.public_modulus_len()];
    RSA.sign(encoding, &SystemRandom::new(), message, &mut signature).expect("a signature");
    signature
}

/// base64url without padding.
pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token of header and payload as they are, properly signed for `alg`.
pub(crate) fn compact(alg: Algorithm, header: &str, payload: impl AsRef<[u8]>) -> String {
    let input = format!("{}.{}", b64(header), b64(payload));
    let signature = b64(sign(alg, input.as_bytes()));
    format!("{input}.{signature}")
}

/// A token with the plainest header that `alg` has.
pub(crate) fn token(alg: Algorithm, payload: &str) -> String {
    compact(alg, &format!(r#"{{"alg":"{alg}","kid":"{KID}"}}"#), payload)
}
