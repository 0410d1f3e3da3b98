//! What is kept, for how long, and what it answers.

use http::{HeaderName, Method};

use super::*;

const MODIFIED: &str = "Fri, 20 Nov 2026 09:11:40 GMT";

const POLICY: CachePolicy = CachePolicy { ttl: Duration::from_secs(60), max_object_bytes: 1000 };

/// The fields of `lines`, each `name: value`, on top of those of a small object.
fn fields(lines: &[&str]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    let own = [
        "content-length: 10",
        "etag: \"a\"",
        "last-modified: Fri, 20 Nov 2026 09:11:40 GMT",
        "content-type: image/png",
    ];
    let replaced = |line: &&str| !lines.iter().any(|other| other.split(':').next() == line.split(':').next());
    for line in own.iter().copied().filter(replaced).chain(lines.iter().copied()) {
        let (name, value) = line.split_once(':').unwrap();
        if !value.trim().is_empty() {
            fields.append(name.parse::<HeaderName>().unwrap(), value.trim().parse().unwrap());
        }
    }
    fields
}

fn head(lines: &[&str]) -> CopyHead {
    match POLICY.verdict(200, &fields(lines)) {
        Verdict::Keep { head, .. } => *head,
        Verdict::Pass(_) => panic!("not kept: {lines:?}"),
    }
}

#[test]
fn only_whole_good_answers_that_may_be_shared_are_kept() {
    let check = |status: u16, lines: &[&str], expected: Option<u64>| {
        let found = match POLICY.verdict(status, &fields(lines)) {
            Verdict::Keep { head, fresh_for } => {
                assert_eq!(head.len(), length(&fields(lines)).unwrap());
                Some(fresh_for.as_secs())
            }
            Verdict::Pass(pause) => {
                assert!(pause <= POLICY.ttl && !pause.is_zero());
                None
            }
        };
        assert_eq!(found, expected, "{status} {lines:?}");
    };
    check(200, &[], Some(60));
    check(200, &["content-length: 1000"], Some(60));
    check(200, &["content-length: 0"], Some(60));
    check(200, &["content-length: 1001"], None);
    check(200, &["content-length:"], None);
    check(200, &["content-length: +10"], None);
    check(200, &["content-length: 10", "content-length: 10"], None);
    check(200, &["transfer-encoding: chunked"], None);
    check(200, &["transfer-encoding: gzip"], None);
    check(200, &["content-range: bytes 0-9/10"], None);
    for status in [201, 204, 206, 301, 304, 400, 403, 404, 412, 416, 429, 500, 503] {
        check(status, &[], None);
    }
    for control in ["no-store", "private", "Private", "max-age=9, no-store", "private=\"a, b\"", "PRIVATE , max-age=9"]
    {
        check(200, &[&format!("cache-control: {control}")], None);
    }
    for (control, secs) in [
        ("max-age=10", 10),
        ("max-age=\"10\"", 10),
        ("max-age=100", 60),
        ("public, max-age=10", 10),
        ("max-age=10, s-maxage=20", 20),
        ("max-age=20, max-age=10", 10),
        ("max-age=x", 0),
        ("max-age", 0),
        ("max-age=99999999999999999999999", 60),
        ("no-cache", 0),
        ("no-cache=\"set-cookie\"", 0),
        ("ext=\"no-store, private\"", 60),
        ("must-revalidate", 60),
        ("", 60),
    ] {
        check(200, &[&format!("cache-control: {control}")], Some(secs));
    }
    check(200, &["cache-control: max-age=30", "cache-control: no-store"], None);
    check(200, &["cache-control: max-age=30", "age: 10"], Some(20));
    check(200, &["cache-control: max-age=30", "age: 40"], Some(0));
    check(200, &["cache-control: max-age=30", "age: 1", "age: 2"], Some(0));
    check(200, &["cache-control: no-cache", "etag:", "last-modified:"], None);
    let (date, later) = ("date: Fri, 20 Nov 2026 09:11:40 GMT", "expires: Fri, 20 Nov 2026 09:11:50 GMT");
    check(200, &[date, later], Some(10));
    check(200, &[date, later, "cache-control: max-age=20"], Some(20));
    check(200, &[date, "expires: 0"], Some(0));
    check(200, &[later], Some(0));
    for vary in ["*", "Accept", "origin, accept-encoding", "Range"] {
        check(200, &[&format!("vary: {vary}")], None);
    }
    check(200, &["vary: Origin, Access-Control-Request-Method"], Some(60));
}

#[test]
fn a_copy_is_renewed_only_as_what_it_is() {
    let of = |lines: &[&str], status: u16, answer: &[&str]| POLICY.renewal(&head(lines), status, &fields(answer));
    let fresh = |secs| Renewal::Fresh(Duration::from_secs(secs));
    assert_eq!(of(&[], 304, &[]), fresh(60));
    assert_eq!(of(&[], 304, &["etag:", "last-modified:", "cache-control: max-age=5"]), fresh(5));
    assert_eq!(of(&[], 304, &["etag: \"b\""]), Renewal::FetchAnew);
    assert_eq!(of(&[], 304, &["last-modified: Fri, 20 Nov 2026 09:11:41 GMT"]), Renewal::FetchAnew);
    assert_eq!(of(&[], 304, &["cache-control: no-store"]), Renewal::FetchAnew);
    assert_eq!(of(&["etag:"], 304, &[]), Renewal::FetchAnew, "it had none");
    for status in [200, 404, 410] {
        assert_eq!(of(&[], status, &[]), Renewal::Replaced, "{status}");
    }
    for status in [206, 301, 403, 429, 500, 503] {
        assert_eq!(of(&[], status, &[]), Renewal::Unknown, "{status}");
    }
    let asks =
        |lines: &[&str]| head(lines).revalidation().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
    assert_eq!(asks(&[]).as_deref(), Some("if-none-match: \"a\""));
    assert_eq!(asks(&["etag:"]), Some(format!("if-modified-since: {MODIFIED}")));
    assert_eq!(asks(&["etag:", "last-modified:"]), None);
}

#[test]
fn conditions_and_ranges_come_in_the_order_of_the_standard() {
    use CopyAnswer::*;
    let (before, after) = ("Fri, 20 Nov 2026 09:11:39 GMT", "Fri, 20 Nov 2026 09:11:41 GMT");
    let check = |copy: &[&str], request: &[&str], expected: CopyAnswer| {
        let map = request.iter().map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())
        });
        let map: HeaderMap = map.collect();
        let copy = head(copy);
        assert_eq!(copy.answer(&Method::GET, &map), expected, "{request:?}");
        let of_head = if matches!(expected, Part { .. } | RangeNotSatisfiable) { Whole } else { expected };
        assert_eq!(copy.answer(&Method::HEAD, &map), of_head, "HEAD {request:?}");
    };
    let (part, since) = (Part { first: 2, last: 4 }, |name: &str, date: &str| format!("{name}: {date}"));
    check(&[], &[], Whole);
    check(&[], &["range: bytes=2-4"], part);
    check(&[], &["range: bytes=20-"], RangeNotSatisfiable);
    check(&[], &["range: bytes=0-1,3-4"], Whole);
    check(&[], &["if-none-match: \"a\""], NotModified);
    check(&[], &["if-none-match: W/\"a\""], NotModified);
    check(&[], &["if-none-match: \"x\", \"a\""], NotModified);
    check(&[], &["if-none-match: \"x,\\\",\"a\""], NotModified);
    check(&[], &["if-none-match: *"], NotModified);
    check(&[], &["if-none-match: \"b\""], Whole);
    check(&[], &["if-none-match: a"], Whole);
    check(&[], &["if-none-match: \"a"], Whole);
    check(&["etag: W/\"a\""], &["if-none-match: \"a\""], NotModified);
    check(&["etag:"], &["if-none-match: \"a\""], Whole);
    check(&[], &["if-none-match: \"a\"", "range: bytes=2-4"], NotModified);
    check(&[], &["if-none-match: \"b\"", "range: bytes=2-4"], part);
    check(&[], &[&since("if-modified-since", MODIFIED)], NotModified);
    check(&[], &[&since("if-modified-since", after)], NotModified);
    check(&[], &[&since("if-modified-since", before)], Whole);
    check(&[], &["if-modified-since: yesterday"], Whole);
    check(&["last-modified:"], &[&since("if-modified-since", after)], Whole);
    check(&[], &["if-none-match: \"b\"", &since("if-modified-since", after)], Whole);
    check(&[], &["if-match: \"a\""], Whole);
    check(&[], &["if-match: *"], Whole);
    check(&[], &["if-match: \"b\", \"a\""], Whole);
    check(&[], &["if-match: \"b\""], PreconditionFailed);
    check(&["etag: W/\"a\""], &["if-match: W/\"a\""], PreconditionFailed);
    check(&[], &["if-match: \"a\"", "if-none-match: \"a\""], NotModified);
    check(&[], &["if-match: \"b\"", "if-none-match: \"a\""], PreconditionFailed);
    check(&[], &[&since("if-unmodified-since", MODIFIED)], Whole);
    check(&[], &[&since("if-unmodified-since", before)], PreconditionFailed);
    check(&[], &["if-match: \"a\"", &since("if-unmodified-since", before)], Whole);
    check(&[], &["if-range: \"a\"", "range: bytes=2-4"], part);
    check(&[], &["if-range: \"b\"", "range: bytes=2-4"], Whole);
    check(&[], &["if-range: W/\"a\"", "range: bytes=2-4"], Whole);
    check(&["etag: W/\"a\""], &["if-range: W/\"a\"", "range: bytes=2-4"], Whole);
    check(&[], &[&since("if-range", MODIFIED), "range: bytes=2-4"], part);
    check(&[], &[&since("if-range", after), "range: bytes=2-4"], Whole);
    check(&[], &["if-range: a", "range: bytes=2-4"], Whole);
    check(&[], &["if-range: \"b\"", "range: bytes=20-"], Whole);
    check(&[], &["range: bytes=2-4", "range: bytes=2-5"], Whole);
}

#[test]
fn an_answer_says_what_the_storage_would() {
    let copy = head(&["x-amz-request-id: r", "set-cookie: a=b"]);
    let said = |answer| {
        let fields = copy.answer_fields(answer);
        let mut lines: Vec<_> =
            fields.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort();
        lines.join("\n")
    };
    let (tag, date) = ("etag: \"a\"", "last-modified: Fri, 20 Nov 2026 09:11:40 GMT");
    assert_eq!(said(CopyAnswer::Whole), format!("content-length: 10\ncontent-type: image/png\n{tag}\n{date}"));
    assert_eq!(
        said(CopyAnswer::Part { first: 2, last: 4 }),
        format!("content-length: 3\ncontent-range: bytes 2-4/10\ncontent-type: image/png\n{tag}\n{date}")
    );
    assert!(said(CopyAnswer::NotModified).ends_with(&format!("{tag}\n{date}")));
    assert!(!said(CopyAnswer::NotModified).contains("length"));
    assert_eq!(said(CopyAnswer::RangeNotSatisfiable), "content-range: bytes */10");
    assert_eq!(said(CopyAnswer::PreconditionFailed), "");
}
