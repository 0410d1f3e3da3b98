//! Keys of apps: sets, Twilio's, and private ones beside public ones.

use super::pairs::pair;
use super::*;

const PAIRED: [Algorithm; 5] =
    [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA];

#[test]
fn a_private_key_is_the_other_half_of_the_public_one() {
    let folder = folder();
    let write = |name: &str, content: &str| fs::write(folder.path().join(name), content).unwrap();
    let key = |alg: Algorithm, private: &str| {
        let files = format!("public_key_file = \"public.pem\"\nprivate_key_file = \"{private}\"");
        parse_in(&folder, &with_key(&format!("kid = \"k2\"\nalg = \"{alg}\"\n{files}")))
    };
    write("nonsense.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    for alg in PAIRED {
        let (private, public) = pair(alg);
        write("own.pem", &private);
        write("public.pem", &public);
        write("stranger.pem", &pair(alg).0);
        write("other.pem", &pair(if alg == Algorithm::ES256 { Algorithm::ES384 } else { Algorithm::ES256 }).0);
        let config = key(alg, "own.pem").unwrap_or_else(|errors| panic!("{alg}: {errors}"));
        let summary = &config.apps[0].keys[0];
        assert!(summary.private_key.is_some() && summary.secret.is_none());
        assert!(!format!("{config:?}").contains("PRIVATE"));
        for (file, why) in [
            ("stranger.pem", "does not belong to the public key"),
            ("other.pem", "must hold a private key for"),
            ("public.pem", "must hold a private key for"),
            ("nonsense.pem", "must hold a private key for"),
            ("k1.key", "must hold a private key for"),
            ("missing.pem", "no such file"),
        ] {
            let errors = key(alg, file).expect_err(file).to_string();
            let place = "apps[0].keys[0].private_key_file";
            assert!(errors.contains(place) && errors.contains(why), "{alg} {file}: {errors}");
        }
    }
}

#[test]
fn where_there_is_no_public_key_there_is_no_private_one() {
    let folder = folder();
    fs::write(folder.path().join("own.pem"), pair(Algorithm::EdDSA).0).unwrap();
    for (key, why) in [
        ("kid = \"k1\"\nalg = \"HS256\"\nsecret_file = \"k1.key\"", "HS256 takes `secret_file` and not this"),
        ("kid = \"k1\"\nalg = \"EdDSA\"", "is required for EdDSA"),
        ("jwks_file = \"jwks.json\"", "the set has its own keys"),
    ] {
        let errors = parse_in(&folder, &with_key(&format!("{key}\nprivate_key_file = \"own.pem\""))).expect_err(key);
        assert!(errors.to_string().contains(why), "{key}: {errors}");
    }
}

#[test]
fn a_key_may_be_a_jwk_set_or_twilios() {
    let folder = folder();
    let key_sets = |key: &str| {
        let config = parse_in(&folder, &with_key(key)).unwrap_or_else(|errors| panic!("{errors}"));
        (config.keys.sets, config.apps.into_iter().next().unwrap().keys)
    };
    let url = "https://login.example/keys?tenant=1";
    let (sets, keys) = key_sets(&format!("jwks_url = \"{url}\""));
    let source = KeySetSource::url(url).unwrap();
    let (app, refresh) = ("acme".to_owned(), Duration::from_secs(300));
    let plain = KeySetOptions { app, source, alg: None, issuer: None, audience: None, refresh };
    assert_eq!((sets.as_slice(), keys.len()), ([plain.clone()].as_slice(), 0));
    assert_eq!(sets[0].source.to_string(), "https://login.example/keys", "a query may hold a secret");
    let more = "alg = \"PS256\"\nissuer = \"i\"\naudience = \"a\"\njwks_refresh_secs = 60\nprofile = \"fat\"";
    let (sets, _) = key_sets(&format!("jwks_url = \"{url}\"\n{more}"));
    let (issuer, audience) = (Some("i".to_owned()), Some("a".to_owned()));
    let refresh = Duration::from_secs(60);
    assert_eq!(sets, [KeySetOptions { alg: Some(Algorithm::PS256), issuer, audience, refresh, ..plain }]);
    let (sets, _) = key_sets("jwks_file = \"jwks.json\"");
    assert_eq!(sets[0].source, KeySetSource::File(folder.path().join("jwks.json")));

    let (sets, keys) = key_sets("kid = \"SK1\"\nalg = \"HS512\"\nprofile = \"twilio\"\nsecret_file = \"k1.key\"");
    assert!(sets.is_empty());
    assert_eq!((keys[0].kid.as_str(), keys[0].alg, keys[0].profile), ("SK1", Algorithm::HS512, Profile::Twilio));
}
