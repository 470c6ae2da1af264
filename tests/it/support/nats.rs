//! A private NATS server, or a cluster of them: own ports and folders, ended when they are dropped.

use super::{guarded::Guarded, server::free_port, within};
use async_nats::{Client, Request, RequestErrorKind};
use serde_json::{Value, json};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::AsyncReadExt,
    net::TcpStream,
    time::{sleep, timeout},
};

/// Where `scripts/test` installs the server.
const INSTALLED: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../target/nats-server/bin/nats-server"
);

const START_LIMIT: Duration = Duration::from_secs(20);

/// A server that runs, or was killed and may be restarted with its data.
pub(crate) struct NatsServer {
    running: Option<Guarded>,
    port: u16,
    folder: TempDir,
}

impl NatsServer {
    pub(crate) async fn start() -> Self {
        Self::with("").await
    }

    /// Starts a server with these lines in its configuration.
    pub(crate) async fn with(configuration: &str) -> Self {
        Self::new(true, configuration).started().await
    }

    /// Starts a server that stores nothing.
    pub(crate) async fn without_jetstream(configuration: &str) -> Self {
        Self::new(false, configuration).started().await
    }

    /// A server that does not run yet.
    fn new(has_jetstream: bool, configuration: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("nats-").tempdir().unwrap();
        let (port, store) = (free_port(), folder.path().join("store"));
        let jetstream = match has_jetstream {
            true => format!("jetstream {{ store_dir: {store:?} }}"),
            false => String::new(),
        };
        let log = folder.path().join("log");
        let text = format!(
            "port: {port}\nhost: 127.0.0.1\nlog_file: {log:?}\n{jetstream}\n{configuration}\n"
        );
        fs::write(folder.path().join("conf"), text).unwrap();
        Self {
            running: None,
            port,
            folder,
        }
    }

    async fn started(mut self) -> Self {
        self.spawn();
        self.is_ready().await;
        self
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Where the server has its streams.
    pub(crate) fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// Copies the streams of a server that does not run.
    pub(crate) fn copy_store(&self) -> TempDir {
        let copy = tempfile::tempdir().unwrap();
        copy_all(&self.store(), copy.path());
        copy
    }

    /// Replaces the streams of a server that does not run by a copy.
    pub(crate) fn replace_store(&self, copy: &TempDir) {
        fs::remove_dir_all(self.store()).unwrap();
        fs::create_dir(self.store()).unwrap();
        copy_all(copy.path(), &self.store());
    }

    /// Kills the server, as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.running = None;
    }

    /// Starts a killed server again, with its port and its data.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        self.spawn();
        self.is_ready().await;
    }

    /// Stops the process, so that its connections are half-open.
    pub(crate) fn pause(&self) {
        self.running.as_ref().unwrap().pause();
    }

    pub(crate) fn resume(&self) {
        self.running.as_ref().unwrap().resume();
    }

    pub(crate) fn spawn(&mut self) {
        let configuration = self.folder.path().join("conf").display().to_string();
        self.running = Some(Guarded::run(&[&program(), "-c", &configuration]));
    }

    /// A client of the tests.
    pub(crate) async fn client(&self) -> Client {
        async_nats::connect(self.url()).await.unwrap()
    }

    /// Sends a request to JetStream, and returns the answer.
    pub(crate) async fn ask(&self, request: &str, body: Value) -> Value {
        ask(&self.client().await, request, body).await.unwrap()
    }

    /// Changes settings of a stream.
    pub(crate) async fn update(&self, stream: &str, change: impl FnOnce(&mut Value)) {
        let info = self
            .ask(&format!("STREAM.INFO.{stream}"), Value::Null)
            .await;
        let mut config = info["config"].clone();
        change(&mut config);
        let answer = self.ask(&format!("STREAM.UPDATE.{stream}"), config).await;
        assert!(answer["error"].is_null(), "{answer}");
    }

    /// Waits until it greets clients, which it does when JetStream has read its streams.
    async fn is_ready(&self) {
        let is_ready = async {
            while !greets(self.port).await {
                sleep(Duration::from_millis(10)).await;
            }
        };
        if timeout(START_LIMIT, is_ready).await.is_err() {
            let log = fs::read_to_string(self.folder.path().join("log"));
            panic!("the server is not ready: {log:?}");
        }
    }
}

/// Three servers that know each other.
pub(crate) struct NatsCluster(pub(crate) Vec<NatsServer>);

impl NatsCluster {
    pub(crate) async fn start() -> Self {
        let ports = [free_port(), free_port(), free_port()];
        Self::with(ports, |_, to| format!("127.0.0.1:{}", ports[to])).await
    }

    /// Starts servers that listen for each other on these ports, and reach each other at the addresses.
    pub(crate) async fn with(ports: [u16; 3], address: impl Fn(usize, usize) -> String) -> Self {
        let servers = ports.iter().enumerate().map(|(index, port)| {
            let others = (0..3).filter(|to| *to != index);
            let routes: Vec<_> = others
                .map(|to| format!("nats-route://{}", address(index, to)))
                .collect();
            let configuration = format!(
                "server_name: s{index}\ncluster {{ name: c, listen: \"127.0.0.1:{port}\", no_advertise: true, \
                 routes: [{}] }}",
                routes.join(", ")
            );
            NatsServer::new(true, &configuration)
        });
        let mut cluster = Self(servers.collect());
        cluster.0.iter_mut().for_each(NatsServer::spawn);
        for server in &cluster.0 {
            server.is_ready().await;
        }
        within("a NATS cluster", async {
            while !cluster.stores().await {
                sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
        cluster
    }

    /// Whether it creates streams on all its servers.
    async fn stores(&self) -> bool {
        let client = self.0[0].client().await;
        let probe = json!({ "name": "probe", "subjects": ["probe"], "num_replicas": 3 });
        let created = ask(&client, "STREAM.CREATE.probe", probe).await;
        let is_created = created.is_some_and(|answer| answer["error"].is_null());
        let deleted = ask(&client, "STREAM.DELETE.probe", Value::Null).await;
        is_created && deleted.is_some()
    }

    /// Deletes a stream, and waits until no server has it any more.
    pub(crate) async fn delete(&self, stream: &str) {
        let info = self.0[0]
            .ask(&format!("STREAM.INFO.{stream}"), Value::Null)
            .await;
        let subject = info["config"]["subjects"][0]
            .as_str()
            .unwrap()
            .replace('*', "x");
        self.0[0]
            .ask(&format!("STREAM.DELETE.{stream}"), Value::Null)
            .await;
        for server in &self.0 {
            let client = server.client().await;
            within("the end of a stream", async {
                while !has_no_receiver(&client, &subject).await {}
            })
            .await;
        }
    }

    pub(crate) fn url(&self) -> String {
        let addresses: Vec<_> = self
            .0
            .iter()
            .map(|server| format!("127.0.0.1:{}", server.port))
            .collect();
        format!("nats://{}", addresses.join(","))
    }

    /// The index of the server that leads a stream.
    pub(crate) async fn leader(&self, stream: &str) -> usize {
        let request = format!("STREAM.INFO.{stream}");
        let info = self.0[0].ask(&request, Value::Null).await;
        let name = info["cluster"]["leader"]
            .as_str()
            .unwrap_or_else(|| panic!("{info}"));
        name[1..].parse().unwrap()
    }
}

async fn ask(client: &Client, request: &str, body: Value) -> Option<Value> {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let answer = client
        .request(format!("$JS.API.{request}"), body.into())
        .await
        .ok()?;
    serde_json::from_slice(&answer.payload).ok()
}

async fn has_no_receiver(client: &Client, subject: &str) -> bool {
    let request = Request::new().timeout(Some(Duration::from_millis(200)));
    let answer = client.send_request(subject.to_owned(), request).await;
    answer.is_err_and(|error| error.kind() == RequestErrorKind::NoResponders)
}

async fn greets(port: u16) -> bool {
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else {
        return false;
    };
    let mut greeting = [0; 4];
    server.read_exact(&mut greeting).await.is_ok() && greeting == *b"INFO"
}

fn copy_all(from: &Path, to: &Path) {
    let from = from.join(".");
    let copied = Command::new("cp")
        .arg("-a")
        .args([from.as_path(), to])
        .status();
    assert!(copied.unwrap().success());
}

fn program() -> String {
    let installed = || Path::new(INSTALLED).exists().then(|| INSTALLED.to_owned());
    let program = env::var("NATS_SERVER").ok().or_else(installed);
    program.unwrap_or_else(|| "nats-server".to_owned())
}
