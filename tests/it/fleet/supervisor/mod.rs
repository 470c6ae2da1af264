//! Starts the parts, kills them, and compares what clients and publishers have recorded.

mod balancer;
mod block;
mod client;
mod clients;
mod connected;
mod delays;
mod faults;
mod fleet;
mod instance;
mod journal;
mod page;
mod parts;
mod records;
mod tally;
mod verdict;

// The checker's rules, and the types of the histories that they compare.
#[path = "../../backplane/checker/evidence.rs"]
mod evidence;
#[path = "../../backplane/checker/history.rs"]
mod history;
#[path = "../../backplane/checker/link.rs"]
#[allow(dead_code, reason = "the fleet has fewer faults of links")]
mod link;
#[path = "../../backplane/checker/report.rs"]
#[allow(dead_code, reason = "the fleet expects fewer outcomes")]
mod report;
#[path = "../../backplane/checker/rules.rs"]
mod rules;

use crate::{line::INSTANCES, options::Options};
use faults::Order;
use fleet::Fleet;
use history::{Item, Read};
use page::Page;
use parts::{Board, Part};
use std::{process::ExitCode, time::Duration};
use tokio::{
    signal::ctrl_c,
    time::{Instant, sleep, sleep_until},
};
use verdict::{Run, Verdict};

/// The time before the first fault, and after the last one.
const CALM: Duration = Duration::from_secs(2);

pub(crate) async fn run(options: Options) -> ExitCode {
    match show(&options).await {
        Ok(verdict) if verdict.has_passed => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            println!("FAILED: the fleet does not start: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn show(options: &Options) -> Result<Verdict, String> {
    let page = Page::start(options).await?;
    println!("listening on http://{}", page.address());
    let board = Board::default();
    let fleet = Fleet::start(options, board.clone()).await?;
    let reporting = page.report(&fleet);
    let verdict = judge(fleet, options).await;
    reporting.abort();
    println!("{verdict}");
    page.end(&verdict);
    if options.stays {
        println!("the page stays until ctrl-c");
        let _ = ctrl_c().await;
    }
    Ok(verdict)
}

/// Runs the fleet to its end.
async fn judge(mut fleet: Fleet, options: &Options) -> Verdict {
    let mut random = fastrand::Rng::with_seed(options.seed);
    let clients = clients::Clients::start(options, &fleet.places, random.fork()).await;
    let mut run = Run::new(options);
    let driven = match options.deploys {
        true => deploy(&mut fleet).await,
        false => disturb(&mut fleet, options, random).await,
    };
    run.errors.extend(driven.err());
    run.errors.extend(fleet.finish().await.err());
    let ends = fleet.records.ends();
    if ends.is_none() {
        run.errors
            .push("the last events were not published".to_owned());
    }
    fleet.board.end_all();
    run.finishes();
    let mut reads = clients.finish(ends.unwrap_or_default()).await;
    if options.forgets {
        forget_an_event(&mut reads);
    }
    run.judge(&fleet, &reads)
}

/// Replaces each instance in turn.
async fn deploy(fleet: &mut Fleet) -> Result<(), String> {
    sleep(CALM).await;
    for index in 0..INSTANCES {
        let part = Part::Instance(index);
        fleet.inject(faults::Fault::Replace, part).await?;
        sleep(CALM).await;
    }
    Ok(())
}

/// Lets a fault happen now and then.
async fn disturb(
    fleet: &mut Fleet,
    options: &Options,
    random: fastrand::Rng,
) -> Result<(), String> {
    let mut order = Order::new(options.wipes, random);
    let end = Instant::now() + Duration::from_secs(options.seconds);
    sleep(CALM).await;
    while Instant::now() < end || !order.has_begun() {
        let next = Instant::now() + Duration::from_secs(options.every);
        let fault = order.next();
        let part = order.part(fault);
        fleet.inject(fault, part).await?;
        sleep_until(next).await;
    }
    sleep(CALM).await;
    Ok(())
}

/// Removes an event from the middle of a history.
fn forget_an_event(reads: &mut [Read]) {
    let lives = reads.iter_mut().flat_map(|read| &mut read.lives);
    if let Some(life) = { lives }.max_by_key(|life| life.events()) {
        let events =
            (0..life.items.len()).filter(|index| matches!(life.items[*index], Item::Event(..)));
        let middle = { events }.nth(life.events() / 2);
        middle.map(|index| life.items.remove(index));
    }
}
