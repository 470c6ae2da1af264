//! Streams that a proxy holds.

mod forged_links;
mod hold;
mod links;
mod recovery;

use crate::support::client::{self, Response};
use axum_eventstream::{EventStream, EventStreamBuilder, History};
use std::net::SocketAddr;

/// The control URI of a proxy that is not there.
const NO_PROXY: &str = "http://127.0.0.1:1";

const SIGNED: (&str, &str) = ("grip-sig", "any, since there is no key");

/// A stream whose clients recover missed events, by links with this path.
pub(crate) fn recovering(control_uri: &str, path: Option<&str>) -> EventStreamBuilder {
    let builder = EventStream::builder().grip(control_uri);
    let builder = builder
        .history(History::memory())
        .grip_link_key("a secret of all instances");
    match path {
        Some(path) => builder.grip_link_path(path),
        None => builder,
    }
}

/// The target of the link with this relation, with its fragment.
fn link(response: &Response, rel: &str) -> Option<String> {
    let links = response.header("grip-link")?;
    let end = format!("; rel={rel}");
    let link = links.split(", ").find(|link| link.contains(&end))?;
    let link = link.trim_start_matches('<').split('>').next()?;
    Some(link.to_owned())
}

/// Follows a link as a proxy does: the fragment stays with it.
async fn follow(origin: SocketAddr, link: &str, last: &[String]) -> Response {
    let (target, _) = link.split_once('#').unwrap_or((link, ""));
    let last = last.iter().map(|channel| ("grip-last", &**channel));
    let headers: Vec<_> = [SIGNED].into_iter().chain(last).collect();
    client::get(origin, target, &headers).await
}
