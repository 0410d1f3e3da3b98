//! OpenID Connect: the gate logs visitors in by itself, each login in the browser that began it.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::*;

const LOGIN: &str = "__Host-mediagate-login";
const SESSION: &str = "__Host-mediagate-session";

/// The own host as the provider knows it: where tests are, https ends before the gate.
const OWN: &str = "https://own.example/.mediagate/callback";

/// A small OpenID provider: discovery, keys and tokens. Who logs in is the test's to say.
struct Provider {
    issuer: String,
    key: SigningKey,
    /// For each code the challenge of its login and the ID token that it gets.
    codes: Arc<Mutex<HashMap<String, (String, String)>>>,
}

/// A login that a browser has begun.
struct Begun {
    cookie: String,
    parameters: HashMap<String, String>,
}

impl Provider {
    fn start() -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let issuer = format!("http://{}", listener.local_addr().expect("an address"));
        let key = SigningKey::new("p1");
        let codes: Arc<Mutex<HashMap<String, (String, String)>>> = Arc::default();
        let (about, jwks) = (
            json!({
                "issuer": issuer,
                "authorization_endpoint": format!("{issuer}/authorize?realm=a"),
                "token_endpoint": format!("{issuer}/token"),
                "jwks_uri": format!("{issuer}/jwks"),
            })
            .to_string(),
            json!({ "keys": [key.jwk()] }).to_string(),
        );
        let known = Arc::clone(&codes);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (about, jwks, known) = (about.clone(), jwks.clone(), Arc::clone(&known));
                std::thread::spawn(move || serve(stream, &about, &jwks, &known));
            }
        });
        Provider { issuer, key, codes }
    }

    fn gate(&self, storage: &Origin) -> Mediagate {
        let oidc = format!(
            "key_file = \"presigned.key\"\n[prepend.oidc]\nissuer = \"{}\"\nclient_id = \"the gate\"\n\
             client_secret_file = \"s3.key\"\nredirect_url = \"{OWN}\"\nuser_claim = \"preferred_username\"",
            self.issuer
        );
        gate(storage.address, storage.address, &oidc.replace("the gate", "gate"))
    }

    /// Claims of an ID token for `begun`.
    fn claims(&self, begun: &Begun, user: &str) -> Value {
        json!({
            "iss": self.issuer, "aud": "gate", "sub": "0001", "preferred_username": user, "sid": format!("p-{user}"),
            "nonce": begun.parameters["nonce"], "iat": now(), "exp": now() + 300,
        })
    }

    /// A code that `token` is had for, by who began `begun`.
    fn code(&self, begun: &Begun, token: String) -> String {
        let challenge = begun.parameters["code_challenge"].clone();
        let mut codes = self.codes.lock().expect("no panic");
        let code = format!("code-{}", codes.len());
        codes.insert(code.clone(), (challenge, token));
        code
    }

    /// Goes through a whole login; returns the answer to the callback.
    fn log_in(&self, gate: &Mediagate, back: &str, user: &str) -> Response {
        let begun = begin(gate, back);
        let code = self.code(&begun, self.key.sign(&self.claims(&begun, user)));
        callback(gate, &code, &begun.parameters["state"], &begun.cookie)
    }
}

fn serve(stream: TcpStream, about: &str, jwks: &str, codes: &Mutex<HashMap<String, (String, String)>>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
    }
    let head = head.to_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).expect("a body");
    let form: HashMap<String, String> = form_urlencoded::parse(&body).into_owned().collect();
    let (status, body) = match head.split(' ').nth(1) {
        Some("/.well-known/openid-configuration") => ("200 OK", about.to_owned()),
        Some("/jwks") => ("200 OK", jwks.to_owned()),
        Some("/token") => {
            // gate:secret-access-key
            let is_client = head.contains("authorization: basic z2f0ztpzzwnyzxqtywnjzxnzlwtleq==");
            let grant = form["grant_type"] == "authorization_code" && form["redirect_uri"] == OWN;
            let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&form["code_verifier"]));
            match codes.lock().expect("no panic").remove(&form["code"]) {
                Some((wanted, token)) if is_client && grant && challenge == wanted => {
                    ("200 OK", json!({ "id_token": token, "access_token": "x", "token_type": "Bearer" }).to_string())
                }
                _ => ("400 Bad Request", json!({ "error": "invalid_grant" }).to_string()),
            }
        }
        _ => ("404 Not Found", String::new()),
    };
    let length = body.len();
    let mut stream = stream;
    let _ = stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}").as_bytes());
}

/// The value of a cookie that `response` sets, and its attributes.
fn set_cookie(response: &Response, name: &str) -> Option<(String, String)> {
    let fields = response.headers.iter().filter(|(field, _)| field.eq_ignore_ascii_case("set-cookie"));
    let value = fields.map(|(_, value)| value).find_map(|value| value.strip_prefix(name)?.strip_prefix('='))?;
    let (value, attributes) = value.split_once("; ")?;
    Some((value.to_owned(), attributes.to_owned()))
}

fn begin(gate: &Mediagate, back: &str) -> Begun {
    let sent = ask(gate, &format!("/.mediagate/login?return={}", back.replace('/', "%2F")), "", &PAGE);
    let location = sent.header("location").unwrap_or_else(|| panic!("{sent:?}"));
    let (place, query) = location.split_once("?realm=a&").expect("the provider's page");
    assert!(sent.status == 303 && place.ends_with("/authorize"), "{location}");
    let (value, attributes) = set_cookie(&sent, LOGIN).expect("a cookie");
    assert_eq!(attributes, "Path=/; Max-Age=600; Secure; HttpOnly; SameSite=Lax");
    let parameters = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    Begun { cookie: format!("{LOGIN}={value}"), parameters }
}

fn callback(gate: &Mediagate, code: &str, state: &str, cookie: &str) -> Response {
    ask(gate, &format!("/.mediagate/callback?code={code}&state={state}"), cookie, &PAGE)
}

fn post(gate: &Mediagate, path: &str, cookie: &str, body: &str) -> Response {
    let fields =
        format!("Host: own.example\r\nConnection: close\r\nCookie: {cookie}\r\nContent-Length: {}", body.len());
    let form = "Content-Type: application/x-www-form-urlencoded";
    raw(gate.media, format!("POST {path} HTTP/1.1\r\n{fields}\r\n{form}\r\n\r\n{body}"))
}

fn status(response: &Response) -> (u16, bool) {
    (response.status, set_cookie(response, SESSION).is_some())
}

#[test]
fn a_login_opens_the_link_and_ends_with_a_logout() {
    let (storage, provider) = (storage(), Provider::start());
    let gate = provider.gate(&storage);
    let link = format!("{OBJECT}?fat={}", fat("alice"));
    let sent = ask(&gate, &link, "", &PAGE);
    let back =
        sent.header("location").and_then(|to| to.strip_prefix("/.mediagate/login?return=")).expect("the own login");
    let back = back.replace("%2F", "/");
    let begun = begin(&gate, &back);
    let of = |name: &str| begun.parameters[name].as_str();
    assert_eq!((of("response_type"), of("client_id"), of("redirect_uri")), ("code", "gate", OWN));
    assert!(of("scope").starts_with("openid") && of("code_challenge_method") == "S256");
    assert!(of("state").len() >= 43 && of("nonce").len() >= 43 && of("state") != of("nonce"));

    let answer = provider.log_in(&gate, &back, "Alice");
    assert_eq!((answer.status, answer.header("location")), (303, Some(back.as_str())));
    assert_eq!(set_cookie(&answer, LOGIN).expect("it is taken away").0, "");
    let (session, attributes) = set_cookie(&answer, SESSION).expect("a session");
    assert_eq!(attributes, "Path=/; Max-Age=28800; Secure; HttpOnly; SameSite=Lax");
    let cookie = format!("{SESSION}={session}");
    assert_eq!(ask(&gate, &back, &cookie, &PAGE).text(), "hello");
    assert_eq!(ask(&gate, &link, &cookie, &[]).status, 200);
    assert_eq!(
        refusal(&ask(&gate, &format!("{OBJECT}?fat={}", fat("bob")), &cookie, &[])),
        refused(403, "ERR_OTHER_USER")
    );
    // A session is no token, and what a browser had before a login is not what it has afterwards.
    assert_eq!(refusal(&ask(&gate, &format!("{OBJECT}?fat={session}"), &cookie, &[])), refused(401, "ERR_FAT_INVALID"));
    let again = set_cookie(&provider.log_in(&gate, &back, "Alice"), SESSION).expect("a session").0;
    assert_ne!(again, session);

    assert_eq!(refusal(&post(&gate, "/.mediagate/logout", "", "")), refused(401, "ERR_SESSION_MISSING"));
    assert_eq!(ask(&gate, "/.mediagate/logout", &cookie, &[]).status, 404);
    assert_eq!(ask(&gate, &link, &cookie, &[]).status, 200);
    let out = post(&gate, "/.mediagate/logout", &cookie, "");
    assert_eq!((out.status, set_cookie(&out, SESSION).expect("it is taken away").0.as_str()), (204, ""));
    eventually("the session has ended", || ask(&gate, &link, &cookie, &[]).status == 401);
    assert_eq!(refusal(&ask(&gate, &link, &cookie, &[])), refused(401, "ERR_SESSION_INVALID"));
    assert_eq!(ask(&gate, &link, &cookie, &PAGE).status, 303);
    // The next login is another session, also where the provider's own goes on.
    assert_eq!(ask(&gate, &link, &format!("{SESSION}={again}"), &[]).status, 200);
    assert!(!gate.log().contains(&session[..40]) && !gate.log().contains("code-"));
}

#[test]
fn nobody_is_logged_in_by_somebody_elses_link() {
    let (storage, provider) = (storage(), Provider::start());
    let gate = provider.gate(&storage);
    let failed = |answer: &Response, what: &str| {
        assert_eq!(status(answer), (403, false), "{what}");
        assert!(answer.text().contains("ERR_LOGIN_FAILED"), "{what}");
    };
    let sound = |begun: &Begun| provider.code(begun, provider.key.sign(&provider.claims(begun, "mallory")));
    // The attacker's code and state in the victim's browser: without a login begun, or with one of its own.
    let (attacker, victim) = (begin(&gate, "/"), begin(&gate, "/"));
    let state = attacker.parameters["state"].clone();
    failed(&callback(&gate, &sound(&attacker), &state, ""), "no login begun");
    failed(&callback(&gate, &sound(&attacker), &state, &victim.cookie), "another login");
    failed(&callback(&gate, &sound(&attacker), &victim.parameters["state"], &victim.cookie), "another's code");
    failed(
        &callback(&gate, &sound(&attacker), &state, &format!("{}; {}", attacker.cookie, victim.cookie)),
        "two cookies",
    );
    failed(&callback(&gate, &sound(&attacker), "", &attacker.cookie), "no state");
    failed(&callback(&gate, "", &state, &attacker.cookie), "no code");
    let (before, after) = attacker.cookie.split_at(60);
    let changed = format!("{before}{}{}", if after.starts_with('A') { 'B' } else { 'A' }, &after[1..]);
    failed(&callback(&gate, &sound(&attacker), &state, &changed), "a changed cookie");
    let twice = format!("/.mediagate/callback?code=a&code=b&state={state}");
    failed(&ask(&gate, &twice, &attacker.cookie, &PAGE), "two codes");
    let of_another = format!("/.mediagate/callback?code=a&state={state}&iss=https://evil.example");
    failed(&ask(&gate, &of_another, &attacker.cookie, &PAGE), "another issuer's answer");
    failed(&ask(&gate, "/.mediagate/callback?error=access_denied", &attacker.cookie, &PAGE), "an error");
    // A code is good once.
    let code = sound(&victim);
    assert_eq!(status(&callback(&gate, &code, &victim.parameters["state"], &victim.cookie)), (303, true));
    failed(&callback(&gate, &code, &victim.parameters["state"], &victim.cookie), "a code again");
    // Whatever a link says, the way back stays here.
    for back in [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "/.mediagate/continue/..%2f..",
        "javascript:x",
        "",
    ] {
        let answer = provider.log_in(&gate, back, "alice");
        assert_eq!((answer.status, answer.header("location")), (303, Some("/")), "{back}");
    }
}

#[test]
fn only_an_id_token_for_this_login_makes_a_session() {
    let (storage, provider) = (storage(), Provider::start());
    let gate = provider.gate(&storage);
    let stranger = SigningKey::new("p1");
    let check = |what: &str, key: &SigningKey, change: &dyn Fn(&mut Value), expected: (u16, bool)| {
        let begun = begin(&gate, "/");
        let mut claims = provider.claims(&begun, "alice");
        change(&mut claims);
        let code = provider.code(&begun, key.sign(&claims));
        let answer = callback(&gate, &code, &begun.parameters["state"], &begun.cookie);
        assert_eq!(status(&answer), expected, "{what}: {}", answer.text());
    };
    let key = &provider.key;
    check("sound", key, &|_| {}, (303, true));
    check("for several", key, &|claims| claims["aud"] = json!(["gate", "other"]), (303, true));
    let failed = (403, false);
    check("another key", &stranger, &|_| {}, failed);
    check("an unknown key", &SigningKey::new("p2"), &|_| {}, failed);
    check("another issuer", key, &|claims| claims["iss"] = json!("https://evil.example"), failed);
    check("another audience", key, &|claims| claims["aud"] = json!("other"), failed);
    check("another party", key, &|claims| claims["azp"] = json!("other"), failed);
    check("another nonce", key, &|claims| claims["nonce"] = json!("x"), failed);
    check("no nonce", key, &|claims| drop(claims.as_object_mut().expect("an object").remove("nonce")), failed);
    check("expired", key, &|claims| claims["exp"] = json!(now() - 60), failed);
    check("no end", key, &|claims| drop(claims.as_object_mut().expect("an object").remove("exp")), failed);
    check("from the future", key, &|claims| claims["iat"] = json!(now() + 300), failed);
    check("no uid", key, &|claims| claims["preferred_username"] = json!("a b"), failed);
    check("nobody", key, &|claims| claims["preferred_username"] = json!(7), failed);
    // An ID token itself is no session.
    let begun = begin(&gate, "/");
    let id_token = format!("{SESSION}={}", key.sign(&provider.claims(&begun, "alice")));
    let link = format!("{OBJECT}?fat={}", fat("alice"));
    assert_eq!(refusal(&ask(&gate, &link, &id_token, &[])), refused(401, "ERR_SESSION_INVALID"));
}

#[test]
fn the_provider_ends_a_session_by_the_back_channel() {
    let (storage, provider) = (storage(), Provider::start());
    let gate = provider.gate(&storage);
    let [alice, bob] = ["alice", "bob"].map(|user| {
        let session = set_cookie(&provider.log_in(&gate, "/", user), SESSION).expect("a session").0;
        (format!("{OBJECT}?fat={}", fat(user)), format!("{SESSION}={session}"))
    });
    let open = |(link, cookie): &(String, String)| ask(&gate, link, cookie, &[]).status;
    assert_eq!((open(&alice), open(&bob)), (200, 200));
    let events = json!({ "http://schemas.openid.net/event/backchannel-logout": {} });
    let sound = json!({
        "iss": provider.issuer, "aud": "gate", "iat": now(), "exp": now() + 60, "jti": "1", "sid": "p-alice", "events": events,
    });
    let tell = |token: &str| post(&gate, "/.mediagate/backchannel-logout", "", &format!("logout_token={token}"));
    let with = |name: &str, value: Value| {
        let mut claims = sound.clone();
        claims[name] = value;
        claims
    };
    for claims in [
        with("events", json!({})),
        with("nonce", json!("x")),
        with("aud", json!("other")),
        with("iss", json!("https://evil.example")),
        with("exp", json!(now() - 60)),
        with("sid", Value::Null),
    ] {
        assert_eq!(refusal(&tell(&provider.key.sign(&claims))), refused(403, "ERR_LOGIN_FAILED"), "{claims}");
    }
    assert_eq!(tell(&SigningKey::new("p1").sign(&sound)).status, 403);
    assert_eq!(tell("").status, 403);
    assert_eq!(post(&gate, "/.mediagate/backchannel-logout", "", &"x".repeat(20_000)).status, 400);
    assert_eq!((open(&alice), open(&bob)), (200, 200));
    assert_eq!(tell(&provider.key.sign(&sound)).status, 204);
    eventually("the session has ended", || open(&alice) == 401);
    assert_eq!(open(&bob), 200);
    // Another login of hers is another matter once the provider has another session for it.
    let begun = begin(&gate, "/");
    let mut claims = provider.claims(&begun, "alice");
    claims["sid"] = json!("p-alice-2");
    let code = provider.code(&begun, provider.key.sign(&claims));
    let session =
        set_cookie(&callback(&gate, &code, &begun.parameters["state"], &begun.cookie), SESSION).expect("a session").0;
    assert_eq!(open(&(alice.0.clone(), format!("{SESSION}={session}"))), 200);
}

#[test]
fn without_the_provider_nobody_gets_in() {
    let storage = storage();
    let nowhere =
        Provider { issuer: "http://127.0.0.1:1".to_owned(), key: SigningKey::new("p1"), codes: Arc::default() };
    let gate = nowhere.gate(&storage);
    let answer = ask(&gate, "/.mediagate/login", "", &PAGE);
    assert_eq!((answer.status, answer.header("retry-after"), answer.header("location")), (503, Some("5"), None));
    assert_eq!(ask(&gate, &format!("{OBJECT}?fat={}", fat("alice")), "", &[]).status, 401);
}
