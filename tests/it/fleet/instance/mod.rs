//! An instance of an application, as a process of its own.

mod drain;
mod publishers;

use crate::line::{CHANNELS, Line, Stats};
use axum::{
    Router,
    http::{header::CONNECTION, request::Parts},
    middleware::map_response,
    response::Response,
    routing::get,
};
use axum_eventstream::{Error, EventStream, History, KeepAlive, backplane::Redis, net};
use drain::Closes;
use publishers::Publishers;
use serde::{Deserialize, Serialize};
use std::{
    env, io,
    net::{Ipv4Addr, SocketAddr},
    process,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader, stdin},
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    time::sleep,
};

/// The variable that makes this program an instance.
pub(crate) const VARIABLE: &str = "FLEET_INSTANCE";

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Settings {
    /// No other process of the fleet has it.
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) redis: String,
    pub(crate) proxies: Vec<String>,
    /// The mean time between two publishes.
    pub(crate) pause: Duration,
    pub(crate) drain: Duration,
    pub(crate) seed: u64,
}

impl Settings {
    pub(crate) fn of_this_process() -> Option<Self> {
        let settings = env::var(VARIABLE).ok()?;
        Some(serde_json::from_str(&settings).expect("the supervisor has written it"))
    }
}

/// Ends the process, which would otherwise wait for a line of the standard input.
pub(crate) async fn run(settings: Settings) -> ! {
    let served = serve(settings).await;
    if let Err(error) = &served {
        eprintln!("an instance: {error}");
    }
    process::exit(i32::from(served.is_err()))
}

async fn serve(settings: Settings) -> Result<(), Box<dyn std::error::Error>> {
    let closes = Closes::default();
    let es = build(&settings, &closes)?;
    while !es.catch_up().await {}
    let listener = bind(settings.port).await?;
    let publishers = Publishers::start(&es, &settings);
    tokio::spawn(report(es.clone()));
    tokio::spawn(obey(es.clone(), publishers.clone()));
    let drained = drain::on_signal(
        signal(SignalKind::terminate())?,
        es.clone(),
        settings.drain,
        closes,
    );
    Line::Ready.write();
    axum::serve(net::Listener::new(listener), app(&es))
        .with_graceful_shutdown(drained)
        .await?;
    publishers.stop().await;
    Ok(())
}

fn build(settings: &Settings, closes: &Closes) -> Result<EventStream, Error> {
    let mut builder = EventStream::builder();
    for proxy in &settings.proxies {
        builder = builder.grip(proxy.as_str());
    }
    let closes = closes.clone();
    builder
        .grip_link_key("a secret of all instances")
        .grip_poll(Duration::from_secs(20))
        .history(History::memory().events(50_000))
        .keep_alive(KeepAlive::new().interval(Duration::from_secs(5)))
        .on_unsubscribe(move |_, _| closes.record())
        .backplane(Redis::new(&settings.redis).namespace("fleet"))
        .build()
}

/// Streams on the channels that the path names: `/direct/a+b` or `/proxied/a`.
fn app(es: &EventStream) -> Router {
    let channels = |parts: &Parts| -> Vec<String> {
        let names = parts.uri.path().rsplit('/').next().unwrap_or_default();
        names.split('+').map(str::to_owned).collect()
    };
    // The next request of a proxy leads to another instance.
    let close = async |mut response: Response| {
        let headers = response.headers_mut();
        headers.insert(CONNECTION, "close".parse().expect("a header value"));
        response
    };
    let proxied = get(es.handler(channels)).layer(map_response(close));
    Router::new()
        .route("/direct/{channels}", get(es.handler(channels)))
        .route("/proxied/{channel}", proxied)
}

/// The port of an earlier process may be taken for a moment.
async fn bind(port: u16) -> io::Result<TcpListener> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    for _ in 0..100 {
        if let Ok(listener) = TcpListener::bind(address).await {
            return Ok(listener);
        }
        sleep(Duration::from_millis(50)).await;
    }
    TcpListener::bind(address).await
}

/// Writes its numbers twice a second.
async fn report(es: EventStream) {
    loop {
        let (stats, health) = (es.stats(), es.health());
        let backplane = health.backplane();
        Line::Stats(Stats {
            subscriptions: stats.subscriptions,
            delivered: stats.delivered,
            appended: stats.backplane_appended,
            attached: backplane.is_some_and(|backplane| backplane.attached),
            behind: backplane.map_or(0, |backplane| backplane.behind),
            log_resets: stats.backplane_resets,
        })
        .write();
        sleep(Duration::from_millis(500)).await;
    }
}

/// Follows the supervisor's commands, and ends with it.
async fn obey(es: EventStream, publishers: Publishers) {
    let mut lines = BufReader::new(stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        publishers.stop().await;
        if line == "end" {
            for channel in CHANNELS {
                publishers::publish(&es, channel, vec![format!("{channel}/end")]).await;
            }
        }
        Line::Stopped.write();
    }
    process::exit(1);
}
