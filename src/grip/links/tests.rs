//! Links are followed by a proxy only as they were made.

use super::*;
use crate::grip::test_keys;
use proptest::{collection::vec, prelude::*};

const PREFIX: &str = "events-";

fn links_with(change: impl FnOnce(&mut LinkSettings)) -> Links {
    let mut settings = LinkSettings {
        key: Some("a key".into()),
        ..LinkSettings::default()
    };
    change(&mut settings);
    Links::new(settings, PREFIX, None).unwrap()
}

fn links(path: Option<&str>) -> Links {
    links_with(|settings| settings.path = path.map(str::to_owned))
}

fn channels(names: &[impl AsRef<str>]) -> Vec<Channel> {
    let channels: Vec<_> = names
        .iter()
        .map(|name| Channel::new(name).unwrap())
        .collect();
    canonical(&channels)
}

fn names(channels: &[Channel]) -> Vec<String> {
    channels
        .iter()
        .map(|channel| channel.as_str().to_owned())
        .collect()
}

fn uri(path: &str) -> Uri {
    path.parse().unwrap()
}

/// The link of a hold.
fn resume(links: &Links, path: &str, channels: &[Channel]) -> String {
    let link = links.resume(&uri(path), channels, &Terms::default());
    link.unwrap().0
}

/// The link to a page.
fn page(links: &Links, path: &str, channels: &[Channel], page: Page) -> String {
    let link = links.page(&uri(path), channels, &Terms::default(), page);
    link.unwrap()
}

/// Follows a link as its route does; an HTTP server does not receive the fragment.
fn follow(
    links: &Links,
    link: &str,
    is_link_path: bool,
    last: &[&str],
) -> Option<Result<Followed, InvalidLink>> {
    links.follow(LinkRequest {
        uri: &uri(link),
        is_link_path,
        last,
    })
}

fn followed(channels: &[Channel], purpose: Purpose) -> Option<Result<Followed, InvalidLink>> {
    let channels = names(channels);
    Some(Ok(Followed {
        channels,
        purpose,
        terms: Terms::default(),
    }))
}

const REFUSED: Option<Result<Followed, InvalidLink>> = Some(Err(InvalidLink::Digest));

#[test]
fn a_link_has_its_digest_in_a_segment_or_in_a_fragment() {
    let channels = channels(&["a"]);
    let parts = |links: &Links, path| {
        let link = resume(links, path, &channels);
        let (start, rest) = link.split_once("?grip-next=").unwrap();
        (start.to_owned(), rest.to_owned())
    };
    let (start, rest) = parts(&links(None), "//events/%7Ea,b?x=1");
    assert_eq!(
        start, "/events/%7Ea%2Cb",
        "nothing of the client's query is in it"
    );
    let (_, digest) = rest.split_once('#').unwrap();
    assert_eq!(digest.len(), 22);
    let (start, rest) = parts(&links(Some("/missed")), "/events/a?x=1");
    let digest = start.strip_prefix("/missed/").unwrap();
    assert_eq!(digest.len(), 22);
    assert!(!rest.contains(['#', '&']), "{rest}");
    let prefixed = links_with(|settings| settings.prefix = "/public".to_owned());
    assert_eq!(parts(&prefixed, "/events/a").0, "/public/events/a");
}

#[test]
fn clients_on_the_same_channels_have_the_same_link() {
    let keys = ["a key", test_keys::EC_PRIVATE, test_keys::RSA_PRIVATE];
    for key in keys {
        let links = links_with(|settings| settings.key = Some(key.into()));
        let link = |query: &str, names: [&str; 2]| {
            let (uri, channels) = (uri(&format!("/events{query}")), channels(&names));
            links.resume(&uri, &channels, &Terms::default()).unwrap()
        };
        let first = link("?token=1&lastEventId=2", ["a", "b"]);
        assert_eq!(link("", ["b", "a"]), first);
        assert_ne!(link("", ["b", "c"]), first);
    }
}

#[test]
fn a_link_names_its_route() {
    let channels = channels(&["a"]);
    let stream = links(None);
    let link = resume(&stream, "/events/a", &channels);
    let resumed = || followed(&channels, Purpose::Resume);
    assert_eq!(follow(&stream, &link, false, &["a"]), resumed());
    let other = link.replacen("/events/a", "/events/b", 1);
    assert_eq!(follow(&stream, &other, false, &["a"]), REFUSED);
    // Links from before `grip_link_path` was set stay valid.
    let both = links(Some("/missed"));
    assert_eq!(follow(&both, &link, false, &["a"]), resumed());
    let (_, query) = link.split_once('?').unwrap();
    let digest = link.rsplit('#').next().unwrap();
    let moved = format!("/missed/{digest}?{query}");
    assert_eq!(follow(&both, &moved, true, &["a"]), REFUSED);

    let link = resume(&both, "/events/a", &channels);
    assert_eq!(follow(&both, &link, true, &["a"]), resumed());
    assert_eq!(
        follow(&both, &link, false, &["a"]),
        REFUSED,
        "it is not a stream"
    );
    assert_eq!(follow(&links(Some("/other")), &link, true, &["a"]), REFUSED);
    assert_eq!(follow(&stream, &link, true, &["a"]), REFUSED);
    let next = page(&both, "/events/a", &channels, Page::new(7, vec![1]));
    let (_, query) = next.split_once('?').unwrap();
    let (path, _) = link.split_once('?').unwrap();
    assert_eq!(
        follow(&both, &format!("{path}?{query}"), true, &["a"]),
        REFUSED,
        "another segment"
    );
}

#[test]
fn a_link_is_for_the_channels_that_it_was_made_for() {
    let links = links(None);
    let made = channels(&["a", "b"]);
    let link = resume(&links, "/x", &made);
    assert_eq!(
        follow(&links, &link, false, &["b", "a", "b"]),
        followed(&made, Purpose::Resume)
    );
    for last in [
        &[][..],
        &["a"],
        &["a", "c"],
        &["a", "b", "c"],
        &["a,b"],
        &["ab"],
    ] {
        assert_eq!(follow(&links, &link, false, last), REFUSED, "{last:?}");
    }
    let page = page(&links, "/x", &made, Page::new(7, vec![1]));
    assert!(follow(&links, &page, false, &["anything"]).unwrap().is_ok());
    let forged = [
        (&link, "#", "&grip-channels=c#"),
        (&link, "#", "&grip-channels=a!b&grip-page=000000000007-1#"),
        (&link, "#", "&grip-channels=a!b&grip-gone=1#"),
        (&page, "a!b", "a!c"),
        (&page, "a!b", "b!a"),
        (&page, "a!b", "%ff"),
        (&page, "000000000007-1", "000000000007-0"),
        (&page, "000000000007-1", "000000000007-1.2"),
        (&page, "000000000007-1", "x"),
        (&page, "grip-page", "grip-gone"),
        (&page, "grip-page", "grip-x"),
    ];
    for (link, from, to) in forged {
        let forged = link.replacen(from, to, 1);
        assert_ne!(forged, **link);
        assert_eq!(
            follow(&links, &forged, false, &["a", "b"]),
            REFUSED,
            "{forged}"
        );
    }
}

#[test]
fn a_token_of_another_key_or_time_is_refused() {
    let (ours, other) = (
        links(None),
        links_with(|settings| settings.key = Some("other".into())),
    );
    let made = channels(&["a"]);
    let route = Route::Stream("/x");
    let digest = ours.digest(route, &Purpose::Resume, &made, &Terms::default());
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let signed = |links: &Links, exp: u64| {
        let claims = format!(r#"{{"h":"{}","exp":{exp}}}"#, digest.as_str());
        links.signing.token(&claims).unwrap()
    };
    let refused = || Some(Err(InvalidLink::Token));
    let without_expiry = ours.signing.token(r#"{"h":"x"}"#).unwrap();
    for (token, expected) in [
        (signed(&ours, now + 100), followed(&made, Purpose::Resume)),
        (signed(&ours, now - 1), refused()),
        (signed(&other, now + 100), refused()),
        (without_expiry, refused()),
        (String::new(), refused()),
        ("x.y.z".to_owned(), refused()),
    ] {
        assert_eq!(
            follow(&ours, &format!("/x?grip-next={token}"), false, &["a"]),
            expected
        );
    }
    assert_eq!(follow(&ours, "/x?a=b", false, &["a"]), None);
}

#[test]
fn a_gone_link_needs_a_path_of_its_own() {
    let made = channels(&["a", "b"]);
    assert_eq!(links(None).gone(&uri("/x"), &made), None);
    let links = links(Some("/missed/"));
    let link = links.gone(&uri("/x"), &made).unwrap();
    assert!(
        link.starts_with("/missed/") && !link.starts_with("/missed//"),
        "{link}"
    );
    assert_eq!(
        follow(&links, &link, true, &[]),
        followed(&made, Purpose::Gone)
    );
}

/// Pushpin with its default settings repeats the first 20 channels only.
#[test]
fn channels_beyond_the_twentieth_are_named_in_the_link() {
    let links = links(None);
    let all: Vec<_> = (0..60).map(|n| format!("c{n}")).collect();
    let made = channels(&all);
    let link = resume(&links, "/x", &made);
    let made_names = names(&made);
    let last: Vec<_> = made_names.iter().map(String::as_str).collect();
    for repeated in [20, 21, 59, 60] {
        let expected = followed(&made, Purpose::Resume);
        assert_eq!(
            follow(&links, &link, false, &last[..repeated]),
            expected,
            "{repeated}"
        );
    }
    assert_eq!(follow(&links, &link, false, &last[..19]), REFUSED);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_link_is_followed_as_it_was_made(
        all in proptest::collection::hash_set("[^,;\\p{C}\\s]{1,20}", 1..=60).prop_map(Vec::from_iter),
        sequences in vec(any::<u64>(), 60),
        same: bool,
        path in "(/[^\\p{C}]{0,9}){1,4}",
        is_link_path: bool,
    ) {
        let links = links(is_link_path.then_some("/missed"));
        let made = channels(&all);
        let path = plain(&path.replace(['?', '#', '%', '`'], ""));
        let positions = &sequences[..if same { 1 } else { made.len() }];
        let position = Page::new(7, positions.to_vec());
        let made_names = names(&made);
        let last: Vec<_> = made_names.iter().map(String::as_str).rev().collect();
        let link = resume(&links, &path, &made);
        let next = page(&links, &path, &made, position.clone());
        prop_assert_eq!(follow(&links, &link, is_link_path, &last), followed(&made, Purpose::Resume));
        prop_assert_eq!(follow(&links, &next, is_link_path, &[]), followed(&made, Purpose::Page(position)));
    }
}
