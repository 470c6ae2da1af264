//! The options of the command line.

use std::{env, process, time::Duration};

const HELP: &str = "\
Runs Redis, three instances of an application and two Pushpins, with clients and publishers. Kills a part every few
seconds, shows a live page, and ends with a verdict: 1 if a rule was broken.

    --clients N   clients in total (240)
    --seconds N   how long faults happen (600)
    --every N     a fault every so many seconds (5)
    --events N    events a second in total (40)
    --drain N     how many seconds an instance that is replaced takes to end its streams (3, or 10 with --deploys)
    --seed N      repeats the order of the faults and the clients
    --port N      port of the page, 0 for a free one (4000)
    --stay        shows the page until ctrl-c
    --wipe        wipes Redis now and then: clients must be reset
    --deploys     no faults: each instance is replaced in turn
    --forget      a client leaves one event out of its history, so that the verdict must find it";

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) clients: usize,
    pub(crate) seconds: u64,
    pub(crate) every: u64,
    pub(crate) events: u64,
    pub(crate) drain: Option<u64>,
    pub(crate) seed: u64,
    pub(crate) port: u16,
    pub(crate) stays: bool,
    pub(crate) wipes: bool,
    pub(crate) deploys: bool,
    pub(crate) forgets: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            clients: 240,
            seconds: 600,
            every: 5,
            events: 40,
            drain: None,
            seed: fastrand::u64(..1 << 32),
            port: 4000,
            stays: false,
            wipes: false,
            deploys: false,
            forgets: false,
        }
    }
}

impl Options {
    /// Ends the process if an option is unknown or has no number.
    pub(crate) fn of_this_process() -> Self {
        match Self::parse(env::args().skip(1)) {
            Ok(options) => options,
            Err(option) => {
                println!("{HELP}");
                process::exit(match &*option {
                    "--help" => 0,
                    _ => {
                        eprintln!("\nnot understood: {option}");
                        2
                    }
                })
            }
        }
    }

    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        while let Some(name) = arguments.next() {
            match &*name {
                "--stay" => options.stays = true,
                "--wipe" => options.wipes = true,
                "--deploys" => options.deploys = true,
                "--forget" => options.forgets = true,
                _ => {
                    let number = arguments.next().and_then(|number| number.parse().ok());
                    options.set(&name, number).ok_or(name)?;
                }
            }
        }
        Ok(options)
    }

    /// `None` if there is no such option, or its number is missing or too large.
    fn set(&mut self, name: &str, number: Option<u64>) -> Option<()> {
        let number = number?;
        match name {
            "--clients" => self.clients = number.try_into().ok()?,
            "--seconds" => self.seconds = number,
            "--every" => self.every = number,
            "--events" => self.events = number.max(1),
            "--drain" => self.drain = Some(number),
            "--seed" => self.seed = number,
            "--port" => self.port = number.try_into().ok()?,
            _ => return None,
        }
        Some(())
    }

    /// How long an instance that is replaced takes to end its streams.
    pub(crate) fn drain(&self) -> Duration {
        let seconds = self.drain.unwrap_or(if self.deploys { 10 } else { 3 });
        Duration::from_secs(seconds)
    }
}
