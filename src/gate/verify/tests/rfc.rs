//! The examples of RFC 7515, RFC 7519, RFC 7797 and RFC 8037.

use super::*;

/// The claims of RFC 7515 A.1 to A.3 and RFC 7519 §3.1, which have no `sub`.
const PAYLOAD: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

const A1: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

const A2: &str = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5\
    jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB\
    _eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIh\
    WkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";

const A3: &str = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

const A4: &str = "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwF\
    KdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn";

const RFC8037_A4: &str = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

/// The signature as such, and the token as a FAT when it stood (RFC 7519 §3.1: before 1300819380).
fn check(alg: Algorithm, compact: &str, payload: Result<&str, VerifyError>, fat: VerifyError) {
    let key = fixture::verifying_key(alg);
    let (mut header, mut scratch) = (Scratch::default(), Scratch::default());
    let found = Jws::split(compact).and_then(|jws| {
        let header = jws.header(&mut header)?;
        if !alg.is_named(&header.alg) {
            return Err(VerifyError::WrongAlgorithm);
        }
        jws.verified_by(&key)?;
        Ok(String::from_utf8(scratch.decode(jws.payload)?.to_vec()).expect("text"))
    });
    assert_eq!(found.as_deref().map_err(|error| *error), payload, "{compact}");
    let refused = verdict_at(&verifier(alg), compact, Duration::from_secs(1_300_819_300));
    assert_eq!(refused, Err(fat), "{compact}");
}

#[test]
fn the_examples_of_the_standards_verify_and_are_no_fats_without_a_sub() {
    use VerifyError::*;
    let claims = "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}";
    // RFC 7515 A.1, which is RFC 7519 §3.1 too.
    let a1 = format!("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{PAYLOAD}.{A1}");
    check(Algorithm::HS256, &a1, Ok(claims), Malformed);
    let a2 = format!("eyJhbGciOiJSUzI1NiJ9.{PAYLOAD}.{A2}");
    check(Algorithm::RS256, &a2, Ok(claims), Malformed);
    let a3 = format!("eyJhbGciOiJFUzI1NiJ9.{PAYLOAD}.{A3}");
    check(Algorithm::ES256, &a3, Ok(claims), Malformed);
    let ed25519 = format!("eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.{RFC8037_A4}");
    check(Algorithm::EdDSA, &ed25519, Ok("Example of Ed25519 signing"), Malformed);
    // RFC 7515 A.4: ES512 is not among the algorithms, so no key is bound to it.
    let a4 = format!("eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.{A4}");
    check(Algorithm::ES256, &a4, Err(WrongAlgorithm), WrongAlgorithm);
    // RFC 7515 A.5 and RFC 7519 §6.1: unsecured.
    let a5 = format!("eyJhbGciOiJub25lIn0.{PAYLOAD}.");
    check(Algorithm::HS256, &a5, Err(Unsigned), Unsigned);
    // Each of them under every other algorithm.
    for alg in Algorithm::ALL {
        for (of, compact) in [(Algorithm::HS256, &a1), (Algorithm::RS256, &a2), (Algorithm::ES256, &a3)] {
            if alg != of {
                check(alg, compact, Err(WrongAlgorithm), WrongAlgorithm);
            }
        }
    }
}

#[test]
fn what_is_not_compact_serialization_is_malformed() {
    // RFC 7515 A.6.4 and A.7: the general and the flattened JSON serialization.
    let flattened = format!(r#"{{"payload":"{PAYLOAD}","protected":"eyJhbGciOiJFUzI1NiJ9","signature":"{A3}"}}"#);
    let general = format!(
        r#"{{"payload":"{PAYLOAD}","signatures":[{{"protected":"eyJhbGciOiJFUzI1NiJ9","signature":"{A3}"}}]}}"#
    );
    // RFC 7515 A.8's detached content is (App. F) an empty middle part; RFC 7516 A.1 has five parts.
    let detached = format!("eyJhbGciOiJFUzI1NiJ9..{A3}");
    let encrypted = "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.OKOa.48V1_ALb6US04U3b.5eym8TW_c8SuK0lt.XFBoMYUZ";
    for compact in [flattened.as_str(), &general, &detached, encrypted] {
        check(Algorithm::ES256, compact, Err(VerifyError::Malformed), VerifyError::Malformed);
    }
}

#[test]
fn an_unencoded_payload_is_not_supported() {
    // RFC 7797 §4.2: {"alg":"HS256","b64":false,"crit":["b64"]} over "$.02".
    let compact =
        "eyJhbGciOiJIUzI1NiIsImI2NCI6ZmFsc2UsImNyaXQiOlsiYjY0Il19.$.02.A5dxf2s96_n5FLueVuW1Z_vh161FwXZC4YLPff6dmDY";
    check(Algorithm::HS256, compact, Err(VerifyError::Malformed), VerifyError::Malformed);
    let detached =
        "eyJhbGciOiJIUzI1NiIsImI2NCI6ZmFsc2UsImNyaXQiOlsiYjY0Il19.JC4wMg.A5dxf2s96_n5FLueVuW1Z_vh161FwXZC4YLPff6dmDY";
    check(Algorithm::HS256, detached, Err(VerifyError::UnsupportedHeader), VerifyError::UnsupportedHeader);
}
