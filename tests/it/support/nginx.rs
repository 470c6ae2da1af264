//! A private nginx in front of one application: its own port and folder, ended when it is dropped.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

const STARTS: usize = 3;
const START_LIMIT: Duration = Duration::from_secs(10);

/// Runs nginx until the standard input ends, so that it does not outlive the test.
/// Debian has it where a user's path does not lead.
const GUARD: &str = r#"
PATH=$PATH:/usr/sbin
"$@" </dev/null & nginx=$!
read -r _
kill $nginx
wait $nginx
"#;

pub(crate) struct Nginx {
    guard: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Nginx {
    /// Starts it as `docs/recipes/reverse_proxies.md` advises, without TLS.
    pub(crate) async fn before(application: SocketAddr) -> Self {
        for _ in 0..STARTS {
            let nginx = Self::start(application);
            if nginx.is_ready().await {
                return nginx;
            }
        }
        panic!("nginx was not ready at any of {STARTS} starts");
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its error log, for a failed test.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("error.log")).unwrap_or_default()
    }

    fn start(application: SocketAddr) -> Self {
        let folder = tempfile::Builder::new().prefix("ng-").tempdir().unwrap();
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let file = folder.path().join("nginx.conf");
        fs::write(&file, configuration(folder.path(), address, application)).unwrap();
        let guard = Command::new("sh")
            .args(["-c", GUARD, "sh", "nginx", "-e"])
            .arg(folder.path().join("error.log"))
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("nginx can be started");
        Self {
            guard,
            address,
            folder,
        }
    }

    /// Whether it answers. Another process may have taken the port meanwhile, so the answer names the folder.
    async fn is_ready(&self) -> bool {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("http://{}/nginx-ready", self.address);
        let folder = self.folder.path().display().to_string();
        let deadline = Instant::now() + START_LIMIT;
        while Instant::now() < deadline {
            if let Ok(response) = client.get(&url).send().await
                && let Ok(text) = response.text().await
            {
                return text == folder;
            }
            sleep(Duration::from_millis(10)).await;
        }
        false
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

fn configuration(folder: &Path, address: SocketAddr, application: SocketAddr) -> String {
    let folder = folder.display();
    format!(
        r#"
daemon off;
master_process off;
pid {folder}/pid;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream app {{
        server {application};
        keepalive 256;
    }}
    server {{
        listen {address};
        location / {{
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            error_page 502 504 = @down;
        }}
        location @down {{
            default_type text/event-stream;
            if ($http_accept = text/event-stream) {{ return 200 "retry: 3000\n\n"; }}
            return 502;
        }}
        location = /nginx-ready {{ return 200 "{folder}"; }}
    }}
}}
"#
    )
}
