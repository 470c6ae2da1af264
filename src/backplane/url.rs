//! What the URLs of engines have in common: hosts, errors that show no password, and percent-encoding.

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

/// Whether each server has its own scheme or login. `rest` follows the first scheme.
pub(super) fn is_list_of_urls(rest: &str) -> bool {
    let login = rest.rsplit_once('@').map_or("", |(login, _)| login);
    let has_next = |(_, rest): (&str, &str)| rest.contains(',');
    rest.contains("://") || login.split_once('@').is_some_and(has_next)
}

/// Parses `host`, `host:port` or `[address]:port`.
pub(super) fn parse_host(text: &str, default_port: u16) -> Result<(String, u16), &'static str> {
    let (host, port) = match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':').unwrap_or_default())),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("each host must have a name");
    }
    let parsed = port.map_or(Ok(default_port), str::parse);
    let port = parsed.map_err(|_| "each port must be a number up to 65535")?;
    Ok((host.to_owned(), port))
}

/// Joins a host and a port, with brackets around an IPv6 address.
pub(super) fn authority(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_url_is_shown_without_its_password() {
        for (url, shown) in [
            ("", ""),
            ("localhost:6379", "localhost:6379"),
            ("redis+sentinel://h", "redis+sentinel://h"),
            ("unix://h/s", "unix://h/s"),
            ("nats://h?", "nats://h?"),
            ("redis://h,", "redis://h,"),
            ("redis://h:x", "redis://h:***"),
            ("redis://[::1]:x", "redis://[::1]:***"),
            ("redis://h:1,u:sec,ret", "redis://h:1,u:***"),
            ("redis://u:secret", "redis://u:***"),
            ("redis://u:sec/ret", "redis://u:***"),
            ("nats://u:sec:ret/", "nats://u:***"),
            ("redis://:secret", "redis://:***"),
            ("unix://:secret/s", "unix://:***"),
            ("u:secret", "u:***"),
            ("u:secret@h", "***@h"),
            ("u:se://cret@h", "***@h"),
            ("redis://a:1,redis://b:2", "redis://a:1,redis:***"),
            ("nats://u:secret@a,nats://b", "nats://***@a,nats:***"),
            ("redis://u:secret@a,u:secret@b", "redis://***@b"),
            ("nats://secret@a,secret@b", "nats://***@b"),
            ("redis://u:p@a,u:secret", "redis://***@a,u:***"),
            ("nats://u:se?cret@h", "nats://***@h"),
            ("nats://u:se/cret@h", "nats://***@h"),
            ("redis://u:%FFsecret@h", "redis://***@h"),
        ] {
            let error = InvalidUrl::new(url, "rule");
            assert_eq!(error.url, shown);
            assert!(!format!("{error}{error:?}").contains("secret"), "{url}");
        }
    }
}
