//! One socket to a server.

use super::{
    failure,
    url::{Address, Login},
};
use crate::backplane::Failure;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo,
    RedisFuture, RedisResult, Value,
    aio::MultiplexedConnection,
    io::{AsyncDNSResolver, tcp::TcpSettings},
};
use std::{io, net::SocketAddr, time::Duration};
use tokio::{net::lookup_host, time::timeout};

const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// How long commands other than the reader's may take.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// A server, and how to log in.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) address: Address,
    pub(super) is_tls: bool,
    pub(super) login: Login,
}

/// One address of a server: connections to it reach the same log.
#[derive(Clone)]
pub(super) struct Endpoint {
    pub(super) server: Server,
    /// `None` for a socket in the file system.
    socket: Option<SocketAddr>,
}

/// A connection. Dropping it closes the socket, also while an answer is awaited.
pub(super) struct Connection {
    inner: MultiplexedConnection,
    pub(super) endpoint: Endpoint,
    /// The server's address, for messages.
    pub(super) name: String,
}

impl Server {
    /// Connects to the first of the host's addresses that accepts, and logs in. A command fails if its answer takes
    /// longer than the limit.
    pub(super) async fn connect(&self, answer_limit: Duration) -> Result<Connection, Failure> {
        let mut failed = Failure::unavailable(format!("no address is known for {}", self.address));
        for endpoint in self.lookup().await? {
            match endpoint.connect(answer_limit).await {
                Ok(connection) => return Ok(connection),
                Err(failure) => failed = failure,
            }
        }
        Err(failed)
    }

    async fn lookup(&self) -> Result<Vec<Endpoint>, Failure> {
        let endpoint = |socket| Endpoint {
            server: self.clone(),
            socket,
        };
        let Address::Tcp(host, port) = &self.address else {
            return Ok(vec![endpoint(None)]);
        };
        let found = timeout(CONNECT_LIMIT, lookup_host((host.as_str(), *port))).await;
        let failed = |error: io::Error| {
            Failure::unavailable(format!("cannot look up {}: {error}", self.address))
        };
        let sockets = found
            .unwrap_or_else(|late| Err(late.into()))
            .map_err(failed)?;
        Ok(sockets.map(|socket| endpoint(Some(socket))).collect())
    }

    fn connection_addr(&self) -> ConnectionAddr {
        match &self.address {
            Address::Unix(path) => ConnectionAddr::Unix(path.into()),
            Address::Tcp(host, port) if self.is_tls => ConnectionAddr::TcpTls {
                host: host.clone(),
                port: *port,
                insecure: false,
                tls_params: None,
            },
            Address::Tcp(host, port) => ConnectionAddr::Tcp(host.clone(), *port),
        }
    }
}

impl Endpoint {
    pub(super) async fn connect(&self, answer_limit: Duration) -> Result<Connection, Failure> {
        let name = self.server.address.to_string();
        let opened = self.open(answer_limit).await;
        let connection = Connection {
            inner: opened.map_err(|error| failure::unreachable(&name, &error))?,
            endpoint: self.clone(),
            name,
        };
        connection.log_in().await?;
        Ok(connection)
    }

    async fn open(&self, answer_limit: Duration) -> RedisResult<MultiplexedConnection> {
        let address = self.server.connection_addr();
        let info = address
            .into_connection_info()?
            .set_tcp_settings(TcpSettings::default().set_nodelay(true))
            .set_redis_settings(RedisConnectionInfo::default().set_skip_set_lib_name());
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_LIMIT))
            .set_response_timeout(Some(answer_limit));
        if let Some(socket) = self.socket {
            config = config.set_dns_resolver(Pinned(socket));
        }
        let client = Client::open(info)?;
        let opening = client.get_multiplexed_async_connection_with_config(&config);
        opening.await
    }
}

impl Connection {
    /// Sends a command, and returns its answer.
    pub(super) async fn ask(&self, command: &Cmd) -> Result<Value, Failure> {
        self.checked(self.ask_any(command).await?)
    }

    /// Sends two commands, which the server executes one after the other, and returns both answers.
    pub(super) async fn ask_both(&self, commands: [Cmd; 2]) -> Result<[Value; 2], Failure> {
        let mut pipeline = redis::pipe();
        for command in commands {
            pipeline.add_command(command);
        }
        let answers = self
            .inner
            .clone()
            .send_packed_commands(&pipeline, 0, 2)
            .await;
        let answers = answers.map_err(|error| failure::lost(&self.name, &error))?;
        let [first, second] = answers
            .try_into()
            .map_err(|_| failure::unexpected(&self.name))?;
        Ok([self.checked(first)?, self.checked(second)?])
    }

    fn checked(&self, answer: Value) -> Result<Value, Failure> {
        match answer {
            Value::ServerError(error) => Err(failure::answered(&self.name, &error)),
            answer => Ok(answer),
        }
    }

    /// Sends a command, and returns its answer, which may be an error.
    pub(super) async fn ask_any(&self, command: &Cmd) -> Result<Value, Failure> {
        let answer = self.inner.clone().send_packed_command(command).await;
        answer.map_err(|error| failure::lost(&self.name, &error))
    }

    /// Logs in with commands of its own, because the client hides the server's error.
    async fn log_in(&self) -> Result<(), Failure> {
        let login = &self.endpoint.server.login;
        if let Some(password) = &login.password {
            let mut auth = redis::cmd("AUTH");
            auth.arg(login.user.as_deref()).arg(password);
            self.ask(&auth).await?;
        }
        if login.database != 0 {
            self.ask(redis::cmd("SELECT").arg(login.database)).await?;
        }
        Ok(())
    }
}

/// Resolves every host to one address.
struct Pinned(SocketAddr);

impl AsyncDNSResolver for Pinned {
    fn resolve<'a, 'b: 'a>(
        &'a self,
        _: &'b str,
        _: u16,
    ) -> RedisFuture<'a, Box<dyn Iterator<Item = SocketAddr> + Send + 'a>> {
        let addresses: Box<dyn Iterator<Item = _> + Send> = Box::new([self.0].into_iter());
        Box::pin(async { Ok(addresses) })
    }
}
