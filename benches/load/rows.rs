//! The rows of the table: their peers, scenarios and titles.

use crate::load::{
    grip,
    peers::Peer::*,
    report::{Quantity, Report, percentile},
    scale::{self, Scale},
    scenarios::{self, Core},
};
use std::fmt::Write as _;

/// The numbers of subscribers on one channel.
pub(crate) const SUBSCRIBERS: [usize; 4] = [100, 1000, 5000, 10_000];

/// Factor of rounds for scenarios whose figures vary most.
const OFTEN: usize = 3;

type Row = fn(&mut Report, Core, usize);

/// The scenarios that can be selected by name. The last argument is the number of rounds.
pub(crate) const ALL: [(&str, Row); 8] = [
    ("fan-out", fan_out),
    ("large", large),
    ("idle", idle),
    ("burst", burst),
    ("churn", churn),
    ("latency", latency),
    ("waits", waits),
    ("others", others),
];

const fn quantity(title: &'static str, unit: &'static str, digits: usize) -> Quantity {
    Quantity {
        title,
        unit,
        digits,
        reference: Some(Floor),
    }
}

fn fan_out(report: &mut Report, core: Core, rounds: usize) {
    const TITLES: [&str; 4] = [
        "CPU per event and client, 100 clients",
        "CPU per event and client, 1000 clients",
        "CPU per event and client, 5000 clients",
        "CPU per event and client, 10,000 clients",
    ];
    for (clients, title) in SUBSCRIBERS.into_iter().zip(TITLES) {
        let events = 200_000 / clients as u64;
        let quantity = quantity(title, "µs", 2);
        report.measure(
            rounds,
            &[Floor, Sse, Bytes, Plain, Net],
            [quantity],
            |peer| [scenarios::fan_out(peer, core, clients, 200, events)],
        );
    }
}

fn large(report: &mut Report, core: Core, rounds: usize) {
    let quantity = quantity(
        "64 KiB events: CPU per event and client, 500 clients",
        "µs",
        1,
    );
    report.measure(
        rounds,
        &[Floor, Sse, Bytes, Plain, Net],
        [quantity],
        |peer| [scenarios::fan_out(peer, core, 500, 64 << 10, 40)],
    );
}

fn idle(report: &mut Report, core: Core, _: usize) {
    let reference = Some(Bare);
    let quantity = Quantity {
        reference,
        ..quantity("memory per idle connection, 10,000 connections", "bytes", 0)
    };
    report.measure(1, &[Bare, Sse, Bytes, Plain, Net], [quantity], |peer| {
        [scenarios::idle_memory(peer, core, 10_000)]
    });
}

fn burst(report: &mut Report, core: Core, rounds: usize) {
    let reference = Some(Sse);
    let rate = Quantity {
        reference,
        ..quantity(
            "a burst of 10,000 events to 100 clients",
            "1000 deliveries/s",
            0,
        )
    };
    let lost = Quantity {
        reference: None,
        ..quantity("of these lost silently", "%", 1)
    };
    let cpu = quantity("CPU per event and client in that burst", "µs", 2);
    report.measure(
        rounds,
        &[Floor, Sse, Bytes, Plain, Net],
        [rate, lost, cpu],
        |peer| {
            let burst = scenarios::burst(peer, core, 100, 10_000);
            [burst.rate / 1000.0, burst.lost, burst.cpu]
        },
    );
}

fn churn(report: &mut Report, core: Core, rounds: usize) {
    let reference = Some(Bare);
    let cpu = Quantity {
        reference,
        ..quantity("connect and disconnect: CPU per connection", "µs", 1)
    };
    let rate = Quantity {
        reference,
        ..quantity("connections opened", "per s", 0)
    };
    let growth = |title| Quantity {
        reference: None,
        ..quantity(title, "MiB", 1)
    };
    let quantities = [
        cpu,
        rate,
        growth("memory more than at the start, after 5000 held and dropped"),
        growth("the same, after the second round"),
        growth("the same, after the fourth round"),
    ];
    report.measure(
        rounds * OFTEN,
        &[Bare, Sse, Bytes, Plain, Net],
        quantities,
        |peer| {
            let churn = scenarios::churn(peer, core, 5000, 4);
            let [first, second, fourth] = [0, 1, 3].map(|round| churn.growth[round]);
            [churn.cpu, churn.rate, first, second, fourth]
        },
    );
}

fn latency(report: &mut Report, core: Core, rounds: usize) {
    let quantities = [
        quantity("publish to receipt, 1000 clients, p50", "µs", 0),
        quantity("the same, p99", "µs", 0),
    ];
    report.measure(
        rounds * OFTEN,
        &[Floor, Sse, Bytes, Plain, Net],
        quantities,
        |peer| {
            let mut latencies = scenarios::latencies(peer, core, 1000, 100);
            [0.5, 0.99].map(|part| percentile(&mut latencies, part))
        },
    );
}

fn waits(report: &mut Report, core: Core, rounds: usize) {
    let reference = Some(Sse);
    let wait = |title| Quantity {
        reference,
        ..quantity(title, "µs", 0)
    };
    let quantities = [
        wait("wait of another request during a fan-out to 10,000, p50"),
        wait("the same, p99"),
    ];
    report.measure(rounds, &[Sse, Bytes, Plain, Net], quantities, |peer| {
        let mut waits = scenarios::waits(peer, core, 10_000, 15);
        [0.5, 0.99].map(|part| percentile(&mut waits, part))
    });
}

fn others(report: &mut Report, core: Core, rounds: usize) {
    let publish = |title| Quantity {
        reference: None,
        ..quantity(title, "µs", 1)
    };
    let quantities = [
        publish("CPU per publish with one subscriber, no other channels"),
        publish("the same, 10,000 other channels with a subscriber each"),
    ];
    report.measure(rounds, &[Floor, Bytes, Plain, Net], quantities, |peer| {
        [0, 10_000].map(|others| scenarios::among_others(peer, core, others, 3000))
    });
}

pub(crate) fn proxied() -> String {
    const EVENTS: u64 = 10_000;
    let Some(rates) = grip::publish(EVENTS) else {
        return "- Through Pushpin: not measured, it is not installed.\n".to_owned();
    };
    let [times, times_at_once] = [rates.in_order, rates.at_once].map(|rate| rates.ours / rate);
    format!(
        "- {EVENTS} concurrent publishes through a local Pushpin: {:.0} events a second, all received in \
        order. One request per event, one after the other: {:.0} a second ({times:.1} times fewer); a \
        hundred at a time, in no order: {:.0} ({times_at_once:.1} times fewer).\n",
        rates.ours, rates.in_order, rates.at_once,
    )
}

/// Runs five server processes, if the limit of open files allows that many connections in each.
pub(crate) fn scaled(core: Core, clients: usize) -> String {
    const SERVERS: usize = 5;
    let Scale {
        connections,
        memory,
        kernel,
        rate,
        cpu,
    } = scale::scale(core, SERVERS, clients.min(20_000));
    let mut note = String::new();
    let _ = writeln!(
        note,
        "- {connections} direct connections at the same time, on {SERVERS} servers with `net::Listener` \
        (open files are limited for each process): {memory:.0} bytes of server memory a connection and \
        {kernel:.0} bytes of kernel objects with the client's end; {rate:.0} connections a \
        second; {cpu:.2} µs of CPU per event and client."
    );
    note
}
