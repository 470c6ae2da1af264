//! Chat rooms by route parameter, with names, presence, and the last messages after a reload.
//!
//! Presence follows the streams: each holds a guard. When a tab is closed or a connection breaks, the stream drops
//! its guard. The guard then publishes the new list of names to the room.
//!
//! Run with: `cargo run --example chat`, then open <http://127.0.0.1:3000> in two windows.
//!
//! Try: `curl -N 'localhost:3000/rooms/lobby/events?name=Ann'`
//! and: `curl localhost:3000/rooms/lobby --json '{"name":"Bob","text":"hello"}'`

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{Html, IntoResponse, Redirect, Response, Result},
    routing::get,
};
use axum_eventstream::{Channel, Event, EventStream, InvalidChannel, StreamRequest, net};
use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::{env, io};
use tokio::{net::TcpListener, signal};

#[derive(Clone, Default)]
struct Chat {
    es: EventStream,
    rooms: Arc<Mutex<HashMap<Channel, Room>>>,
}

#[derive(Default)]
struct Room {
    /// Number of streams of each name.
    here: BTreeMap<String, usize>,
    messages: VecDeque<Message>,
}

#[derive(Serialize, Deserialize)]
struct Message {
    name: String,
    text: String,
}

#[derive(Deserialize)]
struct Who {
    name: String,
}

impl Chat {
    /// Changes a room and publishes the change, both under one lock: events have the order of the changes.
    fn change(&self, channel: &Channel, change: impl FnOnce(&mut Room) -> Event) {
        let mut rooms = self.rooms.lock().unwrap();
        if rooms.len() > 100 {
            rooms.retain(|_, room| !room.here.is_empty());
        }
        let event = change(rooms.entry(channel.clone()).or_default());
        // The first poll publishes. Further polls would wait for proxies, and this program has no proxies.
        let _ = self.es.publish_event(channel, event).now_or_never();
    }

    /// Counts one more stream, and publishes nothing yet.
    fn enter(&self, channel: Channel, name: String) -> Here {
        let mut rooms = self.rooms.lock().unwrap();
        let room = rooms.entry(channel.clone()).or_default();
        *room.here.entry(name.clone()).or_default() += 1;
        let chat = self.clone();
        Here {
            chat,
            channel,
            name,
        }
    }
}

impl Room {
    fn who(&mut self) -> Event {
        let names: Vec<_> = self.here.keys().collect();
        Event::json("who", &names).expect("names are JSON")
    }
}

/// Counts a stream until it is dropped.
struct Here {
    chat: Chat,
    channel: Channel,
    name: String,
}

impl Drop for Here {
    fn drop(&mut self) {
        self.chat.change(&self.channel, |room| {
            if let Some(streams) = room.here.get_mut(&self.name) {
                *streams -= 1;
            }
            room.here.retain(|_, streams| *streams > 0);
            room.who()
        });
    }
}

type BadRequest = (StatusCode, String);

fn channel(room: &str) -> Result<Channel, BadRequest> {
    let bad = |error: InvalidChannel| (StatusCode::BAD_REQUEST, error.to_string());
    Channel::new(format!("room-{room}")).map_err(bad)
}

fn short(text: &str, most: usize) -> Result<String, BadRequest> {
    let text: String = text.trim().chars().take(most).collect();
    match text.is_empty() {
        true => Err((StatusCode::BAD_REQUEST, "name or text is empty".into())),
        false => Ok(text),
    }
}

async fn page(
    State(chat): State<Chat>,
    Path(room): Path<String>,
) -> Result<Html<String>, BadRequest> {
    let channel = channel(&room)?;
    let rooms = chat.rooms.lock().unwrap();
    let messages = rooms.get(&channel).map(|room| &room.messages);
    let position = chat.es.current_id().map(|id| id.to_string());
    let state = json!({ "room": room, "lastEventId": position, "messages": messages });
    // In a script element, only a `<` could end the data.
    let state = state.to_string().replace('<', "\\u003c");
    Ok(Html(include_str!("chat.html").replace("{{state}}", &state)))
}

async fn events(
    State(chat): State<Chat>,
    Path(room): Path<String>,
    Query(who): Query<Who>,
    request: StreamRequest,
) -> Result<Response> {
    let (channel, name) = (channel(&room)?, short(&who.name, 30)?);
    let stream = chat.es.open(&request, &channel)?;
    let response = stream
        .guard(chat.enter(channel.clone(), name))
        .into_response();
    // Published after the subscription, so that the new client receives it too. The guard of a HEAD request
    // is dropped by now.
    chat.change(&channel, Room::who);
    Ok(response)
}

async fn send(
    State(chat): State<Chat>,
    Path(room): Path<String>,
    Json(message): Json<Message>,
) -> Result<StatusCode, BadRequest> {
    let (name, text) = (short(&message.name, 30)?, short(&message.text, 500)?);
    let message = Message { name, text };
    chat.change(&channel(&room)?, |room| {
        let event = Event::json("message", &message).expect("a message is JSON");
        room.messages.push_back(message);
        if room.messages.len() > 50 {
            room.messages.pop_front();
        }
        event
    });
    Ok(StatusCode::NO_CONTENT)
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let chat = Chat::default();
    let app = Router::new()
        .route("/", get(Redirect::to("/rooms/lobby")))
        .route("/rooms/{room}", get(page).post(send))
        .route("/rooms/{room}/events", get(events))
        .with_state(chat.clone());
    let port = env::var("PORT").map_or(3000, |port| port.parse().expect("PORT is a number"));
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    // The recipe "Shutdown" ends on SIGTERM too.
    let stop = chat
        .es
        .close_on(async { signal::ctrl_c().await.expect("a signal handler") });
    axum::serve(net::Listener::new(listener), app)
        .with_graceful_shutdown(stop)
        .await
}
