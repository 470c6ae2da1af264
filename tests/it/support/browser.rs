//! A headless Chromium of its own: a fresh profile, and gone with all its processes when it is dropped.

use std::io::{BufRead, BufReader, Lines};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::common::types::WindowHandle;
use thirtyfour::{By, ChromeCapabilities, ChromiumLikeCapabilities as _, WebDriver, WebElement};

/// How long a page may take to reach a state.
const LIMIT: Duration = Duration::from_secs(25);

/// Becomes chromedriver; when the standard input ends, because the test is done with it or is dead, the
/// whole process group is killed.
const GUARD: &str = r#"
exec 3<&0
{ read -r _; kill -KILL 0; } <&3 >/dev/null 2>&1 &
exec "$@" </dev/null 3<&-
"#;

/// Evaluates an expression until it has the expected value, or the time is up. Returns the last value.
const BECOMES: &str = r#"
const [expression, expected, limit, done] = arguments;
const read = new Function('return ' + expression), end = Date.now() + limit;
(function look() {
    const value = read();
    if (JSON.stringify(value) === JSON.stringify(expected) || Date.now() > end) done(value);
    else setTimeout(look, 20);
})();
"#;

pub(crate) struct Browser {
    session: WebDriver,
    driver: Driver,
    /// All that it writes.
    _folder: TempDir,
}

/// Chromedriver, which starts the browser.
struct Driver {
    process: Child,
    /// Open as long as it runs.
    lines: Lines<BufReader<ChildStdout>>,
}

impl Browser {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("chromium-").tempdir();
        let folder = folder.unwrap();
        let (driver, url) = Driver::start(folder.path());
        let session = WebDriver::new(url, capabilities(folder.path())).await;
        let session =
            session.expect("Chromium does not start: is the package `chromium` installed?");
        // It is not told to quit, but killed.
        session.clone().leak().unwrap();
        Self {
            session,
            driver,
            _folder: folder,
        }
    }

    pub(crate) async fn open(&self, url: &str) {
        self.session.goto(url).await.unwrap();
    }

    /// Waits until a JavaScript expression has this value.
    pub(crate) async fn becomes(&self, expression: &str, expected: impl Into<Value>) {
        let expected = expected.into();
        let limit = LIMIT.as_millis() as u64;
        let arguments = vec![json!(expression), expected.clone(), json!(limit)];
        let value = self.session.execute_async(BECOMES, arguments).await;
        let value = value.unwrap().json().clone();
        assert!(
            value == expected,
            "the page has {value}, not {expected}, as {expression}"
        );
    }

    /// Waits until the element of this id has this text.
    pub(crate) async fn shows(&self, id: &str, text: &str) {
        let shown = format!("document.getElementById('{id}').textContent");
        self.becomes(&shown, text).await;
    }

    pub(crate) async fn run(&self, script: &str) -> Value {
        let returned = self.session.execute(script, Vec::new()).await;
        returned.unwrap().json().clone()
    }

    /// Types into the field at a CSS selector.
    pub(crate) async fn type_into(&self, selector: &str, text: &str) {
        self.find(selector).await.send_keys(text).await.unwrap();
    }

    pub(crate) async fn click(&self, selector: &str) {
        self.find(selector).await.click().await.unwrap();
    }

    async fn find(&self, selector: &str) -> WebElement {
        self.session.find(By::Css(selector)).await.unwrap()
    }

    pub(crate) async fn window(&self) -> WindowHandle {
        self.session.window().await.unwrap()
    }

    /// Opens a window, and goes there.
    pub(crate) async fn new_window(&self) -> WindowHandle {
        let window = self.session.new_window().await.unwrap();
        self.go_to(&window).await;
        window
    }

    pub(crate) async fn go_to(&self, window: &WindowHandle) {
        let switched = self.session.switch_to_window(window.clone());
        switched.await.unwrap();
    }

    /// Closes the window; go to another one then.
    pub(crate) async fn close_window(&self) {
        self.session.close_window().await.unwrap();
    }

    /// Stops all processes of the browser until `meanwhile` is complete. The connections stay open, and nobody reads.
    pub(crate) async fn frozen(&self, meanwhile: impl Future<Output = ()>) {
        self.driver.signal(Signal::STOP);
        meanwhile.await;
        self.driver.signal(Signal::CONT);
    }

    /// A picture of the window, as PNG.
    pub(crate) async fn picture(&self) -> Vec<u8> {
        self.session.screenshot_as_png().await.unwrap()
    }
}

fn capabilities(folder: &Path) -> ChromeCapabilities {
    let profile = format!("--user-data-dir={}/profile", folder.display());
    let mut capabilities = ChromeCapabilities::new();
    for argument in [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--hide-scrollbars",
        "--window-size=880,980",
        &profile,
    ] {
        capabilities.add_arg(argument).unwrap();
    }
    capabilities
}

impl Driver {
    /// It chooses a port that is free for IPv4, and ends if that is taken for IPv6: then it is started again.
    fn start(folder: &Path) -> (Self, String) {
        for _ in 0..10 {
            let (driver, said) = Self::try_start(folder);
            if let Some(port) = said.iter().find_map(|line| port(line)) {
                return (driver, format!("http://127.0.0.1:{port}"));
            }
            let is_taken = said.iter().any(|line| line.contains("port not available"));
            assert!(
                is_taken,
                "chromedriver cannot be run: install it (`apt-get install chromium chromium-driver`), or run `scripts/test`, which does; it said {said:?}",
            );
        }
        panic!("chromedriver finds no free port")
    }

    /// Starts it, and reads its output up to the line with its port, or to the end.
    fn try_start(folder: &Path) -> (Self, Vec<String>) {
        let mut shell = Command::new("sh");
        shell.args(["-c", GUARD, "sh", "chromedriver", "--port=0"]);
        shell.env("TMPDIR", folder);
        shell.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = shell.process_group(0).spawn().expect("a shell");
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut driver = Self { process, lines };
        let mut said = Vec::new();
        for line in driver.lines.by_ref().map_while(Result::ok) {
            let is_port = port(&line).is_some();
            said.push(line);
            if is_port {
                break;
            }
        }
        (driver, said)
    }

    /// Sends a signal to all of its processes.
    fn signal(&self, signal: Signal) {
        kill_process_group(Pid::from_child(&self.process), signal).expect("it runs");
    }
}

fn port(line: &str) -> Option<u16> {
    let (_, port) = line.split_once("started successfully on port ")?;
    port.trim_end_matches('.').parse().ok()
}

impl Drop for Driver {
    /// Also after a panic, while it may be frozen.
    fn drop(&mut self) {
        self.signal(Signal::CONT);
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
