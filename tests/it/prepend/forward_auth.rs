//! Forward-auth: the platform is asked, seldom, and never told a token.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};

use super::*;

/// A platform whose answer can be changed: status line and fields.
struct Platform {
    origin: Origin,
    answer: Arc<Mutex<String>>,
}

impl Platform {
    fn start() -> Platform {
        let answer = Arc::new(Mutex::new("200 OK\r\nRemote-User: Alice".to_owned()));
        let current = Arc::clone(&answer);
        let origin = Origin::start(move |_, stream: &mut TcpStream| {
            let answer = current.lock().expect("no panic").clone();
            match answer.as_str() {
                "hang" => {}
                "close" => {
                    let _ = stream.shutdown(Shutdown::Both);
                }
                answer => {
                    let _ = stream.write_all(format!("HTTP/1.1 {answer}\r\nContent-Length: 2\r\n\r\nhi").as_bytes());
                }
            }
        });
        Platform { origin, answer }
    }

    fn says(&self, answer: &str) {
        answer.clone_into(&mut self.answer.lock().expect("no panic"));
    }

    fn gate(&self, storage: &Origin, more: &str) -> Mediagate {
        let url = format!("http://{}/verify?key=1", self.origin.address);
        gate(storage.address, storage.address, &format!("forward_auth_url = \"{url}\"\n{more}"))
    }
}

#[test]
fn the_platform_says_who_it_is_and_is_told_no_token() {
    let (storage, platform) = (storage(), Platform::start());
    let gate = platform.gate(&storage, "login_url = \"https://login.example/in\"");
    let token = fat("alice");
    let link = format!("{OBJECT}?fat={token}");
    for _ in 0..5 {
        assert_eq!(ask(&gate, &link, "sid=1; fav=2", &[]).status, 200);
    }
    assert_eq!(
        refusal(&ask(&gate, &format!("{OBJECT}?fat={}", fat("bob")), "sid=1; fav=2", &[])),
        refused(403, "ERR_OTHER_USER")
    );
    let [asked] = &platform.origin.requests()[..] else { panic!("asked more than once") };
    let asked = asked.to_lowercase();
    assert!(asked.starts_with("get /verify?key=1 http/1.1\r\n"), "{asked}");
    for field in [
        "x-forwarded-method: get\r\n",
        "x-forwarded-uri: /https://files.example/demo/media/a.jpg\r\n",
        &format!("x-forwarded-host: {}\r\n", gate.media),
        "cookie: sid=1; fav=2\r\n",
    ] {
        assert!(asked.contains(field), "{asked}");
    }
    assert!(!asked.contains(&token[..20].to_lowercase()) && !asked.contains("fat="), "{asked}");
    // Other cookies are somebody else's.
    platform.says("401 Unauthorized");
    assert_eq!(refusal(&ask(&gate, &link, "sid=2", &[])), refused(401, "ERR_SESSION_MISSING"));
    assert_eq!(ask(&gate, &link, "sid=1; fav=2", &[]).status, 200);
    assert_eq!(refusal(&ask(&gate, &link, "", &[])), refused(401, "ERR_SESSION_MISSING"));
    let sent = ask(&gate, &link, "", &PAGE);
    assert!(
        sent.header("location").is_some_and(|to| to.starts_with("https://login.example/in?return=%2F.mediagate%2F"))
    );
    platform.says("200 OK\r\nRemote-User: alice");
    let back =
        sent.header("location").expect("a location").split_once("return=").expect("a way back").1.replace("%2F", "/");
    assert_eq!(ask(&gate, &back, "sid=3", &PAGE).status, 200);
    let asked = platform.origin.requests().last().expect("a question").clone();
    assert!(asked.contains("/https://files.example/demo/media/a.jpg\r\n") && !asked.contains("continue"), "{asked}");
    gate.deactivate("alice");
    assert_eq!(refusal(&ask(&gate, &link, "sid=3", &[])), refused(403, "ERR_USER_DEACTIVATED"));
}

#[test]
fn only_a_place_at_the_login_is_passed_on_and_only_to_pages() {
    let (storage, platform) = (storage(), Platform::start());
    let gate = platform.gate(&storage, "login_url = \"https://login.example/in\"\nforward_auth_cache_secs = 0");
    let link = format!("{OBJECT}?fat={}", fat("alice"));
    for (offered, passes) in [
        ("https://login.example/sso?rd=x", true),
        ("https://login.example.evil.example/", false),
        ("https://evil.example/", false),
        ("http://login.example/", false),
        ("https://login.example@evil.example/", false),
        ("//login.example/", false),
        ("/in", false),
    ] {
        platform.says(&format!("302 Found\r\nLocation: {offered}"));
        let sent = ask(&gate, &link, "", &PAGE);
        let location = sent.header("location").expect("a location");
        let expected = if passes { offered } else { "https://login.example/in?return=" };
        assert!(sent.status == 303 && location.starts_with(expected), "{offered}: {location}");
        let refusal = ask(&gate, &link, "", &[]);
        assert_eq!((refusal.status, refusal.header("location")), (401, None));
    }
}

#[test]
fn without_an_answer_nobody_gets_in() {
    let (storage, platform) = (storage(), Platform::start());
    let gate = platform.gate(&storage, "login_url = \"/login\"\nforward_auth_user_header = \"X-User\"");
    let link = format!("{OBJECT}?fat={}", fat("alice"));
    for (at, answer) in [
        "500 Internal Server Error",
        "404 Not Found",
        "200 OK\r\nX-User: alice\r\nX-User: bob",
        "200 OK\r\nX-User: al\u{ef}ce",
        "close",
        "hang",
        "garbage",
    ]
    .into_iter()
    .enumerate()
    {
        platform.says(answer);
        for fields in [&[][..], &PAGE] {
            let answer = ask(&gate, &link, &format!("sid={at}"), fields);
            assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")), "{at}");
            assert!(answer.text().contains("ERR_PLATFORM_UNAVAILABLE"));
        }
    }
    // What was not an answer is not remembered. A platform may let in without saying whom.
    platform.says("204 No Content\r\nRemote-User: bob");
    assert_eq!(ask(&gate, &link, "sid=0", &[]).status, 200);
    platform.says("200 OK\r\nX-User:");
    assert_eq!(refusal(&ask(&gate, &link, "sid=8", &[])), refused(403, "ERR_OTHER_USER"));
    assert!(storage.requests().len() == 1 && !gate.log().contains("key=1"));
}

#[test]
fn many_who_wait_are_one_question() {
    let (storage, platform) = (storage(), Platform::start());
    let gate = platform.gate(&storage, "");
    let link = format!("{OBJECT}?fat={}", fat("alice"));
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..32).map(|_| scope.spawn(|| ask(&gate, &link, "sid=1", &[]).status)).collect();
        for status in asking {
            assert_eq!(status.join().expect("no panic"), 200);
        }
    });
    assert_eq!(platform.origin.requests().len(), 1);
}
