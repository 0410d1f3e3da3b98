//! The same tokens before another implementation: whatever is accepted here, `jsonwebtoken` at its strictest accepts
//! too and reads alike; whatever it accepts and is refused here breaks a rule that is stricter here, by name.
//!
//! `MEDIAGATE_CASES` says how many tokens, `MEDIAGATE_SEED` which.

use jsonwebtoken::{DecodingKey, Validation};
use serde_json::Value;

use super::*;

/// Both sides agree on what is past and what is future: the other one reads the clock itself, and these tests are
/// neither run before 2033-05-18 in its past nor after 2096 in its future.
const NOW: u64 = 2_000_000_000;
const PAST: u64 = 1_000_000_000;
const FUTURE: u64 = 4_000_000_000;

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    /// True once in `n`.
    fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// What only this gate refuses, of all that was done to a token.
#[derive(Clone, Debug)]
enum Stricter {
    Rules(Vec<VerifyError>),
    /// Bytes were changed at random before signing: there is no telling.
    Anything,
}

impl Stricter {
    fn add(&mut self, rule: VerifyError) {
        if let Stricter::Rules(rules) = self {
            rules.push(rule);
        }
    }

    fn names(&self, error: VerifyError) -> bool {
        match self {
            Stricter::Rules(rules) => rules.contains(&error),
            Stricter::Anything => true,
        }
    }
}

/// Members that may stand in a header, and the rule that refuses them here alone.
fn header_member(random: &mut Random) -> (&'static str, Option<VerifyError>) {
    use VerifyError::*;
    random.pick(&[
        (r#""typ":"JWT""#, None),
        (r#""typ":"jwt""#, None),
        (r#""typ":"at+jwt""#, Some(ForeignType)),
        (r#""kid":"k1""#, None),
        (r#""kid":"k2""#, Some(UnknownKey)),
        (r#""kid":"../k1""#, Some(UnknownKey)),
        (r#""jku":"https://evil.example""#, None),
        (r#""x5c":["MIIB"]"#, None),
        (r#""crit":["exp"]"#, Some(UnsupportedHeader)),
        (r#""b64":false"#, Some(UnsupportedHeader)),
        (r#""cty":"JWT""#, Some(UnsupportedHeader)),
        (r#""zip":"DEF""#, Some(UnsupportedHeader)),
        (r#""\u0061lg":"none""#, Some(Malformed)),
        (r#""more":"x""#, None),
    ])
}

/// The same for claims.
fn claim(random: &mut Random) -> (String, Option<VerifyError>) {
    use VerifyError::*;
    let time = random.pick(&[PAST, PAST, FUTURE]);
    random.pick(&[
        (format!(r#""nbf":{time}"#), None),
        (format!(r#""iat":{time}"#), (time > NOW).then_some(IssuedInFuture)),
        (r#""iat":"now""#.to_owned(), Some(Malformed)),
        (r#""iss":"https://b.example""#.to_owned(), None),
        (r#""iss":"https://evil.example""#.to_owned(), None),
        (r#""iss":["https://b.example"]"#.to_owned(), Some(Malformed)),
        (r#""aud":"media""#.to_owned(), None),
        (r#""aud":["other","media"]"#.to_owned(), None),
        (r#""aud":["other"]"#.to_owned(), None),
        (r#""aud":7"#.to_owned(), Some(Malformed)),
        (r#""uid":"alice""#.to_owned(), Some(ConflictingUid)),
        (r#""sid":"s1""#.to_owned(), None),
        (r#""sid":1"#.to_owned(), Some(Malformed)),
        (r#""app":"demo""#.to_owned(), None),
        (r#""app":["demo"]"#.to_owned(), Some(Malformed)),
        (r#""jti":"t1""#.to_owned(), None),
        (r#""jti":"""#.to_owned(), Some(Malformed)),
        (r#""path":"/demo/a/*""#.to_owned(), None),
        (r#""path":"/demo/../a""#.to_owned(), Some(Malformed)),
        (r#""x":{"y":[1,2.5,null,"z"]}"#.to_owned(), None),
        (r#""x":{"y":1,"y":2}"#.to_owned(), Some(Malformed)),
        (format!(r#""x":{}{}"#, "[".repeat(20), "]".repeat(20)), Some(Malformed)),
    ])
}

fn sub(random: &mut Random) -> (&'static str, Option<VerifyError>) {
    use VerifyError::*;
    random.pick(&[
        ("\"alice\"", None),
        ("\"Alice\"", None),
        ("\"bob@example\"", None),
        ("\"carol\"", None),
        ("\"Dave~\"", None),
        ("\"\\u0061lice\"", None),
        ("\"alice\"", None),
        ("\"\"", Some(BadUid)),
        ("\"a b\"", Some(BadUid)),
        ("\"文\"", Some(BadUid)),
        ("7", None),
        ("null", None),
    ])
}

/// A token of `alg`, and what was done to it.
fn generate(random: &mut Random, alg: Algorithm) -> (String, Stricter) {
    let mut stricter = Stricter::Rules(Vec::new());
    let mut add = |members: &mut Vec<String>, text: String, rule: Option<VerifyError>| {
        // A name that stands twice is refused here, and is one or the other elsewhere.
        let name = |text: &str| text.split(':').next().map(str::to_owned);
        let twice = members.iter().any(|member| name(member) == name(&text));
        rule.into_iter().chain(twice.then_some(VerifyError::Malformed)).for_each(|rule| stricter.add(rule));
        members.push(text);
    };

    let named = if random.once_in(30) { random.pick(&Algorithm::ALL) } else { alg };
    let mut header = vec![format!(r#""alg":"{named}""#)];
    for _ in 0..random.below(4) / 2 {
        let (text, rule) = header_member(random);
        add(&mut header, text.to_owned(), rule);
    }
    let mut claims = Vec::new();
    let (sub, rule) = sub(random);
    add(&mut claims, format!(r#""sub":{sub}"#), rule);
    let good_exp = !random.once_in(8);
    let exps: &[&str] =
        if good_exp { &["4000000000", "4000000000.5", "4e9"] } else { &["1e9", "\"4e9\"", "null", "-1"] };
    add(&mut claims, format!(r#""exp":{}"#, random.pick(exps)), None);
    if !random.once_in(4) {
        add(&mut claims, r#""iss":"https://b.example""#.to_owned(), None);
        add(&mut claims, r#""aud":"media""#.to_owned(), None);
    }
    for _ in 0..random.below(4) / 2 {
        let (text, rule) = claim(random);
        add(&mut claims, text, rule);
    }
    if random.once_in(20) {
        claims.remove(random.below(2));
    }
    if random.once_in(10) {
        claims.reverse();
    }

    let mut header = format!("{{{}}}", header.join(",")).into_bytes();
    let mut claims = format!("{{{}}}", claims.join(",")).into_bytes();
    if random.once_in(8) {
        // Its JSON, before it is signed.
        let part = if random.once_in(3) { &mut header } else { &mut claims };
        scramble(random, part, b"\"\\{}[],:0123456789eE.+- \nabcsupxn\xff");
        stricter = Stricter::Anything;
    }
    let input = format!("{}.{}", fixture::b64(&header), fixture::b64(&claims));
    let mut signature = fixture::sign(alg, input.as_bytes());
    if random.once_in(15) {
        scramble(random, &mut signature, &[0, 1, 0x7f, 0x80, 0xff]);
    }
    let mut compact = format!("{input}.{}", fixture::b64(signature)).into_bytes();
    if random.once_in(8) {
        // Its text, after it is signed.
        scramble(random, &mut compact, b"ABCabcxyz0189-_.=+/ \n");
    }
    (String::from_utf8(compact).expect("ASCII"), stricter)
}

/// Changes, inserts, removes, doubles or cuts a little of `bytes`.
fn scramble(random: &mut Random, bytes: &mut Vec<u8>, alphabet: &[u8]) {
    for _ in 0..=random.below(2) {
        if bytes.is_empty() {
            return;
        }
        let at = random.below(bytes.len());
        match random.below(6) {
            0 => bytes[at] = random.pick(alphabet),
            1 => bytes.insert(at, random.pick(alphabet)),
            2 => drop(bytes.remove(at)),
            3 => bytes.truncate(at),
            4 => {
                let end = (at + 1 + random.below(16)).min(bytes.len());
                let doubled = bytes[at..end].to_vec();
                bytes.splice(at..at, doubled);
            }
            _ => {
                let other = random.below(bytes.len());
                bytes.swap(at, other);
            }
        }
    }
}

/// The verifier of another implementation, asked for all that it can check.
struct Other {
    key: DecodingKey,
    validation: Validation,
}

impl Other {
    fn new(alg: Algorithm, issuer: Option<&str>, audience: Option<&str>) -> Other {
        let pem = || fixture::public_pem(alg).as_bytes();
        let key = match alg {
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => Ok(DecodingKey::from_secret(&fixture::SECRET)),
            Algorithm::RS256 | Algorithm::PS256 => DecodingKey::from_rsa_pem(pem()),
            Algorithm::ES256 | Algorithm::ES384 => DecodingKey::from_ec_pem(pem()),
            Algorithm::EdDSA => DecodingKey::from_ed_pem(pem()),
        };
        let mut validation = Validation::new(alg.name().parse().expect("an algorithm"));
        validation.leeway = 0;
        validation.validate_nbf = true;
        validation.validate_aud = audience.is_some();
        let mut required = vec!["exp", "sub"];
        if let Some(issuer) = issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        if let Some(audience) = audience {
            validation.set_audience(&[audience]);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        Other { key: key.expect("a key"), validation }
    }

    fn verify(&self, compact: &str) -> Option<Value> {
        jsonwebtoken::decode(compact, &self.key, &self.validation).ok().map(|token| token.claims)
    }
}

/// Whether both read the same claims.
fn agree(ours: &Claims<'_>, theirs: &Value) -> bool {
    let text = |name: &str| theirs[name].as_str();
    let time = |name: &str| theirs[name].as_f64();
    text("sub").map(str::to_ascii_lowercase).as_deref() == Some(ours.uid())
        && text("app") == ours.app.as_deref()
        && text("sid") == ours.sid.as_deref()
        && text("jti") == ours.jti.as_deref()
        && ours.issued_at() == time("iat").or(time("nbf")).map(|at| at as u64)
        && theirs.get("path").is_some() == ours.paths.is_some()
}

fn number_from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn another_implementation_accepts_whatever_is_accepted_here() {
    let rules = TimeRules { leeway: Duration::ZERO, max_ttl: Duration::MAX };
    let seed = number_from_env("MEDIAGATE_SEED", 7515);
    let mut random = Random(seed);
    let settings: Vec<_> = Algorithm::ALL
        .into_iter()
        .flat_map(|alg| [(alg, None, None), (alg, Some("https://b.example"), None), (alg, None, Some("media"))])
        .map(|(alg, issuer, audience)| {
            let mut key = fixture::verifying_key(alg);
            if let Some(issuer) = issuer {
                key = key.with_issuer(issuer);
            }
            if let Some(audience) = audience {
                key = key.with_audience(audience);
            }
            let verifier = Verifier::new(vec![(key, Exclusive::Yes)], rules, UidCase::Folded);
            (alg, verifier, Other::new(alg, issuer, audience))
        })
        .collect();

    let (mut both, mut neither, mut stricter_here) = (0, 0, Vec::new());
    for case in 0..number_from_env("MEDIAGATE_CASES", 12_000) {
        let (alg, verifier, other) = &settings[random.below(settings.len())];
        let (compact, stricter) = generate(&mut random, *alg);
        let mut scratch = Scratch::default();
        let ours = verifier.verify(&compact, &mut scratch, Duration::from_secs(NOW));
        let theirs = other.verify(&compact);
        let context = || format!("seed {seed} case {case}: {alg} {compact}\n{}", shown(&compact));
        match (ours, theirs) {
            (Ok(ours), Some(theirs)) => {
                assert!(agree(&ours, &theirs), "{}\n{theirs}", context());
                both += 1;
            }
            (Ok(_), None) => panic!("accepted here alone: {}", context()),
            (Err(error), Some(_)) => {
                assert!(stricter.names(error), "refused here alone as {error:?}, not {stricter:?}: {}", context());
                stricter_here.push(error);
            }
            (Err(_), None) => neither += 1,
        }
    }
    // It is no test unless every side of it has been seen.
    assert!(both > 1000 && neither > 1000, "{both} {neither}");
    for rule in [
        VerifyError::Malformed,
        VerifyError::UnsupportedHeader,
        VerifyError::ForeignType,
        VerifyError::UnknownKey,
        VerifyError::BadUid,
        VerifyError::ConflictingUid,
        VerifyError::IssuedInFuture,
    ] {
        assert!(stricter_here.contains(&rule), "{rule:?}");
    }
}

fn shown(compact: &str) -> String {
    unverified_payload(compact).unwrap_or_else(|error| error.to_string())
}
