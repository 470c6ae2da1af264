//! URLs, in the forms that the documentation of `Redis` lists.

use crate::backplane::url::{InvalidUrl, authority, decode, is_list_of_urls, parse_host};
use std::fmt;

/// A parsed URL. Its `Display` and `Debug` omit user and password.
#[derive(Clone)]
pub(super) struct Url {
    pub(super) seeds: Vec<Address>,
    pub(super) login: Login,
    /// The master's name, if the seeds are Sentinels.
    pub(super) master: Option<String>,
    pub(super) is_tls: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Tcp(String, u16),
    Unix(String),
}

#[derive(Clone, Default)]
pub(super) struct Login {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) database: u32,
}

impl Url {
    pub(super) fn parse(text: &str) -> Result<Self, InvalidUrl> {
        parse(text).map_err(|rule| InvalidUrl::new(text, rule))
    }

    /// Checks that this build has what the URL needs.
    pub(super) fn check_tls(&self) -> Result<(), String> {
        let has_one = cfg!(feature = "rustls") != cfg!(feature = "native-tls");
        if !self.is_tls || has_one {
            return Ok(());
        }
        Err(format!(
            "{self} with TLS needs exactly one of the features \"rustls\" and \"native-tls\""
        ))
    }
}

fn parse(text: &str) -> Result<Url, &'static str> {
    let (scheme, rest) = text
        .split_once("://")
        .ok_or("it must begin with a scheme such as redis://")?;
    if is_list_of_urls(rest) {
        return Err("one scheme and one login must precede the list: redis://user:password@a,b");
    }
    let (scheme, is_sentinel) = match scheme.strip_suffix("+sentinel") {
        Some(scheme) => (scheme, true),
        None => (scheme, false),
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let mut url = Url {
        seeds: Vec::new(),
        login: parse_login(login)?,
        master: None,
        is_tls: matches!(scheme, "rediss" | "valkeys"),
    };
    if rest.contains(['?', '#']) {
        return Err("it must have no query and no fragment, and ? and # must be percent-encoded");
    }
    match scheme {
        "unix" if hosts.is_empty() && path.len() > 1 && !is_sentinel => {
            url.seeds.push(Address::Unix(decode(path)?));
            return Ok(url);
        }
        "unix" => return Err("it must be unix:///path"),
        "redis" | "rediss" | "valkey" | "valkeys" => {}
        _ => {
            return Err(
                "its scheme must be redis, rediss, redis+sentinel, rediss+sentinel or unix",
            );
        }
    }
    let default_port = if is_sentinel { 26379 } else { 6379 };
    for host in hosts.split(',') {
        let (host, port) = parse_host(host, default_port)?;
        url.seeds.push(Address::Tcp(host, port));
    }
    let mut path = path.trim_start_matches('/');
    if is_sentinel {
        let (master, database) = path.split_once('/').unwrap_or((path, ""));
        if master.is_empty() {
            return Err("the name of the master must follow the Sentinels: /master");
        }
        (url.master, path) = (Some(decode(master)?), database);
    }
    if !path.is_empty() {
        let database = path.parse().ok();
        url.login.database = database.ok_or("its database must be a number")?;
    }
    Ok(url)
}

/// Parses `user:password`, `:password`, or nothing.
fn parse_login(text: &str) -> Result<Login, &'static str> {
    if text.is_empty() {
        return Ok(Login::default());
    }
    let pair = text.split_once(':');
    let (user, password) = pair.ok_or("a user must have a password: user:password@")?;
    Ok(Login {
        user: Some(decode(user)?).filter(|user| !user.is_empty()),
        password: Some(decode(password)?),
        database: 0,
    })
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) => f.write_str(&authority(host, *port)),
            Self::Unix(path) => f.write_str(path),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seeds: Vec<_> = self.seeds.iter().map(Address::to_string).collect();
        let seeds = seeds.join(",");
        match &self.master {
            Some(master) => write!(f, "{seeds}/{master}"),
            None => f.write_str(&seeds),
        }
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
        for (text, shown, login, master, is_tls) in [
            ("redis://h", "h:6379", (None, None, 0), None, false),
            ("rediss://h:1/2", "h:1", (None, None, 2), None, true),
            ("valkeys://h", "h:6379", (None, None, 0), None, true),
            (
                "redis://:p%40:%2F@[::1]:1/",
                "[::1]:1",
                (None, Some("p@:/"), 0),
                None,
                false,
            ),
            (
                "redis://u%3A:p@[::1]",
                "[::1]:6379",
                (Some("u:"), Some("p"), 0),
                None,
                false,
            ),
            (
                "redis://h:1,i,j:3",
                "h:1,i:6379,j:3",
                (None, None, 0),
                None,
                false,
            ),
            (
                "rediss+sentinel://u:p@h,i:2/main/3",
                "h:26379,i:2/main",
                (Some("u"), Some("p"), 3),
                Some("main"),
                true,
            ),
            (
                "unix://:p@/run/redis%20s",
                "/run/redis s",
                (None, Some("p"), 0),
                None,
                false,
            ),
        ] {
            let url = Url::parse(text).unwrap();
            let Login {
                user,
                password,
                database,
            } = &url.login;
            assert_eq!(url.to_string(), shown);
            assert_eq!(
                (user.as_deref(), password.as_deref(), *database),
                login,
                "{text}"
            );
            assert_eq!(
                (url.master.as_deref(), url.is_tls),
                (master, is_tls),
                "{text}"
            );
        }
    }

    #[test]
    fn an_invalid_url_breaks_a_rule() {
        for (text, rule) in [
            ("", "begin with a scheme"),
            ("u:secret@h:6379", "begin with a scheme"),
            ("http://h", "scheme must be"),
            ("redis+sentinel://h", "name of the master"),
            ("redis://", "must have a name"),
            ("redis://h,", "must have a name"),
            ("redis://:secret", "must have a name"),
            ("redis://h:x", "number up to 65535"),
            ("redis://[::1]:x", "number up to 65535"),
            ("redis://h:1,u:sec,ret", "number up to 65535"),
            ("redis://u:se/cret@h", "number up to 65535"),
            ("redis://a:1,redis://b:2", "one login"),
            ("redis://u:secret@a,u:secret@b", "one login"),
            ("redis://h/x", "database must be a number"),
            ("redis://u@h", "must have a password"),
            ("u:se://cret@h", "must have a password"),
            ("redis://u:se?cret@h", "percent-encoded"),
            ("redis://u:%FFsecret@h", "UTF-8"),
            ("unix://:secret/s", "unix:///path"),
            ("unix+sentinel:///s", "unix:///path"),
        ] {
            let message = Url::parse(text).unwrap_err().to_string();
            assert!(message.contains(rule), "{message}");
        }
    }
}
