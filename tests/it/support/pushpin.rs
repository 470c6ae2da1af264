//! A private Pushpin: its own ports and folder, and gone with all its processes when it is dropped.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axum::Router;
use futures_util::future::join_all;
use serde_json::json;
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use super::server;

const STARTS: usize = 3;
const START_LIMIT: Duration = Duration::from_secs(10);
const REQUEST_LIMIT: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(10);

/// Clients that prove a proxy ready: as many as meet both of condure's workers.
const PROBES: usize = 16;
const PUBLISHES: usize = 5;
const PROBE_LIMIT: Duration = Duration::from_millis(200);

/// Runs Pushpin until a line with a signal's name comes, or the standard input ends: then the test is
/// done with it, or is dead. Pushpin ends its services itself, unless it is killed.
const GUARD: &str = r#"
exec 3<&0
"$@" </dev/null 3<&- &
pushpin=$!
echo $pushpin >pid
{
    read -r signal <&3
    services=$(cat "/proc/$pushpin/task/$pushpin/children")
    case $signal in KILL) kill -KILL $pushpin $services ;; *) kill $pushpin ;; esac
    tries=0
    while kill -0 $pushpin && [ $((tries += 1)) -lt 100 ]; do sleep 0.05; done
    kill -0 $pushpin && kill -KILL $pushpin $services
} 2>/dev/null &
wait $pushpin
echo "Pushpin has ended: $?"
"#;

/// Routes, and changes of the settings.
pub(crate) struct Builder {
    routes: Vec<String>,
    settings: Vec<(&'static str, String)>,
}

pub(crate) struct Pushpin {
    running: Option<Guard>,
    ports: Ports,
    folder: TempDir,
    builder: Builder,
}

#[derive(Clone, Copy)]
struct Ports {
    clients: u16,
    control: u16,
    /// ZeroMQ, for publishing and for commands.
    others: [u16; 3],
}

/// The shell that ends Pushpin.
struct Guard(Child);

impl Builder {
    /// Sends all requests that no other route is for to this address.
    pub(crate) fn origin(self, address: SocketAddr) -> Self {
        self.route(format!("* {address}"))
    }

    /// Adds a line to the file `routes`.
    pub(crate) fn route(mut self, line: String) -> Self {
        self.routes.push(line);
        self
    }

    /// Sets the key that requests are signed with.
    pub(crate) fn sig_key(self, key: impl Into<String>) -> Self {
        self.set("sig_key", key)
    }

    /// Changes a line of the file `pushpin.conf`.
    pub(crate) fn set(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.settings.push((name, value.into()));
        self
    }

    /// Starts it, and waits until it delivers to a client that it holds.
    pub(crate) async fn start(self) -> Pushpin {
        let folder = tempfile::Builder::new().prefix("pp-").tempdir();
        let mut pushpin = Pushpin {
            running: None,
            ports: Ports::free(),
            folder: folder.unwrap(),
            builder: self,
        };
        for _ in 0..STARTS {
            match pushpin.try_start().await {
                Ok(()) => return pushpin,
                Err(log) => println!("Pushpin is not ready, a new one is started: {log}"),
            }
            pushpin.ports = Ports::free();
        }
        panic!("Pushpin was not ready at any of {STARTS} starts");
    }
}

impl Pushpin {
    pub(crate) fn builder() -> Builder {
        Builder {
            routes: Vec::new(),
            settings: Vec::new(),
        }
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.clients).into()
    }

    /// Where the application publishes.
    pub(crate) fn control_uri(&self) -> String {
        format!("http://{}/", self.control_address())
    }

    pub(crate) fn control_address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.control).into()
    }

    /// Ends it, and with it all streams that it holds.
    pub(crate) fn stop(&mut self) {
        self.running = None;
    }

    /// Kills it, with SIGKILL, and returns when its ports are closed.
    pub(crate) async fn kill(&mut self) {
        let mut guard = self.running.take().expect("it runs");
        let signal = guard.0.stdin.as_mut().unwrap();
        signal.write_all(b"KILL\n").unwrap();
        drop(guard);
        let ports = [self.ports.clients, self.ports.control];
        let is_open = |port: &u16| TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).is_ok();
        while ports.iter().any(is_open) {
            sleep(PAUSE).await;
        }
    }

    /// Starts it again on the same ports.
    pub(crate) async fn start_again(&mut self) {
        for _ in 0..STARTS {
            match self.try_start().await {
                Ok(()) => return,
                Err(log) => println!("Pushpin is not ready and started again: {log}"),
            }
        }
        panic!("Pushpin did not start again");
    }

    /// Waits until it has held so many clients on this channel since its start.
    pub(crate) async fn wait_for_subscribe(&self, channel: &str, count: usize) {
        let deadline = Instant::now() + START_LIMIT;
        while self.subscribed(channel) < count {
            let is_late = Instant::now() > deadline;
            assert!(!is_late, "not subscribed to {channel}: {}", self.log());
            sleep(PAUSE).await;
        }
    }

    /// How many clients it has held on this channel since its start.
    pub(crate) fn subscribed(&self, channel: &str) -> usize {
        let end = format!(" channel={channel}");
        let log = self.log();
        let lines = log.lines().filter(|line| line.contains(" subscribe "));
        lines.filter(|line| line.ends_with(&end)).count()
    }

    /// How many answers to links clients have received since its start.
    pub(crate) fn followed(&self) -> usize {
        let log = self.log();
        let lines = log.lines().filter(|line| line.contains(" GET "));
        lines.filter(|line| line.contains("?grip-next=")).count()
    }

    /// The process that has started its services.
    #[allow(dead_code, reason = "only the fleet shows it")]
    pub(crate) fn pid(&self) -> Option<u32> {
        let pid = fs::read_to_string(self.path("pid")).ok()?;
        self.running.as_ref().and_then(|_| pid.trim().parse().ok())
    }

    /// How many clients it has cancelled since its start.
    pub(crate) fn cancelled(&self) -> usize {
        self.log().matches("out of sequence, canceling").count()
    }

    /// Its log since the start.
    pub(crate) fn log(&self) -> String {
        let log = fs::read(self.path("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn try_start(&mut self) -> Result<(), String> {
        self.stop();
        let (listener, probe) = server::bind().await;
        let hold = async || [("grip-hold", "stream"), ("grip-channel", ".ready")];
        let serving = server::serve(listener, Router::new().fallback(hold));
        self.write_files(probe);
        self.running = Some(Guard::start(self.folder.path()));
        let deadline = Instant::now() + START_LIMIT;
        let mut outcome = Err(String::new());
        while outcome.is_err() && Instant::now() < deadline {
            outcome = self.probe().await.ok_or_else(|| self.log());
            if self.log().contains("Pushpin has ended") {
                break;
            }
            sleep(PAUSE).await;
        }
        serving.abort();
        outcome
    }

    /// Whether held clients receive a message.
    ///
    /// Open ports prove nothing: at first a hold is answered with an error. Nor does one client: condure has two workers,
    /// and the handler drops messages for a worker that it is not connected to yet.
    async fn probe(&self) -> Option<()> {
        let clients = (0..PROBES).map(|_| self.hold_probe());
        let clients = join_all(clients).await.into_iter();
        let mut clients: Vec<_> = clients.collect::<Option<_>>()?;
        for _ in 0..PUBLISHES {
            self.publish(".ready", "ready").await?;
            let mut waiting = Vec::new();
            for mut client in clients {
                match timeout(PROBE_LIMIT, client.chunk()).await {
                    Ok(chunk) => _ = chunk.ok()??,
                    Err(_) => waiting.push(client),
                }
            }
            clients = waiting;
            if clients.is_empty() {
                return Some(());
            }
        }
        None
    }

    async fn hold_probe(&self) -> Option<reqwest::Response> {
        let url = format!("http://{}/.ready/", self.address());
        let held = timeout(REQUEST_LIMIT, reqwest::get(url)).await;
        held.ok()?.ok()?.error_for_status().ok()
    }

    /// Publishes without the application. `None` if that fails.
    pub(crate) async fn publish(&self, channel: &str, content: &str) -> Option<()> {
        let item = json!({"channel": channel, "formats": {"http-stream": {"content": content}}});
        let publish = reqwest::Client::new().post(format!("{}publish/", self.control_uri()));
        let publish = publish.timeout(REQUEST_LIMIT);
        let publish = publish.json(&json!({"items": [item]}));
        let published = publish.send().await.ok()?;
        published.error_for_status().ok().map(drop)
    }

    fn write_files(&self, probe: SocketAddr) {
        let mut routes = format!("*,path_beg=/.ready/ {probe}\n");
        for route in &self.builder.routes {
            writeln!(routes, "{route}").unwrap();
        }
        fs::write(self.path("routes"), routes).unwrap();
        let mut file = settings(self.ports, self.folder.path());
        for (name, value) in &self.builder.settings {
            let start = format!("{name}=");
            let line = file.lines().find(|line| line.starts_with(&start));
            let line = line.expect("a setting of the file").to_owned();
            file = file.replace(&line, &(start + value.as_str()));
        }
        fs::write(self.path("pushpin.conf"), file).unwrap();
    }
}

impl Drop for Pushpin {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("Pushpin's log:\n{}", self.log());
        }
    }
}

impl Ports {
    fn free() -> Self {
        let ports = server::reserve::<5>(Ipv4Addr::LOCALHOST);
        let [clients, control, others @ ..] = ports.map(|port| port.local_addr().unwrap().port());
        Self {
            clients,
            control,
            others,
        }
    }
}

impl Guard {
    fn start(folder: &Path) -> Self {
        version();
        let log = File::create(folder.join("log")).unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", GUARD, "sh", "pushpin", "--merge-output"]);
        shell.arg("--config").arg(folder.join("pushpin.conf"));
        shell.current_dir(folder).stdin(Stdio::piped());
        shell.stdout(log.try_clone().unwrap()).stderr(log);
        Self(shell.process_group(0).spawn().expect("a shell"))
    }
}

impl Drop for Guard {
    /// Also after a panic.
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Major and minor.
fn version() -> (u32, u32) {
    let output = Command::new("pushpin").arg("--version").output();
    let output = output.expect(
        "Pushpin cannot be run: install it (`apt-get install pushpin`), or run `scripts/test`, which does",
    );
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_whitespace().last().unwrap_or_default();
    let numbers = version.split(['.', '-']);
    let mut numbers = numbers.map_while(|number| number.parse().ok());
    let both = numbers.next().zip(numbers.next());
    both.expect("Pushpin's version")
}

/// The values of the file that Pushpin comes with, except for private ports and a folder for all files. The defaults
/// of missing values differ from that file.
fn settings(ports: Ports, folder: &Path) -> String {
    let (folder, clients, control) = (folder.display(), ports.clients, ports.control);
    let [pull, sub, command] = ports.others;
    // Before 1.37 there were more services, and Debian's shares one of them with the whole system.
    let classic = version() < (1, 37);
    let services = match classic {
        true => "condure,zurl,pushpin-proxy,pushpin-handler",
        false => "connmgr,proxy,handler",
    };
    let zurl = format!(
        "zurl_out_specs=ipc://{folder}/run/p-zurl-in
zurl_out_stream_specs=ipc://{folder}/run/p-zurl-in-stream
zurl_in_specs=ipc://{folder}/run/p-zurl-out"
    );
    let zurl = if classic { &*zurl } else { "" };
    format!(
        "[global]
include=/usr/lib/pushpin/internal.conf
rundir={folder}/run
ipc_prefix=p-
port_offset=0
[runner]
services={services}
http_port=127.0.0.1:{clients}
logdir={folder}
log_level=2
client_buffer_size=8192
client_maxconn=5000
[proxy]
routesfile=routes
debug=false
sig_iss=pushpin
sig_key=changeme
updates_check=off
{zurl}
[handler]
push_in_spec=tcp://127.0.0.1:{pull}
push_in_sub_specs=tcp://127.0.0.1:{sub}
command_spec=tcp://127.0.0.1:{command}
push_in_http_addr=127.0.0.1
push_in_http_port={control}
push_in_http_max_headers_size=10000
push_in_http_max_body_size=1000000
message_rate=2500
message_hwm=25000
message_wait=5000
id_cache_ttl=60
connection_subscription_max=20
subscription_linger=60
update_on_first_subscription=true
stats_connection_ttl=120
stats_subscription_ttl=60
stats_report_interval=10
stats_format=tnetstring
"
    )
}
