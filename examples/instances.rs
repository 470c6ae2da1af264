//! Two instances of one application on one log in Redis, behind a load balancer without stickiness.
//!
//! The page shows which instance serves it. Kill that instance: the page continues at the other one, and no message is
//! missing or repeated, whichever instance it was published at.
//!
//! Run with: `redis-server`, or `docker run -p 6379:6379 redis`
//! and: `cargo run --example instances --features redis`, then open <http://127.0.0.1:3000>.
//!
//! `PORT` sets the load balancer's port, and the instances have the two ports after it. `REDIS_URL` names the server.
//!
//! Try: `curl -N localhost:3000/events`
//! and: `curl localhost:3002/messages -d text=hello`
//! and: `curl -X POST localhost:3001/kill`

use axum::{
    Form, Router,
    extract::State,
    http::StatusCode,
    response::Html,
    routing::{get, post},
};
use axum_eventstream::backplane::{Backplane, Redis};
use axum_eventstream::{Error, Event, EventStream, net};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};
use std::{env, error, io, net::Ipv4Addr, pin::pin, process};
use tokio::io::{AsyncReadExt, copy_bidirectional, stdin};
use tokio::net::{TcpListener, TcpStream};
use tokio::{process::Command, signal, time::sleep};

/// The variable that makes this program an instance, with its port.
const INSTANCE: &str = "INSTANCE";

#[derive(Clone)]
struct App {
    es: EventStream,
    port: u16,
}

#[derive(Deserialize)]
struct Post {
    text: String,
}

async fn send(State(app): State<App>, Form(post): Form<Post>) -> Result<StatusCode, Error> {
    let text: String = post.text.chars().take(500).collect();
    let message = json!({ "at": now(), "port": app.port, "text": text });
    let event = Event::json("message", &message)?;
    app.es.publish_event("messages", event).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The key leaves only the newest event in a replay, and the client of a killed instance reconnects after `retry`.
fn tick(port: u16) -> Result<Event, Error> {
    let event = Event::builder().event("clock").key("clock");
    let event = event.retry(Duration::from_millis(500));
    let clock: Value = json!({ "at": now(), "port": port });
    Ok(event.json_data(&clock)?.build()?)
}

async fn clock(app: App) -> Result<(), Error> {
    let channel = app.es.channel_publisher(channel(app.port))?;
    loop {
        // Without Redis it waits 10 seconds.
        if let Err(error) = channel.publish_event(tick(app.port)?).await {
            println!("instance {}: {error}", app.port);
        }
        sleep(Duration::from_secs(1)).await;
    }
}

fn channel(port: u16) -> String {
    format!("instance-{port}")
}

async fn kill() {
    process::exit(1);
}

fn app(app: App) -> Router {
    let events = app.es.handler(["messages".to_owned(), channel(app.port)]);
    Router::new()
        .route("/", get(Html(include_str!("instances.html"))))
        .route("/events", get(events))
        .route("/messages", post(send))
        .route("/kill", post(kill))
        .with_state(app)
}

async fn instance(port: u16) -> Result<(), Box<dyn error::Error>> {
    let es = EventStream::builder().backplane(redis()).build()?;
    let state = App { es, port };
    tokio::spawn(clock(state.clone()));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    println!("instance {port} has started");
    let mut stdin = stdin();
    let stop = state.es.close_on(async move {
        // The standard input ends with the load balancer.
        tokio::select! { () = stop_signal() => {}, _ = stdin.read_u8() => {} }
    });
    axum::serve(net::Listener::new(listener), app(state))
        .with_graceful_shutdown(stop)
        .await?;
    Ok(())
}

/// The log that the instances share.
fn redis() -> Redis {
    let url = env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".to_owned());
    Redis::new(url).namespace("example-instances")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn error::Error>> {
    if let Ok(port) = env::var(INSTANCE) {
        return instance(port.parse()?).await;
    }
    let port = env::var("PORT").map_or(3000, |port| port.parse().expect("PORT is a number"));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    if let Err(failure) = redis().connect().await {
        println!(
            "{failure}\nrun `redis-server` or `docker run -p 6379:6379 redis`: the page opens, and events begin then"
        );
    }
    let ports = [port + 1, port + 2];
    let instances = async { tokio::try_join!(supervise(ports[0]), supervise(ports[1])) };
    tokio::select! {
        ended = instances => ended.map(drop)?,
        ended = balance(listener, ports) => ended?,
    }
    Ok(())
}

/// Runs an instance until this program is stopped. If it ends before, another one starts after 5 seconds.
async fn supervise(port: u16) -> io::Result<()> {
    let mut stop = pin!(stop_signal());
    loop {
        let mut command = Command::new(env::current_exe()?);
        command.env(INSTANCE, port.to_string());
        command.stdin(process::Stdio::piped()).kill_on_drop(true);
        let mut instance = command.spawn()?;
        let stdin = instance.stdin.take();
        tokio::select! {
            ended = instance.wait() => println!("instance {port} has ended: {}", ended?),
            () = &mut stop => {
                drop(stdin);
                return instance.wait().await.map(drop);
            }
        }
        tokio::select! { () = sleep(Duration::from_secs(5)) => {}, () = &mut stop => return Ok(()) }
    }
}

/// Leads each connection to the next instance, whichever had the client before.
async fn balance(listener: TcpListener, ports: [u16; 2]) -> io::Result<()> {
    for first in (0..ports.len()).cycle() {
        let (client, _) = listener.accept().await?;
        let order = ports.into_iter().cycle().skip(first);
        tokio::spawn(forward(client, order));
    }
    Ok(())
}

/// Forwards to the first instance that accepts. While none does, the client waits.
async fn forward(mut client: TcpStream, order: impl Iterator<Item = u16>) -> io::Result<()> {
    client.set_nodelay(true)?;
    for port in order {
        if let Ok(mut instance) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
            instance.set_nodelay(true)?;
            return copy_bidirectional(&mut client, &mut instance)
                .await
                .map(drop);
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    since.as_millis() as u64
}

/// Ctrl-C, or SIGTERM where there is one.
async fn stop_signal() {
    #[cfg(unix)]
    let term = async {
        let mut term = signal::unix::signal(signal::unix::SignalKind::terminate()).unwrap();
        term.recv().await
    };
    #[cfg(not(unix))]
    let term = std::future::pending::<Option<()>>();
    tokio::select! { _ = signal::ctrl_c() => {}, _ = term => {} }
}
