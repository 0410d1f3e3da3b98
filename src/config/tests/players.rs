//! Players' cookies and `[auth]`.

use super::*;

#[test]
fn clients_come_in_over_tls_or_not_whoever_ends_it() {
    let folder = folder();
    let cookies = |media: &str| {
        let config = parse_in(&folder, &SOUND.replace("[control]", &format!("{media}\n[control]"))).unwrap();
        config.keys.options.player_cookies.map(|cookies| cookies.scheme)
    };
    assert_eq!(cookies("behind_tls = false"), Some(Scheme::HTTP));
    assert_eq!(cookies("behind_tls = true"), Some(Scheme::HTTPS));
    assert_eq!(cookies("player_cookie_secs = 0\nbehind_tls = true"), None);
}

#[test]
fn mistakes_in_them_are_told() {
    let folder = folder();
    let check = |media: &str, more: &str, expected: &str| {
        let text = SOUND.replace("[control]", &format!("{media}\n[control]"));
        let errors = parse_in(&folder, &format!("{text}{more}\n")).unwrap_err().to_string();
        assert!(errors.contains(expected), "{media} {more}: {errors}");
    };
    check("behind_tls = 1", "", "media.behind_tls: must be true or false");
    check("player_cookie_secs = 86401", "", "media.player_cookie_secs: must be 0 to 86400 seconds");
    check("", "[auth]\nlisten = \"127.0.0.1:8081\"", "auth.listen: the address is taken by line 4");
    check("", "[metrics]\nlisten = \"127.0.0.1:8082\"\n[auth]", "auth.listen: the address is taken by line 22");
    check("", "[auth]\nlisten = \"nginx:8082\"", "auth.listen: must be an IP address and a port");
    check("", "[auth]\nprefix = \"/auth\"", "auth.prefix: unknown key; allowed: listen");
    let control_only = SOUND.replace("[media]\nlisten = [\"127.0.0.1:0\"]\n", "");
    let text = format!("roles = [\"control\"]\nfeed.url = \"redis://redis.example\"\n{control_only}[auth]\n");
    let errors = parse_in(&folder, &text).unwrap_err().to_string();
    assert!(errors.contains("auth: goes with a role that `roles` does not have"), "{errors}");
}
