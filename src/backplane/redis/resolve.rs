//! Which server has the log: a seed, the master that Sentinel names, or the node to which a cluster redirects.

use super::{
    connection::{ANSWER_LIMIT, Connection, Server},
    failure,
    url::{Address, Login, Url},
};
use crate::backplane::Failure;
use redis::{ServerError, Value};
use std::{slice, time::Duration};
use tokio::time::timeout;

const SENTINEL_LIMIT: Duration = Duration::from_millis(500);
const REDIRECTIONS: usize = 3;

/// The master that Sentinel has named.
pub(super) struct Master {
    url: Url,
    name: String,
    address: Address,
}

/// Connects to the server that has this key.
pub(super) async fn connect(url: &Url, key: &str) -> Result<(Connection, Option<Master>), Failure> {
    let Some(name) = &url.master else {
        return Ok((connect_any(&url.seeds, url, key).await?, None));
    };
    let master = Master {
        url: url.clone(),
        name: name.clone(),
        address: ask_sentinels(url, name).await?,
    };
    let connection = connect_any(slice::from_ref(&master.address), url, key).await?;
    Ok((connection, Some(master)))
}

impl Master {
    /// Fails if Sentinel names another master now: a master that is cut off stays one until it is reached again.
    pub(super) async fn check(&self) -> Result<(), Failure> {
        let asked = timeout(2 * SENTINEL_LIMIT, ask_sentinels(&self.url, &self.name)).await;
        match asked {
            Ok(Ok(address)) if address != self.address => Err(Failure::unavailable(format!(
                "Sentinel names {address} as the master, no longer {}",
                self.address
            ))),
            _ => Ok(()),
        }
    }
}

async fn connect_any(addresses: &[Address], url: &Url, key: &str) -> Result<Connection, Failure> {
    let mut failed = Failure::unavailable("no server is known");
    for address in addresses {
        match connect_redirected(address, url, key).await {
            Ok(connection) => return Ok(connection),
            Err(failure) => failed = failure,
        }
    }
    Err(failed)
}

/// Connects to this address, or to the node to which it redirects.
async fn connect_redirected(
    address: &Address,
    url: &Url,
    key: &str,
) -> Result<Connection, Failure> {
    let mut server = Server {
        address: address.clone(),
        is_tls: url.is_tls,
        login: url.login.clone(),
    };
    for _ in 0..REDIRECTIONS {
        let connection = server.connect(ANSWER_LIMIT).await?;
        match redirection(&connection, key).await? {
            Some(other) => server.address = other,
            None => return Ok(connection),
        }
    }
    Err(Failure::unavailable(format!(
        "{address} redirects too often"
    )))
}

/// Returns the address of the cluster's node that has the key, unless this is the node.
async fn redirection(connection: &Connection, key: &str) -> Result<Option<Address>, Failure> {
    let mut probe = redis::cmd("HMGET");
    probe.arg(key).arg("e").arg("s");
    let Value::ServerError(error) = connection.ask_any(&probe).await? else {
        return Ok(None);
    };
    let target = moved_to(&error, &connection.endpoint.server.address);
    let failed = || failure::answered(&connection.name, &error);
    target.map(Some).ok_or_else(failed)
}

/// Parses `MOVED slot host:port`. An unknown host is the one that was asked.
fn moved_to(error: &ServerError, asked: &Address) -> Option<Address> {
    let details = error.details().filter(|_| error.code() == "MOVED")?;
    let (host, port) = details.split_once(' ')?.1.rsplit_once(':')?;
    let host = match (host, asked) {
        ("" | "?", Address::Tcp(asked, _)) => asked,
        _ => host,
    };
    Some(Address::Tcp(host.to_owned(), port.parse().ok()?))
}

/// Returns the master's address from the first Sentinel that names one.
async fn ask_sentinels(url: &Url, name: &str) -> Result<Address, Failure> {
    let mut failed = Failure::unavailable("no Sentinel is known");
    for address in &url.seeds {
        let sentinel = Server {
            address: address.clone(),
            is_tls: url.is_tls,
            login: Login::default(),
        };
        match timeout(SENTINEL_LIMIT, ask_sentinel(sentinel, &url.login, name)).await {
            Ok(Ok(address)) => return Ok(address),
            Ok(Err(failure)) => failed = failure,
            Err(_) => failed = Failure::unavailable(format!("Sentinel {address} did not answer")),
        }
    }
    Err(failed)
}

/// Asks one Sentinel. It receives the password if it demands one.
async fn ask_sentinel(mut sentinel: Server, login: &Login, name: &str) -> Result<Address, Failure> {
    let mut question = redis::cmd("SENTINEL");
    question.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
    let mut connection = sentinel.connect(SENTINEL_LIMIT).await?;
    let mut answer = connection.ask_any(&question).await?;
    if matches!(&answer, Value::ServerError(error) if error.code() == "NOAUTH") {
        sentinel.login = Login {
            database: 0,
            ..login.clone()
        };
        connection = sentinel.connect(SENTINEL_LIMIT).await?;
        answer = connection.ask_any(&question).await?;
    }
    match answer {
        Value::ServerError(error) => Err(failure::answered(&connection.name, &error)),
        Value::Nil => Err(Failure::unavailable(format!(
            "Sentinel {} has no master with the name {name:?}",
            connection.name
        ))),
        answer => {
            let (host, port) = failure::expected(&connection.name, answer)?;
            Ok(Address::Tcp(host, port))
        }
    }
}
