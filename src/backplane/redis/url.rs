//! URLs, in the forms that the documentation of `Redis` lists.

use crate::backplane::url::{InvalidUrl, check_host, decode, is_list_of_urls, parse_port};
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
    let login = rest.rsplit_once('@').map_or("", |(login, _)| login);
    if is_list_of_urls(login, rest) {
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
        url.seeds.push(parse_host(host, default_port)?);
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

/// Parses `host`, `host:port` or `[address]:port`.
pub(super) fn parse_host(text: &str, default_port: u16) -> Result<Address, &'static str> {
    let (host, port) = match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.trim_start_matches(':'))),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    check_host(host)?;
    let port = port.map_or(Ok(default_port), parse_port)?;
    Ok(Address::Tcp(host.to_owned(), port))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
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
    fn an_invalid_url_is_shown_without_its_password() {
        for (text, shown, rule) in [
            ("", "", "begin with a scheme"),
            ("localhost:6379", "localhost:6379", "begin with a scheme"),
            ("http://h", "http://h", "scheme must be"),
            (
                "redis+sentinel://h",
                "redis+sentinel://h",
                "name of the master",
            ),
            ("redis://", "redis://", "must have a name"),
            ("redis://h,", "redis://h,", "must have a name"),
            ("redis://h:x", "redis://h:***", "number up to 65535"),
            ("redis://[::1]:x", "redis://[::1]:***", "number up to 65535"),
            ("redis://h:1,u:sec,ret", "redis://h:1,u:***", "number up to"),
            ("redis://u:secret", "redis://u:***", "number up to 65535"),
            ("redis://u:sec/ret", "redis://u:***", "number up to 65535"),
            ("redis://:secret", "redis://:***", "must have a name"),
            ("unix://:secret/s", "unix://:***", "unix:///path"),
            ("u:secret", "u:***", "begin with a scheme"),
            ("u:se://cret@h", "***@h", "must have a password"),
            (
                "redis://a:1,redis://b:2",
                "redis://a:1,redis:***",
                "one login",
            ),
            (
                "redis://u:secret@a,redis://b",
                "redis://***@a,redis:***",
                "one login",
            ),
            (
                "redis://u:secret@a,u:secret@b",
                "redis://***@b",
                "one login",
            ),
            (
                "redis://u:p@a,u:secret",
                "redis://***@a,u:***",
                "number up to",
            ),
            ("redis://h/x", "redis://h/x", "database must be a number"),
            ("redis://u@h", "redis://***@h", "must have a password"),
            ("redis://u:se?cret@h", "redis://***@h", "percent-encoded"),
            ("redis://u:se/cret@h", "redis://***@h", "number up to 65535"),
            ("redis://u:%FFsecret@h", "redis://***@h", "UTF-8"),
            ("u:secret@h", "***@h", "begin with a scheme"),
            ("unix://h/s", "unix://h/s", "unix:///path"),
            ("unix+sentinel:///s", "unix+sentinel:///s", "unix:///path"),
        ] {
            let error = Url::parse(text).unwrap_err();
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
