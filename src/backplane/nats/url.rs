//! URLs, in the forms that the documentation of `Nats` lists.

use crate::backplane::url::{InvalidUrl, authority, decode, is_list_of_urls, parse_host};
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
    if is_list_of_urls(rest) {
        return Err("one scheme and one login must precede the list: nats://user:password@a,b");
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (login, hosts) = rest.rsplit_once('@').unwrap_or(("", rest));
    if rest.contains(['/', '?', '#']) {
        return Err("it must have no path, and /, ? and # must be percent-encoded");
    }
    let hosts = hosts.split(',').map(|host| parse_host(host, 4222));
    let servers = hosts.map(|host| host.map(|(name, port)| authority(&name, port)));
    Ok(Url {
        servers: servers.collect::<Result<_, _>>()?,
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
    fn an_invalid_url_breaks_a_rule() {
        for (text, rule) in [
            ("", "begin with a scheme"),
            ("u:secret@h:4222", "begin with a scheme"),
            ("redis://h", "scheme must be"),
            ("u:se://cret@h", "scheme must be"),
            ("nats://", "must have a name"),
            ("nats://h,", "must have a name"),
            ("nats://:secret", "must have a name"),
            ("nats://h:x", "number up to 65535"),
            ("nats://[::1]:x", "number up to 65535"),
            ("nats://u:sec:ret/", "number up to 65535"),
            ("nats://u:p@a,u:secret", "number up to 65535"),
            ("nats://a:1,nats://b:2", "one login"),
            ("nats://secret@a,secret@b", "one login"),
            ("nats://h/x", "no path"),
            ("nats://h?", "no path"),
            ("nats://u:se?cret@h", "percent-encoded"),
            ("nats://u:se/cret@h", "percent-encoded"),
            ("nats://u:%FFsecret@h", "UTF-8"),
        ] {
            let message = Url::parse(text).expect_err(text).to_string();
            assert!(message.contains(rule), "{message}");
        }
    }
}
