//! `[prepend]`.

use super::*;
use crate::platform::{ForwardAuthOptions, PlatformOptions};

/// A section that is switched on, but for who knows visitors.
const ON: &str = "enabled = true\nmedia_hosts = [\"files.example\"]";

const COOKIE: &str =
    "session_cookie = \"s\"\n[[prepend.keys]]\nkid = \"s1\"\nalg = \"HS256\"\nsecret_file = \"api2.key\"";

fn load(section: &str) -> Result<Config, ConfigErrors> {
    parse_in(&folder(), &format!("{SOUND}[prepend]\n{section}\n"))
}

#[test]
fn it_is_off_unless_it_is_asked_for() {
    for section in ["", "enabled = false", "media_hosts = [\"Files.example/\"]\nlogin_url = \"x\"\nkey_file = \"none\""]
    {
        let config = load(section).unwrap();
        assert!(config.keys.options.prepend.is_none() && config.platform.is_none(), "{section}");
    }
}

#[test]
fn visitors_are_known_by_a_cookie_or_by_the_platforms_word() {
    let more = "hosts = [\"own.example\"]\nforeign_hosts = [\"http://cdn.lan:81\"]\nlogin_url = \"/login\"\n\
                key_file = \"large-enough.key\"\nsession_max_secs = 60\nleeway_secs = 0";
    let folder = folder();
    fs::write(folder.path().join("large-enough.key"), format!("{MARKER}-0123456789-another-one")).unwrap();
    let config = parse_in(&folder, &format!("{SOUND}[prepend]\n{ON}\n{more}\n{COOKIE}\n")).unwrap();
    assert!(!format!("{config:?}").contains(MARKER));
    let prepend = config.keys.options.prepend.unwrap();
    assert_eq!((prepend.hosts, prepend.origins.len()), (vec!["own.example".to_owned()], 2));
    let sessions = prepend.sessions.unwrap();
    assert_eq!((sessions.cookie.as_str(), sessions.keys[0].kid()), ("s", "s1"));
    assert_eq!((sessions.time.max_ttl, sessions.time.leeway), (Duration::from_secs(60), Duration::ZERO));
    assert!(prepend.login.is_some() && config.platform.is_none());

    let config = load(&format!("{ON}\nforward_auth_url = \"http://127.0.0.1:9091/verify?a=b\"")).unwrap();
    let prepend = config.keys.options.prepend.unwrap();
    assert!(prepend.sessions.is_none() && prepend.login.is_none());
    let (remembered, timeout) = (Duration::from_secs(5), Duration::from_secs(5));
    let url = "http://127.0.0.1:9091/verify?a=b".parse().unwrap();
    let user_header = http::HeaderName::from_static("remote-user");
    let expected = ForwardAuthOptions { url, user_header, remembered, timeout };
    let Some(PlatformOptions::ForwardAuth(options)) = config.platform else { panic!("no platform") };
    assert_eq!(options, expected);
    let more = "forward_auth_user_header = \"X-User\"\nforward_auth_cache_secs = 0";
    let config = load(&format!("{ON}\nforward_auth_url = \"https://a.example/\"\n{more}")).unwrap();
    let Some(PlatformOptions::ForwardAuth(options)) = config.platform else { panic!("no platform") };
    assert_eq!((options.user_header.as_str(), options.remembered), ("x-user", Duration::ZERO));
}

const OIDC: &str = "key_file = \"login.key\"\n[prepend.oidc]\nissuer = \"https://id.example/realm\"\nclient_id = \"gate\"\n\
                    client_secret_file = \"s3.key\"\nredirect_url = \"https://own.example/.mediagate/callback\"";

#[test]
fn the_gate_logs_in_by_itself_with_a_key_of_its_own() {
    let folder = folder();
    fs::write(folder.path().join("login.key"), format!("{MARKER}-0123456789-another-one")).unwrap();
    let load = |section: &str| parse_in(&folder, &format!("{SOUND}[prepend]\n{ON}\n{section}\n"));
    let config = load(OIDC).unwrap();
    assert!(!format!("{config:?}").contains(MARKER));
    let Some(PlatformOptions::Oidc(options)) = config.platform else { panic!("no login") };
    assert_eq!(
        (options.user_claim.as_str(), options.session_secs, options.apps),
        ("sub", 28_800, vec!["acme".to_owned()])
    );
    let prepend = config.keys.options.prepend.unwrap();
    assert_eq!(prepend.sessions.unwrap().cookie, "__Host-mediagate-session");
    assert!(prepend.login.is_some());
    for (from, to, key, message) in [
        ("key_file = \"login.key\"\n", "", "prepend.key_file", "is required with [prepend.oidc]"),
        ("login.key", "k1.key", "prepend.key_file", "no other use"),
        ("https://id.example/realm", "http://id.example", "prepend.oidc.issuer", "must be https://HOST"),
        ("https://own.example/.mediagate/callback", "https://own.example/cb", "prepend.oidc.redirect_url", "callback"),
        ("client_id = \"gate\"", "client_id = \"a b\"", "prepend.oidc.client_id", "visible ASCII"),
        ("client_id = \"gate\"\n", "", "prepend.oidc.client_id", "is required"),
        ("[prepend.oidc]", "login_url = \"/login\"\n[prepend.oidc]", "prepend.login_url", "which has its own"),
        ("[prepend.oidc]", "session_cookie = \"s\"\n[prepend.oidc]", "prepend.oidc", "take one of them out"),
        ("client_id", "scopes = 1\nclient_id", "prepend.oidc.scopes", "unknown key"),
    ] {
        let errors = load(&OIDC.replace(from, to)).expect_err(to).to_string();
        assert!(errors.contains(&format!("{key}:")) && errors.contains(message), "{to}: {errors}");
        assert!(!errors.contains(MARKER), "{errors}");
    }
}

#[test]
fn a_mistake_is_one_error_where_it_stands() {
    let check = |section: &str, key: &str, message: &str| {
        let errors = load(section).expect_err(section);
        let found: Vec<_> = errors.iter().collect();
        let [error] = &found[..] else { panic!("{section}:\n{errors}") };
        assert!(error.key == key && error.message.contains(message), "{section}:\n{errors}");
        assert!(!errors.to_string().contains(MARKER), "{section}:\n{errors}");
    };
    let forward = "forward_auth_url = \"http://a.example/\"";
    check(&format!("enabled = true\n{COOKIE}"), "prepend.media_hosts", "is required");
    check(ON, "prepend.session_cookie", "is required");
    check(&format!("{ON}\n{forward}\n{COOKIE}"), "prepend.forward_auth_url", "take one of them out");
    check(&format!("{ON}\nsession_cookie = \"s\""), "prepend.keys", "is required");
    for name in ["", "a b", "a=b", "fat", "ä"] {
        let section = format!("{ON}\n{}", COOKIE.replace("\"s\"", &format!("{name:?}")));
        check(&section, "prepend.session_cookie", "must be a cookie's name");
    }
    for host in
        ["Files.example", "https://files.example/", "https://u@files.example", "*.example", "files.example:443/"]
    {
        let section = format!("enabled = true\nforeign_hosts = [{host:?}]\n{forward}");
        check(&section, "prepend.foreign_hosts[0]", "as browsers write it");
    }
    let twice = format!("{ON}\nforeign_hosts = [\"files.example\"]\n{forward}");
    check(&twice, "prepend.foreign_hosts[0]", "the same origin is there before");
    check(&format!("{ON}\nhosts = [\"https://own\"]\n{forward}"), "prepend.hosts[0]", "must be a host name");
    for url in ["login", "//a.example/", "https://u@a.example/", "javascript:x", "https://a.example/#x"] {
        check(&format!("{ON}\nlogin_url = {url:?}\n{forward}"), "prepend.login_url", "must be https://HOST/PATH");
    }
    for url in ["a.example", "ftp://a.example/", "https://u:p@a.example/", "http://a.example/#x", "/verify"] {
        check(&format!("{ON}\nforward_auth_url = {url:?}"), "prepend.forward_auth_url", "must be http://HOST/PATH");
    }
    let section = format!("{ON}\n{forward}\nforward_auth_cache_secs = 61");
    check(&section, "prepend.forward_auth_cache_secs", "0 to 60 seconds");
    let section = format!("{ON}\n{forward}\nforward_auth_user_header = \"a b\"");
    check(&section, "prepend.forward_auth_user_header", "name of a header field");
    check(&format!("{ON}\nforward_auth_cache_secs = 1\n{COOKIE}"), "prepend.forward_auth_cache_secs", "goes with");
    check(&format!("{ON}\nsession_max_secs = 59\n{COOKIE}"), "prepend.session_max_secs", "60 to 31536000");
    check(&format!("{ON}\nkey_file = \"short.key\"\n{COOKIE}"), "prepend.key_file", "needs at least 32");
    check(&format!("{ON}\nkey_file = \"k1.key\"\n{COOKIE}"), "prepend.key_file", "no other use");
    check(&format!("{ON}\nkey_file = \"api2.key\"\n{COOKIE}"), "prepend.key_file", "no other use");
    check(&format!("{ON}\nkey_file = \"same.key\"\n{COOKIE}"), "prepend.key_file", "is an API key");
    let with_file = |file: &str| format!("{ON}\n{}", COOKIE.replace("api2.key", file));
    check(&with_file("k1-again.key"), "prepend.keys[0]", "verifies tokens of an app");
    check(&with_file("same.key"), "prepend.keys[0]", "is an API key");
    check(&with_file("short.key"), "prepend.keys[0].secret_file", "needs at least 32");
    let set = COOKIE.replace("kid = \"s1\"\nalg = \"HS256\"\nsecret_file = \"api2.key\"", "jwks_file = \"jwks.json\"");
    assert_eq!(load(&format!("{ON}\n{set}")).unwrap().keys.sets[0].app, "[prepend]");
    let of_app = with_key("jwks_file = \"jwks.json\"");
    let errors = parse_in(&folder(), &format!("{of_app}[prepend]\n{ON}\n{set}\n")).unwrap_err();
    assert!(errors.to_string().contains("prepend.keys[0]: the same JWK Set verifies tokens"), "{errors}");
    let served = SOUND.replace("[control]", "hosts = [\"media.example\"]\n[control]");
    let errors = parse_in(&folder(), &format!("{served}[prepend]\n{ON}\n{COOKIE}\n")).unwrap_err();
    assert!(errors.to_string().contains("prepend.media_hosts[0]: must have one of media.hosts"), "{errors}");
}
