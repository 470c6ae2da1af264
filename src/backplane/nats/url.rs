//! URLs, in the forms that the documentation of `Nats` lists.

use crate::backplane::url::{InvalidUrl, check_host, decode, is_list_of_urls, parse_port};
use std::fmt;

/// A parsed URL. Its `Display` and `Debug` omit user, password and token.
#[derive(Clone)]
pub(super) struct Url {
    /// Hosts with their ports.
    pub(super) servers: Vec<String>,
    pub(super) login: Login,
    pub(super) is_tls: bool,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Login {
    Nobody,
    User { name: String, password: String },
    Token(String),
}

impl Url {
    pub(super) fn parse(text: &str) -> Result<Self, InvalidUrl> {
        parse(text).map_err(|rule| InvalidUrl::new(text, rule))
    }

    /// The addresses with their scheme, for the client.
    pub(super) fn addresses(&self) -> Vec<String> {
        let scheme = if self.is_tls { "tls" } else { "nats" };
        let servers = self.servers.iter();
        servers
            .map(|server| format!("{scheme}://{server}"))
            .collect()
    }
}

fn parse(text: &str) -> Result<Url, &'static str> {
    let (scheme, rest) = text
        .split_once("://")
        .ok_or("it must begin with a scheme such as nats://")?;
    let is_tls = match scheme {
        "nats" => false,
        "tls" => true,
        _ => return Err("its scheme must be nats or tls"),
    };
    let (login, hosts) = rest.rsplit_once('@').unwrap_or(("", rest));
    if is_list_of_urls(login, rest) {
        return Err("one scheme and one login must precede the list: nats://user:password@a,b");
    }
    let hosts = hosts.strip_suffix('/').unwrap_or(hosts);
    if rest.contains(['/', '?', '#']) && rest.find(['/', '?', '#']) != Some(rest.len() - 1)
        || rest.ends_with(['?', '#'])
    {
        return Err("it must have no path, and /, ? and # must be percent-encoded");
    }
    let servers: Result<_, _> = hosts.split(',').map(parse_host).collect();
    Ok(Url {
        servers: servers?,
        login: parse_login(login)?,
        is_tls,
    })
}

/// Parses `user:password`, a token, or nothing.
fn parse_login(text: &str) -> Result<Login, &'static str> {
    Ok(match text.split_once(':') {
        _ if text.is_empty() => Login::Nobody,
        Some((name, password)) => Login::User {
            name: decode(name)?,
            password: decode(password)?,
        },
        None => Login::Token(decode(text)?),
    })
}

/// Parses `host`, `host:port` or `[address]:port`, and adds the default port.
fn parse_host(text: &str) -> Result<String, &'static str> {
    let end = text.rfind(']').map_or(0, |end| end + 1);
    let (host, port) = match text[end..].find(':') {
        Some(colon) => (&text[..end + colon], &text[end + colon + 1..]),
        None => (text, "4222"),
    };
    check_host(host)?;
    Ok(format!("{host}:{}", parse_port(port)?))
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.servers.join(","))
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_servers_and_a_login() {
        let user = |name: &str, password: &str| Login::User {
            name: name.to_owned(),
            password: password.to_owned(),
        };
        for (text, shown, login, is_tls) in [
            ("nats://h", "h:4222", Login::Nobody, false),
            ("nats://h:1/", "h:1", Login::Nobody, false),
            ("tls://[::1]", "[::1]:4222", Login::Nobody, true),
            (
                "nats://u:p%40%2F@[::1]:1,h",
                "[::1]:1,h:4222",
                user("u", "p@/"),
                false,
            ),
            ("nats://u%3A:@h", "h:4222", user("u:", ""), false),
            (
                "tls://t%3Fn@h,i:2",
                "h:4222,i:2",
                Login::Token("t?n".to_owned()),
                true,
            ),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!(url.to_string(), shown);
            assert!(url.login == login && url.is_tls == is_tls, "{text}");
        }
        let addresses = Url::parse("tls://u:p@h,i:2").unwrap().addresses();
        assert_eq!(addresses, ["tls://h:4222", "tls://i:2"]);
    }

    #[test]
    fn an_invalid_url_is_shown_without_its_password() {
        for (text, shown, rule) in [
            ("", "", "begin with a scheme"),
            ("localhost:4222", "localhost:4222", "begin with a scheme"),
            ("redis://h", "redis://h", "scheme must be"),
            ("nats://", "nats://", "must have a name"),
            ("nats://h,", "nats://h,", "must have a name"),
            ("nats://h:x", "nats://h:***", "number up to 65535"),
            ("nats://[::1]:x", "nats://[::1]:***", "number up to 65535"),
            ("nats://h:1,u:sec,ret", "nats://h:1,u:***", "number up to"),
            ("nats://u:secret", "nats://u:***", "number up to 65535"),
            ("nats://u:sec:ret/", "nats://u:***", "number up to"),
            ("nats://:secret", "nats://:***", "must have a name"),
            ("u:secret", "u:***", "begin with a scheme"),
            ("u:se://cret@h", "***@h", "scheme must be"),
            ("nats://a:1,nats://b:2", "nats://a:1,nats:***", "one login"),
            (
                "nats://u:secret@a,nats://b",
                "nats://***@a,nats:***",
                "one login",
            ),
            ("nats://u:secret@a,u:secret@b", "nats://***@b", "one login"),
            ("nats://secret@a,secret@b", "nats://***@b", "one login"),
            (
                "nats://u:p@a,u:secret",
                "nats://***@a,u:***",
                "number up to",
            ),
            ("nats://h/x", "nats://h/x", "no path"),
            ("nats://h?", "nats://h?", "no path"),
            ("nats://u:se?cret@h", "nats://***@h", "percent-encoded"),
            ("nats://u:se/cret@h", "nats://***@h", "percent-encoded"),
            ("nats://u:%FFsecret@h", "nats://***@h", "UTF-8"),
            ("u:secret@h", "***@h", "begin with a scheme"),
        ] {
            let error = Url::parse(text).expect_err(text);
            let message = error.to_string();
            assert_eq!(error.url, shown);
            assert!(message.contains(rule), "{message}");
            assert!(
                !format!("{message}{error:?}").contains("secret"),
                "{message}"
            );
        }
    }
}
