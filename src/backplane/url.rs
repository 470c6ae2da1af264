//! What the URLs of engines have in common: errors that show no password, and percent-encoding.

use percent_encoding::percent_decode_str;

/// A URL that does not parse, without its password, and the rule that it breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the URL {url:?} is invalid: {rule}")]
pub(super) struct InvalidUrl {
    pub(super) url: String,
    rule: &'static str,
}

impl InvalidUrl {
    pub(super) fn new(url: &str, rule: &'static str) -> Self {
        Self {
            url: without_login(url),
            rule,
        }
    }
}

/// Whether each server has its own scheme or login. `login` is what precedes the last `@` of `rest`.
pub(super) fn is_list_of_urls(login: &str, rest: &str) -> bool {
    let has_next = |(_, rest): (&str, &str)| rest.contains(',');
    rest.contains("://") || login.split_once('@').is_some_and(has_next)
}

pub(super) fn check_host(host: &str) -> Result<(), &'static str> {
    match host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control()) {
        true => Err("each host must have a name"),
        false => Ok(()),
    }
}

pub(super) fn parse_port(port: &str) -> Result<u16, &'static str> {
    port.parse()
        .map_err(|_| "each port must be a number up to 65535")
}

pub(super) fn decode(text: &str) -> Result<String, &'static str> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded
        .map(String::from)
        .map_err(|_| "it must be UTF-8 when it is percent-decoded")
}

/// Replaces everything up to the last `@`: a password may contain characters that must have been encoded.
fn without_login(text: &str) -> String {
    let is_scheme = |scheme: &str| {
        scheme
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'+')
    };
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => (format!("{scheme}://"), rest),
        _ => (String::new(), text),
    };
    match rest.rsplit_once('@') {
        Some((_, rest)) => format!("{scheme}***@{}", without_password(rest)),
        None => format!("{scheme}{}", without_password(rest)),
    }
}

/// Replaces a port that is no number, and all that follows: it is a password if the host is missing.
fn without_password(hosts: &str) -> String {
    let mut end = 0;
    for host in hosts.split_inclusive([',', '/', '?', '#']) {
        let name = match host.strip_prefix('[').and_then(|host| host.find(']')) {
            Some(bracket) => bracket + 2,
            None => host.find(':').unwrap_or(host.len()),
        };
        let port = host[name..].trim_end_matches([',', '/', '?', '#']);
        let is_port = |port: &str| port.parse::<u16>().is_ok();
        if !port.is_empty() && !port.strip_prefix(':').is_some_and(is_port) {
            return format!("{}:***", &hosts[..end + name]);
        }
        end += host.len();
    }
    hosts.to_owned()
}
