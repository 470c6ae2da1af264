//! All clients.

use super::{
    client::{Client, Ends, Places, Way},
    history::Read,
};
use crate::{
    line::{CHANNELS, INSTANCES},
    options::Options,
};
use std::time::Duration;
use tokio::{sync::watch, task::JoinSet, time::sleep};

/// The time between the starts of two clients.
const PAUSE: Duration = Duration::from_millis(5);

pub(super) struct Clients {
    clients: JoinSet<Read>,
    end: watch::Sender<Ends>,
}

impl Clients {
    pub(super) async fn start(
        options: &Options,
        places: &Places,
        mut random: fastrand::Rng,
    ) -> Self {
        let (end, ended) = watch::channel(None);
        let mut clients = JoinSet::new();
        for number in 0..options.clients {
            let client = Client::new(way(number, options), places.clone(), random.fork());
            clients.spawn(client.run(ended.clone()));
            sleep(PAUSE).await;
        }
        Self { clients, end }
    }

    /// Waits until all clients have read the last events, or are late.
    pub(super) async fn finish(self, ends: [u64; CHANNELS.len()]) -> Vec<Read> {
        self.end.send_replace(Some(ends));
        self.clients.join_all().await
    }
}

/// Half of the clients is behind the load balancer, and a quarter behind the proxies.
fn way(number: usize, options: &Options) -> Way {
    match number % 20 {
        10..13 => Way::Staying(number % INSTANCES),
        // In a deploy, clients reconnect only because their streams end.
        13..15 if !options.deploys => Way::Hopping,
        15..20 => Way::Proxied,
        _ => Way::Balanced,
    }
}
